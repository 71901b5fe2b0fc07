"""A stored vector with a lazy scale: what GraphSAM, SAM-k and SAM-One climb along."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dc_graphsam.optim.memory import streams
from dc_graphsam.optim.memory.block import Scalar
from dc_graphsam.optim.memory.layout import Layout

__all__ = ["Due", "StoredVector"]


@dataclass(frozen=True)
class Due:
    """An average that is decided on and not yet carried out: E' = E + w(ω − E), k'."""

    gradients: list[list[Tensor]]
    located: list[streams.Addresses | None]
    weight: float
    scale: float


class StoredVector:
    r"""A vector :math:`\varepsilon = k E` over all participating parameters, ``E`` stored flat, ``k`` one number.

    Only the direction of ε and the ratio of its two terms matter, so the factors of the moving average

    .. math:: \varepsilon' = \beta\varepsilon + c\,\omega,\qquad c = (1-\beta)/\|\omega\|

    go into ``k``: with :math:`k' = \beta k + c` and :math:`w = c/k'` the stored part is one interpolation,
    :math:`E' = E + w(\omega - E)`, a single stream over memory. ``E`` stays a convex combination of gradients, so nothing
    over- or underflows however long the average runs.

    Attributes
    ----------
    scale : float or Tensor
        The factor ``k``.
    filled : bool
        Whether there is a vector at all.
    cache : dict
        What a method derived from the vector; emptied when the vector changes.
    due : Due, optional
        An average that somebody else is to carry out, who reads ω anyway.
    """

    def __init__(self, layout: Layout, name: str) -> None:
        self.layout, self.name = layout, name
        self.scale: Scalar = 1.0
        self.filled = False
        self._squares: list[Scalar] | None = None
        self.cache: dict[str, Any] = {}
        self.due: Due | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "cache": {}, "due": None}  # due and cache refer to this one's memory

    # ---------------------------------------------------------------- reading
    def squares(self) -> list[Scalar]:
        """‖E‖² per block (measured once after each change)."""
        if self._squares is None:
            self._squares = [block.squared_norm(block.flat(self.name)) for block in self.layout.blocks]
        return self._squares

    def norm(self) -> Scalar:
        """‖ε‖ over all blocks."""
        return self.scale * self.layout.total(self.squares()) ** 0.5

    def lists(self) -> list[list[Tensor]]:
        """E, one list of tensors per block."""
        return [block.views(self.name) for block in self.layout.blocks]

    def values(self) -> dict[int, Tensor]:
        """ε itself by parameter index (copies)."""
        return {index: self.scale * value for index, value in self.layout.dump(self.name).items()}

    # ---------------------------------------------------------------- writing
    def changed(self) -> None:
        """Forget what was measured, and an average that is due: values or layout are others now."""
        self._squares = self.due = None
        self.cache.clear()

    def set(self, gradients: list[list[Tensor]], unit: bool = False, divide: float = 1.0) -> None:
        """ε = g / ``divide``, or g/‖g‖ with ``unit``."""
        for block, grads in zip(self.layout.blocks, gradients, strict=True):
            torch._foreach_copy_(block.views(self.name), grads)
        self.changed()
        self.filled, self.scale = True, 1.0 / divide
        if unit:
            norm = self.layout.total(self.squares()) ** 0.5
            self.scale = 1.0 / (norm + 1e-12)

    def average(
        self, gradients: list[list[Tensor]], beta: float, norm: Scalar | None = None, later: bool = False
    ) -> Scalar:
        """ε ← βε + (1−β) ω/‖ω‖, and ‖ω‖ is returned; an ω that is not finite leaves ε as it is.

        ``norm`` is ‖ω‖ where the caller knows it, which saves a stream. With ``later``, on a CPU, the stream over ε is left to
        the caller, before anything else happens to ε or ω: by :meth:`settle`, or by other means and :meth:`settled`.
        """
        blocks = self.layout.blocks
        if self.layout.host:
            return self._average_on_host(gradients, beta, norm, later)
        if norm is None:
            # gathered once, ω is read by the norm and by the average as one long vector
            omega = [block.scratch(grads) for block, grads in zip(blocks, gradients, strict=True)]
            norm = (
                self.layout.total([block.squared_norm(flat) for block, flat in zip(blocks, omega, strict=True)]) ** 0.5
            )
        else:
            omega = None
        self._average_on_device(gradients, omega, beta, norm)
        return norm

    def _average_on_host(self, gradients, beta: float, norm: Scalar | None, later: bool) -> Scalar:
        blocks = self.layout.blocks
        located = [None if b.sharded else streams.Addresses.of(g) for b, g in zip(blocks, gradients, strict=True)]
        if norm is None:
            parts = zip(blocks, gradients, located, strict=True)
            norm = self.layout.total([block.squared_norm_of(grads, where) for block, grads, where in parts]) ** 0.5
        norm = _number(norm, host=True)
        if not math.isfinite(norm):
            return norm
        share = (1.0 - beta) / norm if norm > 0 else 0.0
        scale = beta * self.scale + share
        self.due = Due(gradients, located, share / scale if scale > 0 else 0.0, scale)
        if not later:
            self.settle()
        return norm

    def settle(self) -> None:
        """Carry out an average that is due, in pieces that a core's cache holds: measuring the new E costs no stream of its own."""
        if self.due is None:
            return
        due, squares = self.due, []
        for block, grads, where in zip(self.layout.blocks, due.gradients, due.located, strict=True):
            flat, views = block.flat(self.name), block.views(self.name)
            square = streams.average_lists(block.addresses(self.name), where, due.weight)
            if square is not None:
                squares.append(square)
                continue
            square = 0.0
            for part, span in block.cached:
                torch._foreach_lerp_(views[part], _as(grads[part], block.work_dtype), due.weight)
                if not block.sharded:
                    square += torch.dot(flat[span], flat[span]).item()
            squares.append(block.squared_norm(flat) if block.sharded else square)
        self.settled(squares)

    def settled(self, squares: Sequence[Scalar]) -> None:
        """The average that was due has been carried out, and ‖E‖² of each block is known."""
        self.scale = self.due.scale
        self.changed()
        self._squares = list(squares)

    def _average_on_device(self, gradients, omega, beta: float, norm: Tensor) -> None:
        """The same without reading a number back: an ω that is not finite gets weight 0."""
        finite = torch.isfinite(norm) & (norm > 0)
        share = torch.where(finite, (1.0 - beta) / norm, 0.0)
        scale = torch.where(torch.isfinite(norm), beta * self.scale + share, self.scale)
        weight = torch.where(scale > 0, share / scale, 0.0)
        for i, block in enumerate(self.layout.blocks):
            flat = block.scratch(gradients[i]) if omega is None else omega[i]
            flat.nan_to_num_(0.0, 0.0, 0.0)  # 0 · inf would be nan
            block.flat(self.name).lerp_(flat, weight.to(block.device, flat.dtype))
        self.scale = scale
        self.changed()

    def average_per_tensor(self, gradients: list[list[Tensor]], beta: float, divide: float = 1.0) -> Scalar:
        """ε⁽ᵐ⁾ ← βε⁽ᵐ⁾ + (1−β) ω⁽ᵐ⁾/‖ω⁽ᵐ⁾ + 1e-8‖, each tensor by its own norm (``CoMPT-main/sam.py:164``).

        ω is what is given over ``divide``.
        """
        blocks = self.layout.blocks
        norms = []
        for block, grads in zip(blocks, gradients, strict=True):
            parts = (_as(grads[part], block.work_dtype) for part in block.slices)
            norms.append(
                torch.cat([block.tensor_norms(torch._foreach_add(part, 1e-8 * divide)) for part in parts])
            )  # [tensors]
        squares = self.layout.total([block.number(n.square().sum()) for block, n in zip(blocks, norms, strict=True)])
        if not isinstance(squares, Tensor) and not math.isfinite(squares):
            return squares**0.5
        for block, grads, norm in zip(blocks, gradients, norms, strict=True):
            views, good = block.views(self.name), torch.isfinite(norm).all()
            share = torch.where(good, (1.0 - beta) / norm, 0.0)
            torch._foreach_mul_(views, torch.where(good, self.scale * beta, self.scale).to(share.dtype))
            for part in block.slices:
                term = torch._foreach_mul(_as(grads[part], block.work_dtype), list(share[part].unbind()))
                if not block.host:
                    term = [t.nan_to_num_(0.0, 0.0, 0.0) for t in term]
                torch._foreach_add_(views[part], term)
        self.scale = 1.0
        self.changed()
        return squares**0.5

    def rescale(self, factor: Tensor) -> None:
        """Multiply ``E`` by a number that lies on the device, and ``k`` by its inverse: ε stays the same."""
        squares = self.squares()
        for block in self.layout.blocks:
            flat = block.flat(self.name)
            flat.mul_(factor.to(block.device, flat.dtype))
        self.scale = self.scale / factor
        self._squares = [s * factor.square().to(s.device) if isinstance(s, Tensor) else s for s in squares]

    # ---------------------------------------------------------------- state
    def state(self) -> dict:
        """Everything needed to go on, tensors and plain types only."""
        if not self.filled:
            return {}
        return {"scale": self.scale, "squares": self._squares, "values": self.layout.dump(self.name)}

    def load(self, state: dict) -> None:
        """Take a state over; the layout already holds the parameters it names."""
        self.changed()
        self.filled = bool(state)
        if not state:
            self.scale = 1.0
            return
        self.layout.load(self.name, state["values"])
        host = self.layout.host
        self.scale = _number(state["scale"], host)
        squares = state["squares"]
        same = squares is not None and len(squares) == len(self.layout.blocks)
        self._squares = [_number(s, host) for s in squares] if same else None


def _number(value: Scalar, host: bool) -> Scalar:
    return value.item() if host and isinstance(value, Tensor) else value


def _as(tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    return tensors if all(t.dtype == dtype for t in tensors) else [t.to(dtype) for t in tensors]
