"""The order in which the atoms of a molecule are numbered: as written, or one that every SMILES of the molecule has.

A network that numbers its atoms, or reads them one after the other, sees how a SMILES was typed. In canonical order it sees the
molecule: RDKit's canonical ranks, ties broken, with configurations and isotopes and without atom maps. Atoms that tie are
exchangeable, so that whichever comes first, the features are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from rdkit import Chem

from dc_graphsam.chem.atom_table import AtomBondTable

__all__ = ["ATOM_ORDERS", "canonical_ranks", "reorder"]

ATOM_ORDERS = ("as-written", "canonical")
# positions: breakTies, includeChirality, includeIsotopes, includeAtomMaps
_rank_atoms = Chem.CanonicalRankAtoms
_BOND_FIELDS = ("begin", "end", "bond_type", "stereo", "conjugated", "bond_aromatic", "bond_in_ring")


def canonical_ranks(molecule: Chem.Mol) -> Sequence[int]:
    """Place of each atom in canonical order.

    Of a molecule with perceived stereochemistry: a mark of configuration at an atom that is no stereocentre would count.

    >>> [list(canonical_ranks(Chem.MolFromSmiles(smiles))) for smiles in ("CCO", "OCC")]
    [[0, 2, 1], [1, 2, 0]]
    """
    return _rank_atoms(molecule, True, True, True, False)


def reorder(
    table: AtomBondTable, ranks: Sequence[Sequence[int]], *of_atoms: np.ndarray
) -> tuple[AtomBondTable, np.ndarray, list[np.ndarray]]:
    """The same molecules with their atoms in the order of ``ranks``, and their bonds in that of their atoms.

    Parameters
    ----------
    table
        M molecules.
    ranks
        For each of them the new place of each atom.
    of_atoms
        More arrays [A, ...] to bring into the same order.

    Returns
    -------
    table
        A bond begins at the lower of its two atoms.
    atom_index : int64 [A]
        New place → place before, counted within each molecule.
    of_atoms
        The arrays.

    Examples
    --------
    >>> from dc_graphsam.chem.atom_table import read_molecules
    >>> molecule = Chem.MolFromSmiles("OCC")
    >>> table, atom_index, _ = reorder(read_molecules([molecule]), [canonical_ranks(molecule)])
    >>> table.atomic_number.tolist(), atom_index.tolist(), list(zip(table.begin.tolist(), table.end.tolist()))
    ([6, 8, 6], [2, 0, 1], [(0, 2), (1, 2)])
    """
    rank = np.concatenate([np.zeros(0, np.int64), *map(np.array, ranks)])
    first = np.cumsum(table.num_atoms) - table.num_atoms
    start = np.repeat(first, table.num_atoms)  # of the atom's molecule
    source = np.empty_like(rank)
    source[start + rank] = np.arange(len(rank))
    molecule = np.repeat(np.arange(len(table.num_bonds)), table.num_bonds)
    ends = np.sort(rank[first[molecule] + np.stack((table.begin, table.end))], axis=0)
    bonds = np.lexsort((ends[1], ends[0], molecule))
    names = {field.name for field in fields(AtomBondTable)} - {"num_atoms", "num_bonds", "begin", "end"}
    moved = {name: getattr(table, name)[bonds if name in _BOND_FIELDS else source] for name in names}
    moved |= {"begin": ends[0][bonds], "end": ends[1][bonds]}
    return replace(table, **moved), source - start, [array[source] for array in of_atoms]
