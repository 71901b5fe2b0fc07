"""Two models that any network has to beat, fitted on the same split: predict-the-mean and a random forest.

Of several classes predict-the-mean gives every molecule the shares of the classes: it predicts the commonest one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dc_graphsam.exceptions import InvalidArgumentError, InvalidSmilesError
from dc_graphsam.metrics.masked import all_metrics
from dc_graphsam.tasks import TaskSpec

if TYPE_CHECKING:
    from datasets import DatasetDict

__all__ = ["BASELINES", "fit_baselines", "mean_baseline", "morgan_fingerprints", "random_forest_baseline"]

logger = logging.getLogger(__name__)

BASELINES = ("mean", "random_forest")
FINGERPRINT_RADIUS, FINGERPRINT_BITS = 2, 2048
N_TREES = 200  # 500 trees change RMSE on ESOL by 0.5 % and take 2.5 times as long
MAX_ROWS_PER_TREE = 2000  # all rows take part; bounds the time, without loss: Tox21 SR-MMP 0.892 both ways


def morgan_fingerprints(smiles) -> np.ndarray:
    """Morgan fingerprints of radius 2 folded to 2,048 bits (Rogers & Hahn 2010; those of ECFP4 by another hash).

    Parameters
    ----------
    smiles : sequence of str
        M molecules.

    Returns
    -------
    ndarray
        uint8 [M, 2048], 0 or 1.

    Raises
    ------
    InvalidSmilesError
        A SMILES cannot be parsed.

    Examples
    --------
    >>> bits = morgan_fingerprints(["CCO", "OCC"])
    >>> bits.shape, bool((bits[0] == bits[1]).all())
    ((2, 2048), True)
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=FINGERPRINT_RADIUS, fpSize=FINGERPRINT_BITS)
    bits = np.zeros((len(smiles), FINGERPRINT_BITS), dtype=np.uint8)
    with rdBase.BlockLogs():
        for row, text in enumerate(smiles):
            mol = Chem.MolFromSmiles(text) if isinstance(text, str) else None
            if mol is None:
                raise InvalidSmilesError(text, "cannot be parsed")
            bits[row] = generator.GetFingerprintAsNumPy(mol)
    return bits


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


def random_forest_baseline(
    train_bits: np.ndarray,
    train_labels: np.ndarray,
    test_bits: np.ndarray,
    task_type: str,
    seed: int = 0,
    class_counts: Sequence[int] | None = None,
) -> np.ndarray:
    """One random forest (Breiman 2001) for each task, on that task's labelled rows.

    200 trees; the features tried at a split are a tenth of the bits for values and their square root for classes; a
    tree draws as many rows as there are, 2,000 at most.

    Parameters
    ----------
    train_bits, test_bits
        uint8 [M, F] and [M', F].
    train_labels
        float [M, T], NaN where nothing was measured.
    task_type
        ``"regression"``, ``"classification"`` or ``"multiclass"``.
    seed
        Of the forests.
    class_counts
        Classes of each task of a multiclass problem.

    Returns
    -------
    ndarray
        float64 [M', T]: values, or probabilities of class 1; multiclass: [M', ΣC], probabilities of the classes. NaN in
        tasks without a training label.

    Examples
    --------
    >>> bits = morgan_fingerprints(["C", "CC", "CCO", "CCCO"])
    >>> random_forest_baseline(bits, np.array([[0.0], [0.0], [1.0], [1.0]]), bits[:1], "classification").shape
    (1, 1)
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    many = task_type == "multiclass"
    starts = np.cumsum([0, *class_counts]) if many else np.arange(train_labels.shape[1] + 1)
    predictions = np.full((len(test_bits), starts[-1]), np.nan)
    for task in range(train_labels.shape[1]):
        own = slice(starts[task], starts[task + 1])
        rows = ~np.isnan(train_labels[:, task])
        y = train_labels[rows, task]
        if not y.size:
            continue
        if (y == y[0]).all():
            predictions[:, own] = np.arange(class_counts[task]) == y[0] if many else y[0]
            continue
        max_samples = MAX_ROWS_PER_TREE if y.size > MAX_ROWS_PER_TREE else None
        shared = {"n_estimators": N_TREES, "max_samples": max_samples, "random_state": seed, "n_jobs": -1}
        classes = task_type != "regression"
        if classes:
            forest = RandomForestClassifier(max_features="sqrt", **shared)
        else:
            forest = RandomForestRegressor(max_features=0.1, **shared)
        forest.fit(train_bits[rows], y)
        forest.set_params(n_jobs=1)  # threads add the trees up in any order: equal seeds would differ by 1e-16
        if many:
            predictions[:, own] = 0.0  # of classes that no training row has
            predictions[:, starts[task] + forest.classes_.astype(int)] = forest.predict_proba(test_bits)
        else:
            predictions[:, task] = forest.predict_proba(test_bits)[:, 1] if classes else forest.predict(test_bits)
    return predictions


def fit_baselines(data: DatasetDict, seed: int = 0) -> dict[str, dict]:
    """Fit both baselines on the training split and score them on the test split.

    Parameters
    ----------
    data
        Splits ``train`` and ``test`` with columns ``smiles`` (string) and ``labels`` (list of T floats, NaN where
        nothing was measured), and a :class:`~dc_graphsam.TaskSpec`. The validation split is not used.
    seed
        Of the random forest.

    Returns
    -------
    dict
        ``{"mean": {…}, "random_forest": {…}}``; each holds the metrics of the test split under the names that
        :func:`~dc_graphsam.metrics.all_metrics` gives, and ``"predictions"``, float64 [M_test, T] (multiclass: [M_test, ΣC]). Tasks without a
        training label have NaN predictions, are in no metric, and are named through ``logging``.

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
    >>> round(baselines["mean"]["mae"], 3), baselines["random_forest"]["predictions"].shape
    (0.5, (4, 1))
    """
    for split in ("train", "test"):
        if split not in data or not len(data[split]):
            raise InvalidArgumentError(f"data has no rows in split {split!r}; accepted: splits 'train' and 'test'")
    spec = TaskSpec.of(data)
    labels = {split: _labels(data[split], len(spec.task_names)) for split in ("train", "test")}
    bits = {split: morgan_fingerprints(data[split]["smiles"][:]) for split in ("train", "test")}
    predictions = {
        "mean": mean_baseline(labels["train"], len(labels["test"]))
        if spec.class_counts is None
        else class_share_baseline(labels["train"], len(labels["test"]), spec.class_counts),
        "random_forest": random_forest_baseline(
            bits["train"], labels["train"], bits["test"], spec.task_type, seed, spec.class_counts
        ),
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
