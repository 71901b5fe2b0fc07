"""``<Title>Model`` of the networks in the catalogue for which nothing of its own is to be said."""

from __future__ import annotations

import dc_graphsam.models
from dc_graphsam.catalogue import NETWORKS
from dc_graphsam.dc.graph_model import GraphTransformerModel

__all__: list[str] = []


def __getattr__(name: str) -> type[GraphTransformerModel]:
    """Make the class once.

    Examples
    --------
    >>> from dc_graphsam.dc import made
    >>> made.CoMPTModel.config_class.__name__  # as if it had no module of its own
    'CoMPTConfig'
    """
    for network in NETWORKS.values():
        if name == f"{network.title}Model":
            config_class, _, network_class = (getattr(dc_graphsam.models, cls) for cls in network.classes)
            parts = {
                "config_class": config_class,
                "network_class": network_class,
                "__doc__": f"{network.title} as a ``TorchModel``: arguments of :class:`GraphTransformerModel`, and the fields of "
                f":class:`~dc_graphsam.models.{config_class.__name__}`.",
                "__module__": __name__,
            }
            made = globals()[name] = type(name, (GraphTransformerModel,), parts)
            return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
