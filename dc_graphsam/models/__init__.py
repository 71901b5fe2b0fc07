"""Molecular graph transformers: batch → logits. torch and transformers."""

from __future__ import annotations

from dc_graphsam._lazy import exports

__all__, __getattr__, __dir__ = exports(
    __name__,
    {
        "AutoModelForPropertyPrediction": ".auto",
        "CoMPTConfig": ".compt.configuration_compt",
        "CoMPTEncoder": ".compt.modeling_compt",
        "CoMPTForPropertyPrediction": ".compt.modeling_compt",
        "PropertyPredictionOutput": ".common.property_prediction",
    },
)
