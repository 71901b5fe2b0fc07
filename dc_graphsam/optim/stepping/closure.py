"""Driving an optimizer with a closure: all passes of a step, and what a closure may not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.optim.looking.probing import ProbeMixin
from dc_graphsam.optim.perturbed.batch_norm import frozen_running_statistics
from dc_graphsam.optim.perturbed.noise import SameNoise

__all__ = ["ClosureMixin", "closure_of", "detached"]


class ClosureMixin(ProbeMixin):
    """The whole step around a closure, in terms of the phases of :class:`~dc_graphsam.optim.stepping.step.StepMixin`."""

    def _step_with_closure(self, closure: Callable[[], Any]) -> Any:
        if self._ascended or self._observed or self._layout.displaced:
            self.skip_step()  # a train() before has no say: the closure takes its gradients where the step needs them
        clean = self.wants_clean_gradient
        noise = None
        guard = self._foreign_gradient()
        done = False
        try:
            first = second = None
            if self.wants_probe:
                self._run_probe(closure)
            if clean:
                unsynced = nullcontext if self.sync_perturbation else getattr(self.model, "no_sync", nullcontext)
                noise = SameNoise({p.device for group in self.param_groups for p in group["params"]}, self.same_noise)
                with noise.record(), unsynced(), self._uncleared_refused(guard):
                    first = self._first_pass(closure)
            self._asked = clean
            answer = self.ascend(None, detached(first), reuse_gradient=True)
            again = self._second if answer is None else answer  # an override may have forgotten to return it
            if again and clean:
                with noise.replay(), frozen_running_statistics(self.model):
                    second = self._second_pass(closure)
            elif again and guard is not None:
                with self._uncleared_refused(guard):
                    second = self._second_pass(closure)
            elif again:
                second = self._second_pass(closure)
            last = first if second is None else second
            self._undisturbed = True
            self.observe(last)
            self._descend()
            done = True
        finally:
            if not done:  # an exception, Ctrl-C included, leaves clean weights behind
                self.skip_step()
        return last if first is None else first

    def _sample(self) -> Tensor | None:
        """Some parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and not hasattr(p, "placements"):
                    return p
        return None

    def _foreign_gradient(self) -> Tensor | None:
        """A parameter with a gradient that the step before did not leave there; None if there is none."""
        p, (left, version) = self._sample(), self._left
        if p is None or (p.grad is left and left._version == version) or self._off():
            return None
        return p

    @contextmanager
    def _uncleared_refused(self, p: Tensor | None) -> Iterator[None]:
        """Refuse a closure that adds to gradients from before: micro-batches that never saw the perturbed weights.

        The gradient of ``p`` is not a number meanwhile, which a closure that clears gradients does not notice.
        """
        if p is None:
            yield
            return
        p.grad = mark = torch.full_like(p, torch.nan)
        yield
        if p.grad is mark and bool(mark.isnan().all()):
            self._clear_gradients()
            raise InvalidArgumentError(
                "closure adds to gradients that were there before step(closure), which were not taken at the weights of this "
                "step; accepted: a closure that clears the gradients and runs all micro-batches of the step (in Lightning: "
                "accumulate_grad_batches=1)"
            )

    def _first_pass(self, closure: Callable[..., Any]) -> Any:
        return self._run(closure, weighted=False)

    def _second_pass(self, closure: Callable[..., Any]) -> Any:
        return self._run(closure, weighted=not self._off())

    def _run(self, closure: Callable[[], Any], weighted: bool) -> Any:
        """One pass, and its loss."""
        with torch.enable_grad():
            loss = closure()
        if self.loss_weighting != "elementwise":
            return loss
        if not isinstance(loss, Tensor) or loss.dim() == 0 or loss.grad_fn is None:
            raise InvalidArgumentError(
                "the closure returned a reduced loss; loss_weighting='elementwise' accepts the unreduced loss of the measured "
                "elements, with at least one axis, on which backward has not been called"
            )
        loss.backward(loss.detach()) if weighted else loss.mean().backward()
        return loss.detach().mean()


def detached(loss: Any) -> Any:
    """The loss without its graph."""
    return loss.detach() if isinstance(loss, Tensor) else loss


def closure_of(optimizer: Any, loss: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The closure that ``step`` takes: it clears the gradients, runs forward and backward, and returns the loss.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Whose ``zero_grad`` clears.
    loss : callable
        Runs forward and returns the loss, with its graph.

    Examples
    --------
    >>> from dc_graphsam.optim import SAM, closure_of
    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = SAM([w], torch.optim.SGD, lr=0.1)
    >>> optimizer.step(closure_of(optimizer, lambda: 0.5 * w.square().sum())).item()
    12.5
    """

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    return closure
