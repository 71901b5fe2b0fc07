"""AE-SAM: a SAM step only where the gradient is larger than usual."""

from __future__ import annotations

import math
from typing import Any

import torch

from dc_graphsam.exceptions import InvalidArgumentError, check_range, check_whole
from dc_graphsam.optim.methods.sam import SAM
from dc_graphsam.optim.perturbed.perturbation import Direction
from dc_graphsam.optim.stepping.construction import MakesBase

__all__ = ["AESAM"]


class AESAM(SAM):
    r"""SAM where the squared gradient norm exceeds a moving threshold, the base optimizer elsewhere.

    .. math::
        s_t = \|g_t\|^2,\quad \mu_t = \delta\mu_{t-1} + (1-\delta)s_t,\quad
        \sigma_t^2 = \delta\sigma_{t-1}^2 + (1-\delta)(s_t-\mu_t)^2

    .. math:: \text{SAM step if } s_t \ge \mu_t + c_t\sigma_t,\qquad c_t = \tfrac{t}{T}\lambda_1 + (1-\tfrac{t}{T})\lambda_2

    Jiang et al., "An Adaptive Policy to Employ Sharpness-Aware Minimization" (ICLR 2023). Passes per step: 1 + the share of
    steps that fire. One number per step is read from the device: the method has to branch on it. The default numbers make
    about half of the steps fire; they are not claimed to be those of the article.

    Parameters
    ----------
    total_steps : int
        Planned number T of steps; after it c = λ₁.
    lambda_1, lambda_2 : float
        λ₁ (at the end) and λ₂ (at the start): larger fires less, −inf always, +inf never.
    delta : float
        δ in [0, 1).
    debias : bool
        Divide μ and σ² by 1 − δᵗ, so that the first steps are judged fairly; by default they nearly always fire.

    Raises
    ------
    InvalidArgumentError
        If an option is unknown or out of its range, or ``total_steps`` is missing.

    Examples
    --------
    >>> from dc_graphsam.optim import closure_of
    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = AESAM([w], torch.optim.SGD, lr=0.1, total_steps=4)
    >>> closure = closure_of(optimizer, lambda: 0.5 * w.square().sum())
    >>> [(optimizer.step(closure), optimizer.last.passes)[1] for _ in range(4)]
    [2, 2, 2, 2]
    """

    method = "ae-sam"
    _numbers = ("mean", "variance")

    def __init__(
        self,
        params: Any,
        base_optimizer: MakesBase = torch.optim.Adam,
        rho: float = 0.05,
        *,
        total_steps: int | None = None,
        lambda_1: float = -1.0,
        lambda_2: float = 1.0,
        delta: float = 0.9,
        debias: bool = False,
        **options: Any,
    ) -> None:
        self.total_steps = check_whole("total_steps", total_steps)
        for name, value in (("lambda_1", lambda_1), ("lambda_2", lambda_2)):
            if not isinstance(value, (int, float)) or math.isnan(value):
                raise InvalidArgumentError(f"{name} is {value!r}; accepted: a number, -inf and inf included")
        self.lambda_1, self.lambda_2 = float(lambda_1), float(lambda_2)
        self.delta = check_range("delta", delta, 0, 1, bounds="[)")
        self.debias = debias
        self.mean, self.variance = 0.0, math.exp(-10.0)
        self._pending: tuple[float, float] | None = None
        super().__init__(params, base_optimizer, rho, **options)

    def _ascent(self, clean: bool) -> Direction | None:
        direction = super()._ascent(clean)
        if direction is None:
            return None
        norm = float(direction.norm(self._layout))
        if not math.isfinite(norm):
            return direction
        square = norm**2
        mean = self.delta * self.mean + (1 - self.delta) * square
        variance = self.delta * self.variance + (1 - self.delta) * (square - mean) ** 2
        self._pending = mean, variance
        return direction if square >= self._threshold(mean, variance) else None

    def _threshold(self, mean: float, variance: float) -> float:
        if self.debias:
            correction = 1 - self.delta ** (self.steps + 1)
            mean, variance = mean / correction, variance / correction
        progress = min(self.steps / self.total_steps, 1.0)
        shares = ((progress, self.lambda_1), (1 - progress, self.lambda_2))
        c = sum(share * value for share, value in shares if share)  # 0 · inf is no number
        return c if math.isinf(c) else mean + c * math.sqrt(variance)

    def _commit(self) -> None:
        if self._pending is not None:
            self.mean, self.variance = self._pending
        self._pending = None

    def _abort(self) -> None:
        self._pending = None
