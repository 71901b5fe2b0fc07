"""Making the classes of this package reachable as ``dc.models.…``, ``dc.feat.…``."""

from __future__ import annotations

import logging

from dc_graphsam.catalogue import METHODS, NETWORKS
from dc_graphsam.data.deepchem.importing import import_deepchem

__all__ = ["register"]

logger = logging.getLogger(__name__)


def register() -> list[str]:
    """Put the classes of :mod:`dc_graphsam.dc` where code that speaks DeepChem looks for them.

    ``dc.models.CoMPTModel``, ``dc.feat.GraphTransformerFeaturizer``, ``dc.models.optimizers.GraphSAMOptimizer`` and its siblings.
    Nothing of DeepChem is replaced: a name it has already is left alone, with a warning. Without this call nothing is changed.

    Returns
    -------
    list of str
        The names that can be used now.

    Examples
    --------
    >>> "dc.models.CoMPTModel" in register()
    True
    >>> import deepchem as dc
    >>> dc.models.CoMPTModel.__module__
    'dc_graphsam.dc.compt'
    """
    import dc_graphsam.dc as door
    from dc_graphsam.dc.featurizer import GraphTransformerFeaturizer

    deepchem = import_deepchem("dc_graphsam.dc")
    models = [getattr(door, f"{network.title}Model") for network in NETWORKS.values()]
    recipes = [getattr(door, f"{method.cls}Optimizer") for method in METHODS.values() if method.cls]
    places = [
        ("dc.models", deepchem.models, models),
        ("dc.models.torch_models", deepchem.models.torch_models, models),
        ("dc.models.optimizers", deepchem.models.optimizers, recipes),
        ("dc.feat", deepchem.feat, [GraphTransformerFeaturizer]),
    ]
    names = []
    for path, module, classes in places:
        for cls in classes:
            name = cls.__name__
            if getattr(module, name, cls) is not cls:
                logger.warning("%s.%s is there already and stays; use dc_graphsam.dc.%s", path, name, name)
                continue
            setattr(module, name, cls)
            names.append(f"{path}.{name}")
    return names
