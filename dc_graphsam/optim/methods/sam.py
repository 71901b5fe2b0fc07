"""SAM and its elementwise adaptive form."""

from __future__ import annotations

from typing import Any

import torch

from dc_graphsam.exceptions import check_choice
from dc_graphsam.optim.perturbed.perturbation import Direction
from dc_graphsam.optim.stepping.base import SharpnessAwareOptimizer
from dc_graphsam.optim.stepping.construction import MakesBase

__all__ = ["ASAM", "PRESETS", "SAM"]

PRESETS = ("paper", "released")


class SAM(SharpnessAwareOptimizer):
    r"""Sharpness-aware minimization: descend with the gradient taken at the worst point of a ball around the weights.

    .. math::
        \hat\varepsilon_t = \rho\,\frac{g_t}{\|g_t\|},\qquad g_t = \nabla L_t(\theta_t),\qquad
        d_t = \omega_t = \nabla L_t(\theta_t + \hat\varepsilon_t)

    Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization" (ICLR 2021); equation 2 of the
    GraphSAM paper (ICLR 2024). Two forward-backward passes per step on the same batch. ε̂ does not change when the loss is
    multiplied by a constant.

    Parameters
    ----------
    preset : {"paper", "released"}
        ``"released"`` is the SAM baseline of the GraphSAM code: elementwise adaptive, constant ρ, each tensor's perturbation
        clipped to a radius of 0.05 that decays by the compounding schedule, first group only, gradient multiplied by the
        loss (``CoMPT-main/sam.py:6,35-45,110-112``, ``train_graph.py:40,91``). Options given explicitly win.

    Examples
    --------
    >>> from dc_graphsam.optim import closure_of
    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = SAM([w], torch.optim.SGD, lr=0.1, rho=0.5)
    >>> closure = closure_of(optimizer, lambda: 0.5 * w.square().sum())
    >>> optimizer.step(closure).item(), w.grad.tolist()  # the gradient at w + 0.5 w/‖w‖
    (12.5, [3.299999952316284, 4.400000095367432])
    """

    method = "sam"

    def __init__(
        self,
        params: Any,
        base_optimizer: MakesBase = torch.optim.Adam,
        rho: float = 0.05,
        *,
        preset: str = "paper",
        **options: Any,
    ) -> None:
        if check_choice("preset", preset, PRESETS) == "released":
            released = {
                "adaptive": True,
                "clip_radius": 0.05,
                "radius_schedule": "released",
                "groups": "first",
                "loss_weighting": "loss",
            }
            options = {**released, **options}
        super().__init__(params, base_optimizer, rho=rho, **options)

    def _ascent(self, clean: bool) -> Direction | None:
        return Direction(self._block_gradients(), disposable=self._disposable()) if clean else None

    def _disposable(self) -> bool:
        """Whether the gradients of pass A may be overwritten: not if a tensor without one is stood in for."""
        return all(p.grad is not None for block in self._layout.blocks for p in block.params)


class ASAM(SAM):
    r"""Adaptive SAM: the ball follows the size of the weights, so that it does not depend on how a layer is scaled.

    .. math:: \hat\varepsilon_t = \rho\,\frac{T^2 g_t}{\|T g_t\|},\qquad T = |\theta| + \eta

    Kwon et al., "ASAM" (ICML 2021). The bound is on :math:`\|T^{-1}\hat\varepsilon\| = \rho`.

    Parameters
    ----------
    rho : float
        Radius ρ, about ten times that of SAM (0.5 for CIFAR-10 in the authors' code).
    eta : float
        η; with 0 a weight that is exactly 0 is never perturbed.
    scope : {"weights", "all"}
        ``"weights"`` (the authors' code, with η = 0.01): T = 1 for tensors that have no "weight" in their name. ``"all"``
        (other public code, with η = 0): T = |θ| + η everywhere. Names come from named ``params`` or from ``model``; without
        names, tensors with two axes or more count as weights.

    Examples
    --------
    >>> from dc_graphsam.optim import closure_of
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = ASAM([w], torch.optim.SGD, lr=0.1, rho=0.5, eta=0.0, scope="all")
    >>> _ = optimizer.step(closure_of(optimizer, w.sum))
    >>> round(float(optimizer.last.perturbation_norm), 4)  # 0.5 ‖θ² g‖ / ‖θ g‖
    0.922
    """

    method = "asam"

    def __init__(
        self,
        params: Any,
        base_optimizer: MakesBase = torch.optim.Adam,
        rho: float = 0.5,
        *,
        eta: float = 0.01,
        scope: str = "weights",
        **options: Any,
    ) -> None:
        options.setdefault("adaptive", True)
        super().__init__(params, base_optimizer, rho, eta=eta, scope=scope, **options)
