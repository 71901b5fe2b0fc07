"""One loss for a whole step: sums over the measured labels of all micro-batches and processes, divided once.

A molecular model returns the mean over the measured labels of the batch it sees. The mean of such means is another number
as soon as batches have different counts of labels, so each is multiplied by its share of the labels of the step. A root of
a mean (``rmse``) is no sum: micro-batches then give shares of the mean under the root, and the gradient of the root follows
from theirs once, at the end of the pass: ∇√m = ∇m / (2·√m).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dc_graphsam.data.featurized import BOUND_COLUMNS

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["StepLoss", "count_measured", "mask_repeated_rows", "repeated_rows"]

_LEAST = 1e-12  # below the root, as in masked_loss


class StepLoss:
    """The loss of the step in progress.

    Parameters
    ----------
    trainer
        Its model, accelerator and arguments are read at every step.

    Examples
    --------
    >>> labels = torch.tensor([[1.0, float("nan")], [2.0, 3.0]])
    >>> int(count_measured({"labels": labels}))
    3
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self._batches = 1
        self._total: Tensor | None = None  # measured labels of the step, of all processes; None: each batch is its own
        self._under_root: Tensor | None = None  # sum of the shares of the pass in progress

    @property
    def is_divided(self) -> bool:
        """Whether the step consists of parts whose losses must be put together."""
        return self._total is not None

    @property
    def _is_root(self) -> bool:
        return getattr(self.trainer.model.config, "loss", None) == "rmse"

    def begin(self, batches: list[dict[str, Any]]) -> None:
        """Count the labels of the micro-batches of a step; processes exchange their numbers where there are several."""
        self._total, self._batches, self._under_root = None, len(batches), None
        trainer = self.trainer
        world = trainer.accelerator.num_processes
        if not trainer.weighs_labels or (len(batches) < 2 and world == 1 and trainer.args.n_gpu < 2):
            return
        if any(batch.get("labels") is None for batch in batches):
            return
        total = torch.zeros((), device=trainer.args.device)
        for batch in batches:
            total += count_measured(batch).to(total.device)
        self._total = (trainer.accelerator.reduce(total, "sum") if world > 1 else total).clamp(min=1)

    def share(self, loss: Tensor, inputs: dict[str, Any]) -> Tensor:
        """What one micro-batch contributes, such that the mean over processes of the sum over micro-batches is the whole.

        Parameters
        ----------
        loss
            Mean over the measured labels of the batch, or root of it; one per device under ``DataParallel``.
        inputs
            The batch: ``labels`` float [B, T], NaN = not measured, and bounds if it has any.
        """
        if self._total is None:
            return loss
        measured = (
            torch.stack([count_measured(part) for part in _scattered(inputs, loss.numel())])
            .to(loss.device)
            .view_as(loss)
        )
        if self._is_root:
            loss = loss.square()
        # the Trainer takes the mean over devices, and divides by the number of micro-batches
        factor = (
            loss.numel() * self.trainer.accelerator.num_processes * self.trainer.current_gradient_accumulation_steps
        )
        return loss * (measured * factor / self._total.to(loss.device)).to(loss.dtype)

    def reported(self, loss: Tensor, is_last: bool) -> Tensor:
        """A micro-batch's term of the loss of the step, from what its backward pass ran on; gradients follow at the last.

        Called once after each backward pass.
        """
        if self._total is None or not self._is_root:
            return loss
        self._under_root = loss if self._under_root is None else self._under_root + loss
        if not is_last:
            return torch.zeros_like(loss)
        mean, self._under_root = self._under_root, None
        accelerator = self.trainer.accelerator
        if accelerator.num_processes > 1:
            mean = accelerator.reduce(mean, "mean")
        root = mean.clamp(min=_LEAST).sqrt()
        gradients = [p.grad for p in self.trainer.model.parameters() if p.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, 0.5 / root)
        return root


def count_measured(batch: dict[str, Any]) -> Tensor:
    """Number of labels of a batch that are not NaN, or have a bound; float []."""
    known = ~torch.isnan(batch["labels"])
    for name in BOUND_COLUMNS:
        if batch.get(name) is not None:
            known = known | ~torch.isnan(batch[name])
    return known.sum().float()


def _scattered(inputs: dict[str, Any], parts: int) -> list[dict[str, Any]]:
    """Labels and bounds as ``DataParallel`` divides them."""
    names = [name for name in ("labels", *BOUND_COLUMNS) if inputs.get(name) is not None]
    chunks = [inputs[name].chunk(parts) for name in names]
    return [dict(zip(names, part, strict=True)) for part in zip(*chunks, strict=True)]


def repeated_rows(accelerator: Any, rows: int) -> int:
    """How many of the last rows of this process's batch are repeated, so that all processes have equally many.

    Accelerate fills the last round of batches with the first examples of the epoch. ``rows`` is the size of the batch that
    the loader has just given out.
    """
    state = accelerator.gradient_state
    if accelerator.num_processes < 2 or not state.in_dataloader or not state.end_of_dataloader:
        return 0
    sampler = getattr(state.active_dataloader, "batch_sampler", None)
    if not getattr(sampler, "even_batches", False) or getattr(sampler, "split_batches", True) or state.remainder <= 0:
        return 0
    own = min(max(state.remainder - accelerator.process_index * rows, 0), rows)
    return rows - own


def mask_repeated_rows(accelerator: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """The batch with the labels of repeated rows not measured: every example of an epoch counts once."""
    labels = batch.get("labels")
    repeated = 0 if labels is None else repeated_rows(accelerator, len(labels))
    if not repeated:
        return batch
    masked = {}
    for name in ("labels", *BOUND_COLUMNS):
        if batch.get(name) is not None:
            masked[name] = batch[name].clone()
            masked[name][len(labels) - repeated :] = float("nan")
    return {**batch, **masked}
