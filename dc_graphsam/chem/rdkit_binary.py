"""Atoms and bonds of many molecules out of RDKit's binary form (``Mol.ToBinary``), without a Python object per atom.

A Python call per atom and property is what makes featurizing slow: 24 atoms and 26 bonds cost more than parsing the
SMILES. ``ToBinary`` writes all of them in one call. Layout of format 16.4.0, little-endian, up to 255 atoms::

    header  DEADBEEF, 0, 16, 4, 0, number of atoms, number of bonds (int32 each), 80, 01
    atom    atomic number, flags (40 aromatic, 20 no implicit hydrogens), int32 mask; then one byte for each set bit of
            the mask: 1 charge, 2 chirality, 3 hybridization (else sp3), 4 explicit hydrogens, 5 explicit valence,
            6 implicit hydrogens, 7 radical electrons; bit 8: isotope, int32
    bonds   0B, then per bond: begin, end, flags (40 aromatic, 20 conjugated); then for each set flag: 08 type (else
            single), 04 direction, 02 stereo, number of stereo atoms, these atoms
    rings   42, number of rings (int32), then per ring: size, atoms in order round the ring
    end     17, int32 4, int32 0, 16

Whatever else occurs (atom maps, dummy labels, queries, other versions) is not read here: :func:`read_binaries` says
which molecules it could read, and for the others there is :func:`dc_graphsam.chem.atom_table.read_molecules`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from rdkit import Chem

from dc_graphsam.chem.atom_table import AtomBondTable

__all__ = ["read_binaries"]

_VERSION = struct.pack("<5i", 0xDEADBEEF - (1 << 32), 0, 16, 4, 0)
_START = 30  # of the first atom
_AROMATIC, _NO_IMPLICIT = 0x40, 0x20
_CONJUGATED, _HAS_TYPE, _HAS_DIRECTION, _HAS_STEREO = 0x20, 0x08, 0x04, 0x02
_CHARGE, _HYBRIDIZATION, _EXPLICIT_H, _EXPLICIT_VALENCE, _IMPLICIT_H = 1, 3, 4, 5, 6
_ATOM_FLAGS = _AROMATIC | _NO_IMPLICIT
_ATOM_MASK = 0x1FE  # bits 1 to 8
_BOND_FLAGS = _AROMATIC | _CONJUGATED | _HAS_TYPE | _HAS_DIRECTION | _HAS_STEREO
_BONDS, _RINGS = 0x0B, 0x42
_END = np.frombuffer(struct.pack("<B2iB", 0x17, 4, 0, 0x16), np.uint8)
_SP3, _SINGLE = int(Chem.HybridizationType.SP3), int(Chem.BondType.SINGLE)

_ones = np.array([bin(number).count("1") for number in range(256)], np.int64)
_low = np.arange(1 << 16)
_ATOM_SIZE = (6 + _ones[_low & 0xFE] + 4 * (_low >> 8 & 1)).astype(np.int64)  # by the low half of the mask
_FIELD_OFFSET = [6 + _ones[np.arange(256) & 0xFE & ((1 << bit) - 1)] for bit in range(8)]
_flags = np.arange(256)
_STEREO_OFFSET = 3 + (_flags >> 3 & 1) + (_flags >> 2 & 1)
_BOND_SIZE = _STEREO_OFFSET + 4 * (_flags >> 1 & 1)  # stereo comes with two stereo atoms


def read_binaries(binaries: Sequence[bytes]) -> tuple[AtomBondTable | None, np.ndarray]:
    """Decode what ``molecule.ToBinary(0)`` gave.

    Parameters
    ----------
    binaries
        One ``bytes`` per molecule, without properties.

    Returns
    -------
    table
        Properties of the molecules that could be read, in order; ``None`` if there are none.
    readable : bool [M]
        Which those are.

    Examples
    --------
    >>> table, readable = read_binaries([Chem.MolFromSmiles("C=O").ToBinary(0)])
    >>> table.atomic_number.tolist(), table.total_valence.tolist()
    ([6, 8], [4, 2])
    """
    readable = np.array([b[:20] == _VERSION and b[21:24] == b"\0\0\0" for b in binaries], bool)
    if readable.all() and len(binaries):
        table, readable = _read(binaries)
        if readable.all():
            return table, readable
    if not readable.any():
        return None, readable
    which = np.flatnonzero(readable)
    table, rest = read_binaries([binaries[i] for i in which])
    readable[which] = rest
    return table, readable


def _read(binaries: Sequence[bytes]) -> tuple[AtomBondTable, np.ndarray]:
    data = np.frombuffer(b"".join((*binaries, bytes(64))), np.uint8)
    word = data[:-1] | data[1:].astype(np.uint16) << 8
    size = np.array([len(binary) for binary in binaries], np.int64)
    stop = np.cumsum(size)
    start = stop - size
    num_atoms = _uint32(data, start + 20)
    num_bonds = _uint32(data, start + 24)
    ok = (data[start + 28] == 0x80) & (data[start + 29] == 1) & (num_bonds < len(data))
    num_bonds = np.where(ok, num_bonds, 0)

    # Records are of several sizes, so they are found one after the other: the k-th of all molecules together.
    atom_at, at = _walk(start + _START, num_atoms, len(data) - 64, lambda p: _ATOM_SIZE.take(word.take(p + 2)))
    ok &= data[at] == _BONDS
    bond_at, at = _walk(at + 1, num_bonds, len(data) - 64, lambda p: _BOND_SIZE.take(data.take(p + 2)))
    ok &= data[at] == _RINGS
    num_rings = np.where(ok, _uint32(data, at + 1), 0)
    ok &= num_rings <= num_bonds
    num_rings = np.where(ok, num_rings, 0)
    ring_at, at = _walk(at + 5, num_rings, len(data) - 64, lambda p: 1 + data.take(p).astype(np.int64))
    ok &= (at + len(_END) == stop) & (data[at[:, None] + np.arange(len(_END))] == _END).all(1)

    atom_molecule = np.repeat(np.arange(len(binaries)), num_atoms)
    bond_molecule = np.repeat(np.arange(len(binaries)), num_bonds)
    atoms, atoms_ok = _atom_fields(data, word, atom_at)
    bonds, bonds_ok = _bond_fields(data, bond_at, num_atoms[bond_molecule])
    ring_molecule, ring_atom, ring_next = _ring_pairs(data, ring_at, np.repeat(np.arange(len(binaries)), num_rings))
    ok[atom_molecule[~atoms_ok]] = False
    ok[bond_molecule[~bonds_ok]] = False
    ok[ring_molecule[ring_atom >= num_atoms[ring_molecule]]] = False
    if not ok.all():
        return None, ok

    first_atom = np.cumsum(num_atoms) - num_atoms
    hydrogens = atoms["atomic_number"] == 1
    if hydrogens.any():
        shift = first_atom[bond_molecule]
        for one, other in (("begin", "end"), ("end", "begin")):
            np.add.at(atoms["total_hydrogens"], bonds[one] + shift, hydrogens[bonds[other] + shift])
    atoms["atom_in_ring"] = np.zeros(int(num_atoms.sum()), bool)
    atoms["atom_in_ring"][first_atom[ring_molecule] + ring_atom] = True

    # A bond is in a ring if its atoms follow each other in one: such pairs are set in an N × N table per molecule.
    first_pair = np.cumsum(num_atoms**2) - num_atoms**2
    pairs = np.zeros(int((num_atoms**2).sum()), bool)
    for i, j in ((ring_atom, ring_next), (ring_next, ring_atom)):
        pairs[first_pair[ring_molecule] + i * num_atoms[ring_molecule] + j] = True
    bonds["bond_in_ring"] = pairs[first_pair[bond_molecule] + bonds["begin"] * num_atoms[bond_molecule] + bonds["end"]]
    return AtomBondTable(num_atoms, num_bonds, **atoms, **bonds), ok


def _uint32(data: np.ndarray, at: np.ndarray) -> np.ndarray:
    return data[at[:, None] + np.arange(4)].view("<u4")[:, 0].astype(np.int64)


def _walk(at: np.ndarray, counts: np.ndarray, last: int, size_at) -> tuple[np.ndarray, np.ndarray]:
    """Positions of all records, molecule after molecule, and the position after the last record of each molecule."""
    order = np.argsort(-counts, kind="stable")
    at = at[order]
    most = int(counts.max(initial=0))
    having = len(counts) - np.cumsum(np.bincount(counts, minlength=most + 1))  # molecules with more than k records
    positions = np.zeros((len(counts), most), np.int64)
    for k, m in enumerate(having[:most].tolist()):
        p = at[:m]
        positions[:m, k] = p
        at[:m] = np.minimum(p + size_at(p), last)  # never past the end, whatever the bytes are
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return positions[back][np.arange(most) < counts[:, None]], at[back]


def _atom_fields(data: np.ndarray, word: np.ndarray, at: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    flags = data.take(at + 1)
    mask = word.take(at + 2)
    ok = ((flags & ~np.uint8(_ATOM_FLAGS)) == 0) & ((mask & ~np.uint16(_ATOM_MASK)) == 0) & (word.take(at + 4) == 0)
    low = mask & 0xFF

    def field(bit: int, absent: int) -> np.ndarray:
        value = data.take(at + _FIELD_OFFSET[bit].take(low)).view(np.int8).astype(np.int64)
        return np.where(low >> bit & 1, value, absent)

    implicit = field(_IMPLICIT_H, 0)
    return {
        "atomic_number": data.take(at).astype(np.int64),
        "formal_charge": field(_CHARGE, 0),
        "total_valence": field(_EXPLICIT_VALENCE, 0) + implicit,
        "hybridization": field(_HYBRIDIZATION, _SP3),
        "total_hydrogens": field(_EXPLICIT_H, 0) + implicit,
        "atom_aromatic": (flags & _AROMATIC) != 0,
    }, ok


def _bond_fields(data: np.ndarray, at: np.ndarray, num_atoms: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    flags = data.take(at + 2)
    begin, end = data.take(at).astype(np.int64), data.take(at + 1).astype(np.int64)
    ok = ((flags & ~np.uint8(_BOND_FLAGS)) == 0) & (np.maximum(begin, end) < num_atoms)
    bond_type = np.where(flags & _HAS_TYPE, data.take(at + 3), _SINGLE).astype(np.int64)
    stereo = np.zeros(len(at), np.int64)
    which = np.flatnonzero(flags & _HAS_STEREO)
    if len(which):
        stereo_at = at[which] + _STEREO_OFFSET[flags[which]]
        stereo[which] = data[stereo_at]
        ok[which[data[stereo_at + 1] != 2]] = False
    return {
        "begin": begin,
        "end": end,
        "bond_type": bond_type,
        "stereo": stereo,
        "conjugated": (flags & _CONJUGATED) != 0,
        "bond_aromatic": (flags & _AROMATIC) != 0,
    }, ok


def _ring_pairs(data: np.ndarray, ring_at: np.ndarray, ring_molecule: np.ndarray) -> tuple[np.ndarray, ...]:
    """For every atom of every ring: the molecule, the atom, and the next atom round the ring."""
    sizes = data[ring_at].astype(np.int64)
    last = np.cumsum(sizes) - 1
    first = last + 1 - sizes
    atom = data[np.arange(int(sizes.sum())) + np.repeat(ring_at + 1 - first, sizes)].astype(np.int64)
    following = np.empty_like(atom)
    following[:-1] = atom[1:]
    following[last] = atom[first]
    return np.repeat(ring_molecule, sizes), atom, following
