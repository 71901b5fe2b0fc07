"""A user's own table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dc_graphsam.chem import DEFAULT_FEATURE_SET
from dc_graphsam.data.assemble import assemble
from dc_graphsam.data.censored import CENSORED, find_relations, without_signs
from dc_graphsam.data.given_splits import GivenSplit, groups_of_column, parse_times, parts_of_column, parts_of_tables
from dc_graphsam.data.join_tables import join_tables
from dc_graphsam.data.label_words import columns_with, is_known_pair, looks_like_classes, read_labels
from dc_graphsam.data.structure_files import refuse_structures
from dc_graphsam.data.tables import LabelledSmiles, TextTable, find_smiles_column, parse_labels, read_table
from dc_graphsam.exceptions import InvalidArgumentError, MissingDataError, check_choice
from dc_graphsam.tasks import METRICS, TASK_TYPES

__all__ = ["load_csv", "read_csv_labels"]

logger = logging.getLogger(__name__)


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
    censored: str = "drop",
    max_atoms: int | None = None,
    num_workers: int | None = None,
    progress: bool = True,
    cache_dir: str | Path | None = None,
    positive: str | Sequence[str] | None = None,
    class_names: Sequence[Sequence[str]] | None = None,
    split_column: str | None = None,
    test_data: str | Path | None = None,
    validation_data: str | Path | None = None,
    group_column: str | None = None,
    time_column: str | None = None,
):
    """Load a table of SMILES and measured values, featurized, cached and split.

    Commas, tabs, semicolons (then with decimal commas, too), pipes and blanks separate fields; quotes, comments, a byte
    order mark, UTF-16, Windows line ends and gzip are understood (:mod:`dc_graphsam.data.text_format`). Without a header
    line the columns are called ``smiles``, ``column_2``, ``column_3`` and so on. A name behind a SMILES is ignored with a
    warning; a piece of SMILES behind a blank makes the row unusable. An empty field means "not measured" and becomes NaN. A row is left out, and listed by
    :func:`~dc_graphsam.data.dropped_rows`, if its SMILES cannot be used, if a label is infinite or no number, or if it
    has no label at all; the labels of other rows never move.

    Parameters
    ----------
    path
        ``.csv``, ``.tsv`` or ``.smi``, also ``.gz``.
    smiles_column
        Column with SMILES; ``None`` looks for ``smiles``, ``canonical_smiles``, ``mol`` and the like, in any case.
    task_columns
        Column(s) to predict. ``None`` takes the only other column with numbers.
    task_type
        ``"classification"`` (0 and 1, two other whole numbers, or two words), ``"multiclass"`` (several classes: words, or
        numbers) or ``"regression"``; ``None`` decides by the values. Two words that are known to belong together (active
        and inactive, yes and no, …) and two whole numbers such as −1 and 1 are a classification; a warning says which
        became 1. Three words and more are classes only if ``"multiclass"`` is given, few different whole numbers, too.
    split, seed, fold, n_folds, sizes, splits
        As of :func:`~dc_graphsam.data.load_moleculenet`; ``splits`` may be a splits file of chemprop, too, and ``fold``
        then says which of its divisions. ``splits`` comes before the columns below.
    censored
        What becomes of labels that are bounds: ``>``, ``<`` and the like in the cell, or in a column of relations beside it
        (``Standard Relation``, ``relation``, ``operator``, ``qualifier``, …), which are counted in a warning. ``"drop"``: they
        are not measured; a number that is no measurement would be learnt as one. ``"exact"``: they are values. ``"bounded"``
        (regression): they go to the columns ``lower_bounds`` and ``upper_bounds``, with NaN in ``labels``, and cost nothing in
        training as long as the prediction is on the right side; metrics are of exact values. Signs are those of the label:
        take a logarithm and they stay, its negative turns them. Values with ``~`` are kept.
    feature_set, max_atoms, num_workers, progress, cache_dir
        As of :func:`~dc_graphsam.data.load_moleculenet`.
    metric
        To compare and select models by; ``None`` means ``roc_auc`` for classification, ``rmse`` for regression and
        ``roc_auc_ovr`` for several classes.
    positive
        Text that is class 1, the other being 0; several if the columns have different words.
    class_names
        Classes that are known already, per column and in order, such as ``config.class_names`` of a trained model. Rows
        with other labels are left out.
    split_column
        Column that says where a row belongs: ``train``, ``valid``, ``validation``, ``val``, ``dev`` or ``test``, in any
        case. Without rows for validation, a share of those for train is taken, by ``split`` and ``sizes``.
    test_data, validation_data
        Tables with the same columns that are test and validation; rows are then counted on from one table to the next, in
        the order train, validation, test. What is not given is taken from ``path``, by ``split`` and ``sizes``.
    group_column
        Column whose values (assays, series, projects) are never divided.
    time_column
        Column with dates (ISO 8601) or numbers: the oldest rows train, the newest test, and equal times stay together.

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
    check_choice("censored", censored, CENSORED)
    wanted = [task_columns] if isinstance(task_columns, str) else task_columns
    wanted = None if wanted is None else list(wanted)
    if wanted is not None and (not wanted or len(set(wanted)) < len(wanted)):
        raise InvalidArgumentError(
            f"task_columns is {wanted!r}; accepted: column names, at least one, each once", arguments=("task_columns",)
        )
    columns = {"split_column": split_column, "group_column": group_column, "time_column": time_column}
    _check_one_way(
        split, columns if splits is None else {}, {"test_data": test_data, "validation_data": validation_data}
    )
    tables = _Tables(path, validation_data, test_data)
    used = [name for name in columns.values() if name is not None]
    given = None if splits is not None else tables.given(smiles_column, wanted, **columns)
    return assemble(
        _table_name(tables.paths["train"]),
        tuple(tables.paths.values()),
        lambda: _read(tables, smiles_column, wanted, task_type, positive, class_names, used, censored),
        reading={
            "smiles": smiles_column,
            "tasks": wanted,
            "type": task_type,
            "positive": [positive] if isinstance(positive, str) else positive and list(positive),
            "classes": class_names and [list(names) for names in class_names],
            "not labels": used,
            "parts": list(tables.paths),
            "censored": censored,
        },
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
        given=given,
    )


def _check_one_way(split: str, ways: Mapping[str, object], tables: Mapping[str, object]) -> None:
    """Refuse arguments that say in two ways how to divide."""
    named = [name for name, value in ways.items() if value is not None]
    beside = [name for name, value in tables.items() if value is not None]
    if len(named) > 1 or (beside and named and named[0] == "split_column"):
        both = [*named, *beside][:2]
        raise InvalidArgumentError(f"{both[0]} and {both[1]} both say how to divide; give one of them", arguments=both)
    own = [*named, *beside]
    if named and split == "scaffold" and named[0] != "split_column":
        raise InvalidArgumentError(
            f"split is 'scaffold' and {named[0]} is given, too; give one of them", arguments=("split", named[0])
        )
    if own and split == "kfold":
        raise InvalidArgumentError(
            f"split is 'kfold' and {own[0]} is given, too; give one of them", arguments=("split", own[0])
        )


def read_csv_labels(
    path: str | Path,
    smiles_column: str | None = None,
    task_columns: str | Sequence[str] | None = None,
    task_type: str | None = None,
    positive: str | Sequence[str] | None = None,
) -> LabelledSmiles:
    """SMILES and labels of a table, without building a molecule; arguments and errors as of :func:`load_csv`.

    Labels that are bounds count as not measured.
    """
    wanted = [task_columns] if isinstance(task_columns, str) else None if task_columns is None else list(task_columns)
    return _read(_Tables(path, None, None), smiles_column, wanted, task_type, positive, None, (), "drop")


class _Tables:
    """The tables of a data set, one after the other: that which is divided or for train, then validation and test."""

    def __init__(self, path: str | Path, validation_data: str | Path | None, test_data: str | Path | None) -> None:
        self.paths = {"train": Path(path)}
        for part, name, other in (
            ("validation", "validation_data", validation_data),
            ("test", "test_data", test_data),
        ):
            if other is None:
                continue
            if any(Path(other).resolve() == known.resolve() for known in self.paths.values()):
                raise InvalidArgumentError(f"{name} is {str(other)!r}, which is given already", arguments=(name,))
            self.paths[part] = Path(other)
        for path in self.paths.values():
            refuse_structures(path)
            if path.is_dir():
                raise MissingDataError(f"{path} is a folder; a table was expected")
            if not path.is_file():
                raise MissingDataError(f"there is no file {path}")
        self._table: TextTable | None = None
        self._lengths: dict[str, int] = {}

    def read(self, smiles_column: str | None, wanted: list[str] | None) -> TextTable:
        """All rows, with the columns of the first table."""
        if self._table is None:
            found = {part: read_table(path) for part, path in self.paths.items()}
            self._lengths = {part: len(table) for part, table in found.items()}
            self._table = join_tables(list(found.values()), smiles_column, wanted) if len(found) > 1 else found["train"]
        return self._table

    def given(
        self,
        smiles_column: str | None,
        wanted: list[str] | None,
        split_column: str | None,
        group_column: str | None,
        time_column: str | None,
    ) -> GivenSplit | None:
        """What the tables say about their division, read before hours of work."""
        if len(self.paths) == 1 and not (split_column or group_column or time_column):
            return None
        table = self.read(smiles_column, wanted)
        notes: tuple[str, ...] = ()
        assigned = groups = times = None
        if split_column is not None:
            assigned, notes = parts_of_column(table, split_column)
        elif len(self.paths) > 1:
            assigned = parts_of_tables(self._lengths)
        if group_column is not None:
            groups, notes = groups_of_column(table, group_column)
        elif time_column is not None:
            times = parse_times(table, time_column)
        for note in notes:
            logger.warning("%s", note)
        return GivenSplit(assigned, groups, times, time_column or "")

    def origin(self, row: int) -> str:
        """Where a row stands, if not in the first table; rows are counted on from table to table."""
        for part, length in self._lengths.items():
            if row < length:
                return "" if part == "train" else f" (row {row} of {self.paths[part].name})"
            row -= length
        return ""


def _table_name(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return Path(name).stem or name


def _read(
    tables: _Tables,
    smiles_column: str | None,
    wanted: list[str] | None,
    task_type: str | None,
    positive: str | Sequence[str] | None,
    class_names: Sequence[Sequence[str]] | None,
    used: Sequence[str],
    censored: str,
) -> LabelledSmiles:
    table = tables.read(smiles_column, wanted)
    smiles_column = find_smiles_column(table, smiles_column)
    names = wanted or _only_label_column(table, smiles_column, used, positive)
    if smiles_column in names:
        raise InvalidArgumentError(
            f"task_columns has {smiles_column!r}, which holds the SMILES; name columns with labels",
            arguments=("task_columns",),
        )
    relations = find_relations(table, names)
    labels = read_labels(relations.table, names, task_type, positive, class_names, ignore=list(table.problems))
    problems = {row: f"{reason}{tables.origin(row)}" for row, reason in {**labels.problems, **table.problems}.items()}
    labelled = LabelledSmiles(
        table.column(smiles_column),
        labels.values,
        tuple(names),
        labels.task_type,
        problems,
        labels.class_names,
        labels.notes,
    )
    return relations.apply(labelled, censored)


def _only_label_column(
    table: TextTable, smiles_column: str, used: Sequence[str], positive: str | Sequence[str] | None
) -> list[str]:
    """The single column, besides the SMILES, that looks like labels: by the class that was named, by numbers, by known words."""
    apart = {smiles_column, *used, *table.repeated}
    others = [name for name in table.columns if name not in apart]
    values, _ = parse_labels(without_signs(table, others), others)
    numeric = [name for name, known in zip(others, np.isfinite(values).mean(axis=0), strict=True) if known >= 0.5]
    if len(numeric) > 1:  # a number that only names the row is not measured
        numeric = [
            name for name in numeric if not (name.lower() in ("id", "index") or name.lower().endswith(("_id", " id")))
        ] or numeric
    found = columns_with(table, others, positive) or numeric or [name for name in others if is_known_pair(table, name)]
    found = found or [name for name in others if looks_like_classes(table, name)]
    if len(found) == 1:
        return found
    if not found and table.repeated:
        table.column(sorted(table.repeated)[0])  # an error that names it
    of = "numbers" if numeric else "classes"
    has = f"several columns with {of}: {', '.join(found)}" if found else "no other column with numbers"
    raise InvalidArgumentError(
        f"task_columns is None and {table.source} has {has}; name the column(s) to predict",
        arguments=("task_columns",),
    )
