"""Run the notebooks from the first cell to the last, and store what they show.

    python examples/notebooks/execute.py                     all of them
    python examples/notebooks/execute.py quickstart.ipynb    some

Each runs in an empty folder, in a kernel of this interpreter. What would differ from one machine or run to the next and
tells a reader nothing (times, paths, versions, identifiers) is not stored.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
_BARS = re.compile(r"^.*\d+%\|.*\n?", re.M)  # bars of other libraries
_SECONDS = re.compile(r"(\[ *\d+/\d+) [\d:]+(?: &lt; [\d:]+)?")
_SPEED = re.compile(r" \[\d\d:\d\d<[^\]]*\]")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(path: Path, folder: Path, timeout: int = 300) -> nbformat.NotebookNode:
    """The notebook ``path`` with the outputs of a run in ``folder``; an error in a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        startup_timeout=180,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,  # what is overwritten with a carriage return is not kept
    ).execute()
    return tidy(notebook, str(folder))


def tidy(notebook: nbformat.NotebookNode, folder: str) -> nbformat.NotebookNode:
    """Without what belongs to this machine and this run."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", nbformat.from_dict({})
        for output in cell.get("outputs", ()):
            output.get("metadata", {}).clear()
            output.get("transient", {}).clear()
            if "text" in output:
                text = output.text.replace(folder, ".")
                output.text = _BARS.sub("", text) if output.get("name") == "stderr" else text
            for kind, text in output.get("data", {}).items():
                if kind.startswith("text/"):  # of bars how far they came, but not how long it took here
                    output.data[kind] = _SPEED.sub("", _SECONDS.sub(r"\1", text))
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if "".join(_texts(output)).strip()]
    return notebook


def _texts(output: nbformat.NotebookNode):
    """What an output shows: its richest forms, the plain text only where there is no other."""
    data = output.get("data", {})
    rich = [kind for kind in data if kind != "text/plain"]
    yield from ([output.text] if "text" in output else (str(data[kind]) for kind in rich or data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(FOLDER.glob("*.ipynb")))
    for path in parser.parse_args().notebooks:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["DC_GRAPHSAM_CACHE"] = str(Path(folder, "cache"))
            notebook = execute(path, Path(folder))
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
