"""Errors that a user of the package can cause.

All of them are ``ValueError``s, and every message names the thing, what was got and what would do, on one line: the
command line prints the message alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

__all__ = [
    "DCGraphSAMError",
    "FeatureSetError",
    "InvalidArgumentError",
    "InvalidSmilesError",
    "InvalidShapeError",
    "MissingColumnError",
    "MissingDataError",
    "MissingPackageError",
    "RunFolderError",
    "check_choice",
    "check_range",
    "check_whole",
]


class DCGraphSAMError(ValueError):
    """Base of all errors of this package."""


class InvalidArgumentError(DCGraphSAMError):
    """An argument has a value that is not accepted."""


class InvalidShapeError(DCGraphSAMError):
    """An array or tensor has the wrong shape."""

    def __init__(self, name: str, got: Iterable[int], expected: str) -> None:
        super().__init__(f"{name} has shape {tuple(got)}, expected {expected}")


class InvalidSmilesError(DCGraphSAMError):
    """A SMILES cannot be turned into a graph.

    Attributes
    ----------
    smiles
        What was given (any type).
    reason
        Why it cannot be used, as printed in the ``error`` column of predictions.
    """

    def __init__(self, smiles: Any, reason: str) -> None:
        self.smiles = smiles
        self.reason = reason
        super().__init__(f"SMILES {smiles!r} cannot be used: {reason}")

    def __reduce__(self):
        return type(self), (self.smiles, self.reason)  # crosses process borders with both fields


class MissingColumnError(DCGraphSAMError):
    """A table lacks a column; the message lists the columns there are and the likeliest one meant."""

    def __init__(self, source: str, column: str, columns: Iterable[str]) -> None:
        columns = [str(c) for c in columns]
        message = f"{source} has no column {column!r}. It has: {', '.join(columns)}."
        close = get_close_matches(column.lower(), [c.lower() for c in columns], n=1)
        if close:
            meant = next(c for c in columns if c.lower() == close[0])
            message += f" Did you mean {meant!r}?"
        super().__init__(message)


class MissingDataError(DCGraphSAMError):
    """A data file is not there and cannot be downloaded."""


class MissingPackageError(DCGraphSAMError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class FeatureSetError(DCGraphSAMError):
    """Features and model belong to different feature sets."""


class RunFolderError(DCGraphSAMError):
    """A run folder lacks something, or holds something of another kind."""


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Return ``value`` if it is one of ``choices``, else raise :class:`InvalidArgumentError`.

    >>> check_choice("split", "random", ("random", "scaffold"))
    'random'
    """
    choices = list(choices)
    if value in choices:
        return value
    message = f"{name} is {value!r}; accepted: {', '.join(repr(c) for c in choices)}"
    if isinstance(value, str):
        close = get_close_matches(value.lower(), [str(c) for c in choices], n=1)
        if close:
            message += f". Did you mean {close[0]!r}?"
    raise InvalidArgumentError(message)


def check_range(
    name: str, value: Any, low: float | None = None, high: float | None = None, *, bounds: str = "[]"
) -> Any:
    """Return ``value`` if it is a finite number in the interval, else raise :class:`InvalidArgumentError`.

    Parameters
    ----------
    low, high
        Ends of the interval, ``None`` for no end.
    bounds
        ``"[]"``, ``"[)"``, ``"(]"`` or ``"()"``: which ends belong to it.

    >>> check_range("beta", 0.99, 0, 1, bounds="[)")
    0.99
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
    inside = (
        number
        and abs(value) != float("inf")
        and (low is None or value > low or (value == low and bounds[0] == "["))
        and (high is None or value < high or (value == high and bounds[1] == "]"))
    )
    if inside:
        return value
    left = "(-inf" if low is None else f"{bounds[0]}{low:g}"
    right = "inf)" if high is None else f"{high:g}{bounds[1]}"
    raise InvalidArgumentError(f"{name} is {value!r}; accepted: a number in {left}, {right}")


def check_whole(name: str, value: Any, low: int = 1, optional: bool = False) -> int | None:
    """Return ``value`` if it is a whole number >= ``low`` (or None where that is accepted)."""
    if optional and value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        accepted = f"a whole number >= {low}" + (" or None" if optional else "")
        raise InvalidArgumentError(f"{name} is {value!r}; accepted: {accepted}")
    return value
