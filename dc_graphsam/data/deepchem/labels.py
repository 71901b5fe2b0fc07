"""Labels with NaN where nothing was measured ⇄ DeepChem's labels and weights."""

from __future__ import annotations

import numpy as np

__all__ = ["labels_from_deepchem", "labels_to_deepchem"]


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
