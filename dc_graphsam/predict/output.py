"""The output of a long prediction: written piece by piece, whole or not there, and resumable."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["PredictionOutput", "added_columns", "check_output", "digest_of_input", "digest_of_model"]

_FORMAT = 2
_ENDS = 1 << 20  # bytes at either end that identify an input; reading all of it would double the work

_OTHER_FORMATS = (".xlsx", ".xls", ".ods", ".parquet", ".sdf", ".json", ".zip", ".bz2", ".xz", ".zst")


class PredictionOutput:
    """A file that grows as ``<path>.part``, with a note in ``<path>.part.json`` of how far it is, until it is finished.

    Parameters
    ----------
    path
        Where the finished file shall be; compressed if it ends in ``.gz``.
    identity
        What the content depends on (JSON types). An unfinished file with the same identity is continued.
    input
        The table that is read; must be another file.
    overwrite
        Whether a finished file may be replaced, and an unfinished one of another identity be thrown away.
    encoding, errors
        Of the text, as of :func:`open`.

    Attributes
    ----------
    records, rows, invalid, noted
        How much of the input is already in the unfinished file: records with and without blank lines, rows without a
        prediction, and rows with a note.
    bytes
        Length of the unfinished file that these make up; 0 if there is none.

    Raises
    ------
    InvalidArgumentError
        If the file exists, or cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        identity: dict[str, Any],
        *,
        input: Path,
        overwrite: bool = False,
        encoding: str = "utf-8",
        errors: str = "surrogateescape",
    ) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(f"{self.path.name}.part")
        self.note = self.path.with_name(f"{self.path.name}.part.json")
        self.identity = identity
        self.encoding, self.errors = encoding, errors
        self.records = self.rows = self.invalid = self.noted = self.bytes = 0
        self._file = None
        check_output(self.path, input, overwrite)
        self._continue(overwrite)

    def _continue(self, overwrite: bool) -> None:
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            size = self.part.stat().st_size
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return
        if note.get("format") == _FORMAT and note.get("identity") == self.identity and note["bytes"] <= size:
            self.records, self.rows = note["records"], note["rows"]
            self.invalid, self.noted = note["invalid"], note["noted"]
            self.bytes = note["bytes"]
        elif not overwrite:
            raise InvalidArgumentError(
                f"{self.part} is unfinished and belongs to another input, model or package version; "
                f"delete it, or start over with --overwrite"
            )

    def __enter__(self) -> PredictionOutput:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.part.open("r+b" if self.bytes else "wb")
        except OSError as error:
            raise InvalidArgumentError(f"output {self.path} cannot be written: {error.strerror}") from None
        self._file.truncate(self.bytes)  # what came after the last note is written again
        self._file.seek(self.bytes)
        return self

    def write(self, text: str, records: int = 0, rows: int = 0, invalid: int = 0, noted: int = 0) -> None:
        """Append, and note that so many more records, rows, invalid rows and rows with a note are done."""
        data = text.encode(self.encoding, self.errors)
        if self.path.suffix == ".gz":
            data = gzip.compress(data, compresslevel=6, mtime=0)  # members of a gzip file may follow one another
        self._file.write(data)
        self._file.flush()
        self.bytes += len(data)
        self.records, self.rows = self.records + records, self.rows + rows
        self.invalid, self.noted = self.invalid + invalid, self.noted + noted
        note = {
            "format": _FORMAT,
            "records": self.records,
            "rows": self.rows,
            "invalid": self.invalid,
            "noted": self.noted,
            "bytes": self.bytes,
            "identity": self.identity,
        }
        unfinished = self.note.with_name(f"{self.note.name}.new")
        unfinished.write_text(json.dumps(note), encoding="utf-8")
        os.replace(unfinished, self.note)

    def finish(self) -> None:
        """Give the file its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self.part, self.path)
        self.note.unlink(missing_ok=True)

    def __exit__(self, *_) -> None:
        if self._file is not None:
            self._file.close()


def check_output(path: Path, input: Path, overwrite: bool) -> None:
    """Raise ``InvalidArgumentError`` if ``path`` cannot be the output."""
    if path.is_dir():
        raise InvalidArgumentError(f"output {path} is a folder; a file name was expected")
    if path.suffix.lower() in _OTHER_FORMATS:
        raise InvalidArgumentError(
            f"output {path} would be text under the name of another format; accepted: .csv, .tsv, .txt, each also .gz"
        )
    if path.exists() and path.samefile(input):
        raise InvalidArgumentError(f"output {path} is the input itself; choose another name")
    if path.exists() and not overwrite:
        raise InvalidArgumentError(f"output {path} exists; choose another name, or replace it with --overwrite")


def added_columns(columns: Sequence[str], task_names: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns that predictions add: the tasks, ``error`` and ``note``, with a suffix where the table has the name.

    Examples
    --------
    >>> added_columns(["smiles", "p_np"], ["p_np"])
    ('p_np_predicted', 'error', 'note')
    """
    taken = {name.strip().removeprefix("\ufeff") for name in columns}
    added = []
    for wanted in (*task_names, "error", "note"):
        name, number = wanted, 1
        while name in taken:
            name = f"{wanted}_predicted{number if number > 1 else ''}"
            number += 1
        taken.add(name)
        added.append(name)
    return tuple(added)


def digest_of_input(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of both ends of a file."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(file.read(_ENDS))
        file.seek(max(size - _ENDS, 0))
        digest.update(file.read(_ENDS))
    return {"bytes": size, "sha256": digest.hexdigest()}


def digest_of_model(model) -> str:
    """SHA-256 of a model's configuration and weights."""
    import torch

    fields = {key: value for key, value in model.config.to_dict().items() if not key.startswith("_")}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
