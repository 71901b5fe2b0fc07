"""The masked metrics as ``deepchem.metrics.Metric``."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import lru_cache, partial

import numpy as np

from dc_graphsam.exceptions import InvalidShapeError, check_choice
from dc_graphsam.metrics.classes import CLASS_METRICS, class_metric
from dc_graphsam.metrics.masked import METRICS_OF, get_metric
from dc_graphsam.metrics.result import MetricResult
from dc_graphsam.optional import require

__all__ = ["dc_metric"]

logger = logging.getLogger(__name__)
_NAMES = tuple(name for names in METRICS_OF.values() for name in names)


def dc_metric(name: str):
    """A masked metric for DeepChem: ``model.evaluate(test, [dc_metric("roc_auc")], transformers)``.

    DeepChem marks a missing label with weight 0 (and label 0), but its own metrics read the weights only on request,
    and then fail on a task with one class. This one treats weight 0, weight NaN and label NaN as not measured, and
    leaves out and names (through ``logging``) tasks where the metric is not defined, so that it equals
    :func:`~dc_graphsam.metrics.roc_auc` and its siblings on labels with NaN.

    Parameters
    ----------
    name
        ``"roc_auc"``, ``"prc_auc"``, ``"rmse"``, ``"mae"`` or ``"r2"``; of several classes ``"roc_auc_ovr"``,
        ``"balanced_accuracy"``, ``"accuracy"`` or ``"f1_macro"``.

    Returns
    -------
    deepchem.metrics.Metric
        ``compute_metric(y_true, y_pred, w, …)`` takes labels [M, T] (or [M], [M, T, 1], one-hot [M, T, 2]),
        predictions [M, T] (or [M], [M, T, 1], class probabilities [M, T, 2], and [M, 2] for one task) and weights
        [M, T], [M] or None. Metrics of several classes take numbers of classes [M, T] (or one-hot [M, T, C]) and
        probabilities [M, T, C], or [M, C] for one task. Weights above 0 count only with ``use_sample_weights=True``. With ``per_task_metrics=True``
        the list of tasks has NaN where the metric is not defined.

    Raises
    ------
    InvalidArgumentError
        There is no metric of that name.
    MissingPackageError
        DeepChem is not installed.

    Examples
    --------
    >>> metric = dc_metric("rmse")
    >>> metric.name, float(metric.compute_metric([[1.0], [5.0]], [[2.0], [0.0]], w=[[1.0], [0.0]]))
    ('rmse', 1.0)
    """
    check_choice("metric", name, _NAMES)
    return _metric_class()(name)


@lru_cache(maxsize=1)
def _metric_class() -> type:
    """The subclass of ``deepchem.metrics.Metric``, made on first use: importing deepchem takes seconds."""
    with _quiet_import():
        Metric = require("deepchem.metrics", "dc_metric").Metric

    class MaskedMetric(Metric):
        """A masked multi-task metric; see :func:`dc_metric`."""

        def __init__(self, name: str) -> None:
            mode = "regression" if name in METRICS_OF["regression"] else "classification"
            function = partial(class_metric, name) if name in CLASS_METRICS else get_metric(name)
            super().__init__(function, name=name, mode=mode, classification_handling_mode="direct")

        def compute_metric(
            self,
            y_true,
            y_pred,
            w=None,
            n_tasks=None,
            n_classes=2,
            per_task_metrics=False,
            use_sample_weights=False,
            **kwargs,
        ):
            if self.name in CLASS_METRICS:
                labels, scores = _of_classes(y_true, y_pred)
                kwargs["class_counts"] = (scores.shape[2],) * scores.shape[1]
            else:
                labels = _per_task("y_true", y_true, n_tasks, one_hot=self.mode == "classification")
                scores = _per_task("y_pred", y_pred, labels.shape[1], one_hot=self.mode == "classification")
            weights = None
            if w is not None:
                weights = np.asarray(w, dtype=np.float64)
                weights = weights if weights.ndim else np.full(labels.shape, float(weights))
                if not use_sample_weights:
                    weights = (weights > 0).astype(np.float64)  # NaN > 0 is False: missing
            result = self.metric(labels, scores, sample_weight=weights, **kwargs)
            _name_left_out(result)
            if not per_task_metrics:
                return result.value
            tasks = {**dict.fromkeys(result.left_out, float("nan")), **result.per_task}
            return result.value, [tasks[f"task_{t}"] for t in range(labels.shape[1])]

    return MaskedMetric


def _per_task(name: str, array, n_tasks: int | None, *, one_hot: bool) -> np.ndarray:
    """[M, T] of the shapes that DeepChem's models and data sets come in; of two classes, the positive one."""
    array = np.asarray(array, dtype=np.float64)
    if one_hot and array.ndim == 2 and n_tasks == 1 and array.shape[1] == 2:
        array = array[:, None, :]  # [M, 2] → [M, 1, 2]
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim == 3 and (array.shape[2] == 1 or (one_hot and array.shape[2] == 2)):
        array = array[:, :, -1]  # [M, T, C] → [M, T]
    if array.ndim != 2 or (n_tasks is not None and array.shape[1] != n_tasks):
        tasks = "tasks" if n_tasks is None else n_tasks
        expected = f"[molecules, {tasks}]" + (f" or [molecules, {tasks}, 2]" if one_hot else "")
        raise InvalidShapeError(name, array.shape, expected)
    return array


def _of_classes(y_true, y_pred) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of classes [M, T] and probabilities [M, T, C] of what DeepChem's models and data sets hold."""
    labels, scores = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
    scores = scores[:, None, :] if scores.ndim == 2 else scores  # [M, C]: one task
    if labels.ndim == 3 and labels.shape[2] > 1:
        labels = np.where(np.isnan(labels).any(axis=2), np.nan, np.nan_to_num(labels).argmax(axis=2))
    labels = labels.reshape(len(labels), -1)
    if scores.ndim != 3 or labels.shape != scores.shape[:2]:
        raise InvalidShapeError("y_pred", scores.shape, f"[molecules, classes] or {labels.shape} and classes")
    return labels, scores


def _name_left_out(result: MetricResult) -> None:
    if result.left_out:
        named = ", ".join(f"{task} ({reason})" for task, reason in result.left_out.items())
        logger.warning("%s: left out of the mean over tasks: %s", result.name, named)


@contextmanager
def _quiet_import():
    """DeepChem logs a warning for each optional dependency that is absent; none of them is needed here."""
    previous = logging.root.manager.disable
    logging.disable(max(previous, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(previous)
