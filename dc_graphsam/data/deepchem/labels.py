"""Labels with NaN where nothing was measured ⇄ DeepChem's labels and weights."""

from __future__ import annotations

import numpy as np

from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["bounds_from_deepchem", "bounds_to_deepchem", "labels_from_deepchem", "labels_to_deepchem"]


def labels_from_deepchem(y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Turn DeepChem's labels and weights into labels with NaN where nothing was measured.

    DeepChem stores a missing label as y = 0 with weight w = 0.

    Parameters
    ----------
    y
        Numbers [n, T].
    w
        Numbers [n, T], or [n, 1] or [n] if the weight belongs to the molecule.

    Returns
    -------
    numpy.ndarray
        float64 [n, T].

    Examples
    --------
    >>> labels_from_deepchem(np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 1.0], [0.0, 1.0]])).tolist()
    [[0.0, 1.0], [nan, 1.0]]
    """
    y = np.asarray(y, np.float64)
    y = y.reshape(len(y), -1)
    w = np.asarray(w, np.float64)
    return np.where(np.broadcast_to(w.reshape(len(y), -1), y.shape) == 0, np.nan, y)


def labels_to_deepchem(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The way back: labels with NaN → (y, w), float64 [n, T] each, y = 0 and w = 0 where the label is NaN.

    Examples
    --------
    >>> y, w = labels_to_deepchem(np.array([[0.0, np.nan]]))
    >>> y.tolist(), w.tolist()
    ([[0.0, 0.0]], [[1.0, 0.0]])
    """
    labels = np.asarray(labels, np.float64)
    missing = np.isnan(labels)
    return np.where(missing, 0.0, labels), np.where(missing, 0.0, 1.0)


def bounds_to_deepchem(y: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put bounds where DeepChem has room for them: the number into y, which has w = 0 there, and the side apart.

    To DeepChem itself such an entry is like any that is not measured. Transformers of y that keep the order
    (``NormalizationTransformer``, a logarithm) keep the side right.

    Parameters
    ----------
    y
        Labels as of :func:`labels_to_deepchem`, [n, T].
    lower, upper
        [n, T], NaN = no bound.

    Returns
    -------
    y : numpy.ndarray
        float64 [n, T].
    sides : numpy.ndarray
        int8 [n, T]: 1 = the value is above y, −1 = below, 0 = y is no bound. Row i is the attribute ``bounds`` of the i-th
        GraphData in X.

    Raises
    ------
    InvalidArgumentError
        If a value has bounds on both sides.

    Examples
    --------
    >>> nan = np.nan
    >>> y, sides = bounds_to_deepchem(np.array([[1.0], [0.0]]), np.array([[nan], [5.0]]), np.array([[nan], [nan]]))
    >>> y.tolist(), sides.tolist()
    ([[1.0], [5.0]], [[0], [1]])
    """
    above, below = ~np.isnan(lower), ~np.isnan(upper)
    if (above & below).any():
        raise InvalidArgumentError(
            "a label has a lower and an upper bound; accepted for DeepChem, which has one number per label: one of them"
        )
    y = np.where(above, lower, np.where(below, upper, y)).astype(np.float64)
    return y, above.astype(np.int8) - below.astype(np.int8)


def bounds_from_deepchem(y: np.ndarray, sides: np.ndarray) -> dict[str, np.ndarray]:
    """The way back: ``lower_bounds`` and ``upper_bounds``, float64 [n, T] each, NaN = no bound.

    >>> bounds_from_deepchem(np.array([[1.0], [5.0]]), np.array([[0], [1]]))["lower_bounds"].tolist()
    [[nan], [5.0]]
    """
    y = np.asarray(y, np.float64).reshape(len(sides), -1)
    return {"lower_bounds": np.where(sides > 0, y, np.nan), "upper_bounds": np.where(sides < 0, y, np.nan)}
