"""Files and folders that hold molecules, but no table: what to do with them."""

from __future__ import annotations

from pathlib import Path

from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["refuse_structures"]

_SUFFIXES = (".sdf", ".sd", ".mol", ".sdf.gz", ".sd.gz")


def refuse_structures(path: str | Path) -> None:
    """Raise for a file of structures, and for a folder whose table lies deeper, with what helps; pass everything else.

    Raises
    ------
    InvalidArgumentError
        The message holds a command that makes a table of the file, or the path of the table.

    Examples
    --------
    >>> refuse_structures("my.csv")
    >>> refuse_structures("my.sdf")
    Traceback (most recent call last):
        ...
    dc_graphsam.exceptions.InvalidArgumentError: my.sdf is a file of structures, no table; this makes one of it: ...
    """
    path = Path(path)
    if path.name.lower().endswith(_SUFFIXES):
        table = f"{path.name.split('.')[0]}.csv"
        raise InvalidArgumentError(
            f'{path} is a file of structures, no table; this makes one of it: python -c "from rdkit.Chem import PandasTools; '
            f"PandasTools.LoadSDF('{path}', smilesName='smiles', molColName=None).to_csv('{table}', index=False)\" "
            f"(then give {table})"
        )
    inside = path / "mapping" / "mol.csv.gz"
    if path.is_dir() and inside.is_file():
        raise InvalidArgumentError(
            f"{path} is a data set of OGB, whose table with SMILES is a file in it; give {inside}"
        )
