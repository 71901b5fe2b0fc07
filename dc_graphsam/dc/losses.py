"""Losses with DeepChem's weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dc_graphsam.exceptions import InvalidArgumentError, InvalidShapeError
from dc_graphsam.models.common.property_prediction import targets_within

__all__ = ["TaskLoss", "weighted_loss"]


def weighted_loss(kind: str, scores: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    r"""Weighted loss over the measured entries, :math:`\sum w\,\ell(x, t) / \#\{w > 0\}`.

    With weights 0 and 1 it is the loss of the model itself (a mean over what was measured); with those of a
    ``BalancingTransformer`` it is DeepChem's ``mean(w * loss)`` on a batch in which everything was measured. ``rmse`` is the root
    of that of ``mse``.

    Parameters
    ----------
    kind
        ``"bce"``, ``"softmax"``, ``"mse"``, ``"rmse"`` or ``"mae"``.
    scores
        float [B, T]; for ``"softmax"`` [B, T, C].
    targets
        float [B, T]; NaN counts as not measured. For ``"softmax"`` the number of the class.
    weights
        float [B, T], 0 = not measured.

    Examples
    --------
    >>> scores, targets = torch.tensor([[1.0], [3.0], [9.0]]), torch.zeros(3, 1)
    >>> float(weighted_loss("mse", scores, targets, torch.tensor([[1.0], [2.0], [0.0]])))
    9.5
    """
    measured = (weights > 0) & ~torch.isnan(targets)
    targets = torch.where(measured, targets, 0)
    weights = torch.where(measured, weights, 0).to(scores.dtype)
    if kind == "softmax":
        classes = targets.long()
        if bool(((classes < 0) | (classes >= scores.shape[-1])).any()):
            raise InvalidArgumentError(
                f"y holds class {int(classes.max())}; accepted with n_classes={scores.shape[-1]}: 0 to {scores.shape[-1] - 1}"
            )
        each = nn.functional.cross_entropy(scores.movedim(-1, 1), classes, reduction="none")
    else:
        targets = targets.to(scores.dtype)
        if kind == "bce":
            each = nn.functional.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        elif kind == "mae":
            each = (scores - targets).abs()
        else:
            each = (scores - targets).square()
    mean = (weights * torch.where(measured, each, 0)).sum() / measured.sum().clamp(min=1)
    return mean.clamp(min=1e-12).sqrt() if kind == "rmse" else mean


class TaskLoss:
    """What ``TorchModel`` calls with the outputs, labels and weights of a batch.

    A second array among the labels is of bounds, [B, T]: 1 where the value is above y, −1 where it is below. Such an entry
    costs nothing on the right side, and counts as measured whatever its weight.

    Parameters
    ----------
    config
        Of the network: kind of loss, and mean and standard deviation of the labels if it has any.
    n_tasks, n_classes
        T and C; C is 2 for a regression.
    regularization_loss
        Callable whose value is added, as for ``TorchModel``.
    """

    def __init__(self, config: Any, n_tasks: int, n_classes: int = 2, regularization_loss: Any = None) -> None:
        self.config, self.n_tasks, self.n_classes = config, n_tasks, n_classes
        self.regularization_loss = regularization_loss

    def __call__(self, outputs: list[Tensor], labels: list[Tensor], weights: list[Tensor]) -> Tensor:
        scores, targets = outputs[0], self._per_task("y", labels[0])
        weights = self._per_task("w", weights[0]) if weights else torch.ones_like(targets)
        sides = self._per_task("bounds", labels[1]) if len(labels) > 1 else None
        config, kind = self.config, self.config.loss
        if kind == "cross_entropy":
            kind, scores = "softmax", scores.view(len(scores), self.n_tasks, self.n_classes)
        elif config.label_mean is not None and config.label_std is not None:
            mean, std = scores.new_tensor(config.label_mean), scores.new_tensor(config.label_std)
            scores, targets = (scores - mean) / std, (targets - mean) / std
        if sides is not None:
            targets, weights = self._within(scores, targets, weights, sides)
        loss = weighted_loss(kind, scores, targets, weights)
        return loss if self.regularization_loss is None else loss + self.regularization_loss()

    def _within(self, scores: Tensor, y: Tensor, weights: Tensor, sides: Tensor) -> tuple[Tensor, Tensor]:
        """Targets and weights with the bounds among y, which DeepChem has at w = 0."""
        if self.config.task_type != "regression":
            raise InvalidArgumentError(
                "graphs in X have bounds and mode is 'classification'; accepted: bounds of a regression"
            )
        known, nan = sides != 0, torch.nan
        lower, upper = torch.where(sides > 0, y, nan), torch.where(sides < 0, y, nan)
        return targets_within(scores, torch.where(known, nan, y), lower, upper), torch.where(known, 1.0, weights)

    def _per_task(self, name: str, values: Tensor) -> Tensor:
        """[B, T] of [B], [B, 1], [B, T] or [B, T, 1]."""
        values = values.reshape(len(values), -1)
        if name == "w":
            values = values.expand(-1, self.n_tasks) if values.shape[1] == 1 else values
        if values.shape[1] != self.n_tasks:
            raise InvalidShapeError(name, values.shape, f"({len(values)}, {self.n_tasks}), one column per task")
        return values
