"""Featurized tables on disk: one folder per table, named by what it was made from, never changed once it is there.

A folder holds ``data.arrow`` (the stream that ``datasets.Dataset.from_file`` maps into memory), ``record.json`` (tasks,
rows left out, sizes) and, once a scaffold split was asked for, ``scaffolds.npy``. It is written under another name and
renamed when it is whole, so that a reader never sees half a table and two writers do not harm each other.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["cache_root", "file_digest", "get_or_build", "read_record", "table_key"]

DATA, RECORD = "data.arrow", "record.json"
_LAYOUT = 1  # of the folder; raise it when columns or files change
_UNFINISHED, _ONE_DAY = ".unfinished-", 86400
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST)
logger = logging.getLogger(__name__)


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """Folder that holds the featurized tables.

    Parameters
    ----------
    cache_dir
        The user's choice; ``None`` means the environment variable ``DC_GRAPHSAM_CACHE``, else
        ``$XDG_CACHE_HOME/dc_graphsam``, else ``~/.cache/dc_graphsam``.

    Examples
    --------
    >>> cache_root("here").name
    'here'
    """
    if cache_dir is None:
        cache_dir = os.environ.get("DC_GRAPHSAM_CACHE")
    if not cache_dir:
        cache_dir = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dc_graphsam"
    return Path(cache_dir).expanduser()


def file_digest(*paths: str | Path) -> str:
    """SHA-256 of the bytes of the files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@lru_cache(maxsize=1)
def featurizer_version() -> str:
    """Identify the code that turns SMILES into arrays: RDKit's version and the sources of ``dc_graphsam.chem``.

    Hashing the sources takes about a millisecond and cannot be forgotten, unlike a version number.
    """
    folder = Path(__file__).resolve().parent.parent / "chem"
    return f"rdkit {version('rdkit')}, {file_digest(*sorted(folder.glob('*.py')))}"


def table_key(**made_from: Any) -> str:
    """Hash of everything a featurized table depends on; the values must be JSON types.

    Examples
    --------
    >>> table_key(digest="ab", feature_set="compt") == table_key(feature_set="compt", digest="ab")
    True
    >>> table_key(digest="ab", feature_set="compt") == table_key(digest="ab", feature_set="grover")
    False
    """
    made_from = {**made_from, "featurizer": featurizer_version(), "layout": _LAYOUT}
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return what ``record.json`` says if the table in ``folder`` is whole, else None."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        whole = record["layout"] == _LAYOUT and (folder / DATA).stat().st_size == record["arrow_bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if whole else None


def get_or_build(name: str, key: str, build: Callable[[Path], dict], cache_dir: str | Path | None = None) -> Path:
    """Return the folder of a table, building it if it is not there or is broken.

    Parameters
    ----------
    name
        Beginning of the folder's name, for people.
    key
        From :func:`table_key`.
    build
        Called with an empty folder; writes ``data.arrow`` there and returns the record of it. Whatever it raises is
        passed on, and nothing is kept.
    cache_dir
        See :func:`cache_root`.

    Returns
    -------
    pathlib.Path
        A folder with a whole table.

    Raises
    ------
    InvalidArgumentError
        If the cache cannot be written.
    """
    from filelock import FileLock

    root = cache_root(cache_dir)
    folder = root / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:40]}-{key[:32]}"
    if read_record(folder) is not None:
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):  # a second process waits for the first instead of doing its work again
            if read_record(folder) is None:
                _build(root, folder, build)
    except OSError as error:
        if error.errno not in _NOT_WRITABLE:
            raise
        raise InvalidArgumentError(
            f"the cache folder {root} cannot be written ({error.strerror}); set DC_GRAPHSAM_CACHE to one that can"
        ) from error
    return folder


def _build(root: Path, folder: Path, build: Callable[[Path], dict]) -> None:
    if folder.exists():
        logger.warning("the cached table %s is broken and is built again", folder)
    for left in root.glob(f"{_UNFINISHED}*"):  # by a process that was killed
        if time.time() - left.stat().st_mtime > _ONE_DAY:
            shutil.rmtree(left, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=root))
    try:
        record = build(unfinished)
        record = {"layout": _LAYOUT, "arrow_bytes": (unfinished / DATA).stat().st_size, **record}
        (unfinished / RECORD).write_text(json.dumps(record), encoding="utf-8")
        unfinished.chmod(0o755)  # mkdtemp makes it private, which a shared cache must not be
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
