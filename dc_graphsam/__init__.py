"""Sharpness-aware molecular graph transformers between DeepChem and Hugging Face.

Names are loaded on first use, so that ``import dc_graphsam`` pulls in neither torch, deepchem nor dgl.
"""

from __future__ import annotations

from dc_graphsam._lazy import exports
from dc_graphsam._version import __version__
from dc_graphsam.catalogue import NETWORKS
from dc_graphsam.hf.auto_register import register_when_loaded
from dc_graphsam.progress import silence_note_on_widgets

__all__, __getattr__, __dir__ = exports(
    __name__,
    {
        **{cls: ".models" for network in NETWORKS.values() for cls in network.classes},
        "AutoModelForPropertyPrediction": ".models",
        "GraphSAM": ".optim",
        "GraphSAMTrainer": ".hf",
        "GraphSAMTrainingArguments": ".hf",
        "MolGraph": ".chem",
        "MoleculeCollator": ".data",
        "MoleculeProcessor": ".processing",
        "SAM": ".optim",
        "TaskSpec": ".tasks",
        "load_csv": ".data",
        "load_graph_dataset": ".data",
        "load_moleculenet": ".data",
        "push_dataset": ".data",
        "pipeline": ".hf.pipeline",
    },
)
__all__ += ["__version__"]


silence_note_on_widgets()
register_when_loaded()  # into transformers' auto classes, without importing transformers
