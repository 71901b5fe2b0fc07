"""Labels as a chemist writes them: words, −1 and 1, grades 0, 1, 2 → numbers and the names of the classes.

A column is text if fewer than half of its fields are numbers. Two words that are known to belong together (active and inactive,
yes and no, …) are told apart; others are asked about, for which of two classes is 1 changes every prediction.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dc_graphsam.data.tables import MISSING, TextTable, parse_labels
from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["KNOWN_PAIRS", "Labels", "columns_with", "is_known_pair", "looks_like_classes", "read_labels"]

#: (0, 1): what a class is called that stands for no, and for yes.
KNOWN_PAIRS = (
    ("inactive", "active"),
    ("no", "yes"),
    ("false", "true"),
    ("negative", "positive"),
    ("neg", "pos"),
    ("n", "y"),
    ("f", "t"),
    ("-", "+"),
    ("non-active", "active"),
    ("not active", "active"),
    ("nontoxic", "toxic"),
    ("non-toxic", "toxic"),
    ("not toxic", "toxic"),
    ("insoluble", "soluble"),
    ("non-binder", "binder"),
    ("nonbinder", "binder"),
    ("non-inhibitor", "inhibitor"),
    ("noninhibitor", "inhibitor"),
    ("non-mutagenic", "mutagenic"),
    ("nonmutagenic", "mutagenic"),
    ("non-mutagen", "mutagen"),
    ("non-permeable", "permeable"),
    ("impermeable", "permeable"),
    ("unstable", "stable"),
    ("decoy", "active"),
    ("fail", "pass"),
    ("failed", "passed"),
    ("low", "high"),
    ("absent", "present"),
    ("off", "on"),
)
_OF_TWO = frozenset(KNOWN_PAIRS)
_BOOLEANS = ("true", "false")
# 53.9%, 1,655, 1'655, 1.31 ± 0.1, 12 nM
_ALMOST_NUMBER = re.compile(r"[<>~=≤≥]*\s*[+-]?\d[\d.,'’ ]*\s*(?:%|[a-zµμ/]{1,5}|±.*|\+/-.*)?").fullmatch
MAX_CLASSES = 100  # more different labels are no classes
MAX_GRADES = 10  # so few different whole numbers may be classes
_SHOWN = 6


@dataclass(frozen=True)
class Labels:
    """Label columns as numbers.

    Attributes
    ----------
    values
        float64 [rows, T], NaN where nothing was measured; numbers of classes where there are classes.
    task_type
        ``"regression"``, ``"classification"`` or ``"multiclass"``.
    class_names
        Names of the classes per task; ``None`` for a regression, and for a classification with 0 and 1 throughout.
    problems
        Row → what is wrong with its label.
    notes
        What was decided, for the user to read.
    """

    values: np.ndarray
    task_type: str
    class_names: tuple[tuple[str, ...], ...] | None = None
    problems: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def is_known_pair(table: TextTable, name: str) -> bool:
    """Whether the fields of a column are two words that are known to belong together."""
    return _known_pair(Counter(_fields(table, name))) is not None


def looks_like_classes(table: TextTable, name: str) -> bool:
    """Whether the fields of a column are few different words, most of them more than once."""
    fields = _fields(table, name)
    different = len({_key(text) for text in fields})
    return 2 <= different <= MAX_CLASSES and 3 * different <= 2 * len(fields)


def columns_with(table: TextTable, names: Sequence[str], positive: str | Sequence[str] | None) -> list[str]:
    """Those of the columns that hold the class that is called positive."""
    wanted = {_key(text) for text in ([positive] if isinstance(positive, str) else positive or ())}
    return [name for name in names if wanted and wanted & set(map(_key, _fields(table, name)))]


def read_labels(
    table: TextTable,
    names: Sequence[str],
    task_type: str | None = None,
    positive: str | Sequence[str] | None = None,
    class_names: Sequence[Sequence[str]] | None = None,
    ignore: Sequence[int] = (),
) -> Labels:
    """Turn label columns into numbers, and say what they mean.

    Parameters
    ----------
    table
        The table.
    names
        Columns to read.
    task_type
        As of :func:`~dc_graphsam.data.load_csv`; ``None`` decides by the fields.
    positive
        Text, or one text per column, that is class 1.
    class_names
        Classes that are known already, per column, in order: those of a trained model.
    ignore
        Rows that are left out whatever their labels are.

    Returns
    -------
    Labels

    Raises
    ------
    InvalidArgumentError
        If it cannot be told which text is which class, or the fields do not fit ``task_type``; the message says what to
        write.

    Examples
    --------
    >>> table = TextTable("my.csv", {"hit": ["Active", "Inactive", "", "active"]})
    >>> labels = read_labels(table, ["hit"])
    >>> labels.values[:, 0].tolist(), labels.class_names
    ([1.0, 0.0, nan, 1.0], (('Inactive', 'Active'),))
    """
    if class_names is not None and len(class_names) != len(names):
        raise InvalidArgumentError(
            f"class_names has {len(class_names)} lists; accepted: one per label column ({len(names)})",
            arguments=("class_names",),
        )
    wanted = [positive] if isinstance(positive, str) else list(positive or ())
    numbers, _ = parse_labels(table, names)
    kept = np.ones(len(table), bool)
    kept[list(ignore)] = False
    columns = [_Column(table, name, numbers[:, t], kept, len(names)) for t, name in enumerate(names)]
    if wanted and task_type not in (None, "classification"):
        raise InvalidArgumentError(
            f"positive is {positive!r} and task_type is {task_type!r}; a positive class belongs to a classification",
            arguments=("positive", "task_type"),
        )
    _check_positive(columns, wanted)
    if class_names is not None:
        found = [column.by_names(own) for column, own in zip(columns, class_names, strict=True)]
        kind = task_type or ("multiclass" if any(len(own) > 2 for own in class_names) else "classification")
    elif task_type == "multiclass":
        found, kind = [column.as_classes() for column in columns], task_type
    elif task_type == "classification" or wanted:
        found, kind = [column.as_two(wanted) for column in columns], "classification"
    elif task_type == "regression":
        found, kind = [column.as_numbers() for column in columns], task_type
    else:
        found, kind = _decide(table, columns)
    problems: dict[int, str] = {}
    for part in found:
        for row, reason in part.problems.items():
            problems.setdefault(row, reason)
    values = np.stack([part.values for part in found], axis=1)
    notes = tuple(note for part in found for note in part.notes)
    named = None
    if kind == "multiclass" or (kind == "classification" and any(part.names for part in found)):
        named = tuple(part.names or ("0", "1") for part in found)
    return Labels(values, kind, named, problems, notes)


@dataclass
class _Reading:
    """One column as numbers."""

    values: np.ndarray
    names: tuple[str, ...] | None = None
    problems: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class _Column:
    """One label column: its fields, and the ways in which they can be read."""

    def __init__(self, table: TextTable, name: str, numbers: np.ndarray, kept: np.ndarray, n_columns: int) -> None:
        self.source, self.name = table.source, name
        self.numbers = numbers  # NaN: not measured, or no number
        self.texts = [
            text if np.isnan(number) or text.lower() in _BOOLEANS else f"{number:.15g}"
            for text, number in zip((" ".join(text.split()) for text in table.column(name)), numbers, strict=True)
        ]
        self.measured = np.array([text.lower() not in MISSING for text in self.texts], bool)
        known = self.measured & kept
        self.counts = Counter(self.texts[row] for row in np.flatnonzero(known))
        numeric = known & ~np.isnan(numbers)
        booleans = bool(self.counts) and all(text.lower() in _BOOLEANS for text in self.counts)
        self.is_text = booleans or int(numeric.sum()) * 2 < int(known.sum())
        self.levels = np.unique(numbers[numeric])
        self.n_known = int(known.sum())
        self.several = n_columns > 1

    # ---- what the fields are

    @property
    def is_binary(self) -> bool:
        return not self.is_text and bool(np.isin(self.levels, (0.0, 1.0)).all())

    @property
    def is_whole(self) -> bool:
        return len(self.levels) > 0 and bool((self.levels == np.round(self.levels)).all())

    @property
    def is_two_numbers(self) -> bool:
        """−1 and 1, 1 and 2, …: two whole numbers, and more labels than that."""
        return not self.is_text and not self.is_binary and len(self.levels) == 2 and self.is_whole and self.n_known > 2

    @property
    def is_graded(self) -> bool:
        few = 3 <= len(self.levels) <= MAX_GRADES and 3 * len(self.levels) <= self.n_known
        return not self.is_text and few and self.is_whole

    # ---- ways to read them

    def as_numbers(self) -> _Reading:
        problems = {
            int(row): self._problem(self.texts[row]) for row in np.flatnonzero(self.measured & np.isnan(self.numbers))
        }
        if self.is_text and len(problems) == self.n_known:
            raise InvalidArgumentError(
                f"column {self.name!r} of {self.source} holds {self._shown()}, and task_type is 'regression'; a regression "
                "has numbers",
                arguments=("task_type",),
            )
        return _Reading(self.numbers, None, problems)

    def as_two(self, positive: Sequence[str] = ()) -> _Reading:
        """0 and 1."""
        chosen = self._positive_key(positive)
        if chosen is not None:
            return self._chosen(chosen)
        if positive and self.is_text and len(self.keys()) == 1:  # the other class alone
            return self._by_keys({next(iter(self.keys())): 0.0}, (self.spelling(next(iter(self.keys()))), positive[0]))
        if self.is_text:
            return self._two_words()
        if self.is_binary:
            return self.as_numbers()
        if self.is_two_numbers:
            return self._two_numbers()
        if len(self.levels) > 2 and self.is_whole and len(self.levels) <= MAX_CLASSES:
            raise InvalidArgumentError(
                f"column {self.name!r} of {self.source} has {len(self.levels)} different values, {self._shown()}; a "
                "classification has 0 and 1, and an empty field where nothing was measured. Several classes are "
                "task_type='multiclass'",
                arguments=("task_type",),
            )
        other = next(level for level in self.levels if level not in (0.0, 1.0))
        raise InvalidArgumentError(
            f"column {self.name!r} of {self.source} has the value {other:g}; a classification task has 0 and 1, and an "
            "empty field where nothing was measured"
        )

    def as_classes(self) -> _Reading:
        """Classes in the order of their numbers, or of the alphabet."""
        keys = sorted(self.keys(), key=self._order)
        if len(keys) < 2 or len(keys) > MAX_CLASSES:
            raise InvalidArgumentError(
                f"column {self.name!r} of {self.source} has {len(keys)} different labels; task_type='multiclass' takes 2 to "
                f"{MAX_CLASSES} classes",
                arguments=("task_type",),
            )
        names = tuple(self.spelling(key) for key in keys)
        counts = ", ".join(f"{self.spelling(key)!r} ({self.keys()[key]:,})" for key in keys[:_SHOWN])
        more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        note = f"{self.source}: {self.name!r} has {len(keys)} classes: {counts}{more}"
        return self._by_keys({key: float(i) for i, key in enumerate(keys)}, names, (note,))

    def by_names(self, names: Sequence[str]) -> _Reading:
        """Numbers of classes that are known; for two classes 0 and 1 will do, too."""
        own = {_key(name): float(i) for i, name in enumerate(names)}
        if len(names) == 2 and self.is_binary and not set(self.keys()) <= set(own):
            numbers = {"0": 0.0, "1": 1.0}
            if all(own.get(key, code) == code for key, code in numbers.items()):  # 1 is not class 1 of 1 and 2
                own = numbers
        reading = self._by_keys(own, tuple(names))
        if self.n_known and not set(self.keys()) & set(own):
            raise InvalidArgumentError(
                f"column {self.name!r} of {self.source} holds {self._shown()}; the classes are "
                f"{', '.join(map(repr, names[:_SHOWN]))}"
            )
        return reading

    def keys(self) -> Counter:
        """Fields that count as one, and how often they stand there: case and the form of a number make no difference."""
        found: Counter = Counter()
        for text, count in self.counts.items():
            found[_key(text)] += count
        return found

    def spelling(self, key: str) -> str:
        """The commonest way in which it is written."""
        ways = [(count, text) for text, count in self.counts.items() if _key(text) == key]
        text = max(ways, key=lambda way: way[0])[1]
        return key if _as_number(text) is not None else text

    @staticmethod
    def _order(key: str) -> tuple:
        number = _as_number(key)
        return (0, number, "") if number is not None else (1, 0.0, key)

    def _positive_key(self, positive: Sequence[str]) -> str | None:
        found = [key for key in self.keys() if key in set(map(_key, positive))]
        if len(found) > 1:
            raise InvalidArgumentError(
                f"positive names both classes of column {self.name!r} of {self.source}: {found[0]!r} and {found[1]!r}; "
                "name one of them",
                arguments=("positive",),
            )
        return found[0] if found else None

    def _chosen(self, key: str) -> _Reading:
        others = [other for other in self.keys() if other != key]
        if len(others) > 1:
            raise InvalidArgumentError(
                f"column {self.name!r} of {self.source} holds {self._shown()}; positive={self.spelling(key)!r} leaves "
                f"{len(others)} others, of which one can be class 0. Empty the fields where nothing was measured, or take "
                "them as classes: task_type='multiclass'",
                arguments=("positive", "task_type"),
            )
        zero = self.spelling(others[0]) if others else f"not {self.spelling(key)}"
        note = f"{self.source}: {self.name!r}: {self.spelling(key)!r} is class 1, {zero!r} is class 0"
        codes = {key: 1.0, **dict.fromkeys(others, 0.0)}
        names = (zero, self.spelling(key))
        return self._by_keys(codes, None if names == ("0", "1") else names, (note,))

    def _two_words(self) -> _Reading:
        keys = self.keys()
        if sum(map(bool, map(_ALMOST_NUMBER, keys))) > len(keys) / 2 and len(keys) > 2:
            raise InvalidArgumentError(
                f"column {self.name!r} of {self.source} holds numbers that are not written as such: {self._shown()}; write "
                "plain numbers, without units, percent signs, thousands separators or ±"
            )
        if len(keys) > MAX_CLASSES:
            raise InvalidArgumentError(
                f"column {self.name!r} of {self.source} holds {len(keys):,} different texts, such as "
                f"{next(iter(self.counts))!r}; labels are numbers, or the words of a few classes",
            )
        if len(keys) > 2:
            raise InvalidArgumentError(
                f"column {self.name!r} of {self.source} holds {len(keys)} classes: {self._shown()}; pass "
                "task_type='multiclass' to tell them apart, or empty the fields where nothing was measured",
                arguments=("task_type",),
            )
        pair = _known_pair(self.counts)
        if pair is not None:
            return self._known(pair)
        if len(keys) == 1:
            key = next(iter(keys))
            one = [k for k in (0, 1) if any(pair[k] == key for pair in KNOWN_PAIRS)]
            if len(one) == 1:
                other = next(pair[1 - one[0]] for pair in KNOWN_PAIRS if pair[one[0]] == key)
                names = (other, self.spelling(key)) if one[0] else (self.spelling(key), other)
                note = f"{self.source}: all labels of {self.name!r} are {self.spelling(key)!r}, taken as class {one[0]}"
                return self._by_keys({key: float(one[0])}, names, (note,))
            raise InvalidArgumentError(
                f"column {self.name!r} of {self.source} holds {self.spelling(key)!r} alone; a classification has two classes"
            )
        a, b = (self.spelling(key) for key in sorted(keys))
        raise InvalidArgumentError(
            f"column {self.name!r} of {self.source} holds {a!r} and {b!r}; say which of them is class 1: positive={a!r} or "
            f"positive={b!r}",
            arguments=("positive",),
        )

    def _known(self, pair: tuple[str, str]) -> _Reading:
        zero, one = (self.spelling(word) for word in pair)
        note = (
            f"{self.source}: {self.name!r} is taken as two classes: {one!r} is 1 ({self.keys()[pair[1]]:,}), {zero!r} is 0 "
            f"({self.keys()[pair[0]]:,})"
        )
        return self._by_keys({pair[0]: 0.0, pair[1]: 1.0}, (zero, one), (note,))

    def _two_numbers(self) -> _Reading:
        zero, one = (_key(f"{level:.15g}") for level in self.levels)
        counts = [int((self.numbers == level).sum()) for level in self.levels]
        note = (
            f"{self.source}: {self.name!r} holds {zero} and {one}, taken as two classes: {one} is class 1 ({counts[1]:,}), "
            f"{zero} is class 0 ({counts[0]:,}); for values pass task_type='regression'"
        )
        return self._by_keys({zero: 0.0, one: 1.0}, (zero, one), (note,))

    def _by_keys(self, codes: dict[str, float], names: tuple[str, ...] | None, notes: tuple[str, ...] = ()) -> _Reading:
        values = np.full(len(self.texts), np.nan)
        problems = {}
        for row in np.flatnonzero(self.measured).tolist():
            code = codes.get(_key(self.texts[row]))
            if code is None:
                problems[row] = self._problem(self.texts[row])
            else:
                values[row] = code
        return _Reading(values, names, problems, notes)

    def _problem(self, text: str) -> str:
        return f"label of {self.name!r} is {text!r}" if self.several else f"label is {text!r}"

    def _shown(self) -> str:
        keys = sorted(self.keys().items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"{self.spelling(key)!r} ({count:,})" for key, count in keys[:_SHOWN])
        return shown + (f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else "")


def _decide(table: TextTable, columns: list[_Column]) -> tuple[list[_Reading], str]:
    """Without a word from the user: all columns as classes, or all as values."""
    measured = [column for column in columns if column.n_known]
    texts = [column for column in measured if column.is_text]
    two = [column for column in measured if column.is_text or column.is_binary or column.is_two_numbers]
    if measured and len(two) == len(measured):
        return [column.as_two() if column.n_known else column.as_numbers() for column in columns], "classification"
    if texts:
        texts[0].as_two()  # if it is no two classes, that is what is wrong
        values = [column for column in measured if column not in two]
        raise InvalidArgumentError(
            f"{table.source}: {texts[0].name!r} holds words and {values[0].name!r} values; train them apart, one after the "
            "other",
        )
    binary = [column.name for column in measured if column.is_binary]
    if binary:
        raise InvalidArgumentError(
            f"task_type is None and only some columns of {table.source} hold 0 and 1 ({', '.join(binary)}); pass "
            "task_type, or train them apart",
            arguments=("task_type",),
        )
    readings = [column.as_numbers() for column in columns]
    for column, reading in zip(columns, readings, strict=True):
        if column.is_graded or column.is_two_numbers:
            levels = ", ".join(f"{level:g}" for level in column.levels[:_SHOWN])
            levels += ", …" if len(column.levels) > _SHOWN else ""
            reading.notes = (
                f"{table.source}: {column.name!r} holds {len(column.levels)} different whole numbers ({levels}), taken as "
                "values of a regression; for classes pass task_type='multiclass'",
            )
    return readings, "regression"


def _check_positive(columns: list[_Column], wanted: Sequence[str]) -> None:
    """Refuse a positive class that no column has."""
    known = {key for column in columns for key in list(column.keys())}
    for text in wanted:
        if _key(text) not in known:
            shown = "; ".join(f"{column.name!r}: {column._shown()}" for column in columns[:3])
            raise InvalidArgumentError(
                f"positive is {text!r}, which is nowhere in the labels of {columns[0].source}. There are {shown}",
                arguments=("positive",),
            )


def _known_pair(counts: Counter) -> tuple[str, str] | None:
    words = {_key(text) for text in counts}
    if len(words) != 2:
        return None
    a, b = words
    return (a, b) if (a, b) in _OF_TWO else (b, a) if (b, a) in _OF_TWO else None


def _fields(table: TextTable, name: str) -> list[str]:
    return [text for text in map(str.strip, table.column(name)) if text.lower() not in MISSING]


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _key(text: str) -> str:
    """What two spellings of one label have in common."""
    text = " ".join(str(text).split())
    number = _as_number(text)
    return f"{number + 0.0:.15g}" if number is not None else text.casefold().replace("_", "-").replace("\u2212", "-")
