"""What is said where: news and warnings on stderr, results on stdout."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence

from dc_graphsam.exceptions import readable
from dc_graphsam.runs.ranks import is_first_process
from dc_graphsam.wording import TITLES, number

__all__ = ["metric_table", "result", "say", "text_table", "use_console"]


def say(line: str) -> None:
    """News while something is under way; of several processes the first alone speaks."""
    if not is_first_process():
        return
    sys.stderr.write(f"{readable(line)}\n")
    sys.stderr.flush()


def result(text: str) -> None:
    """What was asked for; of several processes the first alone answers."""
    if not is_first_process():
        return
    sys.stderr.flush()
    sys.stdout.write(f"{readable(text)}\n")
    sys.stdout.flush()


class _Handler(logging.Handler):
    """Log records of the package as one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        word, text = record.levelname.lower(), record.getMessage()
        if arguments := getattr(record, "arguments", ()):
            from dc_graphsam.cli.names import in_options

            text = in_options(text, arguments)
        say(f"{word}: {text}" if record.levelno >= logging.WARNING else text)


def use_console(debug: bool = False) -> None:
    """Show the package's own log as lines on stderr, and keep its dependencies quiet."""
    import warnings

    # Threads wait for their next piece of work by spinning. Long spins stand in the way of other programs (and so of
    # ourselves, on a busy machine); short ones cost a tenth of the speed of an idle one, none at all a third. Read when torch
    # is loaded.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    log = logging.getLogger("dc_graphsam")
    log.handlers = [_Handler()]
    log.setLevel(logging.INFO)
    log.propagate = False
    if not debug:
        warnings.simplefilter("ignore")
        for name in ("deepchem", "transformers", "datasets", "accelerate", "torch", "filelock", "matplotlib"):
            logging.getLogger(name).setLevel(logging.ERROR)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Columns under each other; those numbered in ``left`` stand to the left, the others to the right.

    >>> print(text_table(["test set", "RMSE"], [["random forest", "0.61"]]))
     test set        RMSE
     random forest   0.61
    """
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((" " + "   ".join(cells)).rstrip())
    return "\n".join(lines)


def metric_table(title: str, rows: Mapping[str, Mapping[str, float | None]]) -> str:
    """Metrics of several models beside each other; those of single tasks are left out.

    >>> print(metric_table("test set", {"random forest": {"rmse": 0.614, "mae": 0.5, "rmse_a": 1.0}}))
     test set          RMSE      MAE
     random forest   0.6140   0.5000
    """
    names = [name for name in TITLES if any(name in values for values in rows.values())]
    cells = [[row, *(number(values.get(name)) for name in names)] for row, values in rows.items()]
    return text_table([title, *(TITLES[name] for name in names)], cells)
