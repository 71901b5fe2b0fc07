"""DeepChem's MolNet loaders as a source of raw tables."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from dc_graphsam.data.deepchem.importing import import_deepchem
from dc_graphsam.data.deepchem.labels import labels_from_deepchem
from dc_graphsam.data.moleculenet.registry import DatasetEntry
from dc_graphsam.data.tables import LabelledSmiles, reject_infinite
from dc_graphsam.exceptions import InvalidArgumentError, MissingColumnError, MissingDataError

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
    """
    deepchem = import_deepchem()
    load = getattr(deepchem.molnet, entry.loader)
    dataset = None
    try:
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
    except KeyError as error:
        raise MissingColumnError(str(path), str(error.args[0]), _header(path)) from None
    except ValueError as error:  # also pandas' parser errors
        raise InvalidArgumentError(f"{path} cannot be read by deepchem.molnet.{entry.loader}: {error}") from None
    except (OSError, EOFError) as error:
        raise MissingDataError(
            f"{path} cannot be read: {error}; replace it or set data_dir to another folder"
        ) from None
    finally:
        if dataset is not None:
            shutil.rmtree(dataset.data_dir, ignore_errors=True)  # DeepChem leaves its copy in the temporary folder
    tasks = tuple(tasks)
    return LabelledSmiles(smiles, labels, tasks, entry.task_type, reject_infinite(labels, tasks))


def _header(path: Path) -> list[str]:
    import pandas

    return list(pandas.read_csv(path, nrows=0).columns)
