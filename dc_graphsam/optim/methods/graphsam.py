r"""GraphSAM: SAM at the cost of one extra pass per epoch.

Symbols of the paper and the arguments they are here:

===================  =========================================  ==========================================================
symbol               argument                                   meaning
===================  =========================================  ==========================================================
ρ (:math:`\rho_0`)   ``rho``                                    radius of the perturbation
β                    ``beta``                                   weight of the past in the moving average
γ                    ``gamma``                                  factor of the radius at one update
λ                    ``rho_update_epochs``                      epochs between two updates of the radius
K                    ``anchor_every_epochs``                    epochs between two anchors (GraphSAM-K)
ε                    state ``"epsilon"``                        perturbation gradient, a moving average
ε̂                    ``last.perturbation_norm`` is its norm     perturbation of the weights
g                    ``p.grad`` after pass A                    gradient at the clean weights
ω                    ``p.grad`` after pass B                    updating gradient, at the perturbed weights
===================  =========================================  ==========================================================

In the released code β is called ``--alpha`` and λ ``--epoch_steps``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dc_graphsam.exceptions import check_choice, check_range, check_whole
from dc_graphsam.optim.memory.block import Scalar
from dc_graphsam.optim.memory.vector import StoredVector
from dc_graphsam.optim.methods.sam import PRESETS
from dc_graphsam.optim.perturbed.perturbation import Direction
from dc_graphsam.optim.stepping.base import SharpnessAwareOptimizer
from dc_graphsam.optim.stepping.construction import MakesBase

__all__ = ["GraphSAM"]

_PRESETS = {
    "paper": {"rho_schedule": "paper", "scale": "global", "omega_norm": "global"},
    "released": {
        "rho_schedule": "released",
        "scale": "released",
        "omega_norm": "tensor",
        "adaptive": True,
        "clip_radius": 0.05,
        "groups": "first",
        "loss_weighting": "loss",
    },
}


class GraphSAM(SharpnessAwareOptimizer):
    r"""Sharpness-aware minimization with a moving average in place of the second gradient.

    .. math::
        \varepsilon_t = \begin{cases} g_t & \text{first step of an epoch (anchor)}\\
        \beta\,\varepsilon_{t-1} + (1-\beta)\,\omega_{t-1}/\|\omega_{t-1}\| & \text{otherwise}\end{cases}
        \qquad \hat\varepsilon_t = \rho\,\frac{\varepsilon_t}{\|\varepsilon_t\|}\qquad
        \omega_t = \nabla L_t(\theta_t + \hat\varepsilon_t)

    Equation 3 and Algorithm 1 of "Efficient Sharpness-Aware Minimization for Molecular Graph Transformer Models" (ICLR
    2024). An anchor takes two forward-backward passes, every other step one: n + 1 passes per epoch of n steps. Memory: two
    copies of the trainable weights beyond the base optimizer's (ε and, during a step, θ).

    Parameters
    ----------
    rho : float
        Initial radius ρ >= 0.
    beta : float
        β in [0, 1).
    gamma, rho_update_epochs, rho_schedule
        Factor γ > 0, interval λ >= 1 and name of the radius schedule, see :class:`RhoSchedule`; ``"paper"`` by default.
    anchor_every_epochs : int or None
        K >= 1 of GraphSAM-K: an anchor at the start of every K-th epoch. None anchors once, at the start of training.
    preset : {"paper", "released"}
        ``"paper"`` follows the equations. ``"released"`` follows the published code: elementwise adaptive, a scale that lets
        the per-tensor clipping (``clip_radius=0.05``) decide on all steps but anchors, ω normalised tensor by tensor, a
        compounding schedule, first group only, gradient multiplied by the loss. Options given explicitly win.
    anchor : {"extra-pass", "in-stream"}
        ``"in-stream"``: the first step of an epoch is a plain base step whose gradient becomes the anchor. No step has two
        passes, and no closure is needed.
    anchor_every : int, optional
        An anchor every so many steps, for streams without epochs. Where ``set_epoch`` is never called, such a period stands
        for an epoch of the radius schedule.
    anchor_scale : {"raw", "unit"}
        Whether the anchor enters as g (paper) or as g/‖g‖; raw, its share lasts ln(1+‖g‖)/(−ln β) steps.
    scale : {"global", "released"}
        ``"global"``: ρ ε/‖ε‖. ``"released"``: between anchors ρ·10¹²·ε per tensor, cut to ``clip_radius``.
    omega_norm : {"global", "tensor"}
        Norm that divides ω in the average; ``"tensor"``: each tensor by its own, 1e-8 added to every entry.
    adaptive, clip_radius, groups, loss_weighting
        See :class:`SharpnessAwareOptimizer`; ``clip_radius=float("inf")`` turns the preset's clipping off.

    Raises
    ------
    InvalidArgumentError
        If an option is unknown or out of its range; at the first step, if ``set_epoch`` was never called and epochs matter.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> x, y = torch.randn(12, 3), torch.randn(12, 1)
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = GraphSAM(model.parameters(), torch.optim.Adam, lr=1e-2, rho=0.05, beta=0.99)
    >>> passes = []
    >>> for epoch in range(2):
    ...     optimizer.set_epoch(epoch)
    ...     for i in range(0, 12, 4):
    ...         def closure():
    ...             optimizer.zero_grad()
    ...             loss = (model(x[i : i + 4]) - y[i : i + 4]).square().mean()
    ...             loss.backward()
    ...             return loss
    ...         loss = optimizer.step(closure)
    ...         passes.append(optimizer.last.passes)
    >>> passes, optimizer.last.rho
    ([2, 1, 1, 2, 1, 1], 0.025)
    """

    method = "graphsam"

    def __init__(
        self,
        params: Any,
        base_optimizer: MakesBase = torch.optim.Adam,
        rho: float = 0.05,
        beta: float = 0.99,
        gamma: float = 0.5,
        rho_update_epochs: int = 1,
        anchor_every_epochs: int | None = 1,
        rho_schedule: str | None = None,
        preset: str = "paper",
        anchor: str = "extra-pass",
        *,
        anchor_every: int | None = None,
        anchor_scale: str = "raw",
        scale: str | None = None,
        omega_norm: str | None = None,
        **options: Any,
    ) -> None:
        preset_options = dict(_PRESETS[check_choice("preset", preset, PRESETS)])
        given = {"rho_schedule": rho_schedule, "scale": scale, "omega_norm": omega_norm}
        options = {**preset_options, **{k: v for k, v in given.items() if v is not None}, **options}
        self.beta = check_range("beta", beta, 0, 1, bounds="[)")
        self.anchor_every_epochs = check_whole("anchor_every_epochs", anchor_every_epochs, optional=True)
        self.anchor_every = check_whole("anchor_every", anchor_every, optional=True)
        self.anchor = check_choice("anchor", anchor, ("extra-pass", "in-stream"))
        self.anchor_scale = check_choice("anchor_scale", anchor_scale, ("raw", "unit"))
        scale = check_choice("scale", options.pop("scale"), ("global", "released"))
        self.omega_norm = check_choice("omega_norm", options.pop("omega_norm"), ("global", "tensor"))
        super().__init__(params, base_optimizer, rho=rho, gamma=gamma, rho_update_epochs=rho_update_epochs, **options)
        self._shape = replace(self._shape, released=scale == "released")
        self._epsilon = self._stored_vector("epsilon")
        self._anchoring = False  # whether the step under way has set ε anew

    @property
    def epsilon(self) -> dict[int, Tensor]:
        """ε by parameter index (copies); empty before the first anchor."""
        return self._epsilon.values() if self._epsilon.filled else {}

    # ---------------------------------------------------------------- hooks
    def _anchor_due(self) -> bool:
        if not self._epsilon.filled:
            return True
        if self.anchor_every is not None:
            return self.steps % self.anchor_every == 0
        every = self.anchor_every_epochs
        return self.steps_in_epoch == 0 and every is not None and self.epoch is not None and self.epoch % every == 0

    def _wants_clean(self) -> bool:
        return self.anchor == "extra-pass" and self._anchor_due()

    def _ascent(self, clean: bool) -> Direction | None:
        if clean:
            self._set_anchor(1.0)
        elif self._anchor_due():  # in-stream: a plain step
            return None
        return Direction.of(self._epsilon, fresh=clean)

    def _observe(self, scale: float, norm: Scalar | None) -> Scalar | None:
        if not self._clean and self._anchor_due():
            return self._set_anchor(scale)
        if not self._epsilon.filled:  # the anchor was not finite
            return None
        if self.omega_norm == "tensor":
            return self._epsilon.average_per_tensor(self._block_gradients(), self.beta, scale)
        later = self._average_later()
        self._record.gradient_norm = norm = self._epsilon.average(self._block_gradients(), self.beta, norm, later)
        return norm

    def _due(self) -> StoredVector | None:
        return self._epsilon if self._epsilon.due is not None else None

    def _set_anchor(self, scale: float) -> Scalar:
        if not self._layout.blocks:
            return 0.0
        self._epsilon.set(self._block_gradients(), unit=self.anchor_scale == "unit", divide=scale)
        self._anchoring = True
        norm = self._epsilon.norm()
        if not isinstance(norm, Tensor) and not math.isfinite(norm):
            self._epsilon.filled = False
        return norm

    def _commit(self) -> None:
        self._anchoring = False

    def _abort(self) -> None:
        self._epsilon.due = None
        if self._anchoring:
            self._epsilon.filled = self._anchoring = False

    def _needs_epoch(self) -> bool:
        if self.anchor_every is not None:
            return False
        return self.anchor_every_epochs is not None or super()._needs_epoch()

    def _schedule_epoch(self) -> int:
        if self.epoch is None and self.anchor_every is not None:
            return self.steps // self.anchor_every
        return self.epoch or 0

    def _epoch_reason(self) -> str:
        return "anchors at the start of epochs" if self.anchor_every_epochs is not None else super()._epoch_reason()

    def _epoch_remedy(self) -> str:
        return ", or anchor_every=<steps> for a stream without epochs"
