"""DeepChem's MolNet loaders as a source of raw tables, without the noise of importing DeepChem."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from dc_graphsam.data.registry import DatasetEntry
from dc_graphsam.data.tables import LabelledSmiles, reject_infinite
from dc_graphsam.exceptions import InvalidArgumentError, MissingColumnError, MissingDataError

__all__ = ["import_deepchem", "labels_from_deepchem", "labels_to_deepchem", "read_with_deepchem"]


@contextlib.contextmanager
def _quiet_import() -> Iterator[None]:
    """Keep back what libraries say while they are imported; what they say later is heard again."""
    loggers = [logging.getLogger(name) for name in ("deepchem", "tensorflow", "jax", "dgl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def import_deepchem() -> ModuleType:
    """Import DeepChem (several seconds the first time) and return it.

    DeepChem tells on import which optional libraries are absent ("Skipped loading …", "No normalization for …"). None
    of that concerns us, so it is kept back; later warnings of DeepChem are not.
    """
    if "deepchem" not in sys.modules:
        with _quiet_import():
            import deepchem  # noqa: F401
    return sys.modules["deepchem"]


def labels_from_deepchem(y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Turn DeepChem's labels and weights into labels with NaN where nothing was measured.

    DeepChem stores a missing label as y = 0 with weight w = 0.

    Parameters
    ----------
    y
        Numbers [n, T].
    w
        Numbers [n, T], or [n, 1] or [n] if the weight belongs to the molecule.

    Returns
    -------
    numpy.ndarray
        float64 [n, T].

    Examples
    --------
    >>> labels_from_deepchem(np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 1.0], [0.0, 1.0]])).tolist()
    [[0.0, 1.0], [nan, 1.0]]
    """
    y = np.asarray(y, np.float64)
    y = y.reshape(len(y), -1)
    w = np.asarray(w, np.float64)
    return np.where(np.broadcast_to(w.reshape(len(y), -1), y.shape) == 0, np.nan, y)


def labels_to_deepchem(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The way back: labels with NaN → (y, w), float64 [n, T] each, y = 0 and w = 0 where the label is NaN.

    Examples
    --------
    >>> y, w = labels_to_deepchem(np.array([[0.0, np.nan]]))
    >>> y.tolist(), w.tolist()
    ([[0.0, 0.0]], [[1.0, 0.0]])
    """
    labels = np.asarray(labels, np.float64)
    missing = np.isnan(labels)
    return np.where(missing, 0.0, labels), np.where(missing, 0.0, 1.0)


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
