"""RST: SAM steps drawn at random."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor

from dc_graphsam.exceptions import check_range, check_whole
from dc_graphsam.optim.memory.block import local
from dc_graphsam.optim.methods.sam import SAM
from dc_graphsam.optim.perturbed.perturbation import Direction
from dc_graphsam.optim.stepping.construction import MakesBase

__all__ = ["RST"]


class RST(SAM):
    r"""Randomised sharpness-aware training (also called SS-SAM): a coin decides whether a step is SAM's.

    .. math:: d_t = \begin{cases} (1-\kappa)\,g_t + \kappa\,\omega_t & X_t = 1\\ g_t & X_t = 0\end{cases},\qquad
        X_t \sim \mathrm{Bernoulli}(p_t)

    Zhao et al., "Randomized Sharpness-Aware Training for Boosting Computational Efficiency in Deep Learning" (2022).
    κ = 1 is RST, any other G-RST (which also keeps g over pass B). Passes per step: 1 + p. The coin of a step depends on ``seed`` and the step's number only,
    so that all processes throw the same, and a resumed run goes on with the same coins.

    Parameters
    ----------
    p : float
        Probability of a SAM step, in [0, 1].
    p_end : float, optional
        Probability after ``total_steps`` steps; in between it changes linearly. Constant by default.
    total_steps : int, optional
        Needed with ``p_end``.
    kappa : float
        κ >= 0.
    seed : int
        Seed of the coins.

    Examples
    --------
    >>> from dc_graphsam.optim import closure_of
    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = RST([w], torch.optim.SGD, lr=0.1, p=0.5)
    >>> closure = closure_of(optimizer, lambda: 0.5 * w.square().sum())
    >>> passes = 0
    >>> for _ in range(100):
    ...     _ = optimizer.step(closure)
    ...     passes += optimizer.last.passes
    >>> 130 < passes < 170
    True
    """

    method = "rst"
    _numbers = ("seed",)

    def __init__(
        self,
        params: Any,
        base_optimizer: MakesBase = torch.optim.Adam,
        rho: float = 0.05,
        *,
        p: float = 0.5,
        p_end: float | None = None,
        total_steps: int | None = None,
        kappa: float = 1.0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.p = check_range("p", p, 0, 1)
        self.p_end = p if p_end is None else check_range("p_end", p_end, 0, 1)
        self.total_steps = check_whole("total_steps", total_steps, optional=p_end is None)
        self.kappa = check_range("kappa", kappa, 0)
        self.seed = check_whole("seed", seed, 0)
        self._clean_gradients: list[list[Tensor]] = []
        super().__init__(params, base_optimizer, rho, **options)

    def _wants_clean(self) -> bool:
        progress = 0.0 if self.total_steps is None else min(self.steps / self.total_steps, 1.0)
        return coin(self.seed, self.steps) < self.p + (self.p_end - self.p) * progress

    def _ascent(self, clean: bool) -> Direction | None:
        direction = super()._ascent(clean)
        if direction is not None and self.kappa != 1:
            direction.disposable = False
            self._clean_gradients = direction.lists
        return direction

    def _direct(self, scale: float) -> None:
        for block, gradients in zip(self._layout.blocks, self._clean_gradients):  # no lists with kappa = 1
            pairs = [(local(p.grad), g) for p, g in zip(block.params, gradients, strict=True) if p.grad is not None]
            if pairs:
                omega, g = (list(column) for column in zip(*pairs, strict=True))
                torch._foreach_mul_(omega, self.kappa)
                torch._foreach_add_(omega, torch._foreach_mul(g, (1.0 - self.kappa) * scale))
        self._clean_gradients = []

    def _abort(self) -> None:
        self._clean_gradients = []


def coin(seed: int, step: int) -> float:
    """A number in [0, 1) that depends on ``seed`` and ``step`` only."""
    return random.Random((seed << 40) + step).random()
