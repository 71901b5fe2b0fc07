"""Several classes per task: logits [B, ΣC], one column per class, tasks side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dc_graphsam.exceptions import InvalidArgumentError, InvalidShapeError

__all__ = ["class_log_odds", "class_probabilities", "cross_entropies"]


def cross_entropies(scores: Tensor, targets: Tensor, class_counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """−log softmax(x)_t of every molecule and task, and where there is a label.

    Parameters
    ----------
    scores
        float [B, ΣC].
    targets
        float [B, T]: number of the class, NaN = not measured.
    class_counts
        C of each task.

    Returns
    -------
    each : Tensor
        float [B, T]; of no meaning where nothing was measured.
    measured : Tensor
        bool [B, T].

    Raises
    ------
    InvalidShapeError
        If there is not one column of targets per task.
    InvalidArgumentError
        If a target is no number of a class.

    Examples
    --------
    >>> each, measured = cross_entropies(torch.zeros(1, 5), torch.tensor([[1.0, float("nan")]]), (3, 2))
    >>> round(float(each[0, 0]), 4), measured.tolist()
    (1.0986, [[True, False]])
    """
    if targets.shape != (len(scores), len(class_counts)):
        raise InvalidShapeError("labels", targets.shape, f"{(len(scores), len(class_counts))}, one column per task")
    measured = ~torch.isnan(targets)
    classes = torch.where(measured, targets, 0)
    limits = targets.new_tensor([float(count) for count in class_counts])
    odd = (classes < 0) | (classes >= limits) | (classes != classes.floor())
    if bool(odd.any()):
        task = int(odd.any(0).nonzero()[0])
        raise InvalidArgumentError(
            f"labels hold {float(classes[:, task][odd[:, task]][0]):g} in column {task}; accepted: the numbers of its "
            f"{class_counts[task]} classes, 0 to {class_counts[task] - 1}, or NaN for not measured"
        )
    classes = classes.long()
    parts = scores.split(list(class_counts), dim=1)
    each = [nn.functional.cross_entropy(part, classes[:, t], reduction="none") for t, part in enumerate(parts)]
    return torch.stack(each, dim=1), measured


def class_probabilities(scores: Tensor, class_counts: Sequence[int]) -> Tensor:
    """Softmax over the classes of each task: float [B, ΣC] of logits of that shape.

    Examples
    --------
    >>> class_probabilities(torch.zeros(1, 5), (3, 2)).tolist()[0][3:]
    [0.5, 0.5]
    """
    return torch.cat([part.softmax(-1) for part in scores.split(list(class_counts), dim=-1)], dim=-1)


def class_log_odds(scores: Tensor, class_counts: Sequence[int]) -> Tensor:
    """log p/(1−p) of each class against all others of its task: float [B, ΣC].

    Examples
    --------
    >>> class_log_odds(torch.tensor([[2.0, 0.0]]), (2,)).tolist()
    [[2.0, -2.0]]
    """
    out = []
    for part in scores.split(list(class_counts), dim=-1):
        own = torch.eye(part.shape[-1], dtype=torch.bool, device=part.device)
        others = part.unsqueeze(-2).masked_fill(own, float("-inf")).logsumexp(-1)
        out.append(part - others)
    return torch.cat(out, dim=-1)
