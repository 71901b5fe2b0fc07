"""What can be predicted from the characters of the SMILES alone, without any chemistry.

Where a linear model on pieces of text does about as well as a network, and worse as soon as the same molecules are written
another way, the labels can be read off how the table was typed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dc_graphsam.exceptions import check_range

__all__ = ["WRITINGS", "CharacterBaseline", "character_baseline", "rewrite"]

WRITINGS = ("as written", "canonical", "random order")
LEAK = 0.02  # of ROC-AUC or R² that a way of writing may be worth
_LENGTHS = (1, 5)  # of the pieces of text, in characters
_MOST_TASKS = 12
_MOST_ROWS = 10_000
_FEWEST_OF_A_CLASS = 5  # in training and in test: below, a score is noise


@dataclass(frozen=True)
class CharacterBaseline:
    """Scores of a linear model on pieces of text.

    Attributes
    ----------
    metric
        ``"roc_auc"`` (logistic regression) or ``"r2"`` (ridge regression); means over tasks and splits.
    scores
        For each of :data:`WRITINGS`: all molecules, in training and in test, written that way. NaN: too few labels.
    transferred
        Trained as written, tested on the same test molecules written canonically.
    gains
        How much better it is as written than canonically, for each split.
    """

    metric: str
    scores: dict[str, float]
    transferred: float
    gains: list[float]

    @property
    def gain(self) -> float:
        """How much better it is as written than canonically, in the mean."""
        return self.scores["as written"] - self.scores["canonical"]

    @property
    def reads_typing(self) -> bool:
        """Whether the way of writing tells the labels: a score that means something, better as written than canonically by
        0.02 or more in the mean, and better in every split.

        That a text model fails on another way of writing than it was trained on says nothing of the table.
        """
        means_something = self.scores["as written"] >= (0.6 if self.metric == "roc_auc" else 0.1)
        return bool(means_something and self.gain > LEAK and min(self.gains, default=0.0) > 0)


def rewrite(smiles: Sequence[str], how: str, seed: int = 0) -> list[str]:
    """The same molecules in another way of writing.

    Parameters
    ----------
    smiles
        Parsable SMILES.
    how
        One of :data:`WRITINGS`.
    seed
        Of the random orders; the same molecule at the same place is written the same for one seed.

    Examples
    --------
    >>> rewrite(["OCC"], "canonical"), len(rewrite(["OCC"], "random order"))
    (['CCO'], 1)
    """
    if how == "as written":
        return list(smiles)
    from rdkit import Chem, rdBase

    from dc_graphsam.chem.descriptors import canonical_smiles

    if how == "canonical":
        return [canonical_smiles(text) for text in smiles]
    out = []
    with rdBase.BlockLogs():
        for place, text in enumerate(smiles):
            molecule = Chem.MolFromSmiles(text)
            state = np.random.SeedSequence((seed, place)).generate_state(1)[0]
            out.append(Chem.MolToRandomSmilesVect(molecule, 1, randomSeed=int(state >> 1))[0])
    return out


def character_baseline(
    smiles: Sequence[str], labels: np.ndarray, task_type: str, splits: int = 5, seed: int = 0
) -> CharacterBaseline:
    """Score a linear model on the 1- to 5-character pieces of the SMILES, on random splits of 80 to 20.

    Molecules that stand in the table twice are kept in one part. Tasks beyond the twelfth, and rows beyond ten thousand
    (drawn at random), are left out.

    Parameters
    ----------
    smiles
        M parsable SMILES.
    labels
        float [M, T], NaN where nothing was measured.
    task_type
        ``"classification"`` (ROC-AUC) or ``"regression"`` (R²).
    splits
        Random splits to average over.
    seed
        Of splits and random orders.

    Examples
    --------
    >>> texts = ["C" * n for n in range(1, 41)] + ["c1ccccc1" + "C" * n for n in range(1, 41)]
    >>> labels = np.repeat([0.0, 1.0], 40)[:, None]
    >>> found = character_baseline(texts, labels, "classification")
    >>> found.metric, found.scores["as written"] > 0.99
    ('roc_auc', True)
    """
    check_range("splits", splits, 1)
    rng = np.random.default_rng(seed)
    if len(smiles) > _MOST_ROWS:
        chosen = np.sort(rng.choice(len(smiles), _MOST_ROWS, replace=False))
        smiles, labels = [smiles[i] for i in chosen], labels[chosen]
    labels = np.asarray(labels, np.float64)[:, :_MOST_TASKS]
    texts = {how: rewrite(smiles, how, seed) for how in WRITINGS}
    groups = np.unique(texts["canonical"], return_inverse=True)[1]
    counts = {how: _pieces(written) for how, written in texts.items()}
    both = _pieces([*texts["as written"], *texts["canonical"]])
    found: dict[str, list[float]] = {how: [] for how in (*WRITINGS, "transferred")}
    gains: list[float] = []
    for _ in range(splits):
        before = len(found["canonical"])
        in_test = (rng.permutation(groups.max() + 1) < 0.2 * (groups.max() + 1))[groups]
        for task in range(labels.shape[1]):
            known = ~np.isnan(labels[:, task])
            train, test = np.flatnonzero(known & ~in_test), np.flatnonzero(known & in_test)
            y = labels[:, task]
            if not _enough(y[train], y[test], task_type):
                continue
            for how in WRITINGS:
                found[how].append(_score(counts[how][train], y[train], [counts[how][test]], y[test], task_type)[0])
            found["transferred"].append(
                _score(both[train], y[train], [both[test + len(smiles)]], y[test], task_type)[0]
            )
        if len(found["canonical"]) > before:
            gains.append(float(np.mean(found["as written"][before:]) - np.mean(found["canonical"][before:])))
    means = {how: float(np.mean(values)) if values else float("nan") for how, values in found.items()}
    transferred = means.pop("transferred")
    return CharacterBaseline("roc_auc" if task_type == "classification" else "r2", means, transferred, gains)


def _pieces(texts: Sequence[str]):
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        analyzer="char", ngram_range=_LENGTHS, lowercase=False, min_df=2, sublinear_tf=True, dtype=np.float32
    )
    return vectorizer.fit_transform(texts)  # it counts pieces of all molecules; labels are not looked at


def _enough(train: np.ndarray, test: np.ndarray, task_type: str) -> bool:
    if task_type == "classification":
        return all((part == value).sum() >= _FEWEST_OF_A_CLASS for part in (train, test) for value in (0, 1))
    return len(train) >= 2 * _FEWEST_OF_A_CLASS and len(test) >= _FEWEST_OF_A_CLASS and np.ptp(test) > 0


def _score(train, y_train: np.ndarray, tests: list, y_test: np.ndarray, task_type: str) -> list[float]:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import r2_score, roc_auc_score

    if task_type == "classification":
        model = LogisticRegression(C=10.0, max_iter=300, class_weight="balanced").fit(train, y_train)
        return [float(roc_auc_score(y_test, model.decision_function(test))) for test in tests]
    model = Ridge(alpha=0.3, solver="sparse_cg").fit(train, y_train)
    return [float(r2_score(y_test, model.predict(test))) for test in tests]
