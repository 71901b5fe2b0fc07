"""Rows that could not be used: a record of each, and one line that sums them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["DroppedRow", "dropped_rows", "summarize_dropped", "summarize_ignored"]

_ROWS_SHOWN, _REASONS_SHOWN = 5, 4


@dataclass(frozen=True)
class DroppedRow:
    """One row that was left out.

    Attributes
    ----------
    row
        Its number in the source table; the first row below the header is 0.
    smiles
        The SMILES as it stands there.
    reason
        Why it cannot be used.
    """

    row: int
    smiles: str
    reason: str


def summarize_dropped(dropped: Sequence[DroppedRow], rows: int) -> str:
    """Sum up what was left out of a table of ``rows`` rows in one line; empty if nothing was.

    Examples
    --------
    >>> records = [
    ...     DroppedRow(17, "C(", "SMILES cannot be parsed: extra open parentheses"),
    ...     DroppedRow(204, "x", "SMILES cannot be parsed: syntax error"),
    ...     DroppedRow(530, "CC", "label is 'inf'"),
    ... ]
    >>> summarize_dropped(records, 812)
    "3 of 812 rows left out (rows 17, 204: SMILES cannot be parsed; row 530: label is 'inf'; first row is 0)"
    """
    if not dropped:
        return ""
    by_reason: dict[str, list[int]] = {}
    for record in dropped:
        # what exactly is wrong with a SMILES stands in the record; here one word for all of them will do
        reason = record.reason.split(": ", 1)[0] if record.reason.startswith("SMILES ") else record.reason
        by_reason.setdefault(reason, []).append(record.row)
    parts = []
    for reason, numbers in list(by_reason.items())[:_REASONS_SHOWN]:
        shown = ", ".join(f"{row}" for row in numbers[:_ROWS_SHOWN])
        more = f" and {len(numbers) - _ROWS_SHOWN:,} more" if len(numbers) > _ROWS_SHOWN else ""
        parts.append(f"row{'s' if len(numbers) > 1 else ''} {shown}{more}: {reason}")
    others = sum(len(numbers) for numbers in list(by_reason.values())[_REASONS_SHOWN:])
    if others:
        parts.append(f"{others:,} more for other reasons")
    return f"{len(dropped):,} of {rows:,} rows left out ({'; '.join(parts)}; first row is 0)"


def summarize_ignored(ignored: Sequence[tuple[int, str]], rows: int) -> str:
    """Sum up which texts behind SMILES, given as (row, text), were ignored in a table of ``rows`` rows.

    Examples
    --------
    >>> summarize_ignored([(0, "ethanol"), (7, "acetic acid")], 812)
    "text behind the SMILES ignored in 2 of 812 rows (row 0: 'ethanol'; row 7: 'acetic acid'; first row is 0)"
    """
    if not ignored:
        return ""
    parts = [f"row {row}: {text!r}" for row, text in ignored[:_ROWS_SHOWN]]
    if len(ignored) > _ROWS_SHOWN:
        parts.append(f"{len(ignored) - _ROWS_SHOWN:,} more")
    return f"text behind the SMILES ignored in {len(ignored):,} of {rows:,} rows ({'; '.join(parts)}; first row is 0)"


def dropped_rows(dataset) -> list[DroppedRow]:
    """Return the rows of the source table that are missing from a loaded data set.

    Parameters
    ----------
    dataset
        What :func:`~dc_graphsam.data.load_moleculenet` or :func:`~dc_graphsam.data.load_csv` returned, or one split.

    Returns
    -------
    list of DroppedRow
        In source order. They belong to the table, not to a split.

    Raises
    ------
    InvalidArgumentError
        If the data set does not come from these functions, or was rewritten by ``map``.

    Examples
    --------
    >>> from dc_graphsam.data import load_moleculenet
    >>> dropped_rows(load_moleculenet("freewilson", progress=False))
    []
    """
    from dc_graphsam.data.cache import read_record

    part = next(iter(dataset.values())) if hasattr(dataset, "values") else dataset
    files = getattr(part, "cache_files", None) or []
    record = read_record(Path(files[0]["filename"]).parent) if files else None
    if record is None:
        raise InvalidArgumentError(
            "dataset does not say which rows were left out; pass what load_moleculenet or load_csv returned"
        )
    return [DroppedRow(*fields) for fields in record["dropped"]]
