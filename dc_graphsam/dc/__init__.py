"""The DeepChem door: featurizer, ``TorchModel`` wrappers, optimizer recipes.

Names are loaded on first use, and DeepChem with the first of them, without the notes it prints on import. Where DeepChem
is not installed, importing this package is a :class:`~dc_graphsam.exceptions.MissingPackageError` that names the way.

>>> from dc_graphsam.dc import GraphTransformerFeaturizer
>>> GraphTransformerFeaturizer().featurize(["CCO", "c1ccccc1"])[1].num_nodes
6
"""

from __future__ import annotations

import os

from dc_graphsam._lazy import exports
from dc_graphsam.catalogue import METHODS, NETWORKS
from dc_graphsam.exceptions import MissingPackageError
from dc_graphsam.optional import how_to_get, is_installed

if not is_installed("deepchem"):  # found out without importing it, which takes seconds
    raise MissingPackageError("deepchem", __name__, how_to_get("deepchem"))

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
