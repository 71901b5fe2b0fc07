"""``compute_metrics`` for ``transformers.Trainer``."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dc_graphsam.exceptions import InvalidArgumentError, check_choice
from dc_graphsam.metrics.masked import all_metrics
from dc_graphsam.tasks import TASK_TYPES

__all__ = ["ComputeMetrics", "compute_metrics_for"]

logger = logging.getLogger(__name__)


class ComputeMetrics:
    """Callable from ``EvalPrediction`` to a dict of metrics; made by :func:`compute_metrics_for`.

    A class, not a closure, so that it crosses process borders (hyper-parameter search, distributed evaluation).
    """

    def __init__(
        self,
        task_type: str,
        task_names: Sequence[str] | None = None,
        per_task: bool | None = None,
        class_counts: Sequence[int] | None = None,
    ) -> None:
        self.task_type = check_choice("task_type", task_type, TASK_TYPES)
        self.task_names = None if task_names is None else tuple(task_names)
        self.per_task = per_task
        if self.task_type == "multiclass" and class_counts is None:
            raise InvalidArgumentError("class_counts is None; multiclass metrics need the classes of each task")
        self.class_counts = None if class_counts is None else tuple(class_counts)
        self._named: set[str] = set()

    def __call__(self, prediction) -> dict[str, float]:
        logits, labels = _first(prediction.predictions), _first(prediction.label_ids)
        values, left_out = all_metrics(
            self.task_type, labels, logits, self.task_names, per_task=self.per_task, class_counts=self.class_counts
        )
        self._warn_once(left_out)
        return values

    def _warn_once(self, left_out: dict[str, str]) -> None:
        """Name tasks left out the first time only: the validation set is the same in every epoch."""
        new = {task: reason for task, reason in left_out.items() if f"{task}: {reason}" not in self._named}
        if not new:
            return
        self._named.update(f"{task}: {reason}" for task, reason in new.items())
        shown = ", ".join(f"{task} ({reason})" for task, reason in list(new.items())[:10])
        more = f" and {len(new) - 10} more" if len(new) > 10 else ""
        logger.warning("left out of the mean over tasks: %s%s", shown, more)


def compute_metrics_for(
    task_type: str,
    task_names: Sequence[str] | None = None,
    *,
    per_task: bool | None = None,
    class_counts: Sequence[int] | None = None,
) -> ComputeMetrics:
    """``compute_metrics`` for the Trainer.

    Parameters
    ----------
    task_type
        ``"classification"``, ``"regression"`` or ``"multiclass"``.
    task_names
        One per column of the labels; default ``task_0, task_1, …``.
    per_task
        Also give ``<metric>_<task>``; default: if there are 2 to 20 tasks.
    class_counts
        Classes of each task, needed for ``"multiclass"``.

    Returns
    -------
    ComputeMetrics
        Takes an ``EvalPrediction`` whose ``predictions`` (or their first entry, if a tuple) are logits [M, T] and whose
        ``label_ids`` are [M, T] with NaN for missing; gives ``roc_auc, prc_auc``, ``rmse, mae, r2`` or ``roc_auc_ovr,
        balanced_accuracy, accuracy, f1_macro`` as floats. Of multiclass tasks the logits are [M, ΣC].
        Tasks left out of a mean are named once, through ``logging``.

    Raises
    ------
    InvalidArgumentError
        ``task_type`` is none of them.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> compute_metrics = compute_metrics_for("classification", ["p_np"])
    >>> labels = np.array([[1.0], [0.0], [np.nan]])
    >>> compute_metrics(SimpleNamespace(predictions=np.array([[3.0], [-1.0], [0.0]]), label_ids=labels))
    {'roc_auc': 1.0, 'prc_auc': 1.0}
    """
    return ComputeMetrics(task_type, task_names, per_task, class_counts)


def _first(arrays):
    """Logits come first in a model's outputs; hidden states and attentions may follow."""
    return arrays[0] if isinstance(arrays, (tuple, list)) else arrays
