"""Numbers of a whole molecule: RDKit's 2D descriptors and Morgan counts.

They are functions of the molecule, not of how it is written: every molecule is written canonically and read again before
anything is computed. Two of RDKit's descriptors, ``Ipc`` and ``AvgIpc``, are left out: the coefficients of a characteristic
polynomial, of up to 10²⁶ for large molecules, they change by more than half with the order of the atoms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from dc_graphsam.chem.parallel import map_chunks
from dc_graphsam.exceptions import InvalidSmilesError

__all__ = [
    "FINGERPRINT_BITS",
    "FINGERPRINT_RADIUS",
    "canonical_smiles",
    "descriptor_names",
    "descriptors",
    "morgan_counts",
]

FINGERPRINT_RADIUS, FINGERPRINT_BITS = 2, 2048
_ORDER_DEPENDENT = ("Ipc", "AvgIpc")
_LARGEST = float(np.finfo(np.float32).max)
_MOLECULES_PER_PROCESS = 100  # some seconds of descriptors, some hundredths of counts


def canonical_smiles(smiles: str, stereo: bool = True) -> str:
    """The one SMILES in which RDKit writes this molecule; atom maps are left out.

    Parameters
    ----------
    smiles
        Any SMILES of the molecule.
    stereo
        Whether configurations and isotopes are written.

    Raises
    ------
    InvalidSmilesError
        It cannot be parsed.

    Examples
    --------
    >>> canonical_smiles("OCC") == canonical_smiles("C(O)C"), canonical_smiles("C[C@H](N)O", stereo=False)
    (True, 'CC(N)O')
    """
    from rdkit import Chem

    return Chem.MolToSmiles(_parse(smiles), isomericSmiles=stereo)


def _parse(smiles: Any):
    from rdkit import rdBase

    from dc_graphsam.chem.parse import parse_smiles

    with rdBase.BlockLogs():
        molecule = parse_smiles(smiles)
    for atom in molecule.GetAtoms():
        if atom.GetAtomMapNum():
            atom.SetAtomMapNum(0)
    return molecule


def _canonical(smiles: Any):
    """The molecule with its atoms in canonical order."""
    from rdkit import Chem, rdBase

    molecule = _parse(smiles)
    with rdBase.BlockLogs():
        again = Chem.MolFromSmiles(Chem.MolToSmiles(molecule))
    return molecule if again is None else again


@lru_cache(maxsize=1)
def descriptor_names() -> tuple[str, ...]:
    """Names of the columns of :func:`descriptors`: RDKit's 2D descriptors, in its order.

    >>> len(descriptor_names()) > 200, "TPSA" in descriptor_names(), "Ipc" in descriptor_names()
    (True, True, False)
    """
    from rdkit.Chem import Descriptors

    return tuple(name for name, _ in Descriptors.descList if name not in _ORDER_DEPENDENT)


def descriptors(smiles: Iterable[str], num_workers: int | None = 0, progress: bool = False) -> np.ndarray:
    """RDKit's 2D descriptors of molecules.

    Parameters
    ----------
    smiles
        M molecules.
    num_workers
        Processes; 0 or 1: none but this one; ``None``: one per usable processor.
    progress
        Whether to show a bar: some hundred molecules a second are made.

    Returns
    -------
    numpy.ndarray
        float64 [M, D], columns as in :func:`descriptor_names`; NaN where RDKit gives no finite number, or one that float32
        does not hold.

    Raises
    ------
    InvalidSmilesError
        A SMILES cannot be parsed.

    Examples
    --------
    >>> table = descriptors(["CCO", "OCC"])
    >>> table.shape == (2, len(descriptor_names())), bool(np.array_equal(table[0], table[1], equal_nan=True))
    (True, True)
    """
    return _rows(_descriptors_of_chunk, list(smiles), num_workers, progress, len(descriptor_names()), np.float64)


def morgan_counts(smiles: Iterable[str], num_workers: int | None = 0) -> np.ndarray:
    """Morgan fingerprints of radius 2, folded to 2,048 counts (Rogers & Hahn 2010; ECFP4 by another hash).

    Parameters
    ----------
    smiles
        M molecules.
    num_workers
        As of :func:`descriptors`.

    Returns
    -------
    numpy.ndarray
        uint8 [M, 2048]: how often each environment occurs, 255 at most.

    Raises
    ------
    InvalidSmilesError
        A SMILES cannot be parsed.

    Examples
    --------
    >>> counts = morgan_counts(["CCO", "OCC", "CCCCO"])
    >>> counts.shape, bool((counts[0] == counts[1]).all()), int(counts[2].max())
    ((3, 2048), True, 3)
    """
    return _rows(_counts_of_chunk, list(smiles), num_workers, False, FINGERPRINT_BITS, np.uint8)


def _rows(
    work: Callable, smiles: list[str], num_workers: int | None, progress: bool, width: int, dtype: type
) -> np.ndarray:
    chunks = [smiles[i : i + _MOLECULES_PER_PROCESS] for i in range(0, len(smiles), _MOLECULES_PER_PROCESS)]
    out = np.empty((len(smiles), width), dtype)
    done = 0
    for rows in map_chunks(work, chunks, num_workers, progress, len(smiles), "descriptors"):
        if isinstance(rows, InvalidSmilesError):
            raise rows
        out[done : done + len(rows)] = rows
        done += len(rows)
    return out


def _descriptors_of_chunk(smiles: Sequence[Any]) -> np.ndarray | InvalidSmilesError:
    from rdkit import rdBase
    from rdkit.Chem import Descriptors

    functions = [function for name, function in Descriptors.descList if name not in _ORDER_DEPENDENT]
    out = np.full((len(smiles), len(functions)), np.nan)
    with rdBase.BlockLogs():
        for row, text in enumerate(smiles):
            try:
                molecule = _canonical(text)
            except InvalidSmilesError as error:
                return error
            for column, function in enumerate(functions):
                out[row, column] = _value(function, molecule)
    out[~(np.abs(out) <= _LARGEST)] = np.nan
    return out


def _value(function: Callable, molecule: Any) -> float:
    try:
        value = float(function(molecule))
    except (ValueError, RuntimeError, ArithmeticError, IndexError, KeyError):  # RDKit's ways of having no answer
        return math.nan
    return value


def _counts_of_chunk(smiles: Sequence[Any]) -> np.ndarray | InvalidSmilesError:
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=FINGERPRINT_RADIUS, fpSize=FINGERPRINT_BITS)
    out = np.empty((len(smiles), FINGERPRINT_BITS), np.uint8)
    for row, text in enumerate(smiles):
        try:
            out[row] = np.minimum(generator.GetCountFingerprintAsNumPy(_parse(text)), 255)
        except InvalidSmilesError as error:
            return error
    return out
