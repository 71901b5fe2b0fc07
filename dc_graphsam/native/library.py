"""A compiled library as Python sees it: its functions, and how many threads they may use."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch

from dc_graphsam.native.build import find_or_build

__all__ = ["Library", "load"]

_TORCH = ("libtorch_cpu.so", "libtorch_cpu.dylib")

logger = logging.getLogger(__name__)


class Library:
    """The functions of a library as attributes.

    Parameters
    ----------
    path
        The compiled file.
    signatures
        Types of the arguments of each function; it returns nothing.
    """

    def __init__(self, path: Path, signatures: Mapping[str, Sequence[type]]) -> None:
        loaded = ctypes.CDLL(str(path))
        for name, types in signatures.items():
            function = getattr(loaded, name)
            function.argtypes, function.restype = list(types), None
            setattr(self, name, function)
        self._shares_threads = _pool(loaded) is not None and _pool(loaded) == _pool_of_torch()

    @property
    def threads(self) -> int:
        """Those of torch, whose pool is used; one where torch brings another OpenMP than the compiler's.

        Two pools of threads would stand in each other's way. Other libraries may bring theirs (scikit-learn does): they only
        matter while they compute.
        """
        return torch.get_num_threads() if self._shares_threads else 1


def _pool(library: ctypes.CDLL) -> int | None:
    """Which OpenMP a library has been linked to: the address of one of its functions."""
    try:
        return ctypes.cast(library.omp_get_max_threads, ctypes.c_void_p).value
    except AttributeError:
        return None


@lru_cache(maxsize=1)
def _pool_of_torch() -> int | None:
    folder = Path(torch.__file__).parent / "lib"
    found = next((path for path in map(folder.joinpath, _TORCH) if path.exists()), None)
    try:
        return None if found is None else _pool(ctypes.CDLL(str(found)))
    except OSError:
        return None


def load(source: Path, signatures: Mapping[str, Sequence[type]]) -> Library | None:
    """The compiled ``source``; ``None`` where it cannot be had."""
    path = find_or_build(source)
    if path is None:
        return None
    try:
        return Library(path, signatures)
    except (OSError, AttributeError) as error:
        logger.info("the compiled %s could not be loaded, its work is done in plain torch: %s", source.name, error)
        return None
