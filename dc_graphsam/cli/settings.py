"""What a run is to do, from the command line and a YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dc_graphsam.cli.fields import Field, model_fields, training_fields
from dc_graphsam.cli.options import ALIASES, RUN_FIELDS, SET_BY_RUN, TABLE_OPTIONS
from dc_graphsam.cli.values import UsageError, did_you_mean, from_config, from_words
from dc_graphsam.exceptions import MissingDataError

__all__ = ["find_field", "group_words", "merge", "read_config", "read_words"]


def find_field(name: str) -> Field | None:
    """The option of that name (snake case), or None; ``train``'s own come before the model's and training's."""
    name = ALIASES.get(name, name)
    for fields in (lambda: RUN_FIELDS, model_fields, training_fields):  # the first needs no file to be read
        if name in fields():
            return fields()[name]
    return None


def _all_names() -> list[str]:
    names = {**RUN_FIELDS, **model_fields(), **training_fields(), **ALIASES}
    return [name for name in names if name not in SET_BY_RUN]


def group_words(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Words of a command line → (option, words behind it).

    >>> group_words(["--rho", "0.1", "--bf16", "--lr=1e-4"])
    [('--rho', ['0.1']), ('--bf16', []), ('--lr', ['1e-4'])]
    """
    groups: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--") and len(word) > 2:
            option, equals, value = word.partition("=")
            groups.append((option, [value] if equals else []))
        elif groups and not (word.startswith("-") and len(word) > 1 and word[1].isalpha()):
            groups[-1][1].append(word)
        else:
            hint = f" Did you mean --dataset {word}?" if not word.startswith("-") else ""
            raise UsageError(f"train does not understand {word!r}.{hint}")
    return groups


def read_words(words: Sequence[str]) -> dict[str, Any]:
    """Options of ``train`` from the command line, by name.

    Raises
    ------
    UsageError
        If an option is unknown, is given twice, or has a value of the wrong type.

    Examples
    --------
    >>> read_words(["--dataset", "bbbp", "--no-baselines", "--target", "a", "b"])
    {'dataset': 'bbbp', 'baselines': False, 'target': ['a', 'b']}
    """
    settings: dict[str, Any] = {}
    for option, values in group_words(words):
        name = option.removeprefix("--").replace("-", "_")
        if name == "debug" and not values:
            continue  # asks for tracebacks; with a value it is a field of the training arguments
        field, negated = find_field(name), False
        if field is None and name.startswith("no_"):
            field, negated = find_field(name.removeprefix("no_")), True
        if field is None or (negated and "bool" not in field.kinds):
            raise UsageError(f"train has no option {option!r}.{_nearest_option(option)}")
        _check_settable(field, option)
        if negated:
            if values:
                raise UsageError(f"{option} takes no value, got {' '.join(values)!r}")
            value: Any = False
        else:
            value = from_words(field, values, option)
        if field.name in settings and "list" in field.kinds and isinstance(value, list):
            value = [*settings[field.name], *value]
        elif field.name in settings:
            raise UsageError(f"{option} is given twice")
        settings[field.name] = value
    return settings


def _nearest_option(option: str) -> str:
    options = ["--" + name.replace("_", "-") for name in _all_names()]
    return did_you_mean(option, options) or " See dc-graphsam train --help-all."


def _check_settable(field: Field, shown: str) -> None:
    if field.name in SET_BY_RUN:
        raise UsageError(f"{shown} cannot be set: it {SET_BY_RUN[field.name]}")


def read_config(path: str | Path) -> dict[str, Any]:
    """Options of ``train`` from a YAML file with the same names as on the command line.

    Raises
    ------
    MissingDataError
        If there is no such file.
    UsageError
        If it is no YAML mapping, or a name or value is not accepted.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise MissingDataError(f"there is no file {path} (--config)") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder; --config wants a YAML file, such as {Path(path, 'run.yaml')}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a text file; --config wants YAML") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path} is not valid YAML{where}: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} should hold lines such as 'dataset: bbbp', got {type(content).__name__}")
    settings: dict[str, Any] = {}
    for key, value in content.items():
        field = find_field(str(key).replace("-", "_"))
        if field is None:
            raise UsageError(f"{path} has the unknown key {key!r}.{did_you_mean(str(key), _all_names())}")
        _check_settable(field, f"{field.name} in {path}")
        if field.name in settings:
            raise UsageError(f"{path} sets {field.name} twice")
        try:
            settings[field.name] = from_config(field, value)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
    return settings


def merge(config: dict[str, Any], words: dict[str, Any]) -> dict[str, Any]:
    """The command line wins; a data set named there puts away what the file says of another kind of data."""
    merged = dict(config)
    if "dataset" in words:
        for name in ("data", *TABLE_OPTIONS):
            merged.pop(name, None)
    if "data" in words:
        merged.pop("dataset", None)
    return {**merged, **words}
