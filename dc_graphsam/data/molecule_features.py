"""Descriptors and fingerprints of molecules, kept on disk: computing them takes minutes where reading takes milliseconds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from dc_graphsam.data.cache import cache_root, table_key

__all__ = ["molecule_features"]


def molecule_features(
    smiles: Sequence[str],
    cache_dir: str | Path | None = None,
    num_workers: int | None = None,
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors and Morgan counts of molecules, from the cache where they are there.

    Parameters
    ----------
    smiles
        M molecules.
    cache_dir
        See :func:`~dc_graphsam.data.cache.cache_root`. A cache that cannot be written is done without.
    num_workers, progress
        See :func:`~dc_graphsam.chem.descriptors.descriptors`.

    Returns
    -------
    descriptors : numpy.ndarray
        float64 [M, D], NaN where there is no number; columns as in
        :func:`~dc_graphsam.chem.descriptors.descriptor_names`.
    counts : numpy.ndarray
        uint8 [M, 2048].

    Raises
    ------
    InvalidSmilesError
        A SMILES cannot be parsed.

    Examples
    --------
    >>> import tempfile
    >>> table, counts = molecule_features(["CCO", "c1ccccc1"], tempfile.mkdtemp())
    >>> len(table), counts.shape
    (2, (2, 2048))
    """
    from dc_graphsam.chem.descriptors import descriptor_names, descriptors, morgan_counts

    smiles = list(smiles)
    digest = hashlib.sha256("\n".join(map(str, smiles)).encode("utf-8", "surrogateescape")).hexdigest()
    key = table_key(kind="molecule features", smiles=digest, rows=len(smiles))
    path = cache_root(cache_dir) / "molecules" / f"{key[:32]}.npz"
    with suppress(OSError, ValueError, KeyError, EOFError, BadZipFile):  # absent, or not whole
        with np.load(path, allow_pickle=False) as stored:
            found = stored["descriptors"], stored["counts"]
        if found[0].shape == (len(smiles), len(descriptor_names())) and len(found[1]) == len(smiles):
            return found
    workers = None if len(smiles) > 300 else 0  # starting processes takes about a second
    table = descriptors(smiles, workers if num_workers is None else num_workers, progress)
    counts = morgan_counts(smiles)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.stem}-{os.getpid()}.npz")
        np.savez_compressed(unfinished, descriptors=table, counts=counts)
        os.replace(unfinished, path)
    return table, counts
