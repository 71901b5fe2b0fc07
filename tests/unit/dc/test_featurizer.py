from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from dc_graphsam.chem import MolGraph, featurize
from dc_graphsam.dc import GraphTransformerFeaturizer, drop_failed
from dc_graphsam.exceptions import InvalidArgumentError


def equal(data, graph: MolGraph) -> bool:
    names = ("node_features", "edge_index", "edge_features", "distance", "atom_index")
    return data.smiles == graph.smiles and all(np.array_equal(getattr(data, n), getattr(graph, n)) for n in names)


def test_graphs_are_those_of_the_package_and_belong_to_the_caller(dc):
    smiles = ["OC(=O)c1ccccc1", "[Na+].[Cl-]", "C"]
    X = GraphTransformerFeaturizer().featurize(smiles)
    assert X.dtype == object and X.shape == (3,) and all(isinstance(x, dc.feat.GraphData) for x in X)
    assert all(equal(x, featurize(s)) for x, s in zip(X, smiles))
    X[0].node_features[0] = 7  # writable, and nobody else's
    assert equal(GraphTransformerFeaturizer().featurize(smiles[0])[0], featurize(smiles[0]))
    assert X[1].distance[0, 1] == 255
    graph = MolGraph.from_deepchem(X[2])
    assert graph.feature_set == "compt-own-slot" and graph.num_nodes == 1


def test_text_behind_a_smiles_is_reported_and_a_piece_of_one_is_a_failure(caplog):
    featurizer = GraphTransformerFeaturizer()
    X = featurizer.featurize(["CCO ethanol", "COC =cO)C", "CC |$a;b$|"])
    assert [getattr(x, "num_nodes", 0) for x in X] == [3, 0, 2]
    assert "text behind the SMILES ignored in 1 of 3 molecules: index 0 ('ethanol')" in caplog.text
    assert [row.row for row in featurizer.failures] == [1]


def test_to_dgl_graph(recwarn):
    pytest.importorskip("dgl")
    graph = GraphTransformerFeaturizer().featurize("CCO")[0].to_dgl_graph()
    assert graph.ndata["x"].shape == (3, 115) and graph.edata["edge_attr"].shape == (4, 14)
    assert not [w for w in recwarn if "not writable" in str(w.message)]


def test_atoms_keep_their_order():
    X = GraphTransformerFeaturizer().featurize(["OCC", "CCO"])
    oxygen = [int(np.flatnonzero(x.node_features[:, 7])[0]) for x in X]  # column 7: atomic number 8
    assert oxygen == [0, 2]
    assert [x.atom_index.tolist() for x in X] == [[0, 1, 2]] * 2


def test_rdkit_molecules_keep_the_order_of_their_atoms():
    molecule = Chem.MolFromSmiles("OC(=O)c1ccncc1")
    order = np.random.default_rng(0).permutation(molecule.GetNumAtoms())
    shuffled = Chem.RenumberAtoms(molecule, order.tolist())
    plain, mixed = GraphTransformerFeaturizer().featurize([molecule, shuffled])
    by_smiles = featurize("OC(=O)c1ccncc1")
    np.testing.assert_allclose(plain.node_features, by_smiles.node_features, atol=1e-6)
    np.testing.assert_allclose(mixed.node_features, by_smiles.node_features[order], atol=1e-6)
    np.testing.assert_array_equal(mixed.distance, by_smiles.distance[np.ix_(order, order)])
    adjacent = {tuple(pair) for pair in mixed.edge_index.T.tolist()}
    assert adjacent == {(i, j) for i, j in zip(*np.nonzero(mixed.distance == 1))}


def test_explicit_hydrogens_of_a_molecule_join_their_atoms():
    bare = Chem.MolFromSmiles("CO")
    with_hydrogens = Chem.RenumberAtoms(Chem.AddHs(bare), [2, 0, 3, 1, 4, 5])
    graph = GraphTransformerFeaturizer().featurize(with_hydrogens)[0]
    np.testing.assert_array_equal(graph.node_features, featurize("CO").node_features)
    assert graph.atom_index.tolist() == [1, 3]


def test_failures_are_reported_with_index_and_reason(caplog):
    featurizer = GraphTransformerFeaturizer(max_atoms=6)
    with caplog.at_level(logging.WARNING):
        X = featurizer.featurize(["CCO", "C1CC", float("nan"), "CCCCCCC", "CC"])
    assert [np.size(x) if isinstance(x, np.ndarray) else x.num_nodes for x in X] == [3, 0, 0, 0, 2]
    assert [(f.row, f.smiles) for f in featurizer.failures] == [(1, "C1CC"), (2, "nan"), (3, "CCCCCCC")]
    assert "unclosed ring" in featurizer.failures[0].reason and "7 atoms" in featurizer.failures[2].reason
    assert "3 of 5 molecules could not be featurized: index 1 ('C1CC': cannot be parsed: unclosed ring)" in caplog.text
    featurizer.featurize(["x"])
    assert featurizer.failures[-1].row == 5  # counted over calls
    featurizer.reset()
    assert featurizer.failures == []
    assert featurizer.featurize([]).shape == (0,)


def test_csv_loader_drops_a_bad_row_with_its_labels(dc, tmp_path):
    rows = [("CCO", 1.0), ("C1CC", 2.0), ("CC", 3.0), ("", 4.0), ("c1ccccc1", 5.0)]
    path = tmp_path / "data.csv"
    pd.DataFrame(rows, columns=["smiles", "y"]).to_csv(path, index=False)
    for shard_size in (2, 100):
        featurizer = GraphTransformerFeaturizer()
        loader = dc.data.CSVLoader(["y"], featurizer, feature_field="smiles")
        data = loader.create_dataset(str(path), shard_size=shard_size)
        assert [(x.smiles, y, i) for x, y, i in zip(data.X, data.y[:, 0], data.ids)] == [
            ("CCO", 1.0, "CCO"),
            ("CC", 3.0, "CC"),
            ("c1ccccc1", 5.0, "c1ccccc1"),
        ]
        assert [failure.row for failure in featurizer.failures] == [1, 3]


def test_in_memory_loader_keeps_labels_in_place(dc):
    featurizer = GraphTransformerFeaturizer()
    loader = dc.data.InMemoryLoader(["y"], featurizer)
    data = loader.create_dataset(list(zip(["CCO", "C1CC", "CC"], [[1.0], [2.0], [3.0]])), shard_size=2)
    assert data.y[:, 0].tolist() == [1.0, 2.0, 3.0] and data.X[1].size == 0
    assert [failure.row for failure in featurizer.failures] == [1]
    kept = drop_failed(data)
    assert [(x.smiles, float(y[0])) for x, y in zip(kept.X, kept.y)] == [("CCO", 1.0), ("CC", 3.0)]


def test_the_name_of_a_cached_data_set_tells_what_changes_features(dc):
    assert str(GraphTransformerFeaturizer(num_workers=1)) == "GraphTransformerFeaturizer"
    assert str(GraphTransformerFeaturizer("compt", 50)) == "GraphTransformerFeaturizer_feature_set_compt_max_atoms_50"
    assert repr(GraphTransformerFeaturizer()).startswith("GraphTransformerFeaturizer[feature_set='compt-own-slot'")


@pytest.mark.parametrize("options", [{"feature_set": "comt"}, {"max_atoms": 0}, {"num_workers": -1}])
def test_wrong_options(options):
    with pytest.raises(InvalidArgumentError, match=next(iter(options))):
        GraphTransformerFeaturizer(**options)
