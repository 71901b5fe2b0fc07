"""Losses of the Trainer over what was measured: of whole steps in training, of the whole data set in evaluation."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers.trainer_utils import EvalLoopOutput

from dc_graphsam.hf.step_loss import count_measured, mask_repeated_rows

__all__ = ["MeasuredLabelsMixin"]


class MeasuredLabelsMixin:
    """Before ``transformers.Trainer`` among the bases: its hooks for the loss. Other models than molecular ones pass by.

    The loss of a step is the mean over the measured labels of all its micro-batches on all processes, as if they were one
    batch; ``eval_loss`` is that over the whole data set, whatever the batch size. A ``compute_loss_func`` of the user gets
    the number of measured labels as ``num_items_in_batch``, and its own ``eval_loss`` of the parent.
    """

    _in_pass = False  # within a pass of a step: the loss is a share of that of the step
    _eval_sum: tuple[Tensor, Tensor] | None = None  # of losses times labels, and of labels

    @property
    def weighs_labels(self) -> bool:
        """Whether the loss is a mean over measured labels that a molecular model computes."""
        return self._is_molecular and self.compute_loss_func is None and self.label_smoother is None

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Any:
        if self._is_molecular and all(batch.get("labels") is not None for batch in batch_samples):
            # the parent counts what is not -100
            batch_samples = [{"labels": torch.isnan(batch["labels"]).long() * -100} for batch in batch_samples]
        return super()._get_num_items_in_batch(batch_samples, device)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        found = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if not self._in_pass or inputs.get("labels") is None or not self.weighs_labels:
            return found
        if return_outputs:
            return self._passes.whole.share(found[0], inputs), found[1]
        return self._passes.whole.share(found, inputs)

    def _one_pass(self, *args: Any) -> Tensor:
        """The parent's ``training_step``, of which the loss is that of a whole step."""
        self._in_pass = True
        try:
            return super().training_step(*args)
        finally:
            self._in_pass = False

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> tuple:
        if not self._is_molecular:
            return super().prediction_step(model, inputs, *args, **kwargs)
        inputs = mask_repeated_rows(self.accelerator, inputs)
        loss, logits, labels = super().prediction_step(model, inputs, *args, **kwargs)
        if self._eval_sum is not None and loss is not None and inputs.get("labels") is not None:
            count = count_measured(inputs).to(loss.device)
            value = loss.float().square() if self._is_root_loss else loss.float()
            if bool(value.isfinite()) or not self.args.logging_nan_inf_filter:
                self._eval_sum = self._eval_sum[0] + value * count, self._eval_sum[1] + count
        return loss, logits, labels

    @property
    def _is_root_loss(self) -> bool:
        return getattr(self.model.config, "loss", None) == "rmse"

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        if not self.weighs_labels:
            return super().evaluation_loop(
                dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
            )
        zero = torch.zeros((), device=self.args.device)
        self._eval_sum = zero, zero
        try:
            output = super().evaluation_loop(
                dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
            )
            total, count = self._eval_sum
        finally:
            self._eval_sum = None
        name = f"{metric_key_prefix}_loss"
        if name in output.metrics and math.isfinite(output.metrics[name]):
            if self.accelerator.num_processes > 1:
                total, count = self.accelerator.reduce(torch.stack((total, count)), "sum")
            mean = float(total / count.clamp(min=1))
            output.metrics[name] = math.sqrt(mean) if self._is_root_loss else mean
        return output
