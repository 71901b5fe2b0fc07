"""SMILES → graph arrays, with RDKit and numpy only.

>>> from dc_graphsam.chem import featurize
>>> featurize("CCO").node_features.shape
(3, 115)
"""

from __future__ import annotations

from importlib import import_module

_EXPORTS = {
    "DEFAULT_FEATURE_SET": "feature_sets",
    "FEATURE_SETS": "feature_sets",
    "FeatureBlock": "feature_sets",
    "FeatureSet": "feature_sets",
    "MAX_DISTANCE": "distance",
    "MolGraph": "molgraph",
    "UNREACHABLE": "distance",
    "featurize": "featurizer",
    "featurize_many": "parallel",
    "get_feature_set": "feature_sets",
    "iter_featurized": "parallel",
    "shortest_paths": "distance",
    "usable_cpu_count": "parallel",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
