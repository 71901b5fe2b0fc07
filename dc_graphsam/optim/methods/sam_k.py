"""SAM-k and SAM-One: the perturbation gradient is measured now and then, and reused in between."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dc_graphsam.exceptions import InvalidArgumentError, check_choice, check_whole
from dc_graphsam.optim.perturbed.perturbation import Direction
from dc_graphsam.optim.stepping.base import SharpnessAwareOptimizer
from dc_graphsam.optim.stepping.construction import MakesBase

__all__ = ["SAMOne", "SAMk"]


class SAMk(SharpnessAwareOptimizer):
    r"""SAM with the ascent direction refreshed every k steps.

    .. math::
        \varepsilon_t = \begin{cases} g_t & t \bmod k = 0\\ \varepsilon_{t-1} & \text{otherwise}\end{cases}\qquad
        \hat\varepsilon_t = \rho_t\,\frac{\varepsilon_t}{\|\varepsilon_t\|},\qquad d_t = \nabla L_t(\theta_t+\hat\varepsilon_t)

    Section 4.1 and appendix A.4 of the GraphSAM paper (ICLR 2024), k = 8. Passes per step: 1 + 1/k; k = 1 is SAM.

    Parameters
    ----------
    k : int
        Steps between two refreshes, >= 1.
    stale : {"reuse", "skip"}
        Between refreshes perturb along the old direction (the paper, in whose words SAM-One is k = ∞), or make plain base
        steps (what the LookSAM article calls SAM-k).

    Examples
    --------
    >>> from dc_graphsam.optim import closure_of
    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = SAMk([w], torch.optim.SGD, lr=0.1, rho=0.5, k=2)
    >>> closure = closure_of(optimizer, lambda: 0.5 * w.square().sum())
    >>> [(optimizer.step(closure), optimizer.last.passes)[1] for _ in range(4)]
    [2, 1, 2, 1]
    """

    method = "sam-k"

    def __init__(
        self,
        params: Any,
        base_optimizer: MakesBase = torch.optim.Adam,
        rho: float = 0.05,
        k: int = 8,
        *,
        stale: str = "reuse",
        **options: Any,
    ) -> None:
        self.k = check_whole("k", k)
        self.stale = check_choice("stale", stale, ("reuse", "skip"))
        super().__init__(params, base_optimizer, rho=rho, **options)
        self._epsilon = self._stored_vector("epsilon")
        self._refreshing = False

    def _refresh_due(self) -> bool:
        if self.stale == "reuse" and not self._epsilon.filled:
            return True
        return self.steps % self.k == 0

    def _wants_clean(self) -> bool:
        return self._refresh_due()

    def _ascent(self, clean: bool) -> Direction | None:
        if self.stale == "skip":
            return Direction(self._block_gradients()) if clean else None
        if clean:
            self._epsilon.set(self._block_gradients())
            self._refreshing = True
            norm = self._epsilon.norm()
            if not isinstance(norm, Tensor) and not math.isfinite(norm):
                self._epsilon.filled = False
        return Direction.of(self._epsilon, fresh=clean)

    def _commit(self) -> None:
        self._refreshing = False

    def _abort(self) -> None:
        if self._refreshing:
            self._epsilon.filled = self._refreshing = False


class SAMOne(SAMk):
    r"""SAM with the ascent direction of the very first step: :math:`\hat\varepsilon_t = \rho_t\, g_0/\|g_0\|`.

    Section 4.1 of the GraphSAM paper (ICLR 2024): SAM-k with k = ∞, GraphSAM with one anchor and β = 1. One pass per step
    but the first. An ablation, not a method to train with.

    Examples
    --------
    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> SAMOne([w], torch.optim.SGD, lr=0.1, rho=0.5).wants_clean_gradient
    True
    """

    method = "sam-one"

    not_options = ("k", "stale")  # of its base class

    def __init__(
        self, params: Any, base_optimizer: MakesBase = torch.optim.Adam, rho: float = 0.05, **options: Any
    ) -> None:
        for name in self.not_options:
            if name in options:
                raise InvalidArgumentError(
                    f"{name} is no argument of SAMOne, whose direction is never refreshed; accepted with SAMk"
                )
        super().__init__(params, base_optimizer, rho, k=1, **options)

    def _refresh_due(self) -> bool:
        return not self._epsilon.filled
