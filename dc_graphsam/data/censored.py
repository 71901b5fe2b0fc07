"""Values that are no exact numbers: relations beside or inside a cell (``>``, ``<=``, ``~``), and units that differ.

An assay that finds nothing up to its highest concentration reports ``> 10000``: a bound on the value, not the value. ChEMBL
writes the sign into a column of its own (``Standard Relation``, in quotes: ``'>'``), other tables into the cell.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dc_graphsam.data.tables import MISSING, LabelledSmiles, TextTable
from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["CENSORED", "Relations", "find_relations", "without_signs"]

CENSORED = ("drop", "exact", "bounded")

_ABOVE, _BELOW, _ABOUT, _EXACT = ">", "<", "~", "="
_SIGNS = {
    **dict.fromkeys((">", ">=", "=>", ">>", "≥", "⩾", ">~", "~>", "gt", "ge", "gte"), _ABOVE),
    **dict.fromkeys(("<", "<=", "=<", "<<", "≤", "⩽", "<~", "~<", "lt", "le", "lte"), _BELOW),
    **dict.fromkeys(("~", "≈", "~=", "ca", "ca.", "approx", "approx."), _ABOUT),
    **dict.fromkeys(("=", "==", "eq", ""), _EXACT),
}
_IN_CELL = re.compile(r"""^\s*['"]?\s*(?P<sign>[<>=~≈≥≤⩾⩽]{1,2})\s*['"]?\s*(?P<number>[-+.\d].*)$""", re.DOTALL)
_LOOKED_AT = 10_000  # rows, for columns that nobody asked for
_RELATION = ("relation", "relations", "operator", "qualifier", "modifier", "relationoperator")
_UNIT = ("unit", "units")
_GENERAL = (
    "standard",
    "",
    "activity",
    "result",
    "value",
    "published",
)  # what such columns are called after, best first
_UNIT_BEHIND = re.compile(r"(value)?s?(pm|nm|um|µm|mm|m|molar|ngml|ugml|mgml|mgl|mgkg|gl|percent|pct|h|hr|min|s)$")
_NEGATIVE_LOGARITHM = re.compile(r"p(chembl|ic|ec|ki\b|kd\b|xc|ac|gi|mic|act)", re.IGNORECASE)


@dataclass(frozen=True)
class Relations:
    """What is known of the label columns of a table besides their numbers.

    Attributes
    ----------
    table
        The table with plain numbers in the label columns.
    task_names
        The label columns.
    signs
        ``">"``, ``"<"``, ``"~"`` or ``"="`` for every label, str [rows, T].
    in_cell
        Whether the sign stands in the cell itself, bool [rows, T].
    sources
        Where the signs stand, for messages.
    unread
        Columns that hold signs and by their names belong to no column of the table.
    """

    table: TextTable
    task_names: tuple[str, ...]
    signs: np.ndarray
    in_cell: np.ndarray
    sources: tuple[str, ...]
    unread: tuple[str, ...] = ()

    def apply(self, labelled: LabelledSmiles, censored: str) -> LabelledSmiles:
        """The labels as ``censored`` says, with a note that counts what was found.

        Parameters
        ----------
        labelled
            Labels as numbers, float [rows, T], bounds as if they were exact.
        censored
            ``"drop"``: bounds are not measured. ``"exact"``: they are values. ``"bounded"``: they move to ``lower_bounds`` and
            ``upper_bounds``, and ``labels`` is NaN there. ``~`` and ``=`` are values always.

        Raises
        ------
        InvalidArgumentError
            If bounds are asked for in a classification.
        """
        measured = ~np.isnan(labelled.labels)
        notes = [*labelled.notes, *self._units(measured)] if labelled.task_type == "regression" else [*labelled.notes]
        if self.unread and labelled.task_type == "regression":
            notes.append(
                f"{', '.join(map(repr, self.unread))} holds > or < and is not read: its name does not say of which column; call it "
                f"'{self.task_names[0]}_relation' if it speaks of {self.task_names[0]!r}"
            )
        above, below = (measured & (self.signs == sign) for sign in (_ABOVE, _BELOW))
        about = int((measured & (self.signs == _ABOUT)).sum())
        if labelled.task_type != "regression":
            if censored == "bounded":
                raise InvalidArgumentError(
                    "censored is 'bounded' and the task is not a regression; accepted there: 'drop' or 'exact', bounds are for "
                    "regression"
                )
            # a column speaks of the values that the classes were made of
            above, below, about = above & self.in_cell, below & self.in_cell, 0
        hit = above | below
        if not hit.any() and not about:
            return replace(labelled, notes=tuple(notes))
        notes.append(self._note(above, below, about, censored))
        if censored == "exact" or not hit.any():
            return replace(labelled, notes=tuple(notes))
        labels = np.where(hit, np.nan, labelled.labels)
        if censored == "bounded":
            notes += self._turned()
            lower, upper = np.where(above, labelled.labels, np.nan), np.where(below, labelled.labels, np.nan)
            return replace(labelled, labels=labels, lower_bounds=lower, upper_bounds=upper, notes=tuple(notes))
        problems = dict(labelled.problems)
        for row in np.flatnonzero(hit.any(axis=1) & np.isnan(labels).all(axis=1)).tolist():
            sign = self.signs[row][hit[row]][0]
            problems.setdefault(row, f"label is a bound ({sign})")
        return replace(labelled, labels=labels, problems=problems, notes=tuple(notes))

    def _note(self, above: np.ndarray, below: np.ndarray, about: int, censored: str) -> str:
        counts = [(int(above.sum()), ">"), (int(below.sum()), "<"), (about, "~")]
        found = ", ".join(f"{count:,} with {sign}" for count, sign in counts if count)
        hits = int((above | below).sum())
        done = {
            "drop": f"{hits:,} bounds are left out (censored='bounded' learns from them, 'exact' takes them for values)",
            "exact": f"{hits:,} bounds are taken for values",
            "bounded": f"{hits:,} bounds count where a prediction is on the wrong side; metrics are of exact values only",
        }[censored]
        about_them = "; values with ~ are taken as they are" if about else ""
        return f"labels that are no exact values in {' and '.join(self.sources)}: {found}" + (
            f"; {done}{about_them}" if hits else about_them
        )

    def _turned(self) -> list[str]:
        names = [name for name in self.task_names if _NEGATIVE_LOGARITHM.match(name) and _plain(name) != "pchemblvalue"]
        if not names or not any(source.startswith("column") for source in self.sources):
            return []
        return [
            f"{', '.join(map(repr, names))} may be a negative logarithm of what the signs speak of: then > and < change places; the "
            "signs are taken as those of the labels themselves"
        ]

    def _units(self, measured: np.ndarray) -> list[str]:
        notes = []
        for name, column in _beside(self.table, self.task_names, _UNIT).items():
            if column is None or _plain(name) == "pchemblvalue":
                continue
            t = self.task_names.index(name)
            texts = self.table.columns[column]
            units = Counter(texts[row].strip() or "no unit" for row in np.flatnonzero(measured[:, t]))
            if len(units) > 1:
                shown = ", ".join(f"{unit} ({count:,})" for unit, count in units.most_common(5))
                more = f" and {len(units) - 5} more" if len(units) > 5 else ""
                note = f"column {column!r} names {len(units)} units for {name!r}: {shown}{more}; its labels are not of one scale"
                notes.append(note)
        return notes


def find_relations(table: TextTable, task_names: Sequence[str]) -> Relations:
    """Read the signs of label columns: in their cells, or in a column beside them.

    A sign in the cell wins. A column is one of relations if its name says so (``Standard Relation``, ``relation``,
    ``operator``, ``qualifier``, ``<task>_relation``, …) and it holds signs. ChEMBL's ``pChEMBL Value`` is the negative logarithm
    of the value that ``Standard Relation`` speaks of: its signs are turned round.

    Parameters
    ----------
    table
        The table as it was read.
    task_names
        Label columns.

    Examples
    --------
    >>> columns = {"smiles": ["C", "CC", "CCC"], "Standard Value": ["5", "1e9", "<3"], "Standard Relation": ["'='", "'>'", ""]}
    >>> found = find_relations(TextTable("my.csv", columns), ["Standard Value"])
    >>> found.signs[:, 0].tolist(), found.table.columns["Standard Value"]
    (['=', '>', '<'], ['5', '1e9', '3'])
    """
    signs = np.full((len(table), len(task_names)), _EXACT, dtype="<U1")
    in_cell = np.zeros(signs.shape, bool)
    sources: list[str] = []
    for t, (name, column) in enumerate(_beside(table, task_names, _RELATION).items()):
        if column is not None:
            found = [_sign(text) or _EXACT for text in table.columns[column]]
            if _plain(name) == "pchemblvalue" and not _plain(column).startswith("pchembl"):
                found = [{_ABOVE: _BELOW, _BELOW: _ABOVE}.get(sign, sign) for sign in found]
            signs[:, t] = found
            sources.append(f"column {column!r}")
        cells = [_split(text) for text in table.column(name)]
        written = [sign for sign, _ in cells]
        if any(written):
            sources.append(f"the cells of {name!r}")
            signs[:, t] = [sign or old for sign, old in zip(written, signs[:, t], strict=True)]
            in_cell[:, t] = [sign is not None for sign in written]
    unread = _unread(table, task_names, sources)
    return Relations(
        without_signs(table, task_names), tuple(task_names), signs, in_cell, tuple(dict.fromkeys(sources)), unread
    )


def _unread(table: TextTable, task_names: Sequence[str], sources: Sequence[str]) -> tuple[str, ...]:
    """Columns of signs that nobody asked for; one for each of several columns of values may belong to another than the labels."""
    found = []
    for name, texts in table.columns.items():
        if name in task_names or f"column {name!r}" in sources or not _holds_signs(texts[:_LOOKED_AT]):
            continue
        others = [other for other in table.columns if other not in task_names and other != name]
        if _bounds(texts) and name not in _beside(table, others, _RELATION).values():
            found.append(name)
    return tuple(found)


def _bounds(texts: Sequence[str]) -> bool:
    return any(_sign(text) in (_ABOVE, _BELOW) for text in texts)


def without_signs(table: TextTable, names: Sequence[str]) -> TextTable:
    """The table with numbers alone in these columns.

    >>> without_signs(TextTable("my.csv", {"y": [">10000", "5"]}), ["y"]).columns
    {'y': ['10000', '5']}
    """
    columns = {name: [_split(text)[1] for text in table.column(name)] for name in names}
    return replace(table, columns={**table.columns, **columns})


def _split(text: str) -> tuple[str | None, str]:
    """Sign and number of a cell; None where there is no sign."""
    match = _IN_CELL.match(text)
    sign = _SIGNS.get(match["sign"]) if match else None
    return (None, text) if sign is None else (sign, match["number"].rstrip("'\" "))


def _sign(text: str) -> str | None:
    """``'>='``, quoted or not, as one of four; None if it is no sign. An empty field, ``None`` or ``nan``, is exact."""
    text = text.strip().strip("'\"").strip().lower()
    return _EXACT if text in MISSING else _SIGNS.get(text)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _beside(table: TextTable, task_names: Sequence[str], words: Sequence[str]) -> dict[str, str | None]:
    """For each label column the one that says more about it, if there is one."""
    candidates: dict[str, str] = {}
    for name in table.columns:
        plain = _plain(name)
        word = next((word for word in sorted(words, key=len, reverse=True) if plain.endswith(word)), None)
        if word is None:
            word = next((word for word in words if plain.startswith(word)), None)
            before = plain.removeprefix(word or "")
        else:
            before = plain.removesuffix(word)
        if word is None or name in task_names:
            continue
        if words is _RELATION and not _holds_signs(table.columns[name]):
            continue
        candidates.setdefault(before, name)
    found: dict[str, str | None] = {}
    for name in task_names:
        plain = _plain(name)
        own = [plain, plain.removesuffix("value"), plain.removesuffix("values"), _UNIT_BEHIND.sub("", plain)]
        general = _GENERAL if plain.startswith(("standard", "pchembl")) or len(candidates) == 1 else ("", *_GENERAL)
        found[name] = next((candidates[key] for key in (*own, *general) if key in candidates), None)
    return found


def _holds_signs(texts: Sequence[str]) -> bool:
    """Whether nine of ten fields are signs or empty, and one of them is a sign."""
    signs = [_sign(text) for text in texts]
    written = [text.strip().strip("'\"").strip().lower() not in MISSING for text in texts]
    known = sum(sign is not None for sign in signs)
    return any(sign and text for sign, text in zip(signs, written, strict=True)) and known >= 0.9 * len(texts)
