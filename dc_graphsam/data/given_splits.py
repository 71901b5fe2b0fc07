"""Splits that the data say themselves: a column of parts, other tables, groups, dates, and chemprop's file of splits.

What is read here is numbered by source rows; :mod:`dc_graphsam.data.partition` applies it to the rows that can be used.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np

from dc_graphsam.data.splits import PARTS, group_split
from dc_graphsam.data.tables import MISSING, TextTable
from dc_graphsam.exceptions import InvalidArgumentError

__all__ = [
    "AssignedParts",
    "GivenSplit",
    "groups_of_column",
    "parse_times",
    "parts_of_column",
    "parts_of_tables",
    "read_chemprop",
    "time_split",
]

PART_WORDS = {
    "train": "train",
    "training": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
_SHOWN = 5
logger = logging.getLogger(__name__)
Divide = Callable[[np.ndarray, Sequence[float]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class AssignedParts:
    """Rows whose part is given.

    Attributes
    ----------
    parts
        Object [rows of the source]: ``"train"``, ``"validation"``, ``"test"`` or ``None``, which is no part.
    from_train
        Parts that are taken from the rows for train if no row is given for them.
    """

    parts: np.ndarray
    from_train: tuple[str, ...] = ("validation",)

    def divide(self, rows: np.ndarray, sizes: Sequence[float], divide: Divide) -> dict[str, np.ndarray]:
        """Part → positions in ``rows`` (int64 [n], source rows that can be used).

        Parameters
        ----------
        rows
            Source row of each usable row.
        sizes
            Fractions of train, validation and test, for the parts that are taken from train.
        divide
            Divides positions by such fractions.
        """
        found = {part: np.flatnonzero(self.parts[rows] == part) for part in PARTS}
        wanted = [part for part in self.from_train if not len(found[part]) and not (self.parts == part).any()]
        shares = [size if part == "train" or part in wanted else 0.0 for part, size in zip(PARTS, sizes, strict=True)]
        if sum(shares[1:]) > 0 and len(found["train"]):
            total = sum(shares)
            divided = divide(found["train"], [share / total for share in shares])
            found = {part: divided[part] if part == "train" or part in wanted else found[part] for part in PARTS}
        return found


@dataclass(frozen=True)
class GivenSplit:
    """What a table says about its division; every field for itself, by source rows.

    Attributes
    ----------
    assigned
        Parts that are given row by row.
    groups
        int64 [rows]: no group is divided.
    times
        float64 [rows], NaN where there is none: the oldest train, the newest test.
    time_column
        Its name, for messages.
    """

    assigned: AssignedParts | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    time_column: str = ""

    def divide(self, rows: np.ndarray, seed: int, sizes: Sequence[float], otherwise: Divide) -> dict[str, np.ndarray]:
        """Part → positions in ``rows``; ``otherwise`` divides where neither groups nor times say how."""

        def divide(positions: np.ndarray, shares: Sequence[float]) -> dict[str, np.ndarray]:
            if self.groups is not None:
                found = group_split(self.groups[rows[positions]], seed, shares)
            elif self.times is not None:
                found = time_split(self.times[rows[positions]], shares, self.time_column, rows[positions])
            else:
                return otherwise(positions, shares)
            return {part: positions[places] for part, places in found.items()}

        if self.assigned is None:
            return divide(np.arange(len(rows)), sizes)
        found = self.assigned.divide(rows, sizes, divide)
        self._warn_of_given(rows, found)
        return found

    def _warn_of_given(self, rows: np.ndarray, found: Mapping[str, np.ndarray]) -> None:
        """Say where parts that are given divide a group, or are older than what the model learns from."""
        for k, first in enumerate(PARTS):
            for second in PARTS[k + 1 :]:
                one, other = rows[found[first]], rows[found[second]]
                if self.groups is not None:
                    shared = len(np.intersect1d(self.groups[one], self.groups[other]))
                    if shared:
                        logger.warning(
                            "%d group%s in both %s and %s, as the tables are given: the result on %s will look better than it is",
                            *(shared, " is" if shared == 1 else "s are", first, second, second),
                        )
                elif self.times is not None and first == "train" and len(one):
                    older = int((self.times[other] < np.nanmax(self.times[one], initial=-np.inf)).sum())
                    if older:
                        logger.warning(
                            "%d of %d rows of %s are older in %r than the newest of train, as the tables are given",
                            *(older, len(other), second, self.time_column),
                        )


def parts_of_column(table: TextTable, name: str) -> tuple[AssignedParts, tuple[str, ...]]:
    """Parts as a column names them, and what there is to say about them.

    Raises
    ------
    MissingColumnError
        If there is no such column.
    InvalidArgumentError
        If a field is another word, or no row is for train.

    Examples
    --------
    >>> table = TextTable("my.csv", {"split": ["Train", "test", "val"]})
    >>> parts_of_column(table, "split")[0].parts.tolist()
    ['train', 'test', 'validation']
    """
    texts = [text.strip() for text in table.column(name)]
    unknown = Counter(text for text in texts if text.lower() not in PART_WORDS and text.lower() not in MISSING)
    if unknown:
        shown = ", ".join(f"{text!r} ({count:,})" for text, count in unknown.most_common(_SHOWN))
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise InvalidArgumentError(
            f"split_column {name!r} of {table.source} holds {shown}{more}; accepted: {', '.join(PART_WORDS)}, in any case",
            arguments=("split_column",),
        )
    parts = np.array([PART_WORDS.get(text.lower()) for text in texts], object)
    counts = {part: int((parts == part).sum()) for part in PARTS}
    if not counts["train"]:
        raise InvalidArgumentError(
            f"split_column {name!r} of {table.source} has no row for train; "
            f"it has {counts['validation']:,} for validation and {counts['test']:,} for test",
            arguments=("split_column",),
        )
    notes = []
    empty = int(np.equal(parts, None).sum())
    if empty:
        notes.append(f"{table.source}: {empty:,} rows have nothing in {name!r} and are in no part")
    if not counts["validation"]:
        notes.append(f"{table.source}: {name!r} has no row for validation; it is taken from the rows for train")
    if not counts["test"]:
        notes.append(f"{table.source}: {name!r} has no row for test; the model will not be tested")
    return AssignedParts(parts), tuple(notes)


def parts_of_tables(lengths: Mapping[str, int]) -> AssignedParts:
    """Parts of tables that lie one after the other; ``train`` stands for the table that is divided further if need be.

    Examples
    --------
    >>> parts_of_tables({"train": 2, "test": 1}).parts.tolist()
    ['train', 'train', 'test']
    """
    parts = np.array([part for part, length in lengths.items() for _ in range(length)], object)
    return AssignedParts(parts, tuple(part for part in PARTS[1:] if part not in lengths))


def groups_of_column(table: TextTable, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number of the group of each row, int64 [rows], and what there is to say; a row without one is a group of its own.

    Examples
    --------
    >>> groups_of_column(TextTable("my.csv", {"assay": ["a", "b", "a", ""]}), "assay")[0].tolist()
    [0, 1, 0, 2]
    """
    numbers: dict[Any, int] = {}
    groups = np.empty(len(table), np.int64)
    empty = 0
    for row, text in enumerate(table.column(name)):
        text = text.strip()
        key: Any = text
        if text.lower() in MISSING:
            key, empty = (row,), empty + 1
        groups[row] = numbers.setdefault(key, len(numbers))
    notes = (f"{table.source}: {empty:,} rows have nothing in {name!r}; each is a group of its own",) if empty else ()
    return groups, notes


# ---------------------------------------------------------------- time

_DATE = re.compile(
    r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})?)?)?)?$"
)
_FIRST = datetime(1, 1, 1, tzinfo=timezone.utc)


def parse_times(table: TextTable, name: str) -> np.ndarray:
    """A column of dates or numbers as float64 [rows] that grows with time; NaN where a field is empty.

    Dates are ISO 8601: ``2021``, ``2021-03``, ``2021-03-09``, ``2021-03-09T10:30``, also with seconds and an offset.

    Raises
    ------
    InvalidArgumentError
        If a field is neither; the message names row and text.

    Examples
    --------
    >>> parse_times(TextTable("my.csv", {"date": ["2021-03-02", "2021-03", "2020"]}), "date").argsort().tolist()
    [2, 1, 0]
    """
    texts = [text.strip() for text in table.column(name)]
    known = [row for row, text in enumerate(texts) if text.lower() not in MISSING]
    times = np.full(len(texts), np.nan)
    numbers = {row: _number(texts[row], table.decimal_comma) for row in known}
    read = numbers if all(number is not None for number in numbers.values()) else {}
    for row in known:
        value = read[row] if read else _date(texts[row])
        if value is None:
            odd = [other for other in known if _date(texts[other]) is None]
            raise InvalidArgumentError(
                f"time_column {name!r} of {table.source} holds {texts[row]!r} in row {row}, which is neither a date such as "
                f"2021-03-09 nor a number ({len(odd):,} such rows; first row is 0); write all dates as year-month-day",
                arguments=("time_column",),
            )
        times[row] = value
    return times


def _number(text: str, decimal_comma: bool) -> float | None:
    try:
        value = float(text.replace(",", ".") if decimal_comma else text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _date(text: str) -> float | None:
    """Seconds since the year 1."""
    match = _DATE.match(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, zone = match.groups()
    try:
        value = datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            tzinfo=timezone.utc,
        )
    except ValueError:  # no such day
        return None
    if zone not in (None, "Z"):
        shift = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
        return (value - _FIRST - (shift if zone[0] == "+" else -shift)).total_seconds()
    return (value - _FIRST).total_seconds()


def time_split(
    times: np.ndarray, sizes: Sequence[float] = (0.8, 0.1, 0.1), name: str = "", rows: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The oldest train, the newest test; rows of the same time stay together, so that sizes are met as nearly as that allows.

    Parameters
    ----------
    times
        float [n].
    sizes
        Fractions of train, validation and test.
    name, rows
        Of the column, and source rows, for messages.

    Returns
    -------
    dict
        As of :func:`~dc_graphsam.data.splits.random_split`.

    Raises
    ------
    InvalidArgumentError
        If a time is not known, or there are fewer different ones than parts.

    Examples
    --------
    >>> split = time_split(np.array([5.0, 1.0, 2.0, 2.0, 9.0, 3.0]), (0.5, 0.25, 0.25))
    >>> {part: places.tolist() for part, places in split.items()}
    {'train': [1, 2, 3], 'validation': [5], 'test': [0, 4]}
    """
    unknown = np.flatnonzero(np.isnan(times))
    if len(unknown):
        first = unknown[0] if rows is None else rows[unknown[0]]
        raise InvalidArgumentError(
            f"time_column {name!r} is empty in {len(unknown):,} rows (the first is row {first}); fill them in, or take these "
            "rows out",
            arguments=("time_column",),
        )
    levels, counts = np.unique(times, return_counts=True)
    ends = np.cumsum(counts)
    used = [part for part, size in zip(PARTS, sizes, strict=True) if size > 0]
    if len(levels) < len(used):
        raise InvalidArgumentError(
            f"time_column {name!r} has {len(levels)} different times, too few for {' and '.join(used)}; rows of one time stay "
            "together",
            arguments=("time_column",),
        )
    bounds, last = [], 0
    wanted = np.cumsum([size for size in sizes if size > 0]) * len(times)
    for k, target in enumerate(wanted[:-1]):
        rest = len(wanted) - 1 - k  # levels to be left for the parts that follow
        choices = np.arange(last, len(levels) - rest)
        last = int(choices[np.abs(ends[choices] - target).argmin()]) + 1
        bounds.append(last)
    level = np.searchsorted(levels, times)
    part_of_level = np.searchsorted(np.array(bounds), level, side="right")
    return {
        part: np.flatnonzero(part_of_level == used.index(part)) if part in used else np.empty(0, np.int64)
        for part in PARTS
    }


# ---------------------------------------------------------------- chemprop


def read_chemprop(content: list[Any], source: str, entry: int | None = None) -> dict[str, np.ndarray]:
    """One division of a splits file of chemprop: a list of {"train": …, "val": …, "test": …} with rows or ranges of rows.

    Parameters
    ----------
    content
        What the JSON holds.
    source
        The file, for messages.
    entry
        Which division; ``None`` takes the only one.

    Returns
    -------
    dict
        Part → int64 source rows.

    Raises
    ------
    InvalidArgumentError
        If it is no such list, or it holds several divisions and none is named.

    Examples
    --------
    >>> parts = read_chemprop([{"train": "0-3,5", "val": [4], "test": [6]}], "splits.json")
    >>> {part: rows.tolist() for part, rows in parts.items()}
    {'train': [0, 1, 2, 3, 5], 'validation': [4], 'test': [6]}
    """
    if not content or not all(isinstance(part, dict) for part in content):
        raise InvalidArgumentError(
            f'{source} holds no splits; accepted: a file written by save_splits, or chemprop\'s list of {{"train": …, "val": …, '
            '"test": …}'
        )
    if entry is None and len(content) > 1:
        raise InvalidArgumentError(
            f"{source} holds {len(content)} divisions; say which with fold, 0 to {len(content) - 1}",
            arguments=("fold",),
        )
    if entry is not None and not 0 <= entry < len(content):
        raise InvalidArgumentError(
            f"fold is {entry} and {source} holds {len(content)} divisions; accepted: 0 to {len(content) - 1}",
            arguments=("fold",),
        )
    parts: dict[str, np.ndarray] = {}
    for word, rows in content[entry or 0].items():
        part = PART_WORDS.get(str(word).lower())
        if part is None or part in parts:
            raise InvalidArgumentError(f"{source} has the part {word!r}; accepted: train, val and test, each once")
        parts[part] = _rows(rows, f"{word} of {source}")
    if "train" not in parts:
        raise InvalidArgumentError(f"{source} has no rows for train")
    nothing = np.empty(0, np.int64)
    return {part: parts.get(part, nothing) for part in PARTS}


def _rows(rows: Any, where: str) -> np.ndarray:
    try:
        if isinstance(rows, str):
            numbers: list[int] = []
            for piece in filter(None, (piece.strip() for piece in rows.split(","))):
                start, _, stop = piece.partition("-")
                numbers.extend(range(int(start), int(stop or start) + 1))
            rows = numbers
        if any(isinstance(row, bool) or not isinstance(row, int) or row < 0 for row in rows):
            raise ValueError
    except (TypeError, ValueError):
        raise InvalidArgumentError(f'{where} is no list of rows; accepted: [0, 1, 2] or "0-7,9"') from None
    return np.array(rows, np.int64)
