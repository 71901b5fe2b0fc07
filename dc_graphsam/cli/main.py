"""``dc-graphsam``: the entry point. It reads the command line; the work is done in :mod:`dc_graphsam.hf`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dc_graphsam.cli.names import in_options
from dc_graphsam.cli.parser import COMMANDS, build_parser
from dc_graphsam.cli.values import UsageError, did_you_mean
from dc_graphsam.exceptions import (
    DCGraphSAMError,
    FeatureSetError,
    InvalidArgumentError,
    MissingColumnError,
    MissingDataError,
    MissingPackageError,
    RunFolderError,
    readable,
)
from dc_graphsam.runs.ranks import has_lost_contact, is_first_process, wait_for_the_end

__all__ = ["main"]

FINE, FAILED, WRONG_USE, STOPPED = 0, 1, 2, 130
_WRONG_USE = (
    InvalidArgumentError,
    MissingColumnError,
    MissingDataError,
    MissingPackageError,
    RunFolderError,
    FeatureSetError,
)
# What else goes wrong at work: the disk, the memory, a library. One line stands for it unless --debug is given.
_FAILURES = (OSError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, ImportError, MemoryError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Parameters
    ----------
    argv
        Words behind the program's name; ``None`` takes those of the process.

    Returns
    -------
    int
        0 if all went well, 2 if the command or something it names is wrong, 1 if it failed at work or no row of a table
        could be predicted, 130 after Ctrl-C.

    Examples
    --------
    >>> main(["--version"])  # doctest: +ELLIPSIS
    dc-graphsam ...
    0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    if not is_first_process() and not _all_take_part(words):
        return FINE  # the first process does it
    try:
        return _run(words, debug)
    except SystemExit as stop:  # --help, --version
        return FINE if stop.code is None else int(stop.code)
    except KeyboardInterrupt as stop:
        return _end(STOPPED, str(stop) or "stopped", prefix="\n", silent=not is_first_process())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; say nothing at exit either
        return FINE
    except _FAILURES as error:
        # What one process refuses all refuse, and the loss of one is felt by all: it is said once.
        silent = not is_first_process() and (isinstance(error, DCGraphSAMError) or has_lost_contact(error))
        if debug and not silent and not isinstance(error, UsageError):
            raise
        if silent:
            wait_for_the_end()
        code = WRONG_USE if isinstance(error, _WRONG_USE) else FAILED
        return _end(code, f"dc-graphsam: {_one_line(error, _own_options(words))}", silent=silent)


def _all_take_part(words: list[str]) -> bool:
    """Whether a command line is for all of several processes, as ``torchrun`` starts them, and not for the first alone."""
    command = next((word for word in words if not word.startswith("-")), None)
    return command in ("train", "demo") and not {"-h", "--help", "--help-all"} & set(words)


def _run(words: list[str], debug: bool) -> int:
    parser, parsers = build_parser()
    command = next((word for word in words if not word.startswith("-")), None)
    if command is not None and command not in COMMANDS and words[0] == command:
        raise UsageError(f"there is no command {command!r}.{did_you_mean(command, COMMANDS)} (see dc-graphsam --help)")
    arguments, extras = parser.parse_known_args(words)
    if arguments.command is None and extras:
        parser.refuse(extras)
    if arguments.command is None:
        raise UsageError(f"a command is needed: {', '.join(COMMANDS)} (see dc-graphsam --help)")
    if extras and arguments.command not in ("train", "demo"):
        parsers[arguments.command].refuse(extras)

    from dc_graphsam.cli import commands

    return getattr(commands, arguments.command)(arguments, extras, debug)


def _own_options(words: list[str]) -> list[str]:
    """Options of the command, but for those whose options are fields of a run."""
    command = next((word for word in words if word in COMMANDS), None)
    return [] if command in (None, "train", "demo") else build_parser()[1][command].options()


def _one_line(error: BaseException, own: list[str]) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, DCGraphSAMError):
        return in_options(text, error.arguments, own) if error.arguments else text
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller --batch-size"
    return f"{type(error).__name__}: {text[:500]} (--debug shows where)"


def _end(code: int, line: str, prefix: str = "", silent: bool = False) -> int:
    sys.stdout.flush()
    if silent:
        return code
    sys.stderr.write(f"{prefix}{readable(line)}\n")
    return code
