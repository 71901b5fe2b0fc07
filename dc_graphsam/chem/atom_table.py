"""What RDKit knows of the atoms and bonds of many molecules, as one array per property."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from rdkit import Chem

__all__ = ["AtomBondTable", "read_molecules"]


@dataclass(frozen=True)
class AtomBondTable:
    """Properties of A atoms and B bonds of M molecules, molecule after molecule, in RDKit's order.

    Attributes
    ----------
    num_atoms, num_bonds : int [M]
        Atoms and bonds per molecule.
    atomic_number, formal_charge, total_valence : int [A]
        As RDKit says.
    hybridization : int [A]
        Value of ``Chem.HybridizationType``.
    total_hydrogens : int [A]
        Implicit, explicit and neighbouring hydrogen atoms.
    atom_aromatic, atom_in_ring : bool [A]
        Flags of the atoms.
    begin, end : int [B]
        Begin and end atom of a bond, numbered from 0 in each molecule.
    bond_type, stereo : int [B]
        Values of ``Chem.BondType`` and ``Chem.BondStereo``.
    conjugated, bond_aromatic, bond_in_ring : bool [B]
        Flags of the bonds.
    """

    num_atoms: np.ndarray
    num_bonds: np.ndarray
    atomic_number: np.ndarray
    formal_charge: np.ndarray
    total_valence: np.ndarray
    hybridization: np.ndarray
    total_hydrogens: np.ndarray
    atom_aromatic: np.ndarray
    atom_in_ring: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    bond_type: np.ndarray
    stereo: np.ndarray
    conjugated: np.ndarray
    bond_aromatic: np.ndarray
    bond_in_ring: np.ndarray

    def append(self, other: AtomBondTable) -> AtomBondTable:
        """The molecules of ``self``, then those of ``other``."""
        return AtomBondTable(
            *(np.concatenate((getattr(self, f.name), getattr(other, f.name))) for f in fields(AtomBondTable))
        )


def read_molecules(molecules: Sequence[Chem.Mol]) -> AtomBondTable:
    """Ask RDKit atom by atom and bond by bond.

    Examples
    --------
    >>> table = read_molecules([Chem.MolFromSmiles("C=O")])
    >>> table.atomic_number.tolist(), table.total_hydrogens.tolist(), table.bond_type.tolist()
    ([6, 8], [2, 0], [2])
    """
    atoms = [
        (
            atom.GetAtomicNum(),
            atom.GetFormalCharge(),
            atom.GetTotalValence(),
            int(atom.GetHybridization()),
            atom.GetTotalNumHs(includeNeighbors=True),
            atom.GetIsAromatic(),
            atom.IsInRing(),
        )
        for molecule in molecules
        for atom in molecule.GetAtoms()
    ]
    bonds = [
        (
            bond.GetBeginAtomIdx(),
            bond.GetEndAtomIdx(),
            int(bond.GetBondType()),
            int(bond.GetStereo()),
            bond.GetIsConjugated(),
            bond.GetIsAromatic(),
            bond.IsInRing(),
        )
        for molecule in molecules
        for bond in molecule.GetBonds()
    ]
    atom_columns = np.array(atoms, np.int64).reshape(-1, 7).T
    bond_columns = np.array(bonds, np.int64).reshape(-1, 7).T
    return AtomBondTable(
        np.array([molecule.GetNumAtoms() for molecule in molecules], np.int64),
        np.array([molecule.GetNumBonds() for molecule in molecules], np.int64),
        *atom_columns[:5],
        *atom_columns[5:].astype(bool),
        *bond_columns[:4],
        *bond_columns[4:].astype(bool),
    )
