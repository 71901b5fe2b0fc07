"""The notebooks run from the first cell to the last, and what they store is small and nobody's own."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from runpy import run_path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
KILOBYTES = 150


def outputs(notebook) -> list[dict]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def kinds(notebook) -> list[list[str]]:
    """For each cell what it shows: names of streams, types of pictures."""
    return [
        [kind for o in cell.get("outputs", []) for kind in ([o["name"]] if "name" in o else sorted(o["data"]))]
        for cell in notebook["cells"]
    ]


@pytest.fixture(scope="module")
def execute():
    pytest.importorskip("nbclient")
    return run_path(str(FOLDER / "execute.py"))["execute"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_stores(path, execute, tmp_path, monkeypatch):
    if path.stem == "deepchem":
        pytest.importorskip("deepchem")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER.parents[1]), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel's own draws into the notebook
    done = execute(path, tmp_path)
    stored = json.loads(path.read_text())
    assert kinds(done) == kinds(stored), "run: python examples/notebooks/execute.py"
    assert len(json.dumps(done)) < KILOBYTES * 1024


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_small_and_nobodys_own(path):
    text = path.read_text()
    notebook = json.loads(text)
    assert len(text) < KILOBYTES * 1024
    shown = outputs(notebook)
    assert any(kind.startswith("image/") for o in shown for kind in o.get("data", {})), "no picture is stored"
    assert not any(o["output_type"] == "error" for o in shown)
    for output in shown:
        words = "".join(output.get("text", [])) + "".join(output.get("data", {}).get("text/html", []))
        assert "\r" not in words and "%|" not in words and words.count("\n") < 120
        assert not re.search(r"/(?:home|root|tmp|work|usr|Users)/", words) and "Warning" not in words
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert "pip install" in code[0] and 'find_spec("dc_graphsam") is None' in code[0]
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert all(cell["metadata"] == {} for cell in notebook["cells"])


BARS = """
import time
from dc_graphsam.progress import progress_bar
from dc_graphsam.chem import featurize_many
with progress_bar(total=1000, desc="long") as bar:
    for n in range(1000):
        bar.update(1)
        bar.set_postfix_str(f"at {n}")
        time.sleep(0.001)
for _ in progress_bar(range(500), desc="gone", leave=False):
    time.sleep(0.001)
_ = featurize_many(["CCO"] * 3000, num_workers=0, progress=True)
"""


def test_bars_leave_one_line_each(tmp_path):
    """Every refresh is counted where the page would get it; what is stored is one line per bar, without any widget."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    messages = []

    class Client(nbclient.NotebookClient):
        def process_message(self, msg, cell, cell_index):
            messages.append(msg["msg_type"])
            return super().process_message(msg, cell, cell_index)

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(BARS)])
    Client(
        notebook, kernel_name="python3", startup_timeout=180, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = notebook.cells[0].outputs
    assert [o["output_type"] for o in shown] == ["display_data"] * 3, shown
    texts = [o["data"]["text/plain"] for o in shown]
    assert "1000/1000" in texts[0] and texts[1] == "" and "3000/3000" in texts[2]
    assert all(len(text) <= 90 and "\n" not in text for text in texts)
    assert messages.count("update_display_data") < 60  # a few a second, however often the bar moves
    assert "stream" not in messages


RUN = """
from dc_graphsam.hf import RunSettings, load_run, predict_csv, train_run
options = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
settings = RunSettings(dataset="freewilson", baselines=False, report=False, model_options=options,
                       training_options={"num_train_epochs": 2})
done = train_run(settings, "run", progress=True)
with open("new.csv", "w") as file:
    file.write("smiles\\n" + "CCO\\n" * 2000)
_ = predict_csv(load_run("run").model, "new.csv", "out.csv", progress=True)
"""


def test_a_whole_run_does_not_flood_a_notebook(tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(RUN)])
    nbclient.NotebookClient(
        notebook,
        kernel_name="python3",
        startup_timeout=180,
        timeout=200,
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    shown = notebook.cells[0].outputs
    assert len(json.dumps(shown)) < 6000, json.dumps(shown)[:3000]
    lines = [text for o in shown for text in o.get("data", {}).get("text/plain", "").splitlines()]
    assert any("mol/s" in line for line in lines), lines
    assert not [o for o in shown if o.get("name") == "stderr"], shown
    assert (tmp_path / "out.csv").is_file()
    shutil.rmtree(tmp_path / "run")
