"""Splits of a data set: making them, naming them by source rows, saving them and getting them back."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dc_graphsam.data.given_splits import GivenSplit, read_chemprop
from dc_graphsam.data.splits import check_splitting, kfold_split, random_split, scaffold_groups, scaffold_split
from dc_graphsam.data.view import column_values
from dc_graphsam.exceptions import InvalidArgumentError, MissingDataError

__all__ = ["load_splits", "partition", "save_splits", "split_hash", "split_indices"]

SCAFFOLDS = "scaffolds.npy"
logger = logging.getLogger(__name__)


def partition(
    table,
    split: str = "random",
    seed: int = 0,
    *,
    fold: int | None = None,
    n_folds: int = 5,
    sizes: Sequence[float] = (0.8, 0.1, 0.1),
    splits: str | Path | Mapping[str, Sequence[int]] | None = None,
    progress: bool = False,
    given: GivenSplit | None = None,
):
    """Divide a featurized table.

    Parameters
    ----------
    table
        A ``datasets.Dataset`` with the columns ``row`` and ``smiles``.
    split
        ``"random"``, ``"scaffold"`` or ``"kfold"``.
    seed
        Of the split.
    fold, n_folds
        Of ``"kfold"``.
    sizes
        Fractions of train, validation and test, of the other two.
    splits
        A file written by :func:`save_splits`, one of chemprop's, or part → rows; then the other arguments are not used, but
        for ``fold``, which says which division of chemprop's file.
    progress
        Whether to show a bar while scaffolds are computed.
    given
        What the table itself says; ``split`` then divides what that leaves open.

    Returns
    -------
    datasets.DatasetDict
        Views of ``table``; nothing is copied.
    """
    from datasets import DatasetDict

    def divide(positions: np.ndarray, shares: Sequence[float]) -> dict[str, np.ndarray]:
        if split == "random":
            found = random_split(len(positions), seed, shares)
        elif split == "kfold":
            found = kfold_split(len(positions), fold, n_folds, seed)
        else:
            found = scaffold_split(_cached_scaffolds(table, progress)[positions], seed, shares)
        return {part: positions[places] for part, places in found.items()}

    if splits is not None:
        parts, foreign = _positions(table, splits, fold)
    else:
        check_splitting(split, seed, fold, n_folds, sizes)
        foreign = given is not None
        if given is None:
            parts = divide(np.arange(len(table)), sizes)
        else:
            parts = given.divide(column_values(table, "row"), seed, sizes, divide)
    if foreign:
        _warn_of_shared_molecules(table, parts)
    return DatasetDict({name: table.select(indices) for name, indices in parts.items()})


def _cached_scaffolds(table, progress: bool) -> np.ndarray:
    """Scaffold numbers of the table, from the file beside it where there is one."""
    files = table.cache_files
    path = Path(files[0]["filename"]).parent / SCAFFOLDS if files else None
    if path is not None and path.exists():
        try:
            groups = np.load(path, allow_pickle=False)
            if groups.shape == (len(table),):
                return groups
        except (ValueError, EOFError, OSError):
            logger.warning("%s is broken and is written again", path)
    groups = scaffold_groups(table.data.column("smiles").to_pylist(), progress)
    if path is not None:
        unfinished = path.with_name(f".{SCAFFOLDS}-{os.getpid()}.npy")
        np.save(unfinished, groups, allow_pickle=False)
        os.replace(unfinished, path)
    return groups


def split_indices(data) -> dict[str, np.ndarray]:
    """Return the source rows of each part of a data set.

    Parameters
    ----------
    data
        A ``DatasetDict`` with a column ``row``.

    Returns
    -------
    dict
        Part → int64 rows, in the order of the part.

    Examples
    --------
    >>> from dc_graphsam.data import load_moleculenet
    >>> rows = split_indices(load_moleculenet("freewilson", progress=False))
    >>> {part: len(numbers) for part, numbers in rows.items()}
    {'train': 813, 'validation': 102, 'test': 102}
    """
    return {part: column_values(dataset, "row") for part, dataset in data.items()}


def split_hash(splits: Mapping[str, Sequence[int]]) -> str:
    """SHA-256 that identifies a split: of its parts in alphabetical order and their rows in ascending order.

    Examples
    --------
    >>> split_hash({"train": [0, 2], "test": [1]}) == split_hash({"test": [1], "train": [2, 0]})
    True
    """
    digest = hashlib.sha256()
    for part in sorted(splits):
        digest.update(f"{part}:{','.join(map(str, sorted(int(row) for row in splits[part])))};".encode())
    return digest.hexdigest()


def save_splits(data, path: str | Path, **facts: Any) -> Path:
    """Write the source rows of each part as JSON.

    Parameters
    ----------
    data
        A ``DatasetDict`` with a column ``row``, or part → rows.
    path
        File to write; replaced if it exists.
    facts
        What else to note, JSON types, e.g. ``split="scaffold", seed=0``.

    Returns
    -------
    pathlib.Path
        The file.
    """
    path = Path(path)
    first = next(iter(data.values()))
    indices = split_indices(data) if hasattr(first, "info") else {part: np.asarray(rows) for part, rows in data.items()}
    content = {
        **facts,
        "sha256": split_hash(indices),
        **({"source_sha256": _source_digest(first)} if hasattr(first, "info") else {}),
        "rows": {part: rows.tolist() for part, rows in indices.items()},
    }
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content), encoding="utf-8")
    os.replace(unfinished, path)
    return path


def load_splits(path: str | Path, fold: int | None = None) -> dict[str, np.ndarray]:
    """Read what :func:`save_splits` wrote, or a splits file of chemprop.

    Parameters
    ----------
    path
        The file, or a folder with ``splits.json`` in it.

    fold
        Which division, of a file of chemprop's that holds several.

    Returns
    -------
    dict
        Part → int64 rows.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidArgumentError
        If it holds no splits, or was changed since it was written.

    Examples
    --------
    >>> import tempfile
    >>> path = save_splits({"train": [0, 2], "test": [1]}, tempfile.mkdtemp() + "/splits.json", seed=0)
    >>> load_splits(path)["train"].tolist()
    [0, 2]
    """
    return _read_splits(path, fold)[0]


def _read_splits(path: str | Path, fold: int | None = None) -> tuple[dict[str, np.ndarray], str | None, bool]:
    """Part → rows, digest of the data file if it is known, and whether the file is chemprop's."""
    path = Path(path)
    path = path / "splits.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, list):
            return read_chemprop(content, str(path), fold), None, True
        splits = {str(part): np.array(rows, np.int64).reshape(-1) for part, rows in content["rows"].items()}
        expected, source = content["sha256"], content.get("source_sha256")
    except FileNotFoundError:
        raise MissingDataError(f"there is no file {path} with splits") from None
    except InvalidArgumentError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidArgumentError(
            f"{path} holds no splits; accepted: a file written by save_splits, or chemprop's"
        ) from None
    if split_hash(splits) != expected:
        raise InvalidArgumentError(f"{path} was changed: its rows do not give its sha256; write it with save_splits")
    return splits, source, False


def _positions(
    table, splits: str | Path | Mapping[str, Sequence[int]], fold: int | None
) -> tuple[dict[str, np.ndarray], bool]:
    """Part → positions in ``table`` of the rows that a file or mapping names, and whether the file is chemprop's."""
    foreign = False
    if isinstance(splits, Mapping):
        name, source = "splits", None
        wanted = {str(part): np.asarray(rows, np.int64).reshape(-1) for part, rows in splits.items()}
    else:
        name = str(splits)
        wanted, source, foreign = _read_splits(splits, fold)
        if foreign:
            wanted = _without_dropped(table, wanted, name)
    if source is not None and source != _source_digest(table):
        logger.warning("%s was made for another version of this data file: its rows may be other molecules", name)
    rows = column_values(table, "row")  # ascending
    positions = {}
    taken = np.zeros(len(rows), bool)
    for part, numbers in wanted.items():
        found = np.searchsorted(rows, numbers)
        missing = numbers[(found == len(rows)) | (rows[np.minimum(found, len(rows) - 1)] != numbers)]
        if len(missing):
            raise InvalidArgumentError(
                f"{name} puts row {missing[0]} into {part}, which is not in this table or was left out of it "
                f"({len(missing)} such rows); use the data file and settings that the splits were made with"
            )
        if taken[found].any() or len(np.unique(found)) < len(found):
            raise InvalidArgumentError(f"{name} has a row of {part} twice; accepted: every row once")
        taken[found] = True
        positions[part] = found
    return positions, foreign


def _without_dropped(table, wanted: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Rows of a division that was made before anybody knew which rows can be used."""
    from dc_graphsam.data.dropped import dropped_rows

    dropped = np.array([record.row for record in dropped_rows(table)], np.int64)
    kept = {part: rows[~np.isin(rows, dropped)] for part, rows in wanted.items()}
    gone = sum(map(len, wanted.values())) - sum(map(len, kept.values()))
    if gone:
        logger.warning("%s names %d rows that were left out of the table", name, gone)
    return kept


def _warn_of_shared_molecules(table, parts: Mapping[str, np.ndarray]) -> None:
    """Count the molecules that are in two parts of a division which somebody else made."""
    from rdkit import Chem, rdBase

    smiles = table.data.column("smiles").to_pylist() if table._indices is None else table["smiles"][:]
    canonical: dict[str, str] = {}

    def name_of(text: str) -> str:
        if text not in canonical:
            molecule = Chem.MolFromSmiles(text)
            canonical[text] = f"?{text}" if molecule is None else Chem.MolToSmiles(molecule)
        return canonical[text]

    with rdBase.BlockLogs():
        molecules = {part: {name_of(smiles[i]): i for i in places.tolist()} for part, places in parts.items()}
    names = list(molecules)
    for k, first in enumerate(names):
        for second in names[k + 1 :]:
            shared = molecules[first].keys() & molecules[second].keys()
            if shared:
                example = smiles[min(molecules[second][name] for name in shared)]
                logger.warning(
                    "%d molecule%s in both %s and %s, e.g. %s: the result on %s will look better than it is",
                    *(len(shared), " is" if len(shared) == 1 else "s are", first, second, example, second),
                )


def _source_digest(dataset) -> str | None:
    checksums = dataset.info.download_checksums or {}
    return next((entry.get("checksum") for entry in checksums.values()), None)
