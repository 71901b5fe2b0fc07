"""Raw files of the built-in data sets: finding them, downloading them, reading them."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

import numpy as np

from dc_graphsam.data.moleculenet.registry import DatasetEntry
from dc_graphsam.data.tables import LabelledSmiles, find_smiles_column, parse_labels, read_table
from dc_graphsam.exceptions import MissingDataError, MissingPackageError

__all__ = ["find_raw_files", "read_raw"]

_TIMEOUT = 10.0  # seconds without an answer
_GRACE = 2.0  # more for the name server


def find_raw_files(entry: DatasetEntry, data_dir: str | Path | None = None, download: bool = True) -> tuple[Path, ...]:
    """Return the raw file(s) of a data set, after downloading what is absent.

    Parameters
    ----------
    entry
        Record of the data set.
    data_dir
        Folder to look in and to download to. ``None`` means the environment variable ``DEEPCHEM_DATA_DIR``, else
        DeepChem's default, the system's folder for temporary files.
    download
        Whether absent files may be downloaded.

    Raises
    ------
    MissingDataError
        If the file is not there and cannot be had.
    """
    if entry.embedded:
        from rdkit import RDConfig

        structures = Path(RDConfig.RDContribDir, entry.file)
        files = (structures, structures.with_name(f"{structures.stem}_act.csv"))
        for file in files:
            if not file.exists():
                raise MissingDataError(
                    f"{file} is absent: this RDKit comes without its Contrib folder; pip install rdkit"
                )
        return files
    folder = Path(data_dir or os.environ.get("DEEPCHEM_DATA_DIR") or tempfile.gettempdir()).expanduser()
    file = folder / entry.file
    if not file.exists():
        why = _download(entry.url, file) if download else "download is False"
        if why:
            raise MissingDataError(
                f"{entry.file} is not in {folder} and cannot be downloaded from {entry.url} ({why}); put it there, or "
                f"name the folder that has it with data_dir or the environment variable DEEPCHEM_DATA_DIR"
            )
    return (file,)


def _download(url: str, file: Path) -> str:
    """Download ``url`` to ``file``, all of it or nothing. Returns why it failed, or an empty string."""
    unfinished = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _open(url) as response, tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as target:
            unfinished = Path(target.name)
            shutil.copyfileobj(response, target)
            expected = response.headers.get("Content-Length")
            if expected is not None and target.tell() != int(expected):
                return f"the connection broke after {target.tell():,} of {int(expected):,} bytes"
        unfinished.chmod(0o644)
        unfinished.replace(file)
        return ""
    except HTTPError as error:
        return str(error)
    except (OSError, HTTPException) as error:
        return str(getattr(error, "reason", None) or error)
    finally:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)


def _open(url: str):
    """``urlopen`` that gives up in time even if the name server does not answer, which its own timeout leaves out."""
    result: list = []

    def connect() -> None:
        try:
            result.append(urllib.request.urlopen(url, timeout=_TIMEOUT))
        except (OSError, HTTPException) as error:
            result.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_TIMEOUT + _GRACE)
    if not result:
        raise TimeoutError(f"no answer within {_TIMEOUT + _GRACE:g} s")
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


def read_raw(entry: DatasetEntry, files: tuple[Path, ...]) -> LabelledSmiles:
    """Read what :func:`find_raw_files` found: with DeepChem's loader where there is one, and equally without."""
    if entry.embedded:
        return _read_freewilson(entry, *files)
    if entry.loader is not None:
        from dc_graphsam.data.moleculenet.deepchem_loader import read_with_deepchem
        from dc_graphsam.data.moleculenet.table_loader import read_as_deepchem_does

        try:
            return read_with_deepchem(entry, files[0])
        except MissingPackageError:
            return read_as_deepchem_does(entry, files[0])
    table = read_table(files[0])
    smiles = table.column(find_smiles_column(table, entry.smiles_column))
    labels, problems = parse_labels(table, entry.task_names)
    return LabelledSmiles(smiles, labels, entry.task_names, entry.task_type, {**problems, **table.problems})


def _read_freewilson(entry: DatasetEntry, structures: Path, activities: Path) -> LabelledSmiles:
    """Join "SMILES name" lines with a table "Name,Act" on the name; the row is the line of the first file."""
    table = read_table(activities)
    values, _ = parse_labels(table, ["Act"])
    activity = dict(zip(table.column("Name"), values[:, 0], strict=True))
    pairs = [line.split() for line in structures.read_text(encoding="utf-8").splitlines() if line.strip()]
    labels = np.array([[activity.get(name, np.nan)] for _, name in pairs])
    return LabelledSmiles([smiles for smiles, _ in pairs], labels, entry.task_names, entry.task_type, {})
