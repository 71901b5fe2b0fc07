"""Two forward-backward passes inside one step of the Trainer.

The Trainer collects the micro-batches of a step, computes one gradient over all of them, clips it and steps. Here the
same micro-batches are first run at θ where the method asks for it (pass A), then at θ + ε̂ (pass B); the weights are back
before the Trainer clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dc_graphsam.hf.step_loss import StepLoss
from dc_graphsam.optim.perturbed.batch_norm import frozen_running_statistics
from dc_graphsam.optim.perturbed.noise import SameNoise

if TYPE_CHECKING:
    from transformers import Trainer

    from dc_graphsam.optim import SharpnessAwareOptimizer

__all__ = ["StepPasses", "find_sharpness_aware", "set_base_mode"]

OnePass = Callable[[torch.nn.Module, dict[str, Any], Any], Tensor]


def find_sharpness_aware(optimizer: Any) -> SharpnessAwareOptimizer | None:
    """The sharpness-aware optimizer inside what accelerate made of it, or ``None``."""
    from dc_graphsam.optim import SharpnessAwareOptimizer

    while optimizer is not None and not isinstance(optimizer, SharpnessAwareOptimizer):
        optimizer = getattr(optimizer, "optimizer", None)
    return optimizer


def set_base_mode(sam: SharpnessAwareOptimizer | None, mode: str) -> None:
    """Tell a base optimizer that keeps two points (schedule-free) which one is wanted: the Trainer tells the outer one."""
    switch = getattr(getattr(sam, "base_optimizer", None), mode, None)
    if callable(switch):
        switch()


class StepPasses:
    """The passes of the step in progress.

    Parameters
    ----------
    trainer
        Its optimizer, accelerator and arguments are read at every step.

    Attributes
    ----------
    passes
        Forward-backward passes since the start of training; one runs over all micro-batches of a step.
    whole
        The loss of the step, of which micro-batches compute shares.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.whole = StepLoss(trainer)
        self.passes = 0
        self._batches: list[dict[str, Any]] = []
        self._position = 0
        self._open = self._committing = False
        self._reused: list[Tensor] | None = None  # losses of pass A where its gradient is the step's
        self._overflow = False
        self._loss: Tensor | None = None
        self._held = ExitStack()
        self._start = SameNoise()
        self.clear_log()

    # ---- One step

    def collect(self, batches: list[dict[str, Any]]) -> None:
        """Take the micro-batches of the next step."""
        self._batches, self._position = batches, 0
        self.whole.begin(batches)

    def run(self, one_pass: OnePass, model: torch.nn.Module, inputs: dict[str, Any], num_items: Any) -> Tensor:
        """What the Trainer's ``training_step`` does for one micro-batch.

        Parameters
        ----------
        one_pass
            The parent's ``training_step``: forward, backward, returns the loss.
        model, inputs, num_items
            Its arguments.

        Returns
        -------
        Tensor
            Loss of the pass whose gradient is stepped with, as the parent returns it.
        """
        if self._position >= len(self._batches) or self._batches[self._position] is not inputs:
            self.collect([inputs])  # called by hand
        sam = find_sharpness_aware(self.trainer.optimizer)
        if self._position == 0:
            self._begin(sam, one_pass, model, num_items)
        if self._reused is not None:
            loss = self._reused[self._position]
        else:
            is_last = self._position == len(self._batches) - 1
            loss = self.whole.reported(one_pass(model, inputs, num_items), is_last)
            self._loss = loss if self._loss is None else self._loss + loss
        self._position += 1
        if self._position == len(self._batches):
            self._end(sam)
        return loss

    def _begin(
        self, sam: SharpnessAwareOptimizer | None, one_pass: OnePass, model: torch.nn.Module, num_items: Any
    ) -> None:
        self._open, self._reused, self._overflow, self._loss = True, None, False, None
        args = self.trainer.args
        devices = [torch.device("cuda", i) for i in range(args.n_gpu)] if args.n_gpu > 1 else [args.device]
        self._start = SameNoise(devices, enabled=args.save_on_interrupt)
        self._start.remember()
        if sam is None:
            return
        set_base_mode(sam, "train")
        if sam.wants_probe:
            self._probe(sam, one_pass, model, num_items, devices)
        clean, scale, loss = sam.wants_clean_gradient, self._loss_scale(), None
        noise = SameNoise(devices, enabled=args.same_noise and clean)
        if clean:
            with noise.record():
                losses = self._clean_pass(one_pass, model, num_items)
            loss = sum(losses)
            if scale is not None and not _all_finite(sam):
                # The gradients stay, so that the scaler finds the overflow, skips the step and lowers its scale.
                self._overflow, self._reused = True, losses
                sam.skip_step()
                return
        if not sam.ascend(grad_scale=scale, loss=loss, reuse_gradient=True):  # nothing to climb: one gradient is enough
            self._reused, self._loss = losses, loss
            if scale is not None:
                torch._foreach_mul_(_gradients(sam), scale)  # the scaler takes it out itself before clipping
            return
        torch.clear_autocast_cache()  # casts of θ, where autocast is on around the whole step
        self._held.enter_context(noise.replay())
        self._held.enter_context(frozen_running_statistics(model, enabled=clean))

    def _probe(
        self, sam: SharpnessAwareOptimizer, one_pass: OnePass, model: torch.nn.Module, num_items: Any, devices
    ) -> None:
        """One more pass at θ, for a look at its gradient; nothing of it stays."""
        scale, noise = self._loss_scale(), SameNoise(devices)
        with sam.probing(), noise.record(), frozen_running_statistics(model):
            self._clean_pass(one_pass, model, num_items)
        sam.probe_clean_gradient(scale)
        torch.clear_autocast_cache()
        noise.rewind()

    def _clean_pass(self, one_pass: OnePass, model: torch.nn.Module, num_items: Any) -> list[Tensor]:
        """Pass A over all micro-batches; processes exchange gradients at the last one, as in pass B."""
        last = len(self._batches) - 1
        losses = []
        for i, inputs in enumerate(self._batches):
            with _gradient_sync(model, i == last):
                losses.append(self.whole.reported(one_pass(model, inputs, num_items), i == last))
        return losses

    def _end(self, sam: SharpnessAwareOptimizer | None) -> None:
        """Clean weights again; the method sees the updating gradient before the Trainer clips it."""
        self._held.close()
        self._committing = True
        if sam is None or self._overflow:
            return
        sam.restore()
        torch.clear_autocast_cache()
        scale, loss = self._loss_scale(), self._loss
        if scale is not None and not _all_finite(sam):
            self._overflow = True
            sam.skip_step()
            return
        if sam.loss_weighting == "loss" and self.trainer.accelerator.num_processes > 1:
            loss = self.trainer.accelerator.reduce(loss, "mean")
        sam.observe(loss=loss, grad_scale=scale)

    def _loss_scale(self) -> Tensor | None:
        """Factor that float16 gradients carry, on the device; ``None`` without a scaler."""
        scaler = getattr(self.trainer.accelerator, "scaler", None)
        if scaler is None or not scaler.is_enabled():
            return None
        return scaler.scale(torch.ones((), device=self.trainer.args.device))

    def gradient_norm(self, model: torch.nn.Module) -> float | None:
        """Norm of all gradients of ``model`` as the method has measured it in this step; ``None`` if it has not."""
        sam = find_sharpness_aware(self.trainer.optimizer)
        if sam is None or self._overflow or self._loss_scale() is not None:
            return None
        norm = sam.measured_gradient_norm()
        known = {id(p) for group in sam.param_groups for p in group["params"]}
        whole = norm is not None and math.isfinite(norm)
        return norm if whole and all(p.grad is None or id(p) in known for p in model.parameters()) else None

    def stepped(self) -> None:
        """The optimizer has stepped, or was kept from it by an overflow."""
        sam = find_sharpness_aware(self.trainer.optimizer)
        self._open = self._committing = False
        if sam is None:
            self.passes += 1
        elif not self._overflow:
            self.passes += sam.last.passes
            self._add("loss_clean", sam.last.loss_clean)
            self._add("loss_perturbed", sam.last.loss_perturbed)
            if sam.last.loss_perturbed is not None:
                self._add("perturbation_norm", sam.last.perturbation_norm)

    # ---- A step that does not end

    def abandon(self) -> bool:
        """Forget a step that was cut off: clean weights, no gradients, random generators as at its beginning.

        Returns
        -------
        bool
            Whether everything is as it was before that step; not so if it was cut off in committing to it.
        """
        if not self._open:
            return True
        whole = not self._committing
        self._held.close()
        self._open = self._committing = False
        self._batches = []
        sam = find_sharpness_aware(self.trainer.optimizer)
        if sam is not None:
            sam.skip_step()
        self.trainer.model.zero_grad()
        self._start.rewind()
        return whole

    # ---- Values for the log; they stay on the device until asked for

    def clear_log(self) -> None:
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, int] = {}

    def _add(self, name: str, value: Any) -> None:
        if value is None:
            return
        value = value.detach() if isinstance(value, Tensor) else value
        self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[name] = self._counts.get(name, 0) + 1

    def averages(self) -> dict[str, float]:
        """Means over the steps since the last call, over all processes; what did not occur is absent."""
        accelerator = self.trainer.accelerator
        names = list(self._sums)
        if not names:
            return {}
        device = self.trainer.args.device
        sums = torch.stack([torch.as_tensor(self._sums[name], dtype=torch.float32).to(device) for name in names])
        sums = accelerator.reduce(sums, "mean") if accelerator.num_processes > 1 else sums
        values = {name: total / self._counts[name] for name, total in zip(names, sums.tolist(), strict=True)}
        self.clear_log()
        return values


def _gradients(sam: SharpnessAwareOptimizer) -> list[Tensor]:
    return [p.grad for group in sam.param_groups for p in group["params"] if p.grad is not None]


def _all_finite(sam: SharpnessAwareOptimizer) -> bool:
    """Waits for the device; asked only where a loss scaler does so anyway."""
    gradients = _gradients(sam)
    return bool(torch.stack(torch._foreach_norm(gradients, float("inf"))).isfinite().all()) if gradients else True


@contextmanager
def _gradient_sync(model: torch.nn.Module, sync: bool) -> Iterator[None]:
    """Whether processes average their gradients in a backward pass within, whatever holds around."""
    while hasattr(model, "_orig_mod"):  # torch.compile
        model = model._orig_mod
    if not hasattr(model, "require_backward_grad_sync"):
        yield
        return
    previous = model.require_backward_grad_sync
    model.require_backward_grad_sync = sync
    try:
        yield
    finally:
        model.require_backward_grad_sync = previous
