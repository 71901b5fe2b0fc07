"""The compiled library as Python sees it: signatures, and when it can be used."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from dc_graphsam.native import Library, load

__all__ = ["Batch", "call", "in_the_open", "library", "lower", "product_dtype", "usable"]

SOURCE = Path(__file__).with_name("compt.c")
_P, _I, _F = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
SIGNATURES = {
    "norm_forward": (_P,) * 5 + (_I,) * 3 + (_F, _I),
    "norm_backward": (_P,) * 9 + (_I,) * 4,
    "mish_norm_forward": (_P,) * 8 + (_I,) * 3 + (_F, _I),
    "mish_norm_backward": (_P,) * 9 + (_I,) * 4,
    "mish_forward": (_P,) * 3 + (_I,) * 3,
    "mish_backward": (_P,) * 5 + (_I,) * 3,
    "column_sums": (_P,) * 2 + (_I,) * 3,
    "attention_forward": (_P,) * 4 + (_I,) + (_P,) * 3 + (_I,),
    "attention_backward": (_P,) * 4 + (_I,) + (_P,) * 5 + (_I,),
    "start_forward": (_P,) * 6 + (_I,) * 3,
    "start_backward": (_P,) * 11 + (_I,) * 4,
    "mean_forward": (_P,) * 5 + (_I,) * 4,
    "mean_backward": (_P,) * 7 + (_I,) * 3,
    "gru_forward": (_P,) * 3 + (_I,) + (_P,) * 3 + (_I,) * 5,
    "gru_backward": (_P,) * 2 + (_I,) + (_P,) * 5 + (_I,) * 5,
}


class Batch(ctypes.Structure):
    """``Batch`` of ``compt.c``."""

    _fields_ = [
        *((name, _P) for name in ("start", "in_begin", "in_edge", "out_begin", "out_edge", "source", "target")),
        *((name, _P) for name in ("bonds", "distance")),
        *((name, _I) for name in ("molecules", "width", "heads", "size", "features")),
    ]


@lru_cache(maxsize=1)
def library() -> Library | None:
    """The compiled kernels; ``None`` where they cannot be had. Compiled once a machine, loaded once a process."""
    return load(SOURCE, SIGNATURES)


def in_the_open() -> bool:
    """Whether operations are carried out as they come, seen by nobody but autograd.

    Not so in compilation, tracing and export, under a transform of ``torch.func`` (``vmap``, ``grad``, ``jvp``), in forward-mode
    differentiation, and where a mode (fake tensors, ``make_fx``, a counter of operations) listens: what a kernel or a
    hand-written backward pass does would be missed there.

    >>> in_the_open(), torch.func.vmap(lambda x: x * in_the_open())(torch.ones(1))
    (True, tensor([0.]))
    """
    return not (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
    )


def usable(*tensors: Tensor) -> bool:
    """Whether the kernels can work on these tensors now: plain float32 tensors on the CPU, :func:`in_the_open`, no float16."""
    if not in_the_open() or product_dtype() not in (None, torch.bfloat16):
        return False
    for tensor in tensors:
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu" or type(tensor) not in (Tensor, nn.Parameter):
            return False
    return library() is not None


def product_dtype() -> torch.dtype | None:
    """The dtype that autocast asks of matrix products on the CPU now; ``None`` without autocast."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None


def lower(dtype: torch.dtype | None, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The factors of matrix products, in the dtype that autocast asks for."""
    return tensors if dtype is None else tuple(tensor.to(dtype) for tensor in tensors)


def call(function: Callable, *arguments) -> None:
    """Call a kernel; tensors (contiguous) are handed over as addresses."""
    function(*[a.data_ptr() if isinstance(a, Tensor) else a for a in arguments])
