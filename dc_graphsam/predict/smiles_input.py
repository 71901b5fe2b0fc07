"""The SMILES of whatever holds them: lists, data sets, tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dc_graphsam.data.tables import TextTable, find_smiles_column
from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["smiles_of"]


def smiles_of(given: Any) -> Iterator[Any]:
    """One SMILES after another.

    Parameters
    ----------
    given
        A list, array, column or generator of SMILES; something with ``len`` and places, such as a torch ``Dataset``; or a
        table: a pandas ``DataFrame``, a ``datasets.Dataset`` or ``IterableDataset``, or rows as dictionaries.

    Returns
    -------
    iterator
        Only a generator is not read again when this is called again.

    Raises
    ------
    InvalidArgumentError
        If it is nothing of the kind.
    MissingColumnError
        If a table has no column of SMILES; the message names those it has.

    Examples
    --------
    >>> list(smiles_of([{"id": 1, "Canonical_SMILES": "CCO"}, {"id": 2, "Canonical_SMILES": "CCN"}]))
    ['CCO', 'CCN']
    """
    if hasattr(given, "columns") and hasattr(given, "itertuples"):  # a DataFrame; its iterator gives names of columns
        return iter(given[_column(given.columns)].tolist())
    names = getattr(given, "column_names", None)
    if isinstance(names, list) and hasattr(
        given, "select_columns"
    ):  # else whole rows are decoded for one of their columns
        name = _column(names)
        return (row[name] for row in given.select_columns([name]))
    if isinstance(given, Mapping) or not (isinstance(given, Iterable) or _has_places(given)):
        raise InvalidArgumentError(
            f"smiles is of type {type(given).__name__}; accepted: str, list, generator, data set, DataFrame"
        )
    return _texts(iter(given) if isinstance(given, Iterable) else (given[i] for i in range(len(given))))


def _has_places(given: Any) -> bool:
    return hasattr(given, "__len__") and hasattr(given, "__getitem__")


def _texts(rows: Iterator[Any]) -> Iterator[Any]:
    name = None
    for row in rows:
        if not isinstance(row, Mapping):
            yield row
            continue
        name = _column(row) if name is None else name
        yield row.get(name)


def _column(names: Iterable[Any]) -> str:
    return find_smiles_column(TextTable("the table of smiles", {name: [] for name in names if isinstance(name, str)}))
