"""What any network has to beat, fitted on the same split: predict-the-mean, a random forest, gradient boosting.

Of several classes predict-the-mean gives every molecule the shares of the classes: it predicts the commonest one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.metrics.masked import all_metrics
from dc_graphsam.runs.trees import boosted_trees, forest, tree_features
from dc_graphsam.tasks import TaskSpec

if TYPE_CHECKING:
    from datasets import DatasetDict

__all__ = ["BASELINES", "class_share_baseline", "fit_baselines", "mean_baseline", "tree_baseline"]

logger = logging.getLogger(__name__)

BASELINES = ("mean", "forest", "boosting")


def mean_baseline(train_labels: np.ndarray, n_test: int) -> np.ndarray:
    """Mean of each task's measured training labels; for classes 0 and 1 that is the share of positives.

    Parameters
    ----------
    train_labels
        float [M, T], NaN where nothing was measured.
    n_test
        Rows to predict.

    Returns
    -------
    ndarray
        float64 [n_test, T]; NaN in tasks without a training label.

    Examples
    --------
    >>> mean_baseline(np.array([[1.0], [2.0], [np.nan]]), 2).tolist()
    [[1.5], [1.5]]
    """
    measured = ~np.isnan(train_labels)
    count = measured.sum(axis=0)
    total = np.where(measured, train_labels, 0.0).sum(axis=0, dtype=np.float64)
    means = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return np.tile(means, (n_test, 1))


def class_share_baseline(train_labels: np.ndarray, n_test: int, class_counts: Sequence[int]) -> np.ndarray:
    """Share of each class among the measured training labels of its task.

    Parameters
    ----------
    train_labels
        float [M, T]: numbers of classes, NaN where nothing was measured.
    n_test
        Rows to predict.
    class_counts
        Classes of each task.

    Returns
    -------
    ndarray
        float64 [n_test, ΣC]; NaN in tasks without a training label.

    Examples
    --------
    >>> class_share_baseline(np.array([[0.0], [2.0], [2.0], [2.0]]), 1, (3,)).tolist()
    [[0.25, 0.0, 0.75]]
    """
    shares = []
    for task, count in enumerate(class_counts):
        known = train_labels[~np.isnan(train_labels[:, task]), task].astype(int)
        found = np.bincount(known, minlength=count).astype(np.float64)
        shares.append(found / found.sum() if known.size else np.full(count, np.nan))
    return np.tile(np.concatenate(shares), (n_test, 1))


def tree_baseline(
    learner: Callable[..., np.ndarray],
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    task_type: str,
    seed: int = 0,
    class_counts: Sequence[int] | None = None,
) -> np.ndarray:
    """One ensemble of trees for each task, on that task's labelled rows.

    Parameters
    ----------
    learner
        :func:`~dc_graphsam.runs.trees.forest` or :func:`~dc_graphsam.runs.trees.boosted_trees`, or what is called like them.
    train, test
        float32 [M, F] and [M', F], see :func:`~dc_graphsam.runs.trees.tree_features`.
    train_labels
        float [M, T], NaN where nothing was measured.
    task_type
        ``"regression"``, ``"classification"`` or ``"multiclass"``.
    seed
        Of the trees.
    class_counts
        Classes of each task of a multiclass problem.

    Returns
    -------
    ndarray
        float64 [M', T]: values, or probabilities of class 1; multiclass: [M', ΣC], probabilities of the classes. NaN in
        tasks without a training label.

    Examples
    --------
    >>> from dc_graphsam.runs.trees import forest
    >>> rows = np.arange(8, dtype=np.float32)[:, None]
    >>> tree_baseline(forest, rows, (rows > 3).astype(float), rows[:1], "classification").shape
    (1, 1)
    """
    many = task_type == "multiclass"
    tasks = train_labels.shape[1]
    starts = np.cumsum([0, *class_counts]) if many else np.arange(tasks + 1)
    predictions = np.full((len(test), starts[-1]), np.nan)
    for task in range(tasks):
        own = slice(starts[task], starts[task + 1])
        rows = ~np.isnan(train_labels[:, task])
        y = train_labels[rows, task]
        if not y.size:
            continue
        if (y == y[0]).all():
            predictions[:, own] = np.arange(class_counts[task]) == y[0] if many else y[0]
            continue
        count = class_counts[task] if many else 2 if task_type == "classification" else None
        found = learner(train[rows], y, test, class_count=count, seed=seed, tasks=tasks)
        predictions[:, own] = found if many else found[:, 1:] if count else found[:, None]
    return predictions


def fit_baselines(data: DatasetDict, seed: int = 0, cache_dir: str | Path | None = None) -> dict[str, dict]:
    """Fit the baselines on the training split and score them on the test split.

    Parameters
    ----------
    data
        Splits ``train`` and ``test`` with columns ``smiles`` (string) and ``labels`` (list of T floats, NaN where
        nothing was measured), and a :class:`~dc_graphsam.TaskSpec`. The validation split is not used.
    seed
        Of the trees.
    cache_dir
        Where descriptors are kept, see :func:`~dc_graphsam.data.molecule_features.molecule_features`.

    Returns
    -------
    dict
        ``{"mean": {…}, "forest": {…}, "boosting": {…}}``; each holds the metrics of the test split under the names that
        :func:`~dc_graphsam.metrics.all_metrics` gives, and ``"predictions"``, float64 [M_test, T] (multiclass: [M_test, ΣC]).
        Tasks without a training label have NaN predictions, are in no metric, and are named through ``logging``.

    Raises
    ------
    InvalidArgumentError
        A split is missing, or is empty, or does not say what its labels are.
    InvalidSmilesError
        A SMILES cannot be parsed.

    Examples
    --------
    >>> from datasets import Dataset, DatasetDict
    >>> rows = {"smiles": ["C", "CC", "CCO", "CCCO"], "labels": [[0.1], [0.2], [1.1], [1.2]]}
    >>> data = DatasetDict(train=Dataset.from_dict(rows), test=Dataset.from_dict(rows))
    >>> data = TaskSpec("toy", ("logS",), "regression", "rmse").attach(data)
    >>> baselines = fit_baselines(data)
    >>> round(baselines["mean"]["mae"], 3), baselines["forest"]["predictions"].shape
    (0.5, (4, 1))
    """
    for split in ("train", "test"):
        if split not in data or not len(data[split]):
            raise InvalidArgumentError(f"data has no rows in split {split!r}; accepted: splits 'train' and 'test'")
    spec = TaskSpec.of(data)
    labels = {split: _labels(data[split], len(spec.task_names)) for split in ("train", "test")}
    features = {
        split: tree_features(data[split].with_format(None)["smiles"][:], cache_dir) for split in ("train", "test")
    }
    trees = (features["train"], labels["train"], features["test"], spec.task_type, seed, spec.class_counts)
    predictions = {
        "mean": mean_baseline(labels["train"], len(labels["test"]))
        if spec.class_counts is None
        else class_share_baseline(labels["train"], len(labels["test"]), spec.class_counts),
        "forest": tree_baseline(forest, *trees),
        "boosting": tree_baseline(boosted_trees, *trees),
    }

    unlearnt = np.isnan(labels["train"]).all(axis=0)
    if unlearnt.any():
        named = ", ".join(name for name, none in zip(spec.task_names, unlearnt, strict=True) if none)
        logger.warning("baselines leave out tasks without a training label: %s", named)
    scored = np.where(unlearnt, np.nan, labels["test"])
    baselines = {}
    for name in BASELINES:
        values, _ = all_metrics(
            spec.task_type, scored, predictions[name], spec.task_names, class_counts=spec.class_counts
        )
        baselines[name] = {**values, "predictions": predictions[name]}
    return baselines


def _labels(split, n_tasks: int) -> np.ndarray:
    """float64 [M, T] from the list column."""
    labels = np.asarray(split.with_format(None)["labels"][:], dtype=np.float64).reshape(len(split), -1)
    if labels.shape[1] != n_tasks:
        raise InvalidArgumentError(f"labels have {labels.shape[1]} columns; accepted: {n_tasks}, one per task name")
    return labels
