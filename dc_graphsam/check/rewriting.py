"""Whether a prediction belongs to the molecule, or to the way in which somebody wrote its SMILES."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dc_graphsam.check.characters import rewrite
from dc_graphsam.exceptions import InvalidArgumentError, InvalidShapeError, check_whole
from dc_graphsam.metrics.masked import all_metrics

__all__ = ["RewritingCheck", "check_rewriting", "random_writings"]

SAME = 1e-5  # largest change of a prediction that rounding explains


@dataclass(frozen=True)
class RewritingCheck:
    """What rewriting the SMILES of the same molecules does to the predictions of a model.

    Attributes
    ----------
    metric
        By which the scores are.
    molecules, rewrites
        How many were predicted, in how many random orders each.
    as_written, canonical
        The metric on the SMILES as they are given, and as RDKit writes them.
    random
        The metric for each of the random orders.
    mean_change, largest_change
        Of a prediction against the one as written, over all writings; probabilities, or label units.
    flipped
        Share of decisions (probability above one half; of several classes the likeliest) that another writing turns; ``None``
        for values.
    """

    metric: str
    molecules: int
    rewrites: int
    as_written: float
    canonical: float
    random: list[float]
    mean_change: float
    largest_change: float
    flipped: float | None

    @property
    def invariant(self) -> bool:
        """Whether nothing but rounding changes."""
        return self.largest_change <= SAME

    def sentence(self) -> str:
        """The finding in words."""
        if self.invariant:
            return (
                f"Any SMILES of a molecule gives the same prediction: {self.molecules:,} molecules in {self.rewrites + 1} other "
                f"writings, largest change {self.largest_change:.1e}."
            )
        orders = f"{min(self.random):.4g} to {max(self.random):.4g} in random orders" if self.random else ""
        turned = f"; {100 * self.flipped:.1f} % of the decisions turn" if self.flipped is not None else ""
        return (
            f"The prediction hangs on how the SMILES is written: {self.metric} {self.as_written:.4g} as written, "
            f"{self.canonical:.4g} canonical, {orders}; a prediction changes by {self.mean_change:.2g} in the mean, "
            f"{self.largest_change:.2g} at most{turned}."
        )

    def record(self) -> dict[str, Any]:
        """The finding as JSON types."""
        return {**asdict(self), "invariant": self.invariant, "sentence": self.sentence()}


def random_writings(smiles: Sequence[str], rewrites: int, seed: int = 0) -> list[list[str]]:
    """``rewrites`` lists of the same molecules, each in other random orders of the atoms.

    >>> [len(texts) for texts in random_writings(["CCO", "CCN"], 3)]
    [2, 2, 2]
    """
    return [rewrite(smiles, "random order", seed + 1 + k) for k in range(check_whole("rewrites", rewrites, 1))]


def check_rewriting(
    predict: Callable[[list[str]], np.ndarray],
    smiles: Sequence[str],
    labels: np.ndarray,
    task_names: Sequence[str],
    task_type: str,
    metric: str,
    *,
    class_counts: Sequence[int] | None = None,
    rewrites: int = 5,
    seed: int = 0,
) -> RewritingCheck:
    """Predict molecules as they are written, canonically, and in random orders of their atoms.

    Parameters
    ----------
    predict
        SMILES → float [M, T]: probabilities of class 1, or values in label units; multiclass: [M, ΣC], a probability for
        each class of each task. NaN where there is none.
    smiles
        M SMILES that can be parsed.
    labels
        float [M, T], NaN where nothing was measured.
    task_names, task_type, metric
        What the labels are, as in :class:`~dc_graphsam.tasks.TaskSpec`.
    class_counts
        Multiclass: classes of each task.
    rewrites
        Random orders of each molecule, at least 1.
    seed
        Of the orders.

    Returns
    -------
    RewritingCheck

    Raises
    ------
    InvalidArgumentError
        There is no molecule, or ``rewrites`` is no whole number of at least 1.
    InvalidShapeError
        ``predict`` gives another shape than that of the labels.

    Examples
    --------
    >>> by_first_atom = lambda texts: np.array([[float(text[0] == "C")] for text in texts])
    >>> labels = np.array([[1.0], [0.0], [1.0], [0.0]])
    >>> found = check_rewriting(by_first_atom, ["CO", "OC", "CCO", "OCC"], labels, ["alcohol"], "classification", "roc_auc")
    >>> found.as_written, found.invariant, found.flipped > 0.2
    (1.0, False, True)
    """
    if not len(smiles):
        raise InvalidArgumentError("smiles is empty; accepted: at least one molecule")
    labels = np.asarray(labels, np.float64)
    writings = [rewrite(smiles, "canonical"), *random_writings(smiles, rewrites, seed)]
    shape = (len(smiles), labels.shape[1] if class_counts is None else sum(class_counts))
    first, *others = (_checked(predict(list(texts)), shape) for texts in (smiles, *writings))
    # what cannot be predicted one way cannot be compared
    changes = np.abs(np.stack(others) - first)
    turned = None
    if task_type != "regression":
        before, *after = (_decisions(values, class_counts) for values in (first, *others))
        known = ~np.isnan(before) & ~np.isnan(np.stack(after))
        turned = float(((np.stack(after) != before) & known).sum() / max(known.sum(), 1))
    complete = ~np.isnan(changes).any(axis=(0, 2))
    scores = [
        all_metrics(task_type, labels[complete], values[complete], task_names, class_counts=class_counts)[0][metric]
        for values in (first, *others)
    ]
    none = np.isnan(changes).all()
    return RewritingCheck(
        metric=metric,
        molecules=len(smiles),
        rewrites=int(rewrites),
        as_written=float(scores[0]),
        canonical=float(scores[1]),
        random=[float(score) for score in scores[2:]],
        mean_change=float("nan") if none else float(np.nanmean(changes)),
        largest_change=float("nan") if none else float(np.nanmax(changes)),
        flipped=turned,
    )


def _decisions(values: np.ndarray, class_counts: Sequence[int] | None) -> np.ndarray:
    """float [M, T]: the class that is decided for, NaN where there is no prediction."""
    if class_counts is None:
        return np.where(np.isnan(values), np.nan, values > 0.5)
    parts = np.split(values, np.cumsum(class_counts)[:-1], axis=1)
    return np.stack([np.where(np.isnan(p).any(axis=1), np.nan, p.argmax(axis=1)) for p in parts], axis=1)


def _checked(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.shape != shape:
        raise InvalidShapeError("the result of predict", values.shape, str(shape))
    return values
