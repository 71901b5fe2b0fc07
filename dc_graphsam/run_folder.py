"""A run on disk: which files there are, how they are written, and which checkpoints can be used."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dc_graphsam.exceptions import InvalidArgumentError, RunFolderError

__all__ = ["FILES", "RunFolder"]

# All that a run writes; nothing else is ever removed from a folder.
FILES = (
    "config.json",
    "model.safetensors",
    "processor_config.json",
    "run.json",
    "run.yaml",
    "splits.json",
    "metrics.json",
    "history.jsonl",
    "predictions_test.csv",
    "dropped.csv",
    "report.html",
)
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_OF_CHECKPOINT = ("config.json", "model.safetensors", "optimizer.pt", "scheduler.pt")


class RunFolder:
    """Files of one run.

    Parameters
    ----------
    path
        The folder; it need not exist.

    Examples
    --------
    >>> import tempfile
    >>> folder = RunFolder(tempfile.mkdtemp())
    >>> folder.write_json("metrics.json", {"metric": "rmse", "test": {"rmse": float("nan")}})
    >>> folder.read_json("metrics.json")
    {'metric': 'rmse', 'test': {'rmse': None}}
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __str__(self) -> str:
        return str(self.path)

    # What is there

    def has(self, name: str) -> bool:
        return (self.path / name).is_file()

    @property
    def is_empty(self) -> bool:
        return not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir()))

    @property
    def is_run(self) -> bool:
        return self.has("run.json") or self.has("run.yaml")

    @property
    def is_finished(self) -> bool:
        return self.has("metrics.json") and self.has("model.safetensors") and self.has("config.json")

    def checkpoints(self) -> list[Path]:
        """Checkpoints that are whole, oldest first; one that was cut off in writing is none."""
        if not self.path.is_dir():
            return []
        found = [(int(match[1]), path) for path in self.path.iterdir() if (match := _CHECKPOINT.fullmatch(path.name))]
        return [path for _, path in sorted(found) if _is_whole(path)]

    # Making room

    def prepare(self, *, overwrite: bool = False, resume: bool = False) -> None:
        """Check that a run may be written here, and make the folder; nothing is removed (see :meth:`clear`).

        Raises
        ------
        InvalidArgumentError
            If it is not empty and may not be overwritten, or is no folder.
        RunFolderError
            If it shall be resumed and there is nothing to resume.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InvalidArgumentError(f"output {self} is a file; name a folder")
        if resume:
            self._check_resumable()
        elif not self.is_empty:
            if not overwrite:
                unfinished = self.is_run and not self.is_finished
                how = "--resume to continue the run in it, or " if unfinished else ""
                raise InvalidArgumentError(
                    f"output {self} exists and is not empty; name another folder, "
                    f"or pass {how}--overwrite to replace the run"
                )
            if not self.is_run:
                raise InvalidArgumentError(
                    f"output {self} is not empty and holds no run of this program: it is not overwritten; "
                    f"name another folder"
                )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidArgumentError(f"output {self} cannot be made: {error.strerror}") from None

    def _check_resumable(self) -> None:
        if not self.path.is_dir():
            raise RunFolderError(f"there is no run folder {self} to resume")
        if self.is_finished:
            raise RunFolderError(f"{self} is a finished run: there is nothing to resume; --overwrite trains it again")
        if not self.is_run:
            raise RunFolderError(f"{self} holds no interrupted run: run.yaml is absent")

    def clear(self) -> None:
        """Remove what a run has written, and only that."""
        for name in FILES:
            (self.path / name).unlink(missing_ok=True)
        self.remove_checkpoints()

    def remove_checkpoints(self) -> None:
        if not self.path.is_dir():
            return
        for path in self.path.iterdir():
            if path.is_dir() and _CHECKPOINT.fullmatch(path.name):
                shutil.rmtree(path)

    # Reading and writing

    def read_json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunFolderError(f"{self} has no {name}{self.what_it_is()}") from None
        except (OSError, ValueError):
            raise RunFolderError(f"{self / name} cannot be read as JSON") from None
        if not isinstance(content, dict):
            raise RunFolderError(f"{self / name} holds no JSON object")
        return content

    def what_it_is(self) -> str:
        """The end of a message about a file that is not there."""
        if not self.path.exists():
            return ": there is no such folder"
        if self.is_run and not self.is_finished:
            return f": its training has not finished; continue it with dc-graphsam train --output {self} --resume"
        return ": it is not a folder that dc-graphsam train has written"

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write JSON that every reader accepts: a number that is not finite becomes null."""
        self.write_text(name, json.dumps(finite(content), indent=1, ensure_ascii=False) + "\n")

    def write_lines(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        self.write_text(name, "".join(json.dumps(finite(record)) + "\n" for record in records))

    def write_yaml(self, name: str, content: Mapping[str, Any], comment: str) -> None:
        import yaml

        text = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120)
        self.write_text(name, f"# {comment}\n{text}")

    def write_csv(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        unfinished = self.path / f".{name}"
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
        os.replace(unfinished, self.path / name)

    def write_text(self, name: str, text: str) -> None:
        unfinished = self.path / f".{name}"
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, self.path / name)


def finite(value: Any) -> Any:
    """JSON types of ``value``, with ``None`` for numbers that are not finite.

    >>> finite({"a": [1.5, float("inf")], "b": (2,)})
    {'a': [1.5, None], 'b': [2]}
    """
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()  # a NumPy number
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)


def _is_whole(checkpoint: Path) -> bool:
    """The trainer writes its state last."""
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return "global_step" in state and all((checkpoint / name).is_file() for name in _OF_CHECKPOINT)
