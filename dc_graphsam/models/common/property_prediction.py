"""What every backbone with a property head shares: losses on measured labels, and logits in label units."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from dc_graphsam.exceptions import InvalidArgumentError, InvalidShapeError
from dc_graphsam.models.common.classes import cross_entropies

__all__ = ["PropertyPredictionOutput", "masked_loss", "property_loss", "targets_within"]


@dataclass
class PropertyPredictionOutput(ModelOutput):
    """Output of a property prediction model.

    Attributes
    ----------
    loss
        Scalar, when labels are given.
    logits
        [B, T]: log-odds for classification, values in label units for regression. Multiclass: one column per class of
        each task, before the softmax.
    hidden_states
        Atom states before each layer and after the last, [B, N, d] each; on ``output_hidden_states=True``.
    attentions
        A·K of each layer, [B, h, N, N]; on ``output_attentions=True``.
    node_states
        States of the read-out, [B, N, d]; on ``output_hidden_states=True``.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    node_states: Tensor | None = None


def targets_within(scores: Tensor, targets: Tensor, lower: Tensor | None, upper: Tensor | None) -> Tensor:
    """Targets with, where only bounds are known, the value within them that is nearest to the score.

    The loss of such an entry is 0 on the right side of its bound, and on the wrong side that of the bound as a value.

    Parameters
    ----------
    scores, targets
        float [B, T]; NaN in ``targets`` where there is no exact value.
    lower, upper
        float [B, T] in the units of the targets, NaN = no bound.

    Examples
    --------
    >>> nan = float("nan")
    >>> scores, lower = torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([[2.0], [2.0], [nan]])
    >>> targets_within(scores, torch.full((3, 1), nan), lower, None).tolist()
    [[2.0], [3.0], [nan]]
    """
    if lower is None and upper is None:
        return targets
    nearest = scores.detach().to(targets.dtype)
    bounded = torch.zeros_like(targets, dtype=torch.bool)
    for bound, clip in ((lower, torch.maximum), (upper, torch.minimum)):
        if bound is not None:
            known = ~torch.isnan(bound)
            bounded = bounded | known
            nearest = torch.where(known, clip(nearest, torch.where(known, bound, 0)), nearest)
    return torch.where(torch.isnan(targets) & bounded, nearest, targets)


def property_loss(
    config, scores: Tensor, labels: Tensor, lower_bounds: Tensor | None = None, upper_bounds: Tensor | None = None
) -> Tensor:
    """Loss of a model with this configuration: standardised labels, bounds where there is no exact value.

    Parameters
    ----------
    config
        With ``loss``, ``task_type``, ``label_mean`` and ``label_std``.
    scores
        float [B, T], in standardised units; multiclass: [B, ΣC].
    labels, lower_bounds, upper_bounds
        float [B, T] in label units (multiclass: numbers of classes), NaN = none.

    Raises
    ------
    InvalidArgumentError
        If there are bounds in a classification.
    """
    bounds = [lower_bounds, upper_bounds]
    if config.task_type != "regression" and any(bound is not None for bound in bounds):
        raise InvalidArgumentError(
            "the batch has bounds and the model is for classification; accepted: bounds of a regression"
        )
    if config.task_type == "multiclass":
        return masked_loss(config.loss, scores, labels, config.class_counts)
    mean, std = config.label_mean, config.label_std  # std > 0: bounds stay on their side
    bounds = [None if bound is None else standardise(bound, mean, std) for bound in bounds]
    if scores.shape != labels.shape:
        raise InvalidShapeError("labels", labels.shape, f"{tuple(scores.shape)}, one column per task")
    return masked_loss(config.loss, scores, targets_within(scores, standardise(labels, mean, std), *bounds))


def masked_loss(kind: str, scores: Tensor, targets: Tensor, class_counts: tuple[int, ...] | None = None) -> Tensor:
    """Mean loss over the measured entries; 0 (with zero gradients) when nothing is measured.

    ``bce``: mean of −t·log σ(x) − (1−t)·log(1−σ(x)); ``mse``: mean of (x−t)²; ``rmse``: its square root (``utils.py:43-60`` of the
    released code); ``mae``: mean of |x−t|; ``cross_entropy``: mean of −log softmax(x)_t over the classes of a task.

    Parameters
    ----------
    kind
        ``"bce"``, ``"mse"``, ``"rmse"``, ``"mae"`` or ``"cross_entropy"``.
    scores
        float [B, T]; for ``"cross_entropy"`` [B, ΣC], one column per class of each task.
    targets
        float [B, T], NaN = not measured; for ``"cross_entropy"`` the number of the class.
    class_counts
        For ``"cross_entropy"``: classes of each task.

    Examples
    --------
    >>> scores = torch.tensor([[1.0, 5.0], [3.0, 0.0]])
    >>> targets = torch.tensor([[0.0, float("nan")], [0.0, float("nan")]])
    >>> round(float(masked_loss("rmse", scores, targets)), 4)
    2.2361
    """
    if kind == "cross_entropy":
        each, measured = cross_entropies(scores, targets, class_counts)
        return torch.where(measured, each, 0).sum() / measured.sum().clamp(min=1)
    if scores.shape != targets.shape:
        raise InvalidShapeError("labels", targets.shape, f"{tuple(scores.shape)}, one column per task")
    measured = ~torch.isnan(targets)
    targets = torch.where(measured, targets, 0).to(scores.dtype)
    if kind == "bce":
        each = nn.functional.binary_cross_entropy_with_logits(scores, targets, reduction="none")
    elif kind == "mae":
        each = (scores - targets).abs()
    else:
        each = (scores - targets).square()
    mean = torch.where(measured, each, 0).sum() / measured.sum().clamp(min=1)
    # the slope of the root at 0 is infinite: a batch that is fitted exactly has gradient 0 instead
    return mean.clamp(min=1e-12).sqrt() if kind == "rmse" else mean


def standardise(labels: Tensor, mean: list[float] | None, std: list[float] | None) -> Tensor:
    """(labels − mean)/std per task; unchanged without statistics."""
    if mean is None or std is None:
        return labels
    return (labels - labels.new_tensor(mean)) / labels.new_tensor(std)


def in_label_units(scores: Tensor, mean: list[float] | None, std: list[float] | None) -> Tensor:
    """scores·std + mean per task; unchanged without statistics."""
    if mean is None or std is None:
        return scores
    return scores * scores.new_tensor(std) + scores.new_tensor(mean)
