"""Trees on descriptors and Morgan counts: what a chemist without a network would take, and so what a network has to beat.

On Morgan bits alone a forest is no honest opponent: with RDKit's descriptors beside them its error on ESOL is half as large. One
setting of each for all data sets; nothing is tuned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["boosted_trees", "forest", "tree_features"]

N_TREES = 200  # 500 change RMSE on ESOL by 0.5 % and take 2.5 times as long
MAX_ROWS_PER_TREE = 2000  # all rows take part; bounds the time
N_ROUNDS = 300
N_ROUNDS_OF_MANY_TASKS = 100  # from the fourth task on, so that twelve tasks take a minute, not three
_RAREST = 0.005  # columns that differ in fewer training rows are left out of boosting


def tree_features(smiles: Sequence[str], cache_dir: str | Path | None = None) -> np.ndarray:
    """float32 [M, D + 2048]: RDKit's 2D descriptors, NaN where there is none, and Morgan counts.

    >>> import tempfile
    >>> tree_features(["CCO", "OCC"], tempfile.mkdtemp()).shape[0]
    2
    """
    from dc_graphsam.data.molecule_features import molecule_features

    descriptors, counts = molecule_features(smiles, cache_dir)
    return np.hstack([descriptors.astype(np.float32), counts.astype(np.float32)])


def forest(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    class_count: int | None = None,
    seed: int = 0,
    tasks: int = 1,
) -> np.ndarray:
    """A random forest (Breiman 2001) of 200 trees.

    A third of the columns is tried at a split for values, the square root of their number for classes.

    Parameters
    ----------
    train, test
        float32 [M, F] and [M', F]; NaN becomes the median of the training rows.
    labels
        float [M]: values, or numbers of classes.
    class_count
        How many classes there are; ``None``: the labels are values.
    seed
        Of the forest.
    tasks
        How many tasks there are; a forest does not mind.

    Returns
    -------
    numpy.ndarray
        float64 [M'] values, or [M', C] probabilities of the classes 0 … C − 1.

    Examples
    --------
    >>> train = np.arange(8, dtype=np.float32)[:, None]
    >>> forest(train, np.repeat([0.0, 2.0], 4), train[:2], class_count=3).shape
    (2, 3)
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    with np.errstate(all="ignore"):
        middle = np.zeros(train.shape[1], np.float32)
        known = ~np.isnan(train).all(axis=0)
        middle[known] = np.nanmedian(train[:, known], axis=0)
    train, test = (np.where(np.isnan(part), middle, part) for part in (train, test))
    shared: dict[str, Any] = {
        "n_estimators": N_TREES,
        "max_samples": MAX_ROWS_PER_TREE if len(train) > MAX_ROWS_PER_TREE else None,
        "random_state": seed,
        "n_jobs": -1,
    }
    if class_count:
        model = RandomForestClassifier(max_features="sqrt", **shared)
    else:
        model = RandomForestRegressor(max_features=1 / 3, **shared)
    model.fit(train, labels)
    model.set_params(n_jobs=1)  # threads add the trees up in any order: equal seeds would differ by 1e-16
    return _predicted(model, test, class_count)


def boosted_trees(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    class_count: int | None = None,
    seed: int = 0,
    tasks: int = 1,
) -> np.ndarray:
    """Gradient boosting on histograms (scikit-learn's, after LightGBM): 300 rounds, rate 0.05, a fifth of the columns a split.

    Parameters
    ----------
    train, labels, test, class_count, seed
        As of :func:`forest`; NaN is a value of its own.
    tasks
        How many tasks there are; of more than three each gets 100 rounds.

    Returns
    -------
    numpy.ndarray
        As of :func:`forest`.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    differs = (train != train[:1]) & ~(np.isnan(train) & np.isnan(train[:1]))
    useful = differs.sum(axis=0) >= max(3, _RAREST * len(train))
    if not useful.any():
        useful[:] = True
    kind = HistGradientBoostingClassifier if class_count else HistGradientBoostingRegressor
    model = kind(
        learning_rate=0.05,
        max_iter=N_ROUNDS if tasks <= 3 else N_ROUNDS_OF_MANY_TASKS,
        max_features=0.2,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )
    model.fit(train[:, useful], labels)
    return _predicted(model, test[:, useful], class_count)


def _predicted(model: Any, test: np.ndarray, class_count: int | None) -> np.ndarray:
    if not class_count:
        return model.predict(test)
    found = np.zeros((len(test), class_count))  # 0 for classes that no training row has
    found[:, model.classes_.astype(int)] = model.predict_proba(test)
    return found
