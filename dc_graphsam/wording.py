"""Names and numbers as people read them, in reports, cards and on the command line."""

from __future__ import annotations

import re

from dc_graphsam.catalogue import METHODS, NETWORKS

__all__ = ["BASELINES", "GREATER_IS_BETTER", "NAMES", "TITLES", "md", "number"]

TITLES = {
    "roc_auc": "ROC-AUC",
    "prc_auc": "PRC-AUC",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "roc_auc_ovr": "ROC-AUC (one against the rest)",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "f1_macro": "macro F1",
}
#: Baselines by the names in ``metrics.json``; ``random_forest`` is that of older runs.
BASELINES = {
    "mean": "predict the mean",
    "random_forest": "random forest (Morgan bits)",
    "forest": "random forest (descriptors)",
    "boosting": "gradient boosting (descriptors)",
}
GREATER_IS_BETTER = ("roc_auc", "prc_auc", "r2", "roc_auc_ovr", "balanced_accuracy", "accuracy", "f1_macro")
NAMES = {entry.name: entry.title for entry in (*NETWORKS.values(), *METHODS.values()) if entry.title}


def md(text: str) -> str:
    """Text as it is, where Markdown would see a mark.

    >>> md("a|b_c <d>")
    'a\\\\|b\\\\_c \\\\<d\\\\>'
    """
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(text).split()))


def number(value: float | None, beside: float | None = None) -> str:
    """As the command line prints metrics: four decimals, and digits that say something where these do not.

    A spread or a difference has the decimals of the value ``beside`` it.

    >>> number(0.95), number(None), number(12345.678), number(3.21e-5), number(0.0)
    ('0.9500', '–', '1.235e+04', '3.21e-05', '0.0000')
    >>> number(6.54e-4, beside=0.9485), number(6.54e-6, beside=3.21e-5)
    ('0.0007', '6.54e-06')
    """
    if value is None or value != value:
        return "–"
    if 0 < abs(value) < 1e-3 and not abs(beside or 0) >= 1e-3:
        return f"{value:.3g}"
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"
