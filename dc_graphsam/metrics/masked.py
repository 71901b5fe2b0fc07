r"""Metrics over several tasks whose labels are partly missing.

Labels ``y`` are ``[M, T]``: molecule m, task t, NaN where nothing was measured. With ``I_t = {m : y_mt is not NaN}``
every metric is computed for each task on ``I_t`` alone, and the value reported is the mean over the tasks for which it
is defined (Wu et al. 2018, MoleculeNet, section 4.1):

.. math::  \bar s = \frac{1}{|D|} \sum_{t \in D} s\big((y_{mt})_{m \in I_t}, (\hat y_{mt})_{m \in I_t}\big)

Tasks outside ``D`` are never counted as 0 or 0.5: they are named in :attr:`MetricResult.left_out` with the reason.
A score that is NaN or infinite where there is a label makes its task, and so the mean, NaN: a model that failed is not
left out of its own evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dc_graphsam.exceptions import InvalidArgumentError, InvalidShapeError, check_choice
from dc_graphsam.metrics.classes import class_metric
from dc_graphsam.metrics.result import MetricResult, task_names_of
from dc_graphsam.tasks import TASK_TYPES

__all__ = ["METRICS_OF", "MetricResult", "all_metrics", "get_metric", "mae", "prc_auc", "r2", "rmse", "roc_auc"]

METRICS_OF = {
    "classification": ("roc_auc", "prc_auc"),
    "regression": ("rmse", "mae", "r2"),
    "multiclass": ("roc_auc_ovr", "balanced_accuracy", "accuracy", "f1_macro"),
}
MAX_TASKS_LISTED = 20


def roc_auc(labels, scores, task_names: Sequence[str] | None = None, *, sample_weight=None) -> MetricResult:
    r"""Area under the receiver operating characteristic, P(score of a positive > score of a negative), ties half.

    .. math::  \mathrm{AUC}_t = \frac{1}{|P_t||N_t|}\sum_{p \in P_t}\sum_{n \in N_t}
               \big([\hat y_p > \hat y_n] + \tfrac12[\hat y_p = \hat y_n]\big)

    Parameters
    ----------
    labels
        float [M, T] or [M]: 0, 1, or NaN where nothing was measured.
    scores
        Same shape; logits, probabilities or any other increasing function of them.
    task_names
        T names; default ``task_0, task_1, …``.
    sample_weight
        float [M, T] or [M], at least 0; 0 or NaN takes the entry out.

    Returns
    -------
    MetricResult
        A task with labels of one class, or none, is left out and named.

    Raises
    ------
    InvalidShapeError
        Shapes differ, or are neither [M] nor [M, T].
    InvalidArgumentError
        A label is neither 0, 1 nor NaN.

    Examples
    --------
    >>> nan = float("nan")
    >>> result = roc_auc([[1, 0], [0, 0], [nan, 0], [1, nan]], [[2, 1], [-1, 3], [9, 9], [-2, 0]], ["a", "b"])
    >>> result.value, result.per_task, result.left_out
    (0.5, {'a': 0.5}, {'b': 'all 3 labels are 0'})
    """
    from sklearn.metrics import roc_auc_score

    return _over_tasks("roc_auc", roc_auc_score, labels, scores, task_names, sample_weight)


def prc_auc(
    labels, scores, task_names: Sequence[str] | None = None, *, sample_weight=None, interpolation: str = "step"
) -> MetricResult:
    r"""Area under the precision-recall curve; a constant score has the share of positives, as it should.

    .. math::  \mathrm{AP}_t = \sum_k (R_k - R_{k-1}) P_k

    with precision P and recall R at the k-th highest threshold (``sklearn.metrics.average_precision_score``).

    Parameters
    ----------
    labels, scores, task_names, sample_weight
        As in :func:`roc_auc`.
    interpolation
        ``"step"``: the equation above. ``"trapezoid"``: straight lines between the points and to (recall 0,
        precision 1), which MoleculeNet, DeepChem's ``prc_auc_score`` and chemprop report; optimistic (Davis & Goadrich
        2006, ICML), and (1 + p)/2 instead of p for a constant score, so use it only beside their tables.

    Returns
    -------
    MetricResult

    Raises
    ------
    InvalidShapeError, InvalidArgumentError
        As :func:`roc_auc`.

    Examples
    --------
    >>> labels, constant = [1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]
    >>> prc_auc(labels, constant).value, prc_auc(labels, constant, interpolation="trapezoid").value
    (0.25, 0.625)
    """
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve

    check_choice("interpolation", interpolation, ("step", "trapezoid"))

    def trapezoid(y, scores, sample_weight=None):
        precision, recall, _ = precision_recall_curve(y, scores, sample_weight=sample_weight)
        return auc(recall, precision)

    function = average_precision_score if interpolation == "step" else trapezoid
    return _over_tasks("prc_auc", function, labels, scores, task_names, sample_weight)


def rmse(labels, predictions, task_names: Sequence[str] | None = None, *, sample_weight=None) -> MetricResult:
    r"""Root mean squared error, ``RMSE_t = sqrt(mean_m (ŷ_mt - y_mt)²)``, in label units; the mean over tasks.

    Parameters
    ----------
    labels, predictions
        float [M, T] or [M]; NaN labels are not measured.
    task_names, sample_weight
        As in :func:`roc_auc`.

    Returns
    -------
    MetricResult
        A task without a label is left out and named.

    Raises
    ------
    InvalidShapeError
        Shapes differ, or are neither [M] nor [M, T].
    InvalidArgumentError
        A label is infinite.

    Examples
    --------
    >>> rmse([1.0, 2.0, float("nan")], [1.0, 4.0, 7.0]).value == 2 ** 0.5
    True
    """
    from sklearn.metrics import root_mean_squared_error

    return _over_tasks("rmse", root_mean_squared_error, labels, predictions, task_names, sample_weight)


def mae(labels, predictions, task_names: Sequence[str] | None = None, *, sample_weight=None) -> MetricResult:
    """Mean absolute error, ``MAE_t = mean_m |ŷ_mt - y_mt|``, in label units; the mean over tasks.

    Parameters, result and errors are those of :func:`rmse`.

    Examples
    --------
    >>> mae([1.0, 2.0, float("nan")], [1.0, 4.0, 7.0]).value
    1.0
    """
    from sklearn.metrics import mean_absolute_error

    return _over_tasks("mae", mean_absolute_error, labels, predictions, task_names, sample_weight)


def r2(labels, predictions, task_names: Sequence[str] | None = None, *, sample_weight=None) -> MetricResult:
    r"""Coefficient of determination, :math:`R^2_t = 1 - \sum_m (\hat y_{mt}-y_{mt})^2 / \sum_m (y_{mt}-\bar y_t)^2`.

    The mean of the labels taken here is that of the rows scored, so predict-the-training-mean is at most 0.
    Parameters and errors are those of :func:`rmse`; a task whose labels do not vary is left out and named.

    Examples
    --------
    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]).value
    0.5
    """
    from sklearn.metrics import r2_score

    return _over_tasks("r2", r2_score, labels, predictions, task_names, sample_weight)


_METRICS = {"roc_auc": roc_auc, "prc_auc": prc_auc, "rmse": rmse, "mae": mae, "r2": r2}


def get_metric(name: str) -> Callable[..., MetricResult]:
    """The metric of that name.

    >>> get_metric("mae")([1.0], [3.0]).value
    2.0
    """
    return _METRICS[check_choice("metric", name, _METRICS)]


def all_metrics(
    task_type: str,
    labels,
    scores,
    task_names: Sequence[str] | None = None,
    *,
    per_task: bool | None = None,
    class_counts: Sequence[int] | None = None,
) -> tuple[dict[str, float], dict[str, str]]:
    """All metrics of a task type at once.

    Parameters
    ----------
    task_type
        ``"classification"`` (ROC-AUC, PRC-AUC), ``"regression"`` (RMSE, MAE, R²) or ``"multiclass"`` (ROC-AUC of each class
        against the others, balanced accuracy, accuracy, F1, see :func:`~dc_graphsam.metrics.class_metric`).
    labels, scores
        float [M, T] or [M], as in :func:`roc_auc` and :func:`rmse`; multiclass: scores [M, ΣC].
    task_names
        T names.
    per_task
        Also give ``<metric>_<task>`` for each task; default: if there are 2 to 20.
    class_counts
        Classes of each task, needed for ``"multiclass"``.

    Returns
    -------
    values : dict
        ``{"roc_auc": …, "prc_auc": …, "roc_auc_<task>": …}`` or ``{"rmse": …, "mae": …, "r2": …, …}``.
    left_out : dict
        Task name → why it is in no mean. Tasks that only R² leaves out are named as ``"<task> (r2)"``.

    Examples
    --------
    >>> all_metrics("regression", [1.0, 2.0, 3.0], [1.0, 2.0, 4.0])[0]["mae"]
    0.3333333333333333
    """
    values: dict[str, float] = {}
    details: dict[str, float] = {}
    left_out: dict[str, str] = {}
    names = METRICS_OF[check_choice("task_type", task_type, TASK_TYPES)]
    for name in names:
        if task_type == "multiclass":
            if class_counts is None:
                raise InvalidArgumentError("class_counts is None; multiclass metrics need the classes of each task")
            result = class_metric(name, labels, scores, class_counts, task_names)
        else:
            result = _METRICS[name](labels, scores, task_names)
        n_tasks = len(result.per_task) + len(result.left_out)
        values[name] = result.value
        if per_task or (per_task is None and 2 <= n_tasks <= MAX_TASKS_LISTED):
            details.update({f"{name}_{task}": value for task, value in result.per_task.items()})
        for task, reason in result.left_out.items():
            if task not in left_out:
                left_out[task if name == names[0] else f"{task} ({name})"] = reason
    return {**values, **details}, left_out


def _over_tasks(name, function, labels, scores, task_names, sample_weight) -> MetricResult:
    labels, scores = _matrix("labels", labels), _matrix("scores", scores)
    if scores.shape != labels.shape:
        raise InvalidShapeError("scores", scores.shape, f"that of labels, {labels.shape}")
    n_tasks = labels.shape[1]
    task_names = task_names_of(task_names, n_tasks)
    measured = ~np.isnan(labels)
    weight = _weights(sample_weight, labels.shape)
    if weight is not None:
        measured &= weight > 0
    _check_labels(name, labels[measured])

    per_task, left_out = {}, {}
    for t, task in enumerate(task_names):
        rows = measured[:, t]
        y, s = labels[rows, t], scores[rows, t]
        reason = _undefined(name, y)
        if reason:
            left_out[task] = reason
        elif np.isfinite(s).all():
            per_task[task] = float(function(y, s, sample_weight=None if weight is None else weight[rows, t]))
        else:
            per_task[task] = float("nan")
    value = float(np.mean(list(per_task.values()))) if per_task else float("nan")
    return MetricResult(name, value, per_task, left_out)


def _matrix(name: str, array: Any) -> np.ndarray:
    """float64 [M, T] of an array, tensor or list of shape [M, T] or [M]."""
    try:
        array = np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidArgumentError(
            f"{name} is not a table of numbers; accepted: floats of shape [M, T] or [M]"
        ) from None
    if array.ndim not in (1, 2):
        raise InvalidShapeError(name, array.shape, "[molecules, tasks] or [molecules]")
    return array[:, None] if array.ndim == 1 else array


def _weights(sample_weight, shape: tuple[int, int]) -> np.ndarray | None:
    if sample_weight is None:
        return None
    weight = _matrix("sample_weight", sample_weight)
    if weight.shape not in (shape, (shape[0], 1)):
        raise InvalidShapeError("sample_weight", weight.shape, f"{shape} or {shape[:1]}")
    if np.any(weight < 0) or np.any(np.isinf(weight)):
        raise InvalidArgumentError(
            "sample_weight has a negative or infinite entry; accepted: finite numbers, at least 0"
        )
    return np.broadcast_to(weight, shape)


def _check_labels(name: str, y: np.ndarray) -> None:
    if name in METRICS_OF["classification"]:
        odd = y[(y != 0) & (y != 1)]
        if odd.size:
            raise InvalidArgumentError(f"labels hold {odd[0]:g}; {name} accepts: 0, 1, or NaN for not measured")
    elif np.isinf(y).any():
        raise InvalidArgumentError(f"labels hold inf; {name} accepts: finite numbers, or NaN for not measured")


def _undefined(name: str, y: np.ndarray) -> str | None:
    """Why the metric does not exist for these labels [n], if so."""
    if not y.size:
        return "no label"
    if name in METRICS_OF["classification"] and (y == y[0]).all():
        return f"all {y.size} labels are {y[0]:g}" if y.size > 1 else f"the only label is {y[0]:g}"
    if name == "r2" and (y == y[0]).all():
        return f"all {y.size} labels are equal" if y.size > 1 else "only one label"
    return None
