"""Sums over lists of tensors on a CPU, and Adam's step, each as one stream over memory that all threads share.

torch's multi-tensor operations go through a list on a CPU tensor by tensor, and most tensors of a model are too short to be
worth a second thread. The kernels of ``streams.c`` are compiled at first use (:mod:`dc_graphsam.native`); where they cannot be
had, or the tensors are not plain float32 ones, the functions here return ``None`` and the caller takes torch's operations.
"""

from __future__ import annotations

import ctypes
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from pathlib import Path

import torch
from torch import Tensor

from dc_graphsam.native import Library, load

__all__ = [
    "Addresses",
    "Moments",
    "adam_lists",
    "add_lists",
    "add_to_each",
    "average_lists",
    "copy_lists",
    "located",
    "products_of_each",
    "sum_of_squares",
]

_P, _I, _F = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
SOURCE = Path(__file__).with_name("streams.c")
SIGNATURES = {
    "add_lists": (_I, _P, _P, _P, _P, _I, _F, _I),
    "copy_lists": (_I, _P, _P, _P),
    "sum_of_squares": (_I, _P, _P, _I, _P, _I),
    "products_of_each": (_I, _P, _P, _P, _I, _P, _I),
    "add_to_each": (_I, _P, _P, _P, _P, _I, _P, _I),
    "average_lists": (_I, _P, _P, _P, _I, _F, _P, _I),
    "adam_lists": (_I, _P, _P, _P, _P, _P, _P, _P, _I, _P, _I, _I, _F, _P, _I),
}
_PLAIN, _FLOAT, _STRIDED = {Tensor, torch.nn.Parameter}, {torch.float32}, {torch.strided}


@lru_cache(maxsize=1)
def _library() -> Library | None:
    return load(SOURCE, SIGNATURES)


class Addresses:
    """Where the data of plain tensors lie, and how many elements each has; it does not keep them alive.

    Parameters
    ----------
    pointers, sizes
        Of tensors that are known to be contiguous, float32 and on the CPU.
    """

    __slots__ = ("_pointers", "_sizes", "count", "pointers", "sizes", "total")

    def __init__(self, pointers: Sequence[int], sizes: Sequence[int]) -> None:
        self._pointers, self._sizes = array("Q", pointers), array("q", sizes)
        self.pointers, self.sizes = self._pointers.buffer_info()[0], self._sizes.buffer_info()[0]
        self.count, self.total = len(self._sizes), sum(self._sizes)

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Addresses | None:
        """``None`` if one of them is not a plain, contiguous float32 tensor on the CPU."""
        pointers = located(tensors)
        return None if pointers is None else cls(pointers, list(map(Tensor.numel, tensors)))


_dtype, _layout, _is_cpu = attrgetter("dtype"), attrgetter("layout"), attrgetter("is_cpu")


def located(tensors: Sequence[Tensor]) -> list[int] | None:
    """Where plain, contiguous float32 tensors on the CPU lie; ``None`` if one of them is something else."""
    plain = _PLAIN.issuperset(map(type, tensors)) and all(map(_is_cpu, tensors))
    plain = plain and _FLOAT.issuperset(map(_dtype, tensors)) and _STRIDED.issuperset(map(_layout, tensors))
    if not plain or not all(map(Tensor.is_contiguous, tensors)):
        return None
    return list(map(Tensor.data_ptr, tensors))


Lists = Sequence[Tensor] | Addresses | None


def _located(lists: Lists) -> Addresses | None:
    return lists if lists is None or isinstance(lists, Addresses) else Addresses.of(lists)


def add_lists(x: Lists, v: Lists, factor: float, out: Lists) -> bool | None:
    """``out = x + factor · v``, the same bits as ``torch.add``; ``None`` if it was not done.

    >>> x, v, out = [torch.ones(3)], [torch.ones(3)], [torch.empty(3)]
    >>> done = add_lists(x, v, 0.5, out)
    >>> out[0].tolist() if done else [1.5, 1.5, 1.5]
    [1.5, 1.5, 1.5]
    """
    library = _library()
    # the arguments themselves stay: they keep the memory alive
    at, of, to = _located(x), _located(v), _located(out)
    if library is None or at is None or of is None or to is None:
        return None
    library.add_lists(at.count, at.pointers, of.pointers, to.pointers, at.sizes, at.total, factor, library.threads)
    return True


def copy_lists(x: Lists, out: Lists) -> bool | None:
    """``out = x``, for short tensors; ``None`` if it was not done.

    >>> x, out = [torch.ones(3)], [torch.zeros(3)]
    >>> done = copy_lists(x, out)
    >>> out[0].tolist() if done else [1.0, 1.0, 1.0]
    [1.0, 1.0, 1.0]
    """
    library, at, to = _library(), _located(x), _located(out)
    if library is None or at is None or to is None:
        return None
    library.copy_lists(at.count, at.pointers, to.pointers, at.sizes)
    return True


def sum_of_squares(x: Lists) -> float | None:
    """Σ x² over all tensors; ``None`` if it was not done.

    >>> sum_of_squares([torch.ones(3), torch.ones(2, 2)]) in (7.0, None)
    True
    """
    library, at = _library(), _located(x)
    if library is None or at is None:
        return None
    result = ctypes.c_double()
    library.sum_of_squares(at.count, at.pointers, at.sizes, at.total, ctypes.byref(result), library.threads)
    return result.value


def products_of_each(x: Lists, y: Lists) -> list[float] | None:
    """Σ x · y tensor by tensor; ``None`` if it was not done.

    >>> x = [torch.ones(3), torch.ones(2, 2)]
    >>> products_of_each(x, x) in ([3.0, 4.0], None)
    True
    """
    library, at, of = _library(), _located(x), _located(y)
    if library is None or at is None or of is None:
        return None
    result = array("d", bytes(8 * at.count))
    library.products_of_each(
        at.count, at.pointers, of.pointers, at.sizes, at.total, result.buffer_info()[0], library.threads
    )
    return None if at.count and math.isnan(result[0]) else list(result)


def add_to_each(x: Lists, v: Lists, factors: Sequence[float], out: Lists) -> bool | None:
    """``out = x + factor · v``, each tensor with a factor of its own; ``None`` if it was not done.

    >>> x = [torch.ones(2)]
    >>> done = add_to_each(x, [torch.ones(2)], [0.5], x)
    >>> x[0].tolist() if done else [1.5, 1.5]
    [1.5, 1.5]
    """
    library, at, of, to = _library(), _located(x), _located(v), _located(out)
    if library is None or at is None or of is None or to is None:
        return None
    numbers = array("f", factors)
    library.add_to_each(
        at.count, at.pointers, of.pointers, to.pointers, at.sizes, at.total, numbers.buffer_info()[0], library.threads
    )
    return True


def average_lists(e: Lists, x: Lists, weight: float) -> float | None:
    """``e ← e + weight · (x − e)``; returns Σ e² afterwards, or ``None`` if it was not done.

    >>> e = [torch.zeros(4)]
    >>> average_lists(e, [torch.ones(4)], 0.5) in (1.0, None)
    True
    """
    library, at, of = _library(), _located(e), _located(x)
    if library is None or at is None or of is None:
        return None
    result = ctypes.c_double()
    library.average_lists(
        at.count, at.pointers, of.pointers, at.sizes, at.total, weight, ctypes.byref(result), library.threads
    )
    return result.value


@dataclass(frozen=True)
class Moments:
    """The state of Adam over a list of tensors: running means of gradients and of their squares, and counts of steps."""

    mean: Addresses
    square: Addresses
    steps: Addresses


def adam_lists(
    p: Addresses,
    g: Addresses,
    moments: Moments,
    options: Sequence[float],
    decoupled: bool,
    lanes: int,
    e: Addresses | None = None,
    weight: float = 0.0,
) -> float | None:
    """One step of Adam on ``p``, and ``e ← e + weight · (g − e)``; Σ e² afterwards (0 without), ``None`` if nothing was done.

    Parameters
    ----------
    options
        Learning rate, β1 (above 1/2), β2, ε and weight decay, which is ``decoupled`` (AdamW) or part of the gradient.
    lanes
        Lanes of the vectors in which torch's own fused kernel works: its bits depend on them.
    """
    library, result = _library(), ctypes.c_double()
    if library is None:
        return None
    given = array("d", options)
    library.adam_lists(
        p.count,
        p.pointers,
        g.pointers,
        moments.mean.pointers,
        moments.square.pointers,
        moments.steps.pointers,
        None if e is None else e.pointers,
        p.sizes,
        p.total,
        given.buffer_info()[0],
        decoupled,
        lanes,
        weight,
        ctypes.byref(result),
        library.threads,
    )
    return None if result.value < 0.0 else result.value
