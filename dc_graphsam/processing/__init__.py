"""SMILES → the tensors that a model reads."""

from __future__ import annotations

from dc_graphsam._lazy import exports

__all__, __getattr__, __dir__ = exports(
    __name__,
    {"MoleculeProcessor": ".molecule_processor"},
)
