"""Momentum-SAM: perturb along the momentum that the base optimizer keeps anyway."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dc_graphsam.exceptions import InvalidArgumentError, check_choice
from dc_graphsam.optim.memory.block import Block, local
from dc_graphsam.optim.perturbed.perturbation import Direction
from dc_graphsam.optim.stepping.base import SharpnessAwareOptimizer
from dc_graphsam.optim.stepping.construction import MakesBase

__all__ = ["MomentumSAM"]

_KEYS = ("exp_avg", "momentum_buffer")


class MomentumSAM(SharpnessAwareOptimizer):
    r"""Sharpness-aware minimization without a second gradient: the base optimizer's momentum stands for it.

    .. math:: \hat\varepsilon_t = -\rho\,\frac{v_t}{\|v_t\|}\quad\text{(article)},\qquad
        \hat\varepsilon_t = +\rho\,\frac{v_t}{\|v_t\|}\quad\text{(ascent)},\qquad
        d_t = \nabla L_t(\theta_t + \hat\varepsilon_t)

    with v the accumulated gradients, :math:`v \leftarrow \mu v + d`, the momentum buffer of SGD or the first moment of Adam.
    Becker, Altrock and Risse, "Momentum-SAM: Sharpness Aware Minimization without Computational Overhead" (arXiv
    2401.12033). One pass per step, no state of its own; the first step, before there is a momentum, is plain.

    On the sign: the article perturbs "in the direction of the accumulated momentum vector" and means the direction in which
    the momentum carries the weights, −v, as Nesterov's method looks ahead, only further. Its algorithm and its code subtract
    ρ v/‖v‖ and call that the ascent step (``optimizer/msam.py``, ``optimizer/adamW_msam.py`` of github.com/MarlonBecker/MSAM):
    so far ahead, past the valley floor, the loss rises again along sharp directions. Read as an approximation of SAM, with v
    in place of g, the sign is the other one: +v points up the averaged gradient, as GraphSAM's ε does.

    Parameters
    ----------
    params, **options
        As for :class:`SharpnessAwareOptimizer`.
    base_optimizer : type or callable
        One with a momentum: its state has ``exp_avg`` or ``momentum_buffer``.
    rho : float
        Radius ρ; the authors use larger ones than for SAM (their code has 0.3 with SGD, 1 with AdamW).
    direction : {"article", "ascent"}
        ``"article"``: −ρ v/‖v‖. ``"ascent"``: +ρ v/‖v‖.

    Raises
    ------
    InvalidArgumentError
        If an option is unknown or out of its range; at the second step, if the base optimizer has no momentum.

    Examples
    --------
    >>> from dc_graphsam.optim import closure_of
    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = MomentumSAM([w], torch.optim.SGD, lr=0.1, momentum=0.9, rho=0.5)
    >>> closure = closure_of(optimizer, lambda: 0.5 * w.square().sum())
    >>> norms = []
    >>> for _ in range(3):
    ...     _ = optimizer.step(closure)
    ...     norms.append(round(float(optimizer.last.perturbation_norm), 6))
    >>> norms
    [0.0, 0.5, 0.5]
    """

    method = "momentum-sam"

    def __init__(
        self,
        params: Any,
        base_optimizer: MakesBase = torch.optim.Adam,
        rho: float = 0.3,
        *,
        direction: str = "article",
        **options: Any,
    ) -> None:
        self.direction = check_choice("direction", direction, ("article", "ascent"))
        super().__init__(params, base_optimizer, rho=rho, **options)

    def _wants_clean(self) -> bool:
        return False

    def _sign(self, group: dict[str, Any]) -> float:
        return 1.0  # a base optimizer that maximizes averages negated gradients

    def _ascent(self, clean: bool) -> Direction | None:
        lists = [self._momenta(block) for block in self._layout.blocks]
        if not any(m is not None for momenta in lists for m in momenta):
            if self.steps and self._layout.blocks:
                raise InvalidArgumentError(
                    f"base_optimizer {type(self.base_optimizer).__name__} keeps no momentum; accepted: one whose state has "
                    f"{' or '.join(map(repr, _KEYS))}, such as torch.optim.SGD with momentum > 0, or torch.optim.Adam"
                )
            return None
        filled = [
            [block.zeros()[i] if m is None else m for i, m in enumerate(momenta)]
            for block, momenta in zip(self._layout.blocks, lists, strict=True)
        ]
        return Direction(filled, fresh=False, gain=-1.0 if self.direction == "article" else 1.0)

    def _momenta(self, block: Block) -> list[Tensor | None]:
        states = [self.state.get(p, {}) for p in block.params]
        found = [next((state[key] for key in _KEYS if state.get(key) is not None), None) for state in states]
        return [None if m is None else local(m) for m in found]
