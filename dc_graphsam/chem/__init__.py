"""SMILES → graph arrays, with RDKit and numpy only.

>>> from dc_graphsam.chem import featurize
>>> featurize("CCO").node_features.shape
(3, 115)
"""

from __future__ import annotations

from dc_graphsam._lazy import exports

__all__, __getattr__, __dir__ = exports(
    __name__,
    {
        "ChiralityNotice": ".chirality",
        "DEFAULT_FEATURE_SET": ".feature_sets",
        "FEATURE_SETS": ".feature_sets",
        "FeatureBlock": ".feature_blocks",
        "FeatureSet": ".feature_blocks",
        "MAX_DISTANCE": ".distance",
        "MolGraph": ".molgraph",
        "UNREACHABLE": ".distance",
        "chirality_is_lost": ".chirality",
        "differ_in_chirality": ".chirality",
        "featurize": ".featurizer",
        "featurize_many": ".parallel",
        "get_feature_set": ".feature_sets",
        "iter_featurized": ".parallel",
        "shortest_paths": ".distance",
        "usable_cpu_count": ".parallel",
    },
)
