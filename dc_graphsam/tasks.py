"""What a table of molecules is asked to predict: one record that travels from data set to model to metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from dc_graphsam.exceptions import InvalidArgumentError, check_choice

__all__ = ["DEFAULT_METRIC", "METRICS", "TASK_TYPES", "TaskSpec", "check_class_names", "output_names"]

TASK_TYPES = ("regression", "classification", "multiclass")
METRICS = ("roc_auc", "prc_auc", "rmse", "mae", "roc_auc_ovr", "balanced_accuracy", "accuracy", "f1_macro")
#: What models are compared and selected by, if nobody says otherwise.
DEFAULT_METRIC = {"regression": "rmse", "classification": "roc_auc", "multiclass": "roc_auc_ovr"}
_KEY = "dc_graphsam"


@dataclass(frozen=True)
class TaskSpec:
    """Tasks of a data set.

    Attributes
    ----------
    dataset
        Name of the data set, e.g. ``"bbbp"``, or the stem of a user's file.
    task_names
        One name per column of ``labels``, in order.
    task_type
        ``"regression"``, ``"classification"`` (binary, one logit per task) or ``"multiclass"`` (several classes that
        exclude each other, one logit per class).
    metric
        The metric models are compared and selected by: ``roc_auc`` or ``prc_auc``; ``rmse`` or ``mae``; ``roc_auc_ovr``,
        ``balanced_accuracy``, ``accuracy`` or ``f1_macro``.
    feature_set
        Name of the feature set of the graph columns, e.g. ``"compt"``.
    class_names
        Of a multiclass task the names of its classes, in the order of the numbers 0, 1, … in ``labels``; one tuple per
        task. Of a classification what 0 and 1 stand for, if the table said it in other words; ``None`` if they are 0 and 1.

    Examples
    --------
    >>> spec = TaskSpec("bbbp", ("p_np",), "classification", "roc_auc", "compt")
    >>> TaskSpec.from_json(spec.to_json()) == spec
    True
    >>> spec.greater_is_better
    True
    """

    dataset: str
    task_names: tuple[str, ...]
    task_type: str
    metric: str
    feature_set: str | None = None
    class_names: tuple[tuple[str, ...], ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "task_names", tuple(str(name) for name in self.task_names))
        if not self.task_names:
            raise InvalidArgumentError("task_names is empty; accepted: at least one task")
        check_choice("task_type", self.task_type, TASK_TYPES)
        check_choice("metric", self.metric, METRICS)
        object.__setattr__(
            self, "class_names", check_class_names(self.task_type, self.class_names, len(self.task_names))
        )

    @property
    def greater_is_better(self) -> bool:
        return self.metric not in ("rmse", "mae")

    @property
    def class_counts(self) -> tuple[int, ...] | None:
        """Classes of each task of a multiclass data set; ``None`` for the other types."""
        return tuple(map(len, self.class_names)) if self.task_type == "multiclass" else None

    @property
    def output_names(self) -> tuple[str, ...]:
        """See :func:`output_names`."""
        return output_names(self.task_type, self.task_names, self.class_names)

    def replace(self, **changes) -> TaskSpec:
        return replace(self, **changes)

    def to_json(self) -> str:
        return json.dumps({_KEY: self.record()})

    def record(self) -> dict:
        """JSON types; class names only where there are any."""
        fields = {**asdict(self), "task_names": list(self.task_names)}
        if self.class_names is None:
            del fields["class_names"]
        else:
            fields["class_names"] = [list(names) for names in self.class_names]
        return fields

    @classmethod
    def from_json(cls, text: str) -> TaskSpec:
        fields = json.loads(text)[_KEY]
        return cls(**{**fields, "task_names": tuple(fields["task_names"])})

    @classmethod
    def of(cls, dataset) -> TaskSpec:
        """The record that a ``datasets.Dataset`` (or any split of a ``DatasetDict``) carries in ``info.description``."""
        if hasattr(dataset, "values"):
            dataset = next(iter(dataset.values()))
        text = getattr(getattr(dataset, "info", None), "description", "") or ""
        try:
            return cls.from_json(text)
        except (ValueError, KeyError, TypeError):
            raise InvalidArgumentError(
                "dataset does not say what its labels are; load it with load_moleculenet or load_csv, "
                "or attach a record with TaskSpec(...).attach(dataset)"
            ) from None

    def attach(self, dataset):
        """Write this record into ``dataset`` (a ``Dataset`` or ``DatasetDict``), and return the data set."""
        for part in dataset.values() if hasattr(dataset, "values") else (dataset,):
            part.info.description = self.to_json()
        return dataset


def check_class_names(
    task_type: str, class_names: Sequence[Sequence[str]] | None, n_tasks: int
) -> tuple[tuple[str, ...], ...] | None:
    """Names of classes as tuples of text, if they fit the type and the number of tasks.

    Raises
    ------
    InvalidArgumentError
        If there are none where there must be, or they are not different names, two or more per task.

    Examples
    --------
    >>> check_class_names("multiclass", [["low", "medium", "high"]], 1)
    (('low', 'medium', 'high'),)
    """
    if class_names is None:
        if task_type == "multiclass":
            raise InvalidArgumentError("class_names is None; accepted with multiclass: names of the classes, per task")
        return None
    if task_type == "regression":
        raise InvalidArgumentError(f"class_names is {class_names!r}; a regression has no classes")
    if isinstance(class_names, str) or any(isinstance(names, str) for names in class_names):
        raise InvalidArgumentError(f"class_names is {class_names!r}; accepted: a list of names for each task")
    found = tuple(tuple(str(name) for name in names) for names in class_names)
    if len(found) != n_tasks:
        raise InvalidArgumentError(f"class_names has {len(found)} lists; accepted: one per task ({n_tasks})")
    for names in found:
        accepted = "two names" if task_type == "classification" else "two names or more"
        if len(set(names)) < len(names) or len(names) < 2 or (task_type == "classification" and len(names) > 2):
            raise InvalidArgumentError(
                f"class_names has {list(names)!r}; accepted for each task: {accepted}, all different"
            )
    return found


def output_names(
    task_type: str, task_names: Sequence[str], class_names: Sequence[Sequence[str]] | None
) -> tuple[str, ...]:
    """One name per logit: the task, or ``task=class`` for each class of a multiclass task.

    Examples
    --------
    >>> output_names("multiclass", ["grade"], [["low", "high"]])
    ('grade=low', 'grade=high')
    """
    if task_type != "multiclass":
        return tuple(task_names)
    return tuple(f"{task}={name}" for task, names in zip(task_names, class_names, strict=True) for name in names)
