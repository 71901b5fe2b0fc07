"""Messages of the library speak of Python arguments; on the command line they speak of its options."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterable

from dc_graphsam.cli.options import SET_BY_RUN
from dc_graphsam.cli.settings import find_field

__all__ = ["in_options", "option_of"]

#: Arguments of the library whose option has another name.
_OTHER_NAMES = {"task_columns": "--target", "splits": "--splits-file", "path": "--data"}
_VALUE = r"""='(?:[^'\\]|\\.)*'|="(?:[^"\\]|\\.)*"|=-?[\w.+-]*\w"""


def option_of(argument: str) -> str | None:
    """The option that sets an argument of the library, or ``None`` if there is none.

    >>> option_of("task_columns"), option_of("max_atoms"), option_of("no_such_thing")
    ('--target', '--max-atoms', None)
    """
    if argument in _OTHER_NAMES:
        return _OTHER_NAMES[argument]
    field = find_field(argument)
    return None if field is None or field.name in SET_BY_RUN else field.option


def in_options(message: str, arguments: Iterable[str], own: Iterable[str] = ()) -> str:
    """A message with options in place of the arguments that it speaks of.

    Parameters
    ----------
    message
        The text.
    arguments
        Names in it; other words, what stands in quotes and parts of paths stay as they are.
    own
        Options of the command that was given, which come before those of training.

    Examples
    --------
    >>> in_options("task_columns is None and a.csv has no numbers; pass task_columns='a b'", ["task_columns"])
    "--target is not given and a.csv has no numbers; pass --target 'a b'"
    """
    for argument in dict.fromkeys(argument.split()[0] for argument in arguments):
        direct = f"--{argument.replace('_', '-')}"
        option = direct if direct in own else option_of(argument)
        if option is None:
            continue
        pattern = (
            rf"(?<![\w./\\'\"-]){re.escape(argument)}(?:(?P<value>{_VALUE})|(?P<none> is None)|(?![\w/\\'\"=-]|\.\w))"
        )

        def written(match: re.Match, option: str = option) -> str:
            if match["none"]:
                return f"{option} is not given"
            return f"{option} {_word(match['value'][1:])}" if match["value"] else option

        message = re.sub(pattern, written, message)
    return message


def _word(value: str) -> str:
    """A Python value as a word of a command line."""
    return shlex.quote(ast.literal_eval(value)) if value[0] in "'\"" else value
