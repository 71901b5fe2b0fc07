"""Any SMILES of a molecule gives the same arrays in canonical order."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from dc_graphsam.chem import featurize, featurize_many
from dc_graphsam.exceptions import InvalidArgumentError

MOLECULES = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "C[C@H](N)C(=O)O",
    "CC(=O)[O-].[Na+]",
    "[Na+].CC(=O)[O-].Cl",
    "F/C=C/F",
    "[2H]C([2H])([2H])C",
    "C1CCCCC1",
    "c1ccc2ccccc2c1",
    "C[N+](C)(C)CC([O-])=O",
    "[NH3]->[Fe]",
    "C",
    "*c1ccccc1",
]
ARRAYS = ("node_features", "edge_index", "edge_features", "distance")


def writings(smiles, count=5, seed=3):
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(smiles)
    return [Chem.MolToSmiles(molecule), *Chem.MolToRandomSmilesVect(molecule, count, randomSeed=seed)]


def same(one, other):
    return all(np.allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-6) for name in ARRAYS)


@pytest.mark.parametrize("smiles", MOLECULES)
def test_every_writing_gives_the_same_graph(smiles):
    graph = featurize(smiles, atom_order="canonical")
    for text in writings(smiles):
        assert same(graph, featurize(text, atom_order="canonical")), text


def test_another_order_of_the_fragments_atom_maps_and_hydrogens_change_nothing():
    graph = featurize("CC(=O)[O-].[Na+]", atom_order="canonical")
    for text in ("[Na+].[O-]C(C)=O", "[CH3:1][C:5](=[O:3])[O-:2].[Na+:9]", "[Na+].[O-]C(=O)C([H])([H])[H]"):
        assert same(graph, featurize(text, atom_order="canonical")), text


@pytest.mark.parametrize("smiles", MOLECULES)
def test_the_map_leads_back_to_the_atoms_as_written(smiles):
    written, canonical = featurize(smiles), featurize(smiles, atom_order="canonical")
    back = canonical.atom_index
    assert sorted(back) == list(range(written.num_nodes))
    assert (written.atom_index == np.arange(written.num_nodes)).all()
    assert np.array_equal(written.node_features[back], canonical.node_features)
    assert np.array_equal(written.distance[np.ix_(back, back)], canonical.distance)
    edges = {tuple(pair): tuple(row) for pair, row in zip(written.edge_index.T, written.edge_features, strict=True)}
    moved = zip(back[canonical.edge_index].T, canonical.edge_features, strict=True)
    assert {tuple(pair): tuple(row) for pair, row in moved} == edges


def test_edges_stay_in_pairs():
    graph = featurize("OCC(N)c1ccccc1", atom_order="canonical")
    assert np.array_equal(graph.edge_index[:, 0::2], graph.edge_index[::-1, 1::2])
    assert type(graph).from_dgl(graph.to_dgl()).atom_index.tolist() == graph.atom_index.tolist()


def test_many_molecules_with_processes_and_errors_between():
    smiles = ["C1CC", *MOLECULES * 200, "[X]"]
    alone = featurize_many(smiles, atom_order="canonical", num_workers=0)
    together = featurize_many(smiles, atom_order="canonical", num_workers=2)
    for one, two in zip(alone[1:-1], together[1:-1], strict=True):
        assert same(one, two) and np.array_equal(one.atom_index, two.atom_index)
    assert isinstance(together[0], ValueError) and isinstance(together[-1], ValueError)


def test_real_molecules(moleculenet_dir):
    with open(moleculenet_dir / "BBBP.csv", newline="") as file:
        smiles = [row["smiles"] for row in csv.DictReader(file)][::20]
    for text, graph in zip(smiles, featurize_many(smiles, atom_order="canonical"), strict=True):
        if not isinstance(graph, ValueError):
            assert all(same(graph, featurize(other, atom_order="canonical")) for other in writings(text, 2)), text


def test_wrong_order():
    with pytest.raises(InvalidArgumentError, match="atom_order is 'random'; accepted"):
        featurize("C", atom_order="random")
    with pytest.raises(InvalidArgumentError, match="atom_order"):
        featurize_many(["C"], atom_order="")
