"""The DeepChem door: featurizer, ``TorchModel`` wrappers, optimizer recipes.

Names are loaded on first use, and DeepChem with the first of them, without the notes it prints on import.

>>> from dc_graphsam.dc import GraphTransformerFeaturizer
>>> GraphTransformerFeaturizer().featurize(["CCO", "c1ccccc1"])[1].num_nodes
6
"""

from __future__ import annotations

import os

from dc_graphsam._lazy import exports
from dc_graphsam.catalogue import METHODS, NETWORKS

os.environ.setdefault("DGLBACKEND", "pytorch")  # else DGL, which DeepChem's graph models load, says that it assumes so

__all__, __getattr__, __dir__ = exports(
    __name__,
    {
        **{f"{network.title}Model": ".made" for network in NETWORKS.values()},
        **{f"{method.cls}Optimizer": ".optimizers" for method in METHODS.values() if method.cls},
        "CoMPTModel": ".compt",
        "GraphTransformerFeaturizer": ".featurizer",
        "GraphTransformerModel": ".graph_model",
        "SharpnessAwareOptimizerRecipe": ".optimizers",
        "SharpnessAwareTraining": ".sharpness",
        "drop_failed": ".graphs",
        "register": ".registration",
        "sharpness_aware": ".sharpness",
    },
)
