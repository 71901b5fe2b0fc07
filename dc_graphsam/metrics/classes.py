r"""Metrics of tasks with several classes that exclude each other, some labels missing.

Labels are [M, T]: the number of the class, NaN where nothing was measured. Scores are [M, ΣC], one column per class of each
task (logits or probabilities of that task; only their order counts, but for ROC-AUC, which takes their softmax). Tasks and
missing labels are treated as in :mod:`dc_graphsam.metrics.masked`: each task on its own labels, then the mean over tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dc_graphsam.exceptions import InvalidArgumentError, InvalidShapeError, check_choice
from dc_graphsam.metrics.result import MetricResult, task_names_of

__all__ = ["CLASS_METRICS", "class_metric", "confusion_matrix", "predicted_classes"]


def class_metric(
    name: str,
    labels,
    scores,
    class_counts: Sequence[int],
    task_names: Sequence[str] | None = None,
    *,
    sample_weight=None,
) -> MetricResult:
    """One metric of multiclass tasks.

    Parameters
    ----------
    name
        ``"accuracy"``: share of molecules whose likeliest class is theirs. ``"balanced_accuracy"``: that share within each
        class that occurs, averaged over the classes. ``"f1_macro"``: harmonic mean of precision and recall, averaged over the
        classes that occur or are predicted. ``"roc_auc_ovr"``: ROC-AUC of each class against all others, by its
        probability, averaged over the classes that occur.
    labels
        float [M, T] or [M]: numbers of classes, NaN = not measured.
    scores
        float [M, ΣC], or [M, T, C] if all tasks have C classes: logits. Probabilities give the same accuracy.
    class_counts
        C of each of the T tasks.
    task_names
        T names; default ``task_0, task_1, …``.
    sample_weight
        float [M, T] or [M], at least 0; 0 or NaN takes the entry out.

    Returns
    -------
    MetricResult
        Tasks without a label, or for ``"roc_auc_ovr"`` with labels of one class alone, are left out and named.

    Raises
    ------
    InvalidShapeError
        The shapes do not fit each other.
    InvalidArgumentError
        There is no such metric, or a label is no number of a class.

    Examples
    --------
    >>> labels = [0, 1, 2, float("nan")]
    >>> scores = [[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 0.0]]
    >>> round(class_metric("accuracy", labels, scores, (3,)).value, 4)
    0.6667
    """
    function = CLASS_METRICS[check_choice("metric", name, CLASS_METRICS)]
    labels, scores = _arrays(labels, scores, class_counts)
    names = task_names_of(task_names, len(class_counts))
    weight = None
    measured = ~np.isnan(labels)
    if sample_weight is not None:
        weight = np.asarray(sample_weight, np.float64)
        weight = np.broadcast_to(weight[:, None] if weight.ndim == 1 else weight, labels.shape)
        measured = measured & (weight > 0)
    per_task, left_out = {}, {}
    start = 0
    for t, (task, count) in enumerate(zip(names, class_counts, strict=True)):
        rows = measured[:, t]
        y, s = labels[rows, t], scores[rows, start : start + count]
        start += count
        odd = y[(y < 0) | (y >= count) | (y != np.floor(y))]
        if odd.size:
            raise InvalidArgumentError(
                f"labels hold {odd[0]:g}; {name} accepts: 0 to {count - 1}, the numbers of the classes, or NaN"
            )
        if not y.size:
            left_out[task] = "no label"
        elif name == "roc_auc_ovr" and (y == y[0]).all():
            left_out[task] = f"all {y.size} labels are class {y[0]:g}" if y.size > 1 else "only one label"
        elif not np.isfinite(s).all():
            per_task[task] = float("nan")
        else:
            per_task[task] = float(function(y.astype(np.int64), s, None if weight is None else weight[rows, t]))
    value = float(np.mean(list(per_task.values()))) if per_task else float("nan")
    return MetricResult(name, value, per_task, left_out)


def predicted_classes(scores, class_counts: Sequence[int]) -> np.ndarray:
    """The likeliest class of each molecule and task: int64 [M, T] of logits or probabilities [M, ΣC]; −1 where they are NaN.

    Examples
    --------
    >>> predicted_classes([[0.1, 0.7, 0.2]], (3,)).tolist()
    [[1]]
    """
    scores = np.asarray(scores, np.float64)
    parts = np.split(scores, np.cumsum(class_counts)[:-1], axis=1)
    found = [np.where(np.isnan(part).any(axis=1), -1, np.nan_to_num(part).argmax(axis=1)) for part in parts]
    return np.stack(found, axis=1)


def confusion_matrix(labels, predicted, count: int) -> np.ndarray:
    """Molecules by true class (rows) and predicted class (columns): int64 [C, C]; those without either are left out.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1, float("nan")], [0, 1, 0, 1], 2).tolist()
    [[1, 0], [1, 1]]
    """
    from sklearn.metrics import confusion_matrix as count_pairs

    labels, predicted = np.asarray(labels, np.float64), np.asarray(predicted, np.float64)
    known = ~np.isnan(labels) & (predicted >= 0)
    if not known.any():
        return np.zeros((count, count), np.int64)
    return count_pairs(labels[known].astype(int), predicted[known].astype(int), labels=range(count))


def _accuracy(y, scores, weight) -> float:
    from sklearn.metrics import accuracy_score

    return accuracy_score(y, scores.argmax(axis=1), sample_weight=weight)


def _balanced_accuracy(y, scores, weight) -> float:
    from sklearn.metrics import recall_score

    # balanced_accuracy_score is this, with a warning where a class is predicted that does not occur
    return recall_score(y, scores.argmax(axis=1), labels=np.unique(y), average="macro", sample_weight=weight)


def _f1_macro(y, scores, weight) -> float:
    from sklearn.metrics import f1_score

    return f1_score(y, scores.argmax(axis=1), average="macro", zero_division=0.0, sample_weight=weight)


def _roc_auc_ovr(y, scores, weight) -> float:
    from scipy.special import softmax
    from sklearn.metrics import roc_auc_score

    is_probability = (scores >= 0).all() and np.allclose(scores.sum(axis=1), 1.0, atol=1e-4)
    probabilities = scores if is_probability else softmax(scores, axis=1)
    areas = [roc_auc_score(y == label, probabilities[:, label], sample_weight=weight) for label in np.unique(y)]
    return float(np.mean(areas))


#: Name → function of labels int64 [n], scores float64 [n, C] and weights.
CLASS_METRICS: dict[str, Callable[..., float]] = {
    "roc_auc_ovr": _roc_auc_ovr,
    "balanced_accuracy": _balanced_accuracy,
    "accuracy": _accuracy,
    "f1_macro": _f1_macro,
}


def _arrays(labels, scores, class_counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    try:
        labels, scores = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    except (TypeError, ValueError):
        raise InvalidArgumentError("labels or scores are not tables of numbers") from None
    labels = labels[:, None] if labels.ndim == 1 else labels
    if labels.ndim != 2 or labels.shape[1] != len(class_counts):
        raise InvalidShapeError("labels", labels.shape, f"[molecules, {len(class_counts)}]")
    scores = scores.reshape(len(scores), -1) if scores.ndim == 3 else scores
    if scores.shape != (len(labels), sum(class_counts)):
        raise InvalidShapeError("scores", scores.shape, f"({len(labels)}, {sum(class_counts)}), one column per class")
    return labels, scores
