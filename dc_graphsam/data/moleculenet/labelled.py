"""Any table by name or path, as SMILES and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dc_graphsam.data.moleculenet.registry import get_dataset_entry
from dc_graphsam.data.moleculenet.sources import find_raw_files, read_raw
from dc_graphsam.data.tables import LabelledSmiles
from dc_graphsam.data.user_table import read_csv_labels
from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["read_labelled"]


def read_labelled(
    dataset: str | None = None,
    data: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    smiles_column: str | None = None,
    task_columns: str | Sequence[str] | None = None,
    task_type: str | None = None,
    positive: str | Sequence[str] | None = None,
) -> tuple[str, LabelledSmiles]:
    """SMILES and labels of a built-in data set or of a table, before any molecule is built.

    Parameters
    ----------
    dataset, data
        Name of a built-in set, or path of a table; one of the two.
    data_dir
        Folder of the built-in sets' files.
    smiles_column, task_columns, task_type, positive
        Of a table, as in :func:`~dc_graphsam.data.load_csv`.

    Returns
    -------
    name : str
        Of the set, or of the file.
    table : LabelledSmiles
        One row per row of the file.

    Raises
    ------
    InvalidArgumentError
        If not one of ``dataset`` and ``data`` is given, or what is given cannot be read.
    MissingDataError
        If the file is not there.

    Examples
    --------
    >>> name, table = read_labelled("freewilson")
    >>> name, len(table.smiles), table.task_names
    ('freewilson', 1017, ('pAct',))
    """
    if (dataset is None) == (data is None):
        raise InvalidArgumentError(
            f"dataset is {dataset!r} and data is {data!r}; accepted: one of the two", arguments=("dataset", "data")
        )
    if dataset is not None:
        entry = get_dataset_entry(dataset)
        return entry.name, read_raw(entry, find_raw_files(entry, data_dir))
    return Path(data).name, read_csv_labels(data, smiles_column, task_columns, task_type, positive)
