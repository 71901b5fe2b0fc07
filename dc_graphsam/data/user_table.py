"""A user's own table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dc_graphsam.chem import DEFAULT_FEATURE_SET
from dc_graphsam.data.assemble import assemble
from dc_graphsam.data.structure_files import refuse_structures
from dc_graphsam.data.tables import LabelledSmiles, TextTable, find_smiles_column, parse_labels, read_table
from dc_graphsam.exceptions import InvalidArgumentError, MissingDataError, check_choice
from dc_graphsam.tasks import METRICS, TASK_TYPES

__all__ = ["load_csv"]


def load_csv(
    path: str | Path,
    smiles_column: str | None = None,
    task_columns: str | Sequence[str] | None = None,
    task_type: str | None = None,
    split: str = "random",
    seed: int = 0,
    fold: int | None = None,
    feature_set: str = DEFAULT_FEATURE_SET,
    *,
    metric: str | None = None,
    n_folds: int = 5,
    sizes: Sequence[float] = (0.8, 0.1, 0.1),
    splits: str | Path | Mapping[str, Sequence[int]] | None = None,
    max_atoms: int | None = None,
    num_workers: int | None = None,
    progress: bool = True,
    cache_dir: str | Path | None = None,
):
    """Load a table of SMILES and measured values, featurized, cached and split.

    Commas, tabs and semicolons (then with decimal commas, too) separate fields; quotes, a byte order mark, Windows line
    ends and gzip are understood. An empty field means "not measured" and becomes NaN. A row is left out, and listed by
    :func:`~dc_graphsam.data.dropped_rows`, if its SMILES cannot be used, if a label is infinite or no number, or if it
    has no label at all; the labels of other rows never move.

    Parameters
    ----------
    path
        ``.csv`` or ``.tsv``, also ``.gz``, with a header line.
    smiles_column
        Column with SMILES; ``None`` looks for ``smiles``, ``canonical_smiles``, ``mol`` and the like, in any case.
    task_columns
        Column(s) to predict. ``None`` takes the only other column with numbers.
    task_type
        ``"classification"`` (values 0 and 1) or ``"regression"``; ``None`` decides by the values.
    split, seed, fold, n_folds, sizes, splits
        As of :func:`~dc_graphsam.data.load_moleculenet`.
    feature_set, max_atoms, num_workers, progress, cache_dir
        As of :func:`~dc_graphsam.data.load_moleculenet`.
    metric
        To compare and select models by; ``None`` means ``roc_auc`` for classification and ``rmse`` for regression.

    Returns
    -------
    datasets.DatasetDict
        As of :func:`~dc_graphsam.data.load_moleculenet`.

    Raises
    ------
    MissingDataError
        If there is no such file.
    MissingColumnError
        If a column is absent; the message lists those there are.
    InvalidArgumentError
        If an argument is not accepted, the task cannot be told from the values, or no row can be used.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "my.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("SMILES,pIC50\\n" + "".join(f"{'C' * n},{n}.5\\n" for n in range(1, 11)))
    >>> data = load_csv(path, progress=False, num_workers=1)
    >>> {part: len(rows) for part, rows in data.items()}
    {'train': 8, 'validation': 1, 'test': 1}
    """
    if task_type is not None:
        check_choice("task_type", task_type, TASK_TYPES)
    if metric is not None:
        check_choice("metric", metric, METRICS)
    wanted = [task_columns] if isinstance(task_columns, str) else task_columns
    wanted = None if wanted is None else list(wanted)
    if wanted is not None and (not wanted or len(set(wanted)) < len(wanted)):
        raise InvalidArgumentError(f"task_columns is {wanted!r}; accepted: column names, at least one, each once")
    path = Path(path)
    refuse_structures(path)
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}")
    return assemble(
        _table_name(path),
        (path,),
        lambda: _read(path, smiles_column, wanted, task_type),
        reading={"smiles": smiles_column, "tasks": wanted, "type": task_type},
        metric=metric,
        citation="",
        feature_set=feature_set,
        max_atoms=max_atoms,
        num_workers=num_workers,
        progress=progress,
        cache_dir=cache_dir,
        split=split,
        seed=seed,
        fold=fold,
        n_folds=n_folds,
        sizes=sizes,
        splits=splits,
    )


def _table_name(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return Path(name).stem or name


def _read(path: Path, smiles_column: str | None, wanted: list[str] | None, task_type: str | None) -> LabelledSmiles:
    table = read_table(path)
    smiles_column = find_smiles_column(table, smiles_column)
    names = wanted or _only_numeric_column(table, smiles_column)
    if smiles_column in names:
        raise InvalidArgumentError(
            f"task_columns has {smiles_column!r}, which holds the SMILES; name columns with labels"
        )
    labels, problems = parse_labels(table, names)
    problems = {**problems, **table.problems}
    usable = np.ones(len(table), bool)
    usable[list(problems)] = False
    task_type = _task_type(str(path), names, labels[usable], task_type)
    return LabelledSmiles(table.column(smiles_column), labels, tuple(names), task_type, problems)


def _only_numeric_column(table: TextTable, smiles_column: str) -> list[str]:
    """The single column, besides the SMILES, in which half the fields or more are numbers."""
    others = [name for name in table.columns if name != smiles_column]
    values, _ = parse_labels(table, others)
    numeric = [name for name, known in zip(others, np.isfinite(values).mean(axis=0), strict=True) if known >= 0.5]
    measured = [name for name in numeric if not name.lower().endswith(("_id", " id"))]  # no number that names the row
    if len(measured or numeric) == 1:
        return measured or numeric
    has = f"several columns with numbers: {', '.join(numeric)}" if numeric else "no other column with numbers"
    raise InvalidArgumentError(f"task_columns is None and {table.source} has {has}; name the column(s) to predict")


def _task_type(source: str, names: Sequence[str], labels: np.ndarray, task_type: str | None) -> str:
    """Check the type that was given, or tell it from the labels (float64 [rows, T])."""
    binary = [bool(np.isin(column[~np.isnan(column)], (0.0, 1.0)).all()) for column in labels.T]
    if task_type == "classification" and not all(binary):
        t = binary.index(False)
        known = labels[:, t][~np.isnan(labels[:, t])]
        other = known[~np.isin(known, (0.0, 1.0))][0]
        raise InvalidArgumentError(
            f"column {names[t]!r} of {source} has the value {other:g}; a classification task has 0 and 1, and an empty "
            f"field where nothing was measured"
        )
    if task_type is not None:
        return task_type
    measured = ~np.isnan(labels).all(axis=0)
    kinds = {flag for flag, known in zip(binary, measured, strict=True) if known}
    if len(kinds) > 1:
        classes = ", ".join(name for name, flag in zip(names, binary, strict=True) if flag)
        raise InvalidArgumentError(
            f"task_type is None and only some columns of {source} hold 0 and 1 ({classes}); pass task_type, or train "
            f"them apart"
        )
    return "classification" if kinds == {True} else "regression"
