"""A slow, obvious featurizer: RDKit asked atom by atom and bond by bond, Floyd-Warshall for distances."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from rdkit import Chem, rdBase
from rdkit.Chem import rdCIPLabeler, rdPartialCharges

HYBRIDIZATIONS = ["SP", "SP2", "SP3", "SP3D", "SP3D2"]
BOND_TYPES = ["SINGLE", "DOUBLE", "TRIPLE", "AROMATIC"]
STEREO = ["STEREOANY", "STEREOCIS", "STEREOE", "STEREONONE", "STEREOTRANS", "STEREOZ"]


def one_hot(value, values, size):
    """``size`` numbers; a value that is not listed sets the last one."""
    row = [0.0] * size
    row[values.index(value) if value in values else size - 1] = 1.0
    return row


def finite(text):
    value = float(text)
    return value if np.isfinite(value) else 0.0


def atom_row(atom):
    return (
        one_hot(atom.GetAtomicNum(), list(range(1, 101)), 101)
        + one_hot(str(atom.GetHybridization()), HYBRIDIZATIONS, 6)
        + [
            atom.GetTotalNumHs(includeNeighbors=True) / 8,
            atom.GetDegree() / 4,
            atom.GetFormalCharge() / 8,
            atom.GetTotalValence() / 8,
            finite(atom.GetProp("_GasteigerCharge")),
            finite(atom.GetProp("_GasteigerHCharge")),
            float(atom.GetIsAromatic()),
            float(atom.IsInRing()),
        ]
    )


def chirality_row(atom):
    return one_hot(atom.GetProp("_CIPCode") if atom.HasProp("_CIPCode") else "", ["R", "S", "r", "s"], 5)


def bond_row(bond, own_slot):
    kind = str(bond.GetBondType())
    row = one_hot(kind, BOND_TYPES, 4)
    if own_slot and kind not in BOND_TYPES:
        row = [0.0] * 4
    row += one_hot(str(bond.GetStereo()), STEREO, 6)
    row += [float(bond.GetIsConjugated()), float(bond.GetIsAromatic()), float(bond.IsInRing())]
    return [*row, float(kind not in BOND_TYPES)] if own_slot else row


def distance_matrix(molecule):
    n = molecule.GetNumAtoms()
    out = np.full((n, n), np.inf)
    np.fill_diagonal(out, 0)
    for bond in molecule.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        out[i, j] = out[j, i] = 1
    for k in range(n):
        out = np.minimum(out, out[:, k : k + 1] + out[k : k + 1, :])
    return np.where(np.isinf(out), 255, np.minimum(out, 254)).astype(np.uint8)


def reference_graph(smiles, feature_set="compt-own-slot"):
    own_slot = feature_set != "compt"
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        rdPartialCharges.ComputeGasteigerCharges(molecule)
    edges, features = [], []
    for bond in molecule.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        edges += [(i, j), (j, i)]
        features += [bond_row(bond, own_slot)] * 2
    nodes = [atom_row(atom) for atom in molecule.GetAtoms()]
    if feature_set == "compt-chiral":
        rdCIPLabeler.AssignCIPLabels(molecule)
        nodes = [row + chirality_row(atom) for row, atom in zip(nodes, molecule.GetAtoms(), strict=True)]
    return SimpleNamespace(
        node_features=np.array(nodes, np.float32),
        edge_index=np.array(edges, np.int64).reshape(-1, 2).T,
        edge_features=np.array(features, np.float32).reshape(len(edges), 14 if own_slot else 13),
        distance=distance_matrix(molecule),
        atom_index=np.arange(molecule.GetNumAtoms()),
    )


def assert_same(graph, other):
    """All arrays equal to the last bit, of equal dtype and shape."""
    for name in ("node_features", "edge_index", "edge_features", "distance", "atom_index"):
        got, wanted = getattr(graph, name), getattr(other, name)
        assert got.dtype == wanted.dtype, name
        assert got.shape == wanted.shape, name
        np.testing.assert_array_equal(got, wanted, err_msg=name)


@pytest.fixture(scope="session")
def reference():
    """The slow featurizer ``(smiles, feature_set)`` and ``same(graph, other)``, which compares to the last bit."""
    return SimpleNamespace(graph=reference_graph, same=assert_same)
