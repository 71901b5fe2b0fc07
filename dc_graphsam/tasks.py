"""What a table of molecules is asked to predict: one record that travels from data set to model to metrics."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from dc_graphsam.exceptions import InvalidArgumentError, check_choice

__all__ = ["METRICS", "TASK_TYPES", "TaskSpec"]

TASK_TYPES = ("regression", "classification")
METRICS = ("roc_auc", "prc_auc", "rmse", "mae")
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
        ``"regression"`` or ``"classification"`` (binary, one logit per task).
    metric
        The metric models are compared and selected by: ``roc_auc``, ``prc_auc``, ``rmse`` or ``mae``.
    feature_set
        Name of the feature set of the graph columns, e.g. ``"compt"``.

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "task_names", tuple(str(name) for name in self.task_names))
        if not self.task_names:
            raise InvalidArgumentError("task_names is empty; accepted: at least one task")
        check_choice("task_type", self.task_type, TASK_TYPES)
        check_choice("metric", self.metric, METRICS)

    @property
    def greater_is_better(self) -> bool:
        return self.metric in ("roc_auc", "prc_auc")

    def replace(self, **changes) -> TaskSpec:
        return replace(self, **changes)

    def to_json(self) -> str:
        return json.dumps({_KEY: asdict(self)})

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
