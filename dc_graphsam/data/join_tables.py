"""Tables of one data set, one below the other."""

from __future__ import annotations

from collections.abc import Sequence

from dc_graphsam.data.tables import TextTable, find_smiles_column

__all__ = ["join_tables"]


def join_tables(tables: Sequence[TextTable], smiles_column: str | None, needed: Sequence[str] | None) -> TextTable:
    """Put tables one below the other, with the columns of the first.

    Parameters
    ----------
    tables
        Two or more.
    smiles_column
        As of :func:`~dc_graphsam.data.tables.find_smiles_column`; without it, each may have a name of its own.
    needed
        Columns that all must have; others are empty where they are missing.

    Raises
    ------
    MissingColumnError
        If a table lacks the SMILES or a needed column.

    Examples
    --------
    >>> first = TextTable("a.csv", {"smiles": ["C"], "y": ["1"]})
    >>> join_tables([first, TextTable("b.csv", {"SMILES": ["CC"], "y": ["2"]})], None, ["y"]).columns
    {'smiles': ['C', 'CC'], 'y': ['1', '2']}
    """
    first = tables[0]
    own = find_smiles_column(first, smiles_column)
    for name in needed or ():
        first.column(name)
    columns = {name: list(fields) for name, fields in first.columns.items()}
    problems = dict(first.problems)
    length = len(first)
    for table in tables[1:]:
        theirs = find_smiles_column(table, smiles_column)
        for name in needed or ():
            table.column(name)
        for name, fields in columns.items():
            found = table.columns.get(theirs if name == own else name, [""] * len(table))
            fields.extend(map(_with_point, found) if table.decimal_comma and not first.decimal_comma else found)
        problems.update((length + row, reason) for row, reason in table.problems.items())
        length += len(table)
    return TextTable(first.source, columns, problems, first.decimal_comma)


def _with_point(text: str) -> str:
    """A number with a decimal comma as others write it; any other text as it is."""
    changed = text.replace(",", ".")
    try:
        float(changed)
    except ValueError:
        return text
    return changed
