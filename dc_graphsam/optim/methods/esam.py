"""ESAM: SAM that perturbs some of the tensors, and descends on the samples whose loss rose most."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dc_graphsam.exceptions import InvalidArgumentError, check_range, check_whole
from dc_graphsam.optim.memory.block import Scalar
from dc_graphsam.optim.methods.sam import SAM
from dc_graphsam.optim.perturbed.perturbation import Direction
from dc_graphsam.optim.stepping.construction import MakesBase

__all__ = ["ESAM"]


class ESAM(SAM):
    r"""Efficient SAM: stochastic weight perturbation and sharpness-sensitive data selection.

    .. math:: \hat\varepsilon^{(m)} = \frac{z_m}{\beta}\,\rho\,\frac{g^{(m)}}{\|g\|},\quad z_m \sim \mathrm{Bernoulli}(\beta),
        \qquad d = \nabla L_{B^+}(\theta + \hat\varepsilon)

    with :math:`B^+` the share γ of the batch whose loss rises most at θ + ε̂. Du et al., "Efficient Sharpness-aware
    Minimization for Improved Training of Neural Networks" (ICLR 2022). Their code switches gradients of unchosen tensors off,
    so that its norm and its next first pass miss them (``utils/Esam.py:46-58``); here they only stay unperturbed.

    Parameters
    ----------
    weight_share : float
        β in (0, 1], share of the tensors that are perturbed; 1 by default (0.5 to 0.6 in the authors' script).
    sample_share : float
        γ in (0, 1], share of the samples in the second pass; 1 by default (0.5 in the authors' script). Below 1 the closure
        takes ``indices`` (None for the whole batch) and returns one loss per sample, without calling backward.
    seed : int
        Seed of the choice of tensors, which depends on it and the step's number only.

    Raises
    ------
    InvalidArgumentError
        If an option is unknown or out of its range, or the closure does not return one loss per sample.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> x, y, layer = torch.randn(8, 3), torch.randn(8), torch.nn.Linear(3, 1)
    >>> optimizer = ESAM(layer.parameters(), torch.optim.SGD, lr=0.1, sample_share=0.5)
    >>> def closure(indices=None):
    ...     part = slice(None) if indices is None else indices
    ...     return (layer(x[part])[:, 0] - y[part]).square()
    >>> loss = optimizer.step(closure)
    >>> optimizer.last.passes
    2
    """

    method = "esam"
    _numbers = ("seed",)

    def __init__(
        self,
        params: Any,
        base_optimizer: MakesBase = torch.optim.Adam,
        rho: float = 0.05,
        *,
        weight_share: float = 1.0,
        sample_share: float = 1.0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.weight_share = check_range("weight_share", weight_share, 0, 1, bounds="(]")
        self.sample_share = check_range("sample_share", sample_share, 0, 1, bounds="(]")
        self.seed = check_whole("seed", seed, 0)
        self._losses: Tensor | None = None
        self._selected = False
        super().__init__(params, base_optimizer, rho, **options)

    def _ascent(self, clean: bool) -> Direction | None:
        direction = super()._ascent(clean)
        if direction is not None and self.weight_share < 1:
            draw = random.Random((self.seed << 40) + self.steps)
            total = sum(len(group["params"]) for group in self.param_groups)
            chosen = [draw.random() < self.weight_share for _ in range(total)]
            direction.chosen = [[chosen[index] for index in block.indices] for block in self._layout.blocks]
            direction.gain = 1.0 / self.weight_share
            if not any(map(any, direction.chosen)):
                return None
        return direction

    def select(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        """Indices of the samples for pass B: those whose loss rose most.

        Parameters
        ----------
        clean, perturbed : Tensor
            Loss of each sample at θ and at θ + ε̂, shape [B]; the latter needs a forward pass only.

        Returns
        -------
        Tensor
            int64, the share ``sample_share`` of B (at least one), by falling rise.
        """
        count = max(1, round(self.sample_share * len(clean)))
        self._selected = True
        return torch.topk(perturbed.detach() - clean.detach(), count).indices  # [count]

    def _observe(self, scale: float, norm: Scalar | None) -> Scalar | None:
        if self.sample_share < 1 and self._moved and not self._selected:
            raise InvalidArgumentError(
                f"sample_share is {self.sample_share}, and no samples were selected for this step; accepted: "
                "step(closure) with a closure that takes indices, or select() between ascend() and pass B"
            )
        return None

    def _commit(self) -> None:
        self._selected, self._losses = False, None

    def _abort(self) -> None:
        self._commit()

    # ---------------------------------------------------------------- closures that return one loss per sample
    def _first_pass(self, closure: Callable[..., Any]) -> Any:
        if self.sample_share == 1:
            return super()._first_pass(closure)
        self._losses = self._descend_on(closure)
        return self._losses.mean()

    def _second_pass(self, closure: Callable[..., Any]) -> Any:
        if self.sample_share == 1:
            return super()._second_pass(closure)
        if self._losses is None:  # switched off: one plain pass
            return self._descend_on(closure).mean()
        with torch.no_grad():
            chosen = self.select(self._losses, closure())
        return self._descend_on(closure, chosen).mean()

    def _descend_on(self, closure: Callable[..., Any], indices: Tensor | None = None) -> Tensor:
        self._clear_gradients()
        with torch.enable_grad():
            losses = closure() if indices is None else closure(indices)
        if not isinstance(losses, Tensor) or losses.dim() != 1 or losses.grad_fn is None:
            raise InvalidArgumentError(
                f"the closure returned {_described(losses)}; sample_share < 1 accepts one loss per sample, shape [B], on which "
                "backward has not been called"
            )
        losses.mean().backward()
        return losses.detach()


def _described(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
