"""What a metric over several tasks finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["MetricResult", "task_names_of"]


@dataclass(frozen=True)
class MetricResult:
    """What a masked metric found.

    Attributes
    ----------
    name
        Of the metric, e.g. ``"roc_auc"``.
    value
        Mean over the tasks in ``per_task``; NaN if there are none.
    per_task
        Task name → value, in the order of the columns.
    left_out
        Task name → why the metric is not defined for it, e.g. ``"all 17 labels are 0"``.
    """

    name: str
    value: float
    per_task: dict[str, float]
    left_out: dict[str, str]

    def __float__(self) -> float:
        return self.value


def task_names_of(task_names: Sequence[str] | None, n_tasks: int) -> Sequence[str]:
    """The names, if there is a different one for every column of the labels; ``task_0, task_1, …`` for None."""
    if task_names is None:
        task_names = [f"task_{t}" for t in range(n_tasks)]
    if len(task_names) != n_tasks or len(set(task_names)) != n_tasks:
        raise InvalidArgumentError(
            f"task_names has {len(task_names)} names, {len(set(task_names))} of them different; "
            f"accepted: {n_tasks} different names, one per column of labels"
        )
    return task_names
