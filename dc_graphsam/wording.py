"""Names and numbers as people read them, in reports, cards and on the command line."""

from __future__ import annotations

import re

from dc_graphsam.catalogue import METHODS, NETWORKS

__all__ = ["GREATER_IS_BETTER", "NAMES", "TITLES", "md", "number"]

TITLES = {"roc_auc": "ROC-AUC", "prc_auc": "PRC-AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R²"}
GREATER_IS_BETTER = ("roc_auc", "prc_auc", "r2")
NAMES = {entry.name: entry.title for entry in (*NETWORKS.values(), *METHODS.values()) if entry.title}


def md(text: str) -> str:
    """Text as it is, where Markdown would see a mark.

    >>> md("a|b_c <d>")
    'a\\\\|b\\\\_c \\\\<d\\\\>'
    """
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(text).split()))


def number(value: float | None) -> str:
    """As the command line prints metrics.

    >>> number(0.95), number(None), number(12345.678)
    ('0.9500', '–', '1.235e+04')
    """
    if value is None:
        return "–"
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"
