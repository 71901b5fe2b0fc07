"""Masked multi-task metrics: as functions, for the Trainer, for ``evaluate`` and for DeepChem.

Names are loaded on first use; scikit-learn, evaluate and deepchem only when a metric that needs them is called.
"""

from __future__ import annotations

from dc_graphsam._lazy import exports

__all__, __getattr__, __dir__ = exports(
    __name__,
    {
        "METRICS_OF": ".masked",
        "ComputeMetrics": ".trainer",
        "MetricResult": ".result",
        "all_metrics": ".masked",
        "class_metric": ".classes",
        "compute_metrics_for": ".trainer",
        "confusion_matrix": ".classes",
        "dc_metric": ".for_deepchem",
        "get_metric": ".masked",
        "load_metric": ".local_modules",
        "mae": ".masked",
        "prc_auc": ".masked",
        "r2": ".masked",
        "rmse": ".masked",
        "roc_auc": ".masked",
    },
)
