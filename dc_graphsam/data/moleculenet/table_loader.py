"""The raw files as DeepChem's MolNet loaders read them, where DeepChem is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dc_graphsam.data.moleculenet.registry import DatasetEntry
from dc_graphsam.data.tables import LabelledSmiles, reject_infinite
from dc_graphsam.exceptions import InvalidArgumentError, MissingColumnError, MissingDataError

__all__ = ["read_as_deepchem_does", "reading"]


@contextmanager
def reading(path: Path, reader: str) -> Iterator[None]:
    """Turn what pandas raises at a file into errors of this package.

    Parameters
    ----------
    path
        The file.
    reader
        Who reads it, as the message names it.

    Raises
    ------
    MissingColumnError
        From ``KeyError``.
    InvalidArgumentError
        From ``ValueError``, of which pandas' parser errors are a kind.
    MissingDataError
        From ``OSError`` and ``EOFError``.
    """
    import pandas

    try:
        yield
    except KeyError as error:
        columns = pandas.read_csv(path, nrows=0).columns
        raise MissingColumnError(str(path), str(error.args[0]), columns) from None
    except ValueError as error:
        raise InvalidArgumentError(f"{path} cannot be read by {reader}: {error}") from None
    except (OSError, EOFError) as error:
        raise MissingDataError(
            f"{path} cannot be read: {error}; replace it or set data_dir to another folder"
        ) from None


def read_as_deepchem_does(entry: DatasetEntry, path: Path) -> LabelledSmiles:
    """Read a raw file without DeepChem: same rows, SMILES, labels and missing labels as its MolNet loader gives.

    Those loaders are ``deepchem.data.CSVLoader`` with the columns of ``entry``: pandas reads the file, a field that it
    takes for missing becomes weight 0, every other one must be a number. So does this function, with the same pandas,
    so that labels are equal to the last bit.

    Parameters
    ----------
    entry
        Record of the data set.
    path
        The raw file.

    Returns
    -------
    LabelledSmiles
        One row per row of the file.

    Raises
    ------
    MissingColumnError
        If a task is no column of the file.
    InvalidArgumentError
        If the file is no table, or a label is no number.
    MissingDataError
        If the file cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> from dc_graphsam.data.moleculenet.registry import get_dataset_entry
    >>> path = Path(tempfile.mkdtemp(), "BBBP.csv")
    >>> _ = path.write_text("num,name,p_np,smiles\\n1,a,1,CCO\\n2,b,,C\\n")
    >>> table = read_as_deepchem_does(get_dataset_entry("bbbp"), path)
    >>> table.smiles, table.labels.tolist()
    (['CCO', 'C'], [[1.0], [nan]])
    """
    import pandas

    tasks = entry.task_names
    with reading(path, "pandas"):
        table = pandas.read_csv(path)
        smiles = ["" if missing else str(text) for text, missing in _cells(table[entry.smiles_column])]
        labels = np.full((len(table), len(tasks)), np.nan)
        for t, task in enumerate(tasks):
            labels[:, t] = [np.nan if missing else float(value) for value, missing in _cells(table[task])]
    return LabelledSmiles(smiles, labels, tasks, entry.task_type, reject_infinite(labels, tasks))


def _cells(column) -> Iterator[tuple[object, bool]]:
    """Value, and whether nothing stands there, row by row."""
    return zip(column.tolist(), column.isna().tolist(), strict=True)
