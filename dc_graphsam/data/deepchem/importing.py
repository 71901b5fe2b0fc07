"""DeepChem without the noise of importing it."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType

from dc_graphsam.optional import require

__all__ = ["import_deepchem"]


@contextlib.contextmanager
def _quiet_import() -> Iterator[None]:
    """Keep back what libraries say while they are imported; what they say later is heard again."""
    loggers = [logging.getLogger(name) for name in ("deepchem", "tensorflow", "jax", "dgl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def import_deepchem(needed_by: str = "import_deepchem") -> ModuleType:
    """Import DeepChem (several seconds the first time) and return it.

    DeepChem tells on import which optional libraries are absent ("Skipped loading …", "No normalization for …"). None
    of that concerns us, so it is kept back; later warnings of DeepChem are not.

    Parameters
    ----------
    needed_by
        What was asked for, as the error names it.

    Raises
    ------
    MissingPackageError
        DeepChem is not installed, or what is installed cannot be imported. The message names the way to get it.
    """
    if sys.modules.get("deepchem") is None:
        with _quiet_import():
            require("deepchem", needed_by)
    return sys.modules["deepchem"]
