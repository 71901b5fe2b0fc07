"""The data of a run: loading it as the settings say, and what is written down about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dc_graphsam.catalogue import NETWORKS
from dc_graphsam.exceptions import InvalidArgumentError, check_choice
from dc_graphsam.runs.settings import TABLE_ONLY, RunSettings, portable_path
from dc_graphsam.tasks import TaskSpec

__all__ = ["describe_dataset", "load_all_rows", "load_data", "resolve_split"]


def resolve_split(settings: RunSettings) -> RunSettings:
    """Settings whose split and feature set are named, not left to the defaults.

    Examples
    --------
    >>> resolve_split(RunSettings(dataset="bbbp")).split
    'scaffold'
    """
    changes: dict[str, Any] = {}
    if settings.dataset is not None:
        from dc_graphsam.data import get_dataset_entry

        entry = get_dataset_entry(settings.dataset)
        changes["dataset"] = entry.name
    if settings.split is None and settings.splits_file is None:
        recommended = "random" if settings.dataset is None else entry.recommended_split
        changes["split"] = "kfold" if settings.fold is not None else recommended
    if settings.feature_set is None:
        changes["feature_set"] = _feature_set_of_model({**settings.__dict__, **changes})
    return replace(settings, **changes)


def _feature_set_of_model(settings: dict[str, Any]) -> str:
    """What the model reads by its own options."""
    import dc_graphsam.models

    config_class = getattr(dc_graphsam.models, NETWORKS[settings["model"]].classes[0])
    options = {k: v for k, v in settings["model_options"].items() if k == "unknown_bond"}
    config = config_class.released(settings["dataset"], **options) if settings["released"] else config_class(**options)
    return config.feature_set


def load_data(settings: RunSettings, *, splits=None, progress: bool = False):
    """Load, featurize and divide the data of a run.

    Parameters
    ----------
    settings
        With :func:`resolve_split` applied.
    splits
        A file or mapping that replaces the division of the settings.
    progress
        Whether to show bars.

    Returns
    -------
    datasets.DatasetDict
        With a :class:`~dc_graphsam.tasks.TaskSpec`.
    """
    from dc_graphsam.data import load_csv, load_moleculenet

    common: dict[str, Any] = {
        "split": settings.split or "random",
        "seed": settings.seed if settings.split_seed is None else settings.split_seed,
        "fold": settings.fold,
        "n_folds": settings.n_folds,
        "splits": splits if splits is not None else settings.splits_file,
        "max_atoms": settings.max_atoms,
        "feature_set": settings.feature_set,
        "progress": progress,
    }
    if settings.sizes is not None:
        common["sizes"] = settings.sizes
    if settings.data is not None:
        target = None if settings.target is None else list(settings.target)
        own = ("positive", "split_column", "group_column", "time_column", "validation_data", "test_data")
        common.update((name, getattr(settings, name)) for name in own)
        data = load_csv(
            settings.data,
            settings.smiles_column,
            target,
            settings.task_type,
            metric=settings.metric,
            censored=settings.censored,
            **common,
        )
    else:
        for name in TABLE_ONLY:
            if getattr(settings, name) is not None:
                raise InvalidArgumentError(
                    f"{name} is for data, not for the built-in data set {settings.dataset!r}", arguments=(name,)
                )
        if settings.censored != "drop":
            raise InvalidArgumentError(
                f"censored is {settings.censored!r}, for data; the built-in data set {settings.dataset!r} has no bounds",
                arguments=("censored",),
            )
        data = load_moleculenet(settings.dataset, data_dir=settings.data_dir, **common)
    spec = TaskSpec.of(data)
    if settings.metric is not None:
        spec = spec.replace(metric=settings.metric)
    check_metric(spec)
    return spec.attach(data)


def check_metric(spec: TaskSpec) -> None:
    """Raise ``InvalidArgumentError`` if the metric is not one of the task type."""
    from dc_graphsam.metrics import METRICS_OF
    from dc_graphsam.tasks import METRICS

    check_choice(
        f"metric of {spec.task_type}", spec.metric, [name for name in METRICS_OF[spec.task_type] if name in METRICS]
    )


def load_all_rows(
    config, *, dataset=None, data=None, smiles_column=None, data_dir=None, positive=None, progress: bool = False
):
    """All usable rows of labelled data for a trained model, as one split.

    Parameters
    ----------
    config
        Of the model: says which tasks and features there must be.
    dataset, data, smiles_column, data_dir, positive
        As in :class:`~dc_graphsam.runs.settings.RunSettings`.

    Raises
    ------
    InvalidArgumentError
        If a built-in data set has other tasks than the model.
    """
    from dc_graphsam.data import get_dataset_entry, load_csv, load_moleculenet

    common = {"sizes": (1.0, 0.0, 0.0), "feature_set": config.feature_set, "progress": progress}
    if data is not None:
        names = list(config.task_names)
        classes = getattr(config, "class_names", None)
        return load_csv(
            data,
            smiles_column,
            names,
            config.task_type,
            metric=config.metric,
            class_names=classes,
            positive=positive,
            **common,
        )["train"]
    entry = get_dataset_entry(dataset)
    if list(entry.task_names) != list(config.task_names):
        raise InvalidArgumentError(
            f"data set {entry.name!r} has the tasks {_short(entry.task_names)}, "
            f"the model predicts {_short(config.task_names)}"
        )
    return load_moleculenet(entry.name, data_dir=data_dir, **common)["train"]


def _short(names) -> str:
    shown = ", ".join(map(repr, names[:3]))
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def describe_dataset(settings: RunSettings, data, dropped: int) -> dict[str, Any]:
    """What ``run.json`` says about the data."""
    from dc_graphsam.data import split_hash, split_indices

    checksums = next(iter(data.values())).info.download_checksums or {}
    split, by = _split_words(settings)
    return {
        "name": settings.name,
        "source": settings.dataset or portable_path(settings.data),
        "source_sha256": next((entry.get("checksum") for entry in checksums.values()), None),
        "split": split,
        **({"split_by": by} if by else {}),
        "seed": settings.seed if settings.split_seed is None else settings.split_seed,
        "fold": settings.fold,
        "counts": {part: len(rows) for part, rows in data.items()},
        "dropped": dropped,
        "splits_sha256": split_hash(split_indices(data)),
    }


def _split_words(settings: RunSettings) -> tuple[str | None, str]:
    """How a run is divided, in a word, and by what column or table."""
    if settings.splits_file is not None:
        return "file", ""
    columns = {"column": settings.split_column, "group": settings.group_column, "time": settings.time_column}
    named = [(kind, repr(name)) for kind, name in columns.items() if name is not None]
    tables = [path for path in (settings.validation_data, settings.test_data) if path is not None]
    named += [("table", str(portable_path(path))) for path in tables]
    if not named:
        return settings.split, ""
    return named[0][0], ", ".join(name for _, name in named)


def check_parts(data) -> None:
    """Raise ``InvalidArgumentError`` if there is nothing to train on or to choose the best epoch by."""
    for part, use in (("train", "to learn from"), ("validation", "to choose the best epoch by")):
        if part not in data or not len(data[part]):
            raise InvalidArgumentError(f"the split has no rows in {part!r}, which are needed {use}")


def metric_is_defined(data, part: str) -> bool:
    """Whether the metric of the task exists for the labels of a part (ROC-AUC needs both classes)."""
    from dc_graphsam.data import label_matrix
    from dc_graphsam.metrics import class_metric, get_metric

    spec = TaskSpec.of(data)
    labels = label_matrix(data[part])
    if spec.class_counts is not None:
        scores = np.tile(np.linspace(0.0, 1.0, len(labels))[:, None], sum(spec.class_counts))
        return bool(np.isfinite(class_metric(spec.metric, labels, scores, spec.class_counts).value))
    scores = np.linspace(0.0, 1.0, labels.size).reshape(labels.shape)
    return bool(np.isfinite(get_metric(spec.metric)(labels, scores, spec.task_names).value))
