import copy
import dataclasses
import pickle

import numpy as np
import pytest

from dc_graphsam.chem import MolGraph, featurize
from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, InvalidShapeError

SMILES = ["CC(=O)Oc1ccccc1C(=O)O", "[Na+].[Cl-]", "C", "CC(=O)[O-].[K+]", "C/C=C/C", "C" * 300]


@pytest.fixture(params=["compt", "compt-own-slot"])
def feature_set(request):
    return request.param


@pytest.mark.needs("deepchem")
@pytest.mark.parametrize("smiles", SMILES)
def test_deepchem_round_trip_loses_nothing(smiles, feature_set, reference):
    graph = featurize(smiles, feature_set)
    data = graph.to_deepchem()
    assert (data.num_nodes, data.num_edges) == (graph.num_nodes, graph.num_edges)
    back = MolGraph.from_deepchem(data)
    reference.same(back, graph)
    assert (back.smiles, back.feature_set) == (smiles, feature_set)


@pytest.mark.needs("deepchem")
def test_deepchem_graph_of_other_origin(reference):
    from deepchem.feat import GraphData

    graph = featurize("CCO.[Na+]")
    bare = GraphData(graph.node_features, graph.edge_index, graph.edge_features)
    back = MolGraph.from_deepchem(bare, smiles="CCO.[Na+]")
    reference.same(back, graph)
    assert (back.smiles, back.feature_set) == ("CCO.[Na+]", "compt-own-slot")


@pytest.mark.needs("dgl")
@pytest.mark.parametrize("smiles", SMILES)
def test_dgl_round_trip_loses_nothing(smiles, feature_set, reference):
    graph = featurize(smiles, feature_set)
    dgl_graph = graph.to_dgl()
    assert (dgl_graph.num_nodes(), dgl_graph.num_edges()) == (graph.num_nodes, graph.num_edges)
    back = MolGraph.from_dgl(dgl_graph)
    reference.same(back, graph)
    assert (back.smiles, back.feature_set) == (smiles, feature_set)


@pytest.mark.needs("dgl")
def test_dgl_graphs_can_be_batched(reference):
    import dgl

    graphs = [featurize(smiles) for smiles in SMILES]
    batch = dgl.batch([graph.to_dgl() for graph in graphs])
    assert batch.num_nodes() == sum(graph.num_nodes for graph in graphs)
    with pytest.raises(
        InvalidArgumentError, match=r"graph is a batch of 6 graphs; accepted: one graph\. Use dgl\.unbatch"
    ):
        MolGraph.from_dgl(batch)
    for part, graph in zip(dgl.unbatch(batch), graphs, strict=True):
        back = MolGraph.from_dgl(part, smiles=graph.smiles, feature_set="compt-own-slot")
        reference.same(back, graph)
        assert back.smiles == graph.smiles


@pytest.mark.parametrize("smiles", SMILES)
def test_row_round_trip_loses_nothing(smiles, feature_set, reference):
    graph = featurize(smiles, feature_set)
    row = graph.to_row(y=[1, float("nan")])
    assert list(row) == ["node_feat", "edge_index", "edge_attr", "num_nodes", "y", "smiles"]
    assert row["num_nodes"] == graph.num_nodes
    assert row["y"][0] == 1.0
    assert row["y"][1] != row["y"][1]
    back = MolGraph.from_row(row, feature_set)
    reference.same(back, graph)
    assert (back.smiles, back.feature_set) == (smiles, feature_set)
    if graph.num_edges:
        assert MolGraph.from_row(row).feature_set == feature_set


def test_row_goes_through_a_file(tmp_path, reference):
    import json

    graph = featurize("CCO")
    path = tmp_path / "row.json"
    path.write_text(json.dumps(graph.to_row()))
    reference.same(MolGraph.from_row(json.loads(path.read_text())), graph)


def test_row_without_bonds_takes_the_default_feature_set():
    back = MolGraph.from_row(featurize("C", "compt").to_row())
    assert (back.feature_set, back.edge_features.shape) == ("compt-own-slot", (0, 14))


def test_row_of_other_features_is_refused():
    row = featurize("CCO").to_row()
    with pytest.raises(FeatureSetError, match=r"115 node and 14 edge features; accepted: 115 and 13 \(compt\)"):
        MolGraph.from_row(row, "compt")
    row["node_feat"] = [values[:9] for values in row["node_feat"]]
    with pytest.raises(FeatureSetError, match=r"9 node and 14 edge features; accepted: 115 and 14 \(compt-own-slot\)"):
        MolGraph.from_row(row)


def test_edges_in_another_order_are_refused():
    row = featurize("CCO").to_row()
    row["edge_index"] = [[0, 1, 1, 2], [1, 2, 0, 1]]
    with pytest.raises(InvalidArgumentError, match="edge_index does not hold each bond as two opposite edges"):
        MolGraph.from_row(row)


def test_edges_to_nodes_that_are_not_there_are_refused():
    row = featurize("CC").to_row()
    row["edge_index"] = [[0, 7], [7, 0]]
    with pytest.raises(InvalidArgumentError, match="edge_index names nodes 0 to 7; accepted: 0 to 1"):
        MolGraph.from_row(row)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("node_features", (3,), r"node_features has shape \(3,\), expected \[N, F\]"),
        ("edge_index", (2, 5), r"edge_index has shape \(2, 5\), expected \(2, 4\)"),
        ("edge_features", (3, 14), r"edge_features has shape \(3, 14\), expected \[2E, Fe\]"),
        ("distance", (2, 3), r"distance has shape \(2, 3\), expected \(3, 3\)"),
        ("atom_index", (2,), r"atom_index has shape \(2,\), expected \(3,\)"),
    ],
)
def test_shapes_must_fit_together(name, shape, message):
    with pytest.raises(InvalidShapeError, match=message):
        dataclasses.replace(featurize("CCO"), **{name: np.zeros(shape)})


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        featurize("CCO").smiles = "C"


def test_copies(reference):
    graph = featurize("CCO")
    for other in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        reference.same(other, graph)
        assert not np.shares_memory(other.node_features, graph.node_features)
