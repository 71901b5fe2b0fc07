"""DGL graphs that are not molecules are refused, by ``MolGraph.from_dgl`` and by a model alike."""

from __future__ import annotations

import dgl
import pytest
import torch

from dc_graphsam.chem import MolGraph, featurize
from dc_graphsam.chem.dgl_graph import check_dgl_graph
from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.models import CoMPTConfig, CoMPTEncoder
from dc_graphsam.models.common.graph_input import batch_from_graph


def readers():
    torch.manual_seed(0)
    encoder = CoMPTEncoder(CoMPTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)).eval()
    return MolGraph.from_dgl, batch_from_graph, lambda graph: encoder(graph=graph)


def looped(graph):
    return dgl.add_self_loop(graph, fill_data=0.0)


def one_way(graph):
    return dgl.remove_edges(graph, [0])


def doubled(graph):
    graph.add_edges([0, 1], [1, 0], {"edge_features": graph.edata["edge_features"][:2]})
    return graph


def uneven(graph):
    graph.edata["edge_features"][0] += 1
    return graph


CASES = {
    looped: r"graph has 3 self-loops \(node 0\); accepted: none\. dgl\.remove_self_loop",
    one_way: r"an edge from node 1 to node 0 and none back; accepted: each bond as two edges.*dgl\.add_reverse_edges",
    doubled: r"the edge from node 0 to node 1 more than once.*dgl\.to_simple",
    uneven: r"bond between nodes 0 and 1 differ between its two directions",
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_edges_are_refused(case):
    for read in readers():
        with pytest.raises(InvalidArgumentError, match=CASES[case]):
            read(case(featurize("CCO").to_dgl()))


def test_the_advice_of_the_messages_works():
    graph = featurize("CCO").to_dgl()
    check_dgl_graph(dgl.remove_self_loop(looped(graph)))
    half = dgl.remove_edges(graph, [1, 3])
    with pytest.raises(InvalidArgumentError, match="none back"):
        check_dgl_graph(half)
    check_dgl_graph(dgl.add_reverse_edges(half, copy_edata=True))
    check_dgl_graph(dgl.to_simple(doubled(featurize("CCO").to_dgl()), copy_ndata=True, copy_edata=False))


@pytest.mark.parametrize("smiles", ["C", "CCO", "[Na+].[Cl-]", "CC(=O)[O-].[Na+]", "[Na+].[Na+].[O-]S(=O)(=O)[O-]"])
def test_molecules_pass_salts_among_them(smiles):
    for read in readers():
        read(featurize(smiles).to_dgl())


def test_a_batch_through_a_file_is_refused_and_repaired(tmp_path):
    batch = dgl.batch([featurize(smiles).to_dgl() for smiles in ("CCO", "[Na+].[Cl-]", "c1ccccc1")])
    encoder = readers()[2]
    expected = encoder(batch).last_hidden_state
    dgl.save_graphs(str(tmp_path / "batch.bin"), [batch])
    (loaded,), _ = dgl.load_graphs(str(tmp_path / "batch.bin"))
    assert loaded.batch_size == 1  # what DGL does
    for read in readers():
        with pytest.raises(
            InvalidArgumentError, match="1 molecule, but its atom_index begins 3 times; dgl.save_graphs does"
        ):
            read(loaded)
    loaded.set_batch_num_nodes(batch.batch_num_nodes())
    loaded.set_batch_num_edges(batch.batch_num_edges())
    torch.testing.assert_close(encoder(loaded).last_hidden_state, expected)
    dgl.save_graphs(str(tmp_path / "list.bin"), dgl.unbatch(batch))
    torch.testing.assert_close(
        encoder(dgl.batch(dgl.load_graphs(str(tmp_path / "list.bin"))[0])).last_hidden_state, expected
    )


def test_a_graph_of_others_in_two_parts_has_to_say_what_it_is():
    graph = featurize("CC.O").to_dgl()
    del graph.ndata["atom_index"]
    with pytest.raises(
        InvalidArgumentError, match="one molecule and has 2 parts .* a batch that lost its borders, or a salt"
    ):
        check_dgl_graph(graph)
    graph.ndata["atom_index"] = torch.arange(3)
    check_dgl_graph(graph)
    whole = featurize("CCO").to_dgl()
    del whole.ndata["atom_index"]
    check_dgl_graph(whole)
    check_dgl_graph(dgl.batch([whole, whole]))


def test_edges_between_molecules_of_a_batch_are_refused():
    batch = dgl.batch([featurize("CCO").to_dgl(), featurize("CC").to_dgl()])
    batch.set_batch_num_nodes(torch.tensor([2, 3]))
    batch.set_batch_num_edges(torch.tensor([4, 2]))
    with pytest.raises(InvalidArgumentError, match="do not lie in one molecule of its batch"):
        batch_from_graph(batch)
