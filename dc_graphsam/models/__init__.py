"""Molecular graph transformers: batch → logits. torch and transformers."""

from __future__ import annotations

from importlib import import_module

_EXPORTS = {
    "CoMPTConfig": "configuration_compt",
    "CoMPTEncoder": "modeling_compt",
    "CoMPTForPropertyPrediction": "modeling_compt",
    "PropertyPredictionOutput": "property_prediction",
}

__all__ = list(_EXPORTS)


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
