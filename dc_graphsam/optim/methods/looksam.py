"""LookSAM: reuse of the part of the sharpness-aware gradient that plain gradients lack."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from dc_graphsam.exceptions import check_choice, check_range, check_whole
from dc_graphsam.optim.memory import streams
from dc_graphsam.optim.memory.block import Block
from dc_graphsam.optim.perturbed.perturbation import Direction
from dc_graphsam.optim.stepping.base import SharpnessAwareOptimizer
from dc_graphsam.optim.stepping.construction import MakesBase

__all__ = ["LookSAM"]

_PRESETS = {
    "original": {"rho": 0.1, "alpha": 0.7, "k": 10},
    "graphsam-paper": {"rho": 1e-4, "alpha": 0.2, "k": 8},
}


class LookSAM(SharpnessAwareOptimizer):
    r"""A SAM step every k steps, plain gradients with the stored orthogonal part in between.

    .. math::
        t \bmod k = 0:&\quad d_t = \omega_t,\qquad g_v = \omega_t - \frac{\langle\omega_t, g_t\rangle}{\|g_t\|^2}\,g_t\\
        \text{otherwise}:&\quad d_t = g_t + \alpha\,\frac{\|g_t\|}{\|g_v\|+10^{-8}}\,g_v

    Liu et al., "Towards Efficient and Scalable Sharpness-Aware Minimization" (CVPR 2022). Passes per step: 1 + 1/k. Memory:
    two copies of the trainable weights (g_v and, during a SAM step, θ).

    Parameters
    ----------
    rho, alpha, k
        Radius ρ, weight α >= 0 of the orthogonal part, interval k >= 1; the preset's by default.
    scope : {"tensor", "global"}
        Whether products and norms run over each tensor (as in all public code) or over all parameters. A tensor of one
        number has no part orthogonal to g: what rounding leaves of it is dropped.
    preset : {"original", "graphsam-paper"}
        ρ = 0.1, α = 0.7, k = 10, or the values of the GraphSAM paper (A.4): ρ = 1e-4, α = 0.2, k = 8.

    Examples
    --------
    >>> from dc_graphsam.optim import closure_of
    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = LookSAM([w], torch.optim.SGD, lr=0.1, k=2)
    >>> closure = closure_of(optimizer, lambda: 0.5 * w.square().sum())
    >>> [(optimizer.step(closure), optimizer.last.passes)[1] for _ in range(4)]
    [2, 1, 2, 1]
    """

    method = "looksam"

    def __init__(
        self,
        params: Any,
        base_optimizer: MakesBase = torch.optim.Adam,
        rho: float | None = None,
        alpha: float | None = None,
        k: int | None = None,
        *,
        scope: str = "tensor",
        preset: str = "original",
        **options: Any,
    ) -> None:
        values = _PRESETS[check_choice("preset", preset, tuple(_PRESETS))]
        self.alpha = check_range("alpha", values["alpha"] if alpha is None else alpha, 0)
        self.k = check_whole("k", values["k"] if k is None else k)
        self.scope = check_choice("scope", scope, ("tensor", "global"))
        super().__init__(params, base_optimizer, rho=values["rho"] if rho is None else rho, **options)
        self._orthogonal = self._stored_vector("orthogonal")

    def _wants_clean(self) -> bool:
        return self.steps % self.k == 0 or not self._orthogonal.filled

    def _ascent(self, clean: bool) -> Direction | None:
        if not clean:
            return None
        self._orthogonal.set(self._block_gradients())  # g waits for ω where g_v will be
        return Direction.of(self._orthogonal, fresh=True)

    def _direct(self, scale: float) -> None:
        if self._record.rho == 0 or not self._orthogonal.filled:
            return
        if self._clean:
            self._project(scale)
        else:
            self._add()

    def _abort(self) -> None:
        if self._clean:
            self._orthogonal.filled = False

    # ---------------------------------------------------------------- the two kinds of step
    def _project(self, scale: float) -> None:
        """g_v ← ω − (⟨ω, g⟩/‖g‖²) g, in the memory of g."""
        done = self._project_in_streams(scale)
        if not done:
            self._project_with_torch(scale)
        self._orthogonal.changed()

    def _add(self) -> None:
        """d = g + α (‖g‖/‖g_v‖) g_v, in p.grad."""
        if not self._add_in_streams():
            self._add_with_torch()

    # ---------------------------------------------------------------- streams over plain float32 tensors on the CPU
    def _lists(self) -> tuple[list[streams.Addresses], list[streams.Addresses]] | None:
        """Gradients and g_v of each block, if they can be read as streams."""
        blocks = self._layout.blocks
        if any(block.sharded or not block.host for block in blocks):
            return None
        stored = [block.addresses("orthogonal") for block in blocks]
        gradients = [streams.Addresses.of(grads) for grads in self._block_gradients()]
        return None if None in stored or None in gradients else (gradients, stored)

    def _products(self, x: list[streams.Addresses], y: list[streams.Addresses]) -> list[list[float]] | None:
        """⟨x⁽ᵐ⁾, y⁽ᵐ⁾⟩ of each tensor, or, with global scope, the sum over all for each."""
        lists = [streams.products_of_each(a, b) for a, b in zip(x, y, strict=True)]
        if None in lists:
            return None
        if self.scope == "global":
            total = sum(chain.from_iterable(lists))
            return [[total] * len(values) for values in lists]
        return lists

    def _project_in_streams(self, scale: float) -> bool:
        found = self._lists()
        products = None if found is None else self._products(*found)
        squares = None if found is None else self._products(found[1], found[1])
        if products is None or squares is None:
            return False
        limit = (16 * torch.finfo(torch.float32).eps) ** 2
        for block, omega, g, product, square in zip(self._layout.blocks, *found, products, squares, strict=True):
            shares = [-p / s if s > 0 else 0.0 for p, s in zip(product, square, strict=True)]
            streams.add_to_each(omega, g, shares, out=g)
            sizes = zip(streams.products_of_each(g, g), streams.products_of_each(omega, omega), strict=True)
            factors = [1.0 / scale if own > limit * whole else 0.0 for own, whole in sizes]
            pairs = [
                (view, factor) for view, factor in zip(block.views("orthogonal"), factors, strict=True) if factor != 1
            ]
            for view, factor in pairs:
                view.mul_(factor)
        return True

    def _add_in_streams(self) -> bool:
        found, cache = self._lists(), self._orthogonal.cache
        if found is None:
            return False
        gradients, stored = found
        if "squares" not in cache:
            cache["squares"] = self._products(stored, stored)
        squares = self._products(gradients, gradients)
        if squares is None or cache["squares"] is None:
            return False
        for grads, g_v, own, other in zip(gradients, stored, squares, cache["squares"], strict=True):
            ratios = [self.alpha * math.sqrt(g) / (math.sqrt(v) + 1e-8) for g, v in zip(own, other, strict=True)]
            streams.add_to_each(grads, g_v, ratios, out=grads)
        return True

    # ---------------------------------------------------------------- any other tensors
    def _project_with_torch(self, scale: float) -> None:
        products, squares = [], []
        for block in self._layout.blocks:
            g, omega = block.views("orthogonal"), block.gradients()
            products.append(block.reduce(torch.cat([_sums(omega[s], g[s]) for s in block.slices])))  # [tensors]
            squares.append(block.tensor_norms(g).square())
        if self.scope == "global":
            products, squares = self._shared(products), self._shared(squares)
        for block, product, square in zip(self._layout.blocks, products, squares, strict=True):
            share = torch.where(square > 0, product / square, 0.0)
            g = block.views("orthogonal")
            torch._foreach_mul_(g, list((-share).unbind()))
            torch._foreach_add_(g, block.gradients())
            torch._foreach_mul_(g, list((self._above_rounding(block, g) / scale).unbind()))

    @staticmethod
    def _above_rounding(block: Block, g: list[Tensor]) -> Tensor:
        """0 for tensors whose g_v is what rounding left (ω parallel to g, as with a single number), 1 for the others."""
        limit = 16 * torch.finfo(block.work_dtype).eps
        return (block.tensor_norms(g) > limit * block.tensor_norms(block.gradients())).to(g[0].dtype)

    def _add_with_torch(self) -> None:
        cache = self._orthogonal.cache
        if "sizes" not in cache:
            cache["sizes"] = self._sizes(self._orthogonal.lists())
        sizes = self._sizes(self._block_gradients())
        for block, size, orthogonal in zip(self._layout.blocks, sizes, cache["sizes"], strict=True):
            _add_scaled(block, self.alpha * size / (orthogonal + 1e-8))

    def _sizes(self, lists: list[list[Tensor]]) -> list[Tensor]:
        """Norm of each tensor, or, with global scope, the global norm for each."""
        sizes = [block.tensor_norms(tensors) for block, tensors in zip(self._layout.blocks, lists, strict=True)]
        if self.scope == "global":
            return [square.sqrt() for square in self._shared([size.square() for size in sizes])]
        return sizes

    def _shared(self, values: list[Tensor]) -> list[Tensor]:
        """Replace each tensor's number by the sum over all tensors."""
        total = self._layout.total([value.sum() for value in values])
        return [total.to(value).expand_as(value) for value in values]


def _sums(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """⟨a⁽ᵐ⁾, b⁽ᵐ⁾⟩ for each tensor, from 1-norms: Σx = 2‖max(x, 0)‖₁ − ‖x‖₁ (there is no fused sum)."""
    product = torch._foreach_mul(b, a)
    absolute = torch.stack(torch._foreach_norm(product, 1))
    torch._foreach_clamp_min_(product, 0.0)
    return 2.0 * torch.stack(torch._foreach_norm(product, 1)) - absolute


def _add_scaled(block: Block, factors: Tensor) -> None:
    """p.grad += factor · g_v, each tensor with a factor of its own."""
    pairs = list(zip(block.gradients(), block.views("orthogonal"), factors.unbind(), block.params, strict=True))
    present = [(grad, stored, factor) for grad, stored, factor, p in pairs if p.grad is not None]
    if present:
        grads, stored, factors = (list(column) for column in zip(*present, strict=True))
        torch._foreach_addcmul_(grads, stored, factors)
