"""What the numbers of a prediction are called, in a dict and in the columns of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["logit_names", "named_result", "result_names"]


def logit_names(config: Any) -> tuple[str, ...]:
    """One name per number that the model gives: tasks, or ``task=class`` for each class of a multiclass task."""
    return tuple(getattr(config, "output_names", None) or config.task_names)


def result_names(config: Any) -> tuple[str, ...]:
    """Keys of :func:`named_result`, in order: also the columns of a table of predictions.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> config = SimpleNamespace(task_type="multiclass", task_names=["grade"], class_names=[["low", "high"]])
    >>> result_names(config)
    ('grade', 'grade=low', 'grade=high')
    """
    if config.task_type != "multiclass":
        return logit_names(config)
    names: list[str] = []
    for task, classes in zip(config.task_names, config.class_names, strict=True):
        names += [task, *(f"{task}={name}" for name in classes)]
    return tuple(names)


def named_result(config: Any, values: Sequence[float]) -> dict[str, Any]:
    """The numbers of one molecule by name; of a multiclass task first the name of its likeliest class.

    Parameters
    ----------
    config
        Of the model, or a :class:`~dc_graphsam.tasks.TaskSpec`.
    values
        T floats, or for multiclass one probability for each class of each task.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> config = SimpleNamespace(task_type="multiclass", task_names=["grade"], class_names=[["low", "high"]])
    >>> named_result(config, [0.25, 0.75])
    {'grade': 'high', 'grade=low': 0.25, 'grade=high': 0.75}
    """
    if config.task_type != "multiclass":
        return dict(zip(config.task_names, values, strict=True))
    out: dict[str, Any] = {}
    start = 0
    for task, classes in zip(config.task_names, config.class_names, strict=True):
        own = list(values[start : start + len(classes)])
        start += len(classes)
        out[task] = None if any(map(math.isnan, own)) else classes[own.index(max(own))]
        out.update((f"{task}={name}", value) for name, value in zip(classes, own, strict=True))
    return out
