"""Molecular graph transformers: batch → logits. torch and transformers."""

from __future__ import annotations

from dc_graphsam._lazy import exports
from dc_graphsam.catalogue import NETWORKS

__all__, __getattr__, __dir__ = exports(
    __name__,
    {
        **{cls: module for network in NETWORKS.values() for cls, module in network.homes.items()},
        "AutoModelForPropertyPrediction": ".auto",
        "PropertyPredictionOutput": ".common.property_prediction",
    },
)
