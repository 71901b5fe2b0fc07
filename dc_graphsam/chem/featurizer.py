"""SMILES to :class:`MolGraph`, some hundred molecules at a time.

RDKit does the chemistry molecule by molecule; all that follows is done with numpy on the atoms and bonds of the whole
chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem.rdPartialCharges import ComputeGasteigerCharges

from dc_graphsam.chem.atom_order import ATOM_ORDERS, canonical_ranks, reorder
from dc_graphsam.chem.atom_table import AtomBondTable, read_molecules
from dc_graphsam.chem.distance import shortest_paths
from dc_graphsam.chem.feature_blocks import FeatureSet
from dc_graphsam.chem.feature_sets import DEFAULT_FEATURE_SET, FEATURE_SETS, get_feature_set
from dc_graphsam.chem.molgraph import MolGraph
from dc_graphsam.chem.parse import parse_smiles
from dc_graphsam.chem.rdkit_binary import read_binaries
from dc_graphsam.chem.stereo import CIP_LABELS, cip_codes
from dc_graphsam.exceptions import FeatureSetError, InvalidSmilesError, check_choice

__all__ = ["CHUNK_SIZE", "GraphChunk", "featurize", "featurize_chunk"]

CHUNK_SIZE = 256  # molecules; the arrays of a chunk are then some MB
_BLOCK_SIZE = 32  # molecules that take one step of RDKit after another together: 10 % faster than one by one

_list_property = Chem.CreateAtomDoublePropertyList
_STEREO_CODES, _FLAG_CODES = 16, 8


def featurize(smiles: str, feature_set: str = DEFAULT_FEATURE_SET, atom_order: str = "as-written") -> MolGraph:
    """Turn a SMILES into a graph.

    Atoms are nodes; hydrogens stay implicit. Columns as in the released CoMPT
    (``dataset_graph.py:22-106``): see :data:`dc_graphsam.chem.FEATURE_SETS`.

    Parameters
    ----------
    smiles
        One molecule; several fragments, single atoms and dummy atoms are fine.
    feature_set
        ``"compt-own-slot"`` (115 node and 14 edge features), ``"compt"`` (115 and 13, exactly as released), or
        ``"compt-chiral"`` (120 and 14: also R or S of every stereocentre).

    atom_order
        ``"as-written"``: nodes are numbered as RDKit parses them. ``"canonical"``: as RDKit ranks them, which is the same
        for all SMILES of a molecule; ``atom_index`` leads back.

    Returns
    -------
    MolGraph
        N atoms and E bonds: ``node_features`` float32 [N, 115 or 120], ``edge_index`` int64 [2, 2E], ``edge_features``
        float32 [2E, 14 or 13], ``distance`` uint8 [N, N] in bonds.

    Raises
    ------
    InvalidSmilesError
        If ``smiles`` is not text, is empty or blank, cannot be parsed, or has more than 10,000 atoms; its ``reason``
        says which.
    InvalidArgumentError
        If there is no such feature set or order.

    Examples
    --------
    >>> graph = featurize("c1ccccc1.[Na+]")
    >>> graph.node_features.shape, graph.edge_features.shape, int(graph.distance[0, 6])
    ((7, 115), (12, 14), 255)
    >>> featurize("C1CC")
    Traceback (most recent call last):
    dc_graphsam.exceptions.InvalidSmilesError: SMILES 'C1CC' cannot be used: cannot be parsed: unclosed ring
    """
    chunk = featurize_chunk([smiles], get_feature_set(feature_set), atom_order)
    (graph,) = chunk.split([smiles])
    if isinstance(graph, InvalidSmilesError):
        raise graph
    return graph


@dataclass(frozen=True)
class GraphChunk:
    """Graphs of M valid molecules as common arrays, and the errors of the others.

    Attributes
    ----------
    feature_set
        Name of the feature set.
    valid : list of int
        Places of the M molecules among those given, in order of storage.
    errors
        Place → error of the molecules that cannot be used.
    num_atoms, num_bonds : int64 [M]
    node_features : float32 [A, F]
    edge_index : int64 [4B]
        The [2, 2E] matrices one after another, flat.
    edge_features : float32 [2B, Fe]
    distance : uint8 [sum of N²]
        The [N, N] matrices one after another, flat.
    atom_index : int64 [A], optional
        Node → atom of RDKit's molecule; ``None``: the same.
    """

    feature_set: str
    valid: list[int]
    errors: dict[int, InvalidSmilesError]
    num_atoms: np.ndarray
    num_bonds: np.ndarray
    node_features: np.ndarray
    edge_index: np.ndarray
    edge_features: np.ndarray
    distance: np.ndarray
    atom_index: np.ndarray | None = None

    def split(self, smiles: Sequence[Any]) -> list[MolGraph | InvalidSmilesError]:
        """One graph or error per element of ``smiles``, which must be what the chunk was made of."""
        out: list[MolGraph | InvalidSmilesError] = [None] * len(smiles)
        for place, error in self.errors.items():
            out[place] = error
        for array in (self.node_features, self.edge_index, self.edge_features, self.distance, self.atom_index):
            if array is not None:
                array.flags.writeable = False  # holds for the slices, too
        atom = bond = pair = 0
        for place, n, b in zip(self.valid, self.num_atoms.tolist(), self.num_bonds.tolist(), strict=True):
            out[place] = MolGraph(
                smiles[place],
                self.node_features[atom : atom + n],
                self.edge_index[4 * bond : 4 * (bond + b)].reshape(2, 2 * b),
                self.edge_features[2 * bond : 2 * (bond + b)],
                self.distance[pair : pair + n * n].reshape(n, n),
                _identity(n) if self.atom_index is None else self.atom_index[atom : atom + n],
                self.feature_set,
            )
            atom, bond, pair = atom + n, bond + b, pair + n * n
        return out


@lru_cache(maxsize=1024)
def _identity(n: int) -> np.ndarray:
    index = np.arange(n)
    index.flags.writeable = False
    return index


@dataclass(frozen=True)
class ReadChunk:
    """What RDKit says of the molecules of a chunk: a tenth of the size of their features, to cross process borders.

    Attributes
    ----------
    valid, errors
        As in :class:`GraphChunk`.
    table
        Properties of atoms and bonds.
    charges, hydrogen_charges : float64 [A]
        Gasteiger charges; 0 where RDKit has no parameters.
    atom_index
        As in :class:`GraphChunk`.
    chirality : uint8 [A] or None
        Places in :data:`dc_graphsam.chem.stereo.CIP_LABELS`, if they were asked for.
    """

    valid: list[int]
    errors: dict[int, InvalidSmilesError]
    table: AtomBondTable
    charges: np.ndarray
    hydrogen_charges: np.ndarray
    chirality: np.ndarray | None = None
    atom_index: np.ndarray | None = None


def featurize_chunk(smiles: Sequence[Any], feature_set: FeatureSet, atom_order: str = "as-written") -> GraphChunk:
    """Featurize molecules together; invalid ones become errors in the result."""
    check_computable(feature_set)
    return expand_chunk(read_chunk(smiles, feature_set.has_chirality, atom_order), feature_set)


def check_computable(feature_set: FeatureSet) -> None:
    """Raise for features that no SMILES has."""
    if feature_set.name not in FEATURE_SETS:
        raise FeatureSetError(
            f"features {feature_set.name!r} come with a table of graphs and cannot be computed from a SMILES; accepted: "
            f"{', '.join(FEATURE_SETS)}"
        )


def read_chunk(smiles: Sequence[Any], chirality: bool = False, atom_order: str = "as-written") -> ReadChunk:
    """Ask RDKit: the part of the work that is done molecule by molecule. ``chirality``: for CIP labels, too."""
    canonical = check_choice("atom_order", atom_order, ATOM_ORDERS) == "canonical"
    ranks: list[Sequence[int]] = []
    places: list[int] = []
    errors: dict[int, InvalidSmilesError] = {}
    binaries: list[bytes] = []
    charges: list[str] = []
    hydrogen_charges: list[str] = []
    labels: list[bytes] = []
    with rdBase.BlockLogs():
        for start in range(0, len(smiles), _BLOCK_SIZE):
            molecules = []
            for place, text in enumerate(smiles[start : start + _BLOCK_SIZE], start):
                try:
                    molecules.append(parse_smiles(text, chirality or canonical))
                    places.append(place)
                except InvalidSmilesError as error:
                    errors[place] = error.with_traceback(None)  # which would keep its frames, and so the chunk, alive
            if canonical:
                ranks += map(canonical_ranks, molecules)
            for molecule in molecules:
                ComputeGasteigerCharges(molecule)
            # One text for all atoms: a third of the time that a property of one atom after the other takes.
            for molecule in molecules:
                _list_property(molecule, "_GasteigerCharge")
                _list_property(molecule, "_GasteigerHCharge")
            for molecule in molecules:
                charges.append(molecule.GetProp("atom.dprop._GasteigerCharge"))
                hydrogen_charges.append(molecule.GetProp("atom.dprop._GasteigerHCharge"))
                binaries.append(molecule.ToBinary(0))
            if chirality:
                labels += map(cip_codes, molecules)
        table, readable = read_binaries(binaries)
        if not readable.all():
            rest = read_molecules([parse_smiles(smiles[places[i]], chirality) for i in np.flatnonzero(~readable)])
            table = rest if table is None else table.append(rest)
            order = np.argsort(~readable, kind="stable").tolist()
            places, charges, hydrogen_charges = (
                [values[i] for i in order] for values in (places, charges, hydrogen_charges)
            )
            ranks = [ranks[i] for i in order] if canonical else ranks
            labels = [labels[i] for i in order] if chirality else labels
        elif table is None:
            table = read_molecules([])
    of_atoms = [_numbers(charges), _numbers(hydrogen_charges)]
    if chirality:
        of_atoms.append(np.frombuffer(b"".join(labels), np.uint8))
    atom_index = None
    if canonical:
        table, atom_index, of_atoms = reorder(table, ranks, *of_atoms)
    return ReadChunk(places, errors, table, of_atoms[0], of_atoms[1], of_atoms[2] if chirality else None, atom_index)


def expand_chunk(read: ReadChunk, feature_set: FeatureSet) -> GraphChunk:
    """Features of the molecules that were read: the part of the work that numpy does for all of them at once."""
    table = read.table
    edge_index, edge_features = _edges(table, feature_set)
    return GraphChunk(
        feature_set=feature_set.name,
        valid=read.valid,
        errors=read.errors,
        num_atoms=table.num_atoms,
        num_bonds=table.num_bonds,
        node_features=_node_features(read, feature_set),
        edge_index=edge_index,
        edge_features=edge_features,
        distance=shortest_paths(table.num_atoms, table.num_bonds, table.begin, table.end),
        atom_index=read.atom_index,
    )


def _numbers(texts: list[str]) -> np.ndarray:
    """Charges; 0 where RDKit has no parameters for an atom and gives nan or inf (``dataset_graph.py:22-56``)."""
    values = np.fromstring(" ".join(texts), sep=" ")  # written with 17 digits, so nothing is lost
    values[~np.isfinite(values)] = 0
    return values


def _node_features(read: ReadChunk, feature_set: FeatureSet) -> np.ndarray:
    table = read.table
    total = len(table.atomic_number)
    degree = np.zeros(total, np.int64)
    shift = np.repeat(np.cumsum(table.num_atoms) - table.num_atoms, table.num_bonds)
    for side in (table.begin, table.end):
        degree += np.bincount(side + shift, minlength=total)

    out = np.zeros((total, feature_set.node_feature_size), np.float32)
    rows = np.arange(total)
    number_column, hybridization_column = _atom_columns(feature_set)
    out[rows, number_column.take(table.atomic_number, mode="clip")] = 1
    out[rows, hybridization_column.take(table.hybridization, mode="clip")] = 1
    numbers = {
        "total_hydrogens": table.total_hydrogens,
        "degree": degree,
        "formal_charge": table.formal_charge,
        "total_valence": table.total_valence,
        "gasteiger_charge": read.charges,
        "gasteiger_hydrogen_charge": read.hydrogen_charges,
        "aromatic": table.atom_aromatic,
        "in_ring": table.atom_in_ring,
    }
    for name, values in numbers.items():
        out[:, feature_set.node_slice(name).start] = values / feature_set.node_block(name).scale
    if feature_set.has_chirality:
        block = feature_set.node_block("chirality")
        column = np.array([block.column_of(label) for label in CIP_LABELS])
        out[rows, feature_set.node_slice("chirality").start + column.take(read.chirality)] = 1
    return out


@cache
def _atom_columns(feature_set: FeatureSet) -> tuple[np.ndarray, np.ndarray]:
    """Columns by atomic number and by hybridization; the last entry stands for all greater codes."""

    def columns(block: str, names: list[str]) -> np.ndarray:
        start = feature_set.node_slice(block).start
        return np.array([start + feature_set.node_block(block).column_of(name) for name in names])

    known = Chem.HybridizationType.values
    return (
        columns("atomic_number", [str(number) for number in range(120)]),
        columns("hybridization", [str(known.get(code)) for code in range(max(known) + 2)]),
    )


def _edges(table: AtomBondTable, feature_set: FeatureSet) -> tuple[np.ndarray, np.ndarray]:
    flags = table.conjugated * 4 + table.bond_aromatic * 2 + table.bond_in_ring
    codes = (table.bond_type * _STEREO_CODES + table.stereo) * _FLAG_CODES + flags
    features = _bond_rows(feature_set).take(np.repeat(codes, 2), axis=0)  # [2B, Fe]

    bonds = table.num_bonds
    rank = np.arange(len(codes)) + np.repeat(np.cumsum(bonds) - bonds, bonds)  # (first bond of molecule) + (bond)
    rank = 2 * rank  # place of the bond's first source: 4 first + 2 (bond - first)
    to_target = 2 * np.repeat(bonds, bonds)
    index = np.empty(4 * len(codes), np.int64)
    index[rank] = index[rank + to_target + 1] = table.begin
    index[rank + 1] = index[rank + to_target] = table.end
    return index, features


@cache
def _bond_rows(feature_set: FeatureSet) -> np.ndarray:
    """Feature row of every combination of bond type, stereo and flags: float32 [types * 16 * 8, Fe]."""
    types, stereos = Chem.BondType.values, Chem.BondStereo.values
    rows = np.zeros((max(types) + 1, _STEREO_CODES, _FLAG_CODES, feature_set.edge_feature_size), np.float32)
    type_start, type_block = feature_set.edge_slice("bond_type").start, feature_set.edge_block("bond_type")
    stereo_start, stereo_block = feature_set.edge_slice("stereo").start, feature_set.edge_block("stereo")
    for code in range(len(rows)):
        name = str(types.get(code))
        if name in type_block.values or type_block.fallback is not None:
            rows[code, ..., type_start + type_block.column_of(name)] = 1
        else:
            rows[code, ..., feature_set.edge_slice("bond_type_other").start] = 1
    for code in range(_STEREO_CODES):
        rows[:, code, :, stereo_start + stereo_block.column_of(str(stereos.get(code)))] = 1
    for flags in range(_FLAG_CODES):
        for bit, name in ((4, "conjugated"), (2, "aromatic"), (1, "in_ring")):
            rows[:, :, flags, feature_set.edge_slice(name).start] = bool(flags & bit)
    return rows.reshape(-1, feature_set.edge_feature_size)
