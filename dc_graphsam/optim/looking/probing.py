"""The passes that a :class:`GradientProbe` needs beside those of the method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from dc_graphsam.optim.perturbed.batch_norm import frozen_running_statistics
from dc_graphsam.optim.perturbed.noise import SameNoise

__all__ = ["ProbeMixin"]


class ProbeMixin:
    """Asks ``optimizer.probe`` when it is due, and shows it the gradient at the clean weights."""

    @property
    def wants_probe(self) -> bool:
        """Whether ``probe`` is due at this step and needs a pass at the clean weights, which the step itself does not make."""
        due = self.probe is not None and self.probe.due(self.steps) and not self._ascended
        return due and not self._off() and not self.wants_clean_gradient

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Around a probe's pass: :meth:`train`, which a trainer may call before each forward pass, leaves the weights at θ."""
        self._ascended = True
        try:
            yield
        finally:
            self._ascended = False

    @torch.no_grad()
    def probe_clean_gradient(self, grad_scale: float | Tensor | None = None) -> None:
        """Show the gradient of a probe's pass, in ``p.grad``, to ``probe``, and clear it.

        Call it before phase 1 where :attr:`wants_probe` says so, after forward and backward at the clean weights, these in
        ``with optimizer.probing()``; the caller puts random generators and running statistics back.

        Parameters
        ----------
        grad_scale : float or Tensor, optional
            Loss scale that the gradients carry.
        """
        if grad_scale is not None:
            torch._foreach_mul_(self._gradients(), 1.0 / grad_scale)
        if self._layout.blocks:
            self.probe.clean_gradient(self)
        self._clear_gradients()

    def _run_probe(self, closure: Callable[..., Any]) -> None:
        noise = SameNoise({p.device for p in self.param_groups[0]["params"]})
        with self.probing(), noise.record(), frozen_running_statistics(self.model):
            self._first_pass(closure)
        self.probe_clean_gradient()
        noise.rewind()
