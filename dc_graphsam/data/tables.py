"""Text tables: reading them as they come from spreadsheets, and turning label columns into numbers."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dc_graphsam.data.structure_files import refuse_structures
from dc_graphsam.data.text_format import SAMPLE, Records, check_text, encoding_of, format_of
from dc_graphsam.exceptions import InvalidArgumentError, MissingColumnError, MissingDataError

__all__ = ["LabelledSmiles", "TextTable", "find_smiles_column", "parse_labels", "read_table", "reject_infinite"]

SMILES_COLUMNS = ("smiles", "canonical_smiles", "isomeric_smiles", "mol", "molecule", "structure", "drug")
MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "null", "none"})
_BOOLEANS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class TextTable:
    """A table as text, column by column.

    Attributes
    ----------
    source
        Where it comes from, for messages.
    columns
        Column name → one string per row, as they stand in the file.
    problems
        Row → why the row cannot be read (it has more fields than the header).
    decimal_comma
        Numbers may have a comma for a point: the delimiter is a semicolon.
    repeated
        Names that several columns have; ``columns`` holds the first of each.
    """

    source: str
    columns: dict[str, list[str]]
    problems: dict[int, str] = field(default_factory=dict)
    decimal_comma: bool = False
    repeated: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def column(self, name: str) -> list[str]:
        """Return one column, or raise :class:`MissingColumnError` that names those there are.

        Which of several columns of one name is meant cannot be told: an :class:`InvalidArgumentError`.
        """
        if name not in self.columns:
            raise MissingColumnError(self.source, str(name), self.columns)
        if name in self.repeated:
            raise InvalidArgumentError(f"{self.source} has more than one column {name!r}; rename one of them")
        return self.columns[name]


@dataclass(frozen=True)
class LabelledSmiles:
    """A table reduced to what a model is trained on, before any molecule is built.

    Attributes
    ----------
    smiles
        One string per source row.
    labels
        float64 [rows, T], NaN where nothing was measured.
    task_names
        One name per column of ``labels``.
    task_type
        A key of :data:`dc_graphsam.tasks.TASK_TYPES`.
    problems
        Row → why it is left out whatever its molecule is.
    class_names
        As of :class:`~dc_graphsam.tasks.TaskSpec`.
    notes
        What was decided about the labels, for the user to read.
    lower_bounds, upper_bounds
        float64 [rows, T], what a value is known to be above or below where ``labels`` is NaN; NaN = no bound. None: there are
        none.
    """

    smiles: list[str]
    labels: np.ndarray
    task_names: tuple[str, ...]
    task_type: str
    problems: dict[int, str]
    class_names: tuple[tuple[str, ...], ...] | None = None
    notes: tuple[str, ...] = ()
    lower_bounds: np.ndarray | None = None
    upper_bounds: np.ndarray | None = None


def read_table(path: str | Path) -> TextTable:
    """Read a delimited text file, plain or gzip-compressed.

    Commas, tabs, semicolons, pipes and, as in ``.smi`` files, blanks divide columns; the rules, also for comments and
    for tables without a header, are those of :mod:`dc_graphsam.data.text_format`. A byte order mark, UTF-16, quotes and
    Windows line ends are understood; blank lines are no rows. Bytes that are not UTF-8 are read as Windows-1252.

    Parameters
    ----------
    path
        File, e.g. ``my.csv``, ``my.tsv``, ``my.smi`` or ``my.csv.gz``.

    Returns
    -------
    TextTable
        All fields as strings. Short rows are filled with empty fields, long rows are listed in ``problems``. Without a
        header the columns are ``smiles``, ``column_2``, …

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidArgumentError
        If it is empty or no text.

    Examples
    --------
    >>> import tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "my.csv")
    >>> _ = open(path, "wb").write(b'\\xef\\xbb\\xbfsmiles;pIC50\\r\\nCCO;5,1\\r\\n')
    >>> read_table(path).columns
    {'smiles': ['CCO'], 'pIC50': ['5,1']}
    """
    path = Path(path)
    refuse_structures(path)
    text = _read_text(path)
    layout = format_of(text[:SAMPLE], path.name, SMILES_COLUMNS, whole=len(text) <= SAMPLE)
    csv.field_size_limit(2**31 - 1)
    records = Records(io.StringIO(text, newline=""), layout)
    try:
        lines = [fields for _, fields in records if fields]
    except csv.Error as error:
        raise InvalidArgumentError(f"{path} cannot be read as a table: {error} (line {records.line_number})") from None
    if not lines:
        raise InvalidArgumentError(f"{path} is empty; expected a header line and rows")
    header, rows = (list(layout.columns), lines) if layout.columns else (lines[0], lines[1:])
    header = [name.strip() for name in header]
    if not rows:
        raise InvalidArgumentError(f"{path} has a header but no rows")
    width, problems = len(header), {}
    for i, row in enumerate(rows):
        if len(row) < width:
            row.extend([""] * (width - len(row)))
        elif len(row) > width:
            if any(row[width:]):
                problems[i] = f"row has {len(row)} fields, the header has {width}"
            del row[width:]
    columns: dict[str, list[str]] = {}
    for name, values in zip(header, map(list, zip(*rows, strict=True)), strict=True):
        columns.setdefault(name, values)
    repeated = frozenset(name for name in columns if name and header.count(name) > 1)
    return TextTable(str(path), columns, problems, decimal_comma=layout.delimiter == ";", repeated=repeated)


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise MissingDataError(f"there is no file {path}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise MissingDataError(f"{path} cannot be read: {error}") from None
    check_text(data[:SAMPLE], path)
    encoding = encoding_of(data[:SAMPLE])
    if encoding != "utf-8":
        return data.decode(encoding, errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def find_smiles_column(table: TextTable, wanted: str | None = None) -> str:
    """Return the name of the column with SMILES.

    Parameters
    ----------
    table
        The table.
    wanted
        The user's choice; ``None`` looks for the usual names in any case, then for a single name with "smiles" in it.

    Raises
    ------
    MissingColumnError
        If there is none.
    """
    if wanted is not None:
        table.column(wanted)
        return wanted
    by_lower = {name.lower(): name for name in reversed(table.columns)}
    for name in SMILES_COLUMNS:
        if name in by_lower:
            return by_lower[name]
    similar = [name for name in table.columns if "smiles" in name.lower()]
    if len(similar) == 1:
        return similar[0]
    raise MissingColumnError(table.source, "smiles", table.columns, "smiles_column")


def parse_labels(table: TextTable, task_names: Sequence[str]) -> tuple[np.ndarray, dict[int, str]]:
    """Turn label columns into numbers.

    Parameters
    ----------
    table
        The table.
    task_names
        Columns to read.

    Returns
    -------
    labels : numpy.ndarray
        float64 [rows, T]; NaN for an empty field, ``NA``, ``nan`` and their like. ``true`` and ``false`` are 1 and 0.
    problems : dict
        Row → ``"label is 'inf'"`` for what is no finite number in float32 (``"label of 'x' is …"`` with several tasks).
    """
    labels = np.full((len(table), len(task_names)), np.nan)
    problems: dict[int, str] = {}
    for t, name in enumerate(task_names):
        for row, text in enumerate(table.column(name)):
            number = _parse_number(text, table.decimal_comma)
            if number is None:
                problems.setdefault(row, _problem(text.strip(), name, len(task_names)))
            else:
                labels[row, t] = number
    return labels, problems


def _parse_number(text: str, decimal_comma: bool) -> float | None:
    """``text`` as a number that float32 can hold, NaN if nothing was measured, None if it is neither."""
    try:
        number = float(text)
    except ValueError:
        text = text.strip().lower()
        if text in MISSING:
            return np.nan
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if text[:1] == "\u2212":  # the minus sign of typographers
            return _parse_number("-" + text[1:], decimal_comma)
        if not decimal_comma or text.count(",") != 1:
            return None
        return _parse_number(text.replace(",", "."), False)
    return None if abs(number) > _FLOAT32_MAX else number


_FLOAT32_MAX = float(np.finfo(np.float32).max)


def reject_infinite(labels: np.ndarray, task_names: Sequence[str]) -> dict[int, str]:
    """Return row → reason for the rows of ``labels`` (float64 [rows, T]) that hold a value float32 cannot."""
    problems: dict[int, str] = {}
    for row, t in zip(*np.nonzero(np.abs(labels) > _FLOAT32_MAX), strict=True):
        problems.setdefault(int(row), _problem(str(labels[row, t]), task_names[t], len(task_names)))
    return problems


def _problem(text: str, task: str, n_tasks: int) -> str:
    return f"label is {text!r}" if n_tasks == 1 else f"label of {task!r} is {text!r}"
