"""Initial weights: Glorot-uniform for every matrix, the position table included (``transformer_graph.py:30-40``)."""

from __future__ import annotations

from torch import nn
from transformers import initialization as init

from dc_graphsam.models.common.readout import GRUReadout
from dc_graphsam.models.common.recurrent import BidirectionalGRU

__all__ = ["initialize"]


def initialize(module: nn.Module) -> None:
    """Initialise the parameters a module owns itself; matrices Glorot-uniform, biases as torch does it."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        init.xavier_uniform_(module.weight)
        if getattr(module, "bias", None) is not None:
            bound = module.in_features**-0.5
            init.uniform_(module.bias, -bound, bound)
    elif isinstance(module, BidirectionalGRU):
        bound = module.size**-0.5
        for name, parameter in module.named_parameters():
            if name.startswith("weight"):
                init.xavier_uniform_(parameter)
            else:
                init.uniform_(parameter, -bound, bound)
    elif isinstance(module, GRUReadout):
        bound = module.gru.size**-0.5
        init.uniform_(module.bias, -bound, bound)
