"""Tables of molecules → featurized Arrow data sets → padded batches.

Names are loaded on first use: ``datasets``, DeepChem and torch are imported by the functions that need them.
"""

from __future__ import annotations

from dc_graphsam._lazy import exports

__all__, __getattr__, __dir__ = exports(
    __name__,
    {
        "DATASETS": ".moleculenet.registry",
        "DatasetEntry": ".moleculenet.registry",
        "DroppedRow": ".dropped",
        "MoleculeCollator": ".collate",
        "MoleculeTable": ".view",
        "dataset_from_deepchem": ".deepchem.exchange",
        "dataset_to_deepchem": ".deepchem.exchange",
        "datasets_table": ".moleculenet.registry",
        "describe": ".assemble",
        "dropped_rows": ".dropped",
        "get_dataset_entry": ".moleculenet.registry",
        "import_deepchem": ".deepchem.importing",
        "label_matrix": ".view",
        "labels_from_deepchem": ".deepchem.labels",
        "labels_to_deepchem": ".deepchem.labels",
        "load_csv": ".user_table",
        "load_graph_dataset": ".hub.graphs",
        "load_moleculenet": ".moleculenet.load",
        "load_splits": ".partition",
        "push_dataset": ".hub.push",
        "read_labelled": ".moleculenet.labelled",
        "read_table": ".tables",
        "save_dataset": ".hub.push",
        "save_splits": ".partition",
        "split_hash": ".partition",
        "split_indices": ".partition",
        "summarize_dropped": ".dropped",
        "transformers_of": ".deepchem.exchange",
    },
)
