"""Text from the command line and values from a YAML file → values of the type that an option takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from dc_graphsam.cli.fields import Field
from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["UsageError", "did_you_mean", "from_config", "from_words"]

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "dict": 'a JSON object such as {"a": 1}',
}
_MISSING = object()


class UsageError(InvalidArgumentError):
    """A command line, or a file given to it, that is not understood."""


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The nearest of ``names`` as a question, or an empty string.

    >>> did_you_mean("--hiden-size", ["--hidden-size", "--rho"])
    " Did you mean '--hidden-size'?"
    >>> did_you_mean("--nosuch", ["--epochs"])  # the dashes are no likeness
    ''
    """
    bare = {name.lstrip("-"): name for name in names}
    close = get_close_matches(word.lstrip("-"), bare, n=1, cutoff=0.6)
    return f" Did you mean {bare[close[0]]!r}?" if close else ""


def from_words(field: Field, words: Sequence[str], option: str | None = None) -> Any:
    """Value of an option from the words behind it.

    Parameters
    ----------
    field
        What the option sets.
    words
        As they stand on the command line.
    option
        How the user wrote it, if not as ``field.option``.

    Raises
    ------
    UsageError
        If they are too many or too few, or not of the accepted type.

    Examples
    --------
    >>> from_words(Field("hidden_size", "model", frozenset({"int"})), ["64"])
    64
    """
    option = option or field.option
    if not words:
        if "bool" in field.kinds:
            return True
        raise UsageError(f"{option} needs a value: {_accepted(field)}")
    if len(words) == 1:
        return _parse(field, words[0], option)
    if "list" not in field.kinds:
        raise UsageError(f"{option} takes one value, got {len(words)}: {' '.join(words)}")
    return [_parse_element(field, word, option) for word in words]


def from_config(field: Field, value: Any) -> Any:
    """Value of an option from a YAML file: types as on the command line, text is parsed where no text is accepted.

    Examples
    --------
    >>> from_config(Field("learning_rate", "training", frozenset({"float"})), "1e-4")  # text in YAML 1.1
    0.0001
    """
    kinds, name = field.kinds, field.name
    if isinstance(value, str):
        return _parse(field, value, name)
    if isinstance(value, bool) and kinds & {"bool", "any"}:
        return _check_choices(field, value, name)
    if isinstance(value, int) and not isinstance(value, bool) and kinds & {"int", "float", "any"}:
        return _check_choices(field, value if "int" in kinds else float(value), name)
    if isinstance(value, float) and kinds & {"float", "any"}:
        return _check_choices(field, value, name)
    if value is None and kinds & {"none", "any"}:
        return None
    if isinstance(value, list) and kinds & {"list", "any"}:
        return [_check_element(field, element, name) for element in value]
    if isinstance(value, dict) and kinds & {"dict", "any"}:
        return value
    raise UsageError(f"{name} is {value!r}; accepted: {_accepted(field)}")


def _parse(field: Field, text: str, option: str) -> Any:
    kinds = field.kinds
    value = _first(_number(text, kinds), _boolean(text, kinds), _null(text, kinds), _structure(text, kinds))
    if value is _MISSING and kinds & {"str", "any"}:
        value = text
    if value is _MISSING and "list" in kinds:
        value = [_parse_element(field, text, option)]
    if value is _MISSING:
        raise UsageError(f"{option} is {text!r}; accepted: {_accepted(field)}")
    return _check_choices(field, value, option)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not _MISSING), _MISSING)


def _number(text: str, kinds: frozenset[str]) -> Any:
    for kind, convert in (("int", int), ("float", float)):
        if kind in kinds:
            try:
                return convert(text)
            except ValueError:
                continue
    return _MISSING


def _boolean(text: str, kinds: frozenset[str]) -> Any:
    if "bool" in kinds:
        # Where text is accepted, too, only the plain words are booleans: "no" and "on" may be values.
        true, false = (_TRUE[:1], _FALSE[:1]) if "str" in kinds else (_TRUE, _FALSE)
        if text.lower() in true:
            return True
        if text.lower() in false:
            return False
    return _MISSING


def _null(text: str, kinds: frozenset[str]) -> Any:
    words = ("null",) if "str" in kinds else ("null", "none")
    return None if "none" in kinds and text.lower() in words else _MISSING


def _structure(text: str, kinds: frozenset[str]) -> Any:
    wanted = [of for of, kind, mark in ((dict, "dict", "{"), (list, "list", "[")) if kind in kinds and text[:1] == mark]
    if wanted:
        try:
            value = json.loads(text)
        except ValueError:
            return _MISSING
        if isinstance(value, wanted[0]):
            return value
    return _MISSING


def _parse_element(field: Field, text: str, option: str) -> Any:
    element = Field(field.name, field.group, field.items, choices=field.choices)
    return _parse(element, text, option)


def _check_element(field: Field, value: Any, name: str) -> Any:
    return from_config(Field(name, field.group, field.items | {"dict"}, choices=field.choices), value)


def _check_choices(field: Field, value: Any, option: str) -> Any:
    if field.choices and value is not None and not isinstance(value, list) and value not in field.choices:
        hint = did_you_mean(value, [c for c in field.choices if isinstance(c, str)]) if isinstance(value, str) else ""
        raise UsageError(f"{option} is {value!r}; accepted: {_accepted(field)}.{hint}")
    return value


def _accepted(field: Field) -> str:
    if field.choices:
        return ", ".join(str(choice) for choice in field.choices)
    kinds = [kind for kind in _NAMES if kind in field.kinds]
    if "float" in kinds and "int" in kinds:
        kinds.remove("int")
    names = [_NAMES[kind] for kind in kinds]
    if "none" in field.kinds and "str" not in field.kinds:
        names.append("none")
    return " or ".join(names) or "a value"
