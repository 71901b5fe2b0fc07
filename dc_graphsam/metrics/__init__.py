"""Masked multi-task metrics: as functions, for the Trainer, for ``evaluate`` and for DeepChem.

Names are loaded on first use; scikit-learn, evaluate and deepchem only when a metric that needs them is called.
"""

from __future__ import annotations

from importlib import import_module

_EXPORTS = {
    "METRICS_OF": "masked",
    "ComputeMetrics": "trainer",
    "MetricResult": "masked",
    "all_metrics": "masked",
    "compute_metrics_for": "trainer",
    "dc_metric": "for_deepchem",
    "get_metric": "masked",
    "load_metric": "local_modules",
    "mae": "masked",
    "prc_auc": "masked",
    "r2": "masked",
    "rmse": "masked",
    "roc_auc": "masked",
}

__all__ = list(_EXPORTS)


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
