"""DeepChem's MolNet loaders as a source of raw tables."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from dc_graphsam.data.deepchem.importing import import_deepchem
from dc_graphsam.data.deepchem.labels import labels_from_deepchem
from dc_graphsam.data.moleculenet.registry import DatasetEntry
from dc_graphsam.data.moleculenet.table_loader import reading
from dc_graphsam.data.tables import LabelledSmiles, reject_infinite

__all__ = ["read_with_deepchem"]


def read_with_deepchem(entry: DatasetEntry, path: Path) -> LabelledSmiles:
    """Read a raw file with the MolNet loader of its data set.

    The loader's featurizer hands SMILES through untouched, so that row numbers stay those of the file, no row
    disappears, and no atom is re-ordered.

    Parameters
    ----------
    entry
        Record of the data set; ``entry.loader`` names the loader.
    path
        The raw file, under the name the loader looks for.

    Returns
    -------
    LabelledSmiles
        One row per row of the file.

    Raises
    ------
    MissingColumnError
        If a task is no column of the file.
    MissingPackageError
        If DeepChem is not installed.
    """
    deepchem = import_deepchem(f"deepchem.molnet.{entry.loader}")
    load = getattr(deepchem.molnet, entry.loader)
    dataset = None
    try:
        with reading(path, f"deepchem.molnet.{entry.loader}"):
            tasks, (dataset,), _ = load(
                featurizer=deepchem.feat.DummyFeaturizer(),
                splitter=None,
                transformers=[],
                data_dir=str(path.parent),
                save_dir=tempfile.gettempdir(),  # nothing is saved there: reload is off
                reload=False,
            )
            smiles = [str(text) for text in dataset.X]
            labels = labels_from_deepchem(dataset.y, dataset.w)
    finally:
        if dataset is not None:
            shutil.rmtree(dataset.data_dir, ignore_errors=True)  # DeepChem leaves its copy in the temporary folder
    tasks = tuple(tasks)
    return LabelledSmiles(smiles, labels, tasks, entry.task_type, reject_infinite(labels, tasks))
