"""Driving an optimizer: with a closure, phase by phase, or from a loop that knows neither."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, optimizer

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.optim.memory.adam import AdamStep
from dc_graphsam.optim.memory.block import Scalar
from dc_graphsam.optim.perturbed.perturbation import perturb
from dc_graphsam.optim.stepping.closure import ClosureMixin, detached
from dc_graphsam.optim.stepping.construction import check_epoch

__all__ = ["StepMixin", "StepRecord"]


@dataclass
class StepRecord:
    """What the last step did.

    Attributes
    ----------
    loss_clean : Tensor or float, optional
        Loss at the clean weights; None if no pass ran there.
    loss_perturbed : Tensor or float, optional
        Loss at the perturbed weights; None if they were not perturbed.
    rho : float
        Radius ρ of the first group that is perturbed at all.
    perturbation_norm : float or Tensor
        ‖ε̂‖, 0 without a perturbation.
    passes : int
        Forward-backward passes.
    gradient_norm : float or Tensor, optional
        Global norm of ω over the perturbed groups, before clipping and with the loss scale that it carried; where the method
        measured it.
    """

    loss_clean: Any = None
    loss_perturbed: Any = None
    rho: float = 0.0
    perturbation_norm: Scalar = 0.0
    passes: int = 0
    gradient_norm: Scalar | None = None


class StepMixin(ClosureMixin):
    """The phases of one step, and the three ways to go through them (see :class:`SharpnessAwareOptimizer`)."""

    def _reset(self) -> None:
        """Forget the step under way."""
        self._ascended = self._perturbed = self._moved = self._observed = self._clean = False
        self._second = True  # whether pass B has to run
        self._asked: bool | None = None  # wants_clean_gradient, where the step has just asked for it
        self._approaching = False  # whether train() is who ascends: the gradients are its caller's
        self._switched_off = self._undisturbed = False
        self.non_finite: bool | Tensor = False
        self._record = StepRecord()

    # ---------------------------------------------------------------- driving
    def set_epoch(self, epoch: int) -> None:
        """Say that the next step is the first of ``epoch`` (0-based); within that epoch, a repeated call does nothing."""
        check_epoch(epoch)
        if epoch != self.epoch:
            approached = self._ascended and not self._clean
            if approached:  # by train(): take the step's point again, for the new epoch
                self.skip_step()
            self.epoch, self.steps_in_epoch = epoch, 0
            if approached and self._hold:
                self._approach()

    @property
    def perturbed(self) -> bool:
        """Whether the weights are at θ + ε̂ now."""
        return self._perturbed

    @property
    def wants_clean_gradient(self) -> bool:
        """Phase 1: whether this step begins with a pass at the clean weights, its gradient in ``p.grad``."""
        if self._ascended:
            return False
        rhos = self.current_rho()
        if self._off(rhos):
            return False
        self._check_ready()
        return any(rhos) and self._wants_clean()

    @torch.no_grad()
    def ascend(self, grad_scale: float | Tensor | None = None, loss: Any = None, reuse_gradient: bool = False) -> bool:
        """Phase 2: θ ← θ + ε̂ with the weights saved, and clear the gradients.

        Parameters
        ----------
        grad_scale : float or Tensor, optional
            Loss scale that the gradients of pass A still carry; it is divided out.
        loss : Tensor or float, optional
            Loss of pass A, for the record.
        reuse_gradient : bool
            If the step turns out to need no second gradient (AE-SAM that does not fire), keep the one there is.

        Returns
        -------
        bool
            Whether pass B has to run. Without ``reuse_gradient`` it always has.

        Raises
        ------
        InvalidArgumentError
            If the clean gradient is wanted and there is none.
        """
        if self._ascended:
            return self._second
        clean = self.wants_clean_gradient if self._asked is None else self._asked
        self._asked = None
        if clean:
            self._take_clean_gradient(grad_scale)
        self._record.loss_clean = detached(loss) if clean else None
        self._climb(clean)
        self._second = not (reuse_gradient and clean and not self._perturbed)
        self._record.passes = int(clean) + int(self._second)
        if self._second and not self._switched_off and not self._approaching:
            self._clear_gradients()
        return self._second

    def _take_clean_gradient(self, grad_scale: float | Tensor | None) -> None:
        grads = self._gradients()
        if not grads:
            raise InvalidArgumentError(
                f"p.grad is None for every parameter, and this step of {type(self).__name__} begins with the gradient at the "
                "clean weights; run forward and backward before ascend() when wants_clean_gradient is True"
            )
        if grad_scale is not None:
            torch._foreach_mul_(grads, 1.0 / grad_scale)

    def _climb(self, clean: bool) -> None:
        """Move to the point where the updating gradient is taken."""
        rhos = self.current_rho()
        self._switched_off = self._off(rhos)
        self._ascended, self._clean = True, clean
        if self._switched_off:
            return
        if clean:
            self._refresh_layout()
            if self.probe is not None:
                self.probe.clean_gradient(self)
        self._record.rho = next(rho for rho, live in zip(rhos, self._live(), strict=True) if live)
        if not any(rhos):
            return
        direction = self._ascent(clean)
        if direction is None or not self._layout.blocks:
            return
        if self.probe is not None:
            self.probe.direction(self, direction)
        rhos = [rho * self._sign(group) for rho, group in zip(rhos, self.param_groups, strict=True)]
        try:
            norm = perturb(self._layout, direction, rhos, self._radii(), self._shape)
        except BaseException:  # Ctrl-C on the way there
            self._layout.restore()
            raise
        self._perturbed = self._moved = norm is not None
        if clean:
            self._flag(direction.norm(self._layout))
        self._record.perturbation_norm = 0.0 if norm is None else norm

    @torch.no_grad()
    def restore(self) -> None:
        """Phase 3: put the clean weights back, the same bits in the same storage; safe at any time."""
        if self._perturbed or self._layout.displaced:
            self._layout.restore()
            self._perturbed = False

    @torch.no_grad()
    def observe(
        self, loss: Any = None, grad_scale: float | Tensor | None = None, grad_norm: Scalar | None = None
    ) -> None:
        """Update the method's state from the gradient in ``p.grad`` and turn it into the direction of descent.

        ``step()`` calls it where the caller has not. Call it before clipping: the state takes the unclipped gradient.

        Parameters
        ----------
        loss : Tensor or float, optional
            Loss of pass B: for the record, and needed by ``loss_weighting="loss"``.
        grad_scale : float or Tensor, optional
            Loss scale that the gradients still carry. The gradients keep it; the state does not see it.
        grad_norm : float or Tensor, optional
            Global norm of the gradients of the perturbed groups as they are, where the caller knows it: it saves
            GraphSAM a pass over the gradients.
        """
        if self._observed:
            return
        if not self._ascended and not self._off():
            raise InvalidArgumentError(self._how_to_drive())
        if self._perturbed or self._layout.displaced:
            self.restore()
        self._observed = True
        self._record_loss(loss)
        if self._off():
            return
        if self.loss_weighting == "loss":
            grad_norm = None
            self._weight_by(loss)
        self._refresh_layout()
        if self.probe is not None:
            self.probe.updating_gradient(self, grad_scale)
        norm = self._observe(1.0 if grad_scale is None else grad_scale, grad_norm)
        if norm is not None:
            self._flag(norm)
        self._direct(1.0 if grad_scale is None else grad_scale)

    def _flag(self, norm: Scalar) -> None:
        """Note a norm that is not finite, on an accelerator without reading it."""
        bad = ~torch.isfinite(norm) if isinstance(norm, Tensor) else not math.isfinite(norm)
        self.non_finite = bad if self.non_finite is False else self.non_finite | bad

    def _record_loss(self, loss: Any) -> None:
        if loss is None or not self._second:
            return
        loss = detached(loss)
        if self._moved:
            self._record.loss_perturbed = loss
        elif self._record.loss_clean is None:
            self._record.loss_clean = loss

    def _weight_by(self, loss: Any) -> None:
        if loss is None:
            raise InvalidArgumentError(
                "loss is None; loss_weighting='loss' multiplies the updating gradient by the loss of pass B: accepted: "
                "observe(loss=...), step(loss=...) or step(closure)"
            )
        device = self.param_groups[0]["params"][0].device
        torch._foreach_mul_(self._gradients(), _mean_over_processes(detached(loss), device))

    def step(self, closure: Callable[[], Any] | None = None, *, loss: Any = None) -> Any:
        """With a closure the whole step; without one its last phase: observe (if not done), clip, base step.

        Parameters
        ----------
        closure : callable, optional
            Clears the gradients, runs forward and backward, returns the loss.
        loss : Tensor or float, optional
            Without a closure: see :meth:`observe`.

        Returns
        -------
        Tensor or float or None
            With a closure its loss: at the clean weights if the step had a pass there, else at the perturbed ones.

        Raises
        ------
        InvalidArgumentError
            If there is no closure and the gradient was not taken where the method needs it.
        """
        if self._watched():
            return self._watched_step(closure, loss=loss)
        return self._step(closure, loss=loss)

    step.hooked = True  # torch, do not put your profiler and hooks around it: they cost a hundredth of a step

    def _watched(self) -> bool:
        """Whether a profiler or a hook wants to know of this step."""
        hooks = self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks
        hooks = hooks or optimizer._global_optimizer_pre_hooks or optimizer._global_optimizer_post_hooks
        return bool(hooks) or torch.autograd._profiler_enabled()

    def _step(self, closure: Callable[[], Any] | None = None, *, loss: Any = None) -> Any:
        if closure is not None:
            return self._step_with_closure(closure)
        if not self._ascended and not self._off():
            raise InvalidArgumentError(self._how_to_drive())
        if not self._observed:
            self.observe(loss=loss)
        self._descend()
        if self._hold:
            self._approach()
        return loss

    _watched_step = Optimizer.profile_hook_step(_step)

    def _descend(self) -> None:
        if self.max_grad_norm is not None:
            nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], self.max_grad_norm)
        self._step_of_base()
        if self._record.passes == 0:
            self._record.passes = 1
        self.last = self._record
        p = self._sample()
        self._left = (None, 0) if p is None else (p.grad, p.grad._version)
        if self.probe is not None:
            self.probe.stepped()
        self._commit()
        self.steps += 1
        self.steps_in_epoch += 1
        self._reset()

    def _step_of_base(self) -> None:
        due = self._due()
        if self._adam.base is not self.base_optimizer:
            self._adam = AdamStep(self.base_optimizer)
        if self._switched_off or not self._adam(due):
            if due is not None:
                due.settle()
            self.base_optimizer.step()

    def _average_later(self) -> bool:
        """Whether nothing can come between the gradient that the method observes and the base optimizer's step."""
        return self._undisturbed and self.max_grad_norm is None and self.probe is None

    def skip_step(self) -> None:
        """Instead of phase 4, after an overflow: weights restored, state untouched, the same step is asked for again."""
        self.restore()
        if self._ascended:
            self._abort()
            if self.probe is not None:
                self.probe.skipped()
        self._reset()

    def measured_gradient_norm(self) -> float | None:
        """Global norm of all gradients in ``p.grad``, if observing them has measured it just now; it saves a stream.

        None where it would have to be read from a device, where some gradients are not of perturbed groups, and where the method
        does not measure it.
        """
        norm = self._record.gradient_norm if self._observed else None
        inside = sum(len(block.params) for block in self._layout.blocks)
        outside = any(p.grad is not None for p in self._layout.outside) or not all(self._live())
        return norm if isinstance(norm, float) and inside and not outside else None

    # ---------------------------------------------------------------- a loop without closure
    def train(self, hold: bool = False) -> None:
        """Bring the weights to the point where the next gradient is taken: call it before each forward pass.

        The stock ``transformers.Trainer`` does so. A step that begins with a clean pass leaves them at θ; ``step()`` without
        a closure then says what to do instead.

        Parameters
        ----------
        hold : bool
            ``True`` takes over until ``eval()``: each ``step()`` moves on to the next point by itself, so that one call per
            epoch is enough. The weights are then clean after ``eval()`` only.
        """
        if hasattr(self.base_optimizer, "train"):  # schedule-free optimizers have two points of their own
            self.base_optimizer.train()
        self._hold = hold
        self._approach()

    def eval(self) -> None:
        """Bring the weights back to θ, for evaluation and saving; ``train()`` takes the step up again."""
        self._hold = False
        if self._ascended and not self._observed and not self._clean:
            self.skip_step()
        if hasattr(self.base_optimizer, "eval"):
            self.base_optimizer.eval()

    @torch.no_grad()
    def _approach(self) -> None:
        if not self._ascended and not self._off() and not self.wants_clean_gradient:
            self._asked, self._approaching = False, True
            try:
                self.ascend()
            finally:
                self._asked, self._approaching = None, False


def _mean_over_processes(loss: Any, device: torch.device) -> Any:
    """The loss of the union batch: processes that share their gradients have to weight them alike."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not distributed or torch.distributed.get_world_size() == 1:
        return loss
    mean = torch.as_tensor(loss, device=device).clone()
    torch.distributed.all_reduce(mean)
    return mean / torch.distributed.get_world_size()
