import csv
import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

import dc_graphsam.chem.featurizer as featurizer
from dc_graphsam.chem import FEATURE_SETS, MolGraph, featurize, featurize_many, get_feature_set
from dc_graphsam.exceptions import InvalidArgumentError, InvalidSmilesError

ODDITIES = [
    "C",
    "CCO",
    "[H]",
    "[H][H]",
    "[2H]C([2H])([2H])O",
    "[H]O[H]",
    "[Na+].[Cl-]",
    "CC(=O)[O-].[K+].O",
    "c1ccccc1.c1ccccc1",
    "*",
    "*c1ccccc1*",
    "[CH3:7][CH2:8]O",
    "[Fe]",
    "N->[Fe]",
    "[NH3]->[Pt](<-[NH3])(Cl)Cl",
    "C~C",
    "[U]",
    "[Lr]",
    "[Og]",
    "[Hg+2]",
    "[13CH4]",
    "[CH3]",
    "[O][O]",
    "C/C=C/C",
    "C/C=C\\C=C\\Cl",
    "CC=CC",
    "C[C@H](N)C(=O)O",
    "FS(F)(F)(F)(F)F",
    "F[P-](F)(F)(F)(F)F",
    "FP(F)(F)(F)F",
    "C#N",
    "C=C=C",
    "C[N+](C)(C)C",
    "[O-][n+]1ccccc1",
    "c1cc[nH]c1",
    "B1OB1",
    "[BH4-].[Li+]",
    "C12C3C4C1C5C2C3C45",
    "CCO ethanol",
    "OS(=O)(=O)O",
    "Cl[Si](Cl)(Cl)Cl",
    "[se]1cccc1",
]


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
@pytest.mark.parametrize("smiles", ODDITIES)
def test_equal_to_the_slow_reference(reference, smiles, feature_set):
    graph = featurize(smiles, feature_set)
    reference.same(graph, reference.graph(smiles, feature_set))
    assert (graph.smiles, graph.feature_set) == (smiles, feature_set)


def test_together_equal_to_one_by_one(reference):
    for smiles, graph in zip(ODDITIES, featurize_many(ODDITIES), strict=True):
        reference.same(graph, featurize(smiles))


def read_column(path, column):
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        return [row[column] for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("name", "stride"), [("BBBP.csv", 3), ("muv.csv.gz", 190), ("sider.csv.gz", 5), ("clintox.csv.gz", 5)]
)
def test_real_molecules_equal_to_the_slow_reference(reference, moleculenet_dir, name, stride):
    smiles = read_column(moleculenet_dir / name, "smiles")[::stride]
    for feature_set in FEATURE_SETS:
        for text, graph in zip(smiles, featurize_many(smiles, feature_set, num_workers=1), strict=True):
            if isinstance(graph, InvalidSmilesError):
                assert Chem.MolFromSmiles(text) is None
            else:
                reference.same(graph, reference.graph(text, feature_set))


def test_bbbp_loses_the_eleven_molecules_that_do_not_parse(moleculenet_dir):
    graphs = featurize_many(read_column(moleculenet_dir / "BBBP.csv", "smiles"))
    errors = [graph for graph in graphs if isinstance(graph, InvalidSmilesError)]
    assert (len(graphs), len(errors)) == (2050, 11)
    assert all(error.reason.startswith("cannot be parsed: ") for error in errors)


def test_recorded_features_of_the_released_code(golden_dir):
    from safetensors import safe_open

    with safe_open(golden_dir / "compt_bbbp_small.safetensors", "numpy") as golden:
        for number, smiles in enumerate(json.loads(golden.metadata()["smiles"])):
            graph = featurize(smiles, "compt")
            n = graph.num_nodes
            dense = np.zeros((n, n, graph.edge_features.shape[1]), np.float32)
            dense[graph.edge_index[0], graph.edge_index[1]] = graph.edge_features
            recorded = golden.get_tensor(f"mol{number}.node_features")
            np.testing.assert_array_equal(graph.node_features, recorded[:, :-1])
            np.testing.assert_array_equal(graph.atom_index + 1, recorded[:, -1])
            np.testing.assert_array_equal(dense, golden.get_tensor(f"mol{number}.bond_features"))
            np.testing.assert_array_equal(graph.distance.astype(np.float32), golden.get_tensor(f"mol{number}.distance"))


def renumbered(smiles, order):
    """SMILES of the same molecule with atom ``order[k]`` in place k, and the places the written atoms come from."""
    molecule = Chem.RenumberAtoms(Chem.MolFromSmiles(smiles), order)
    text = Chem.MolToSmiles(molecule, canonical=False)
    written = [order[k] for k in json.loads(molecule.GetProp("_smilesAtomOutputOrder").replace(",]", "]"))]
    return text, written


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["CC(=O)Oc1ccccc1C(=O)O", "C/C=C\\C#N", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C.[Na+]"]), st.data())
def test_renumbering_the_atoms_permutes_the_features(smiles, data):
    graph = featurize(smiles)
    text, places = renumbered(smiles, data.draw(st.permutations(range(graph.num_nodes))))
    other = featurize(text)
    np.testing.assert_allclose(other.node_features, graph.node_features[places], atol=1e-6)  # charges are summed up
    np.testing.assert_array_equal(other.distance, graph.distance[np.ix_(places, places)])
    bonds = {
        tuple(pair): row.tolist() for pair, row in zip(graph.edge_index.T.tolist(), graph.edge_features, strict=True)
    }
    for (j, i), row in zip(other.edge_index.T.tolist(), other.edge_features, strict=True):
        assert bonds.pop((places[j], places[i])) == row.tolist()
    assert not bonds


def test_edges_come_in_pairs_of_opposite_directions():
    for graph in featurize_many(ODDITIES):
        reverse = np.arange(graph.num_edges) ^ 1
        np.testing.assert_array_equal(graph.edge_index[:, reverse], graph.edge_index[::-1])
        np.testing.assert_array_equal(graph.edge_features[reverse], graph.edge_features)


def test_unlisted_bond_types():
    as_aromatic, own_slot = (featurize("N->[Fe]", name) for name in ("compt", "compt-own-slot"))
    assert as_aromatic.edge_features[0, :4].tolist() == [0, 0, 0, 1]
    assert own_slot.edge_features[0, :4].tolist() == [0, 0, 0, 0]
    assert own_slot.edge_features[:, 13].tolist() == [1, 1]
    assert featurize("CC=C").edge_features[:, 13].tolist() == [0] * 4


@pytest.mark.parametrize("smiles", ["C", "[Na+]", "*", "[H]"])
def test_one_atom(smiles):
    graph = featurize(smiles)
    assert graph.num_nodes == 1
    assert (graph.edge_index.shape, graph.edge_features.shape) == ((2, 0), (0, 14))
    assert graph.distance.tolist() == [[0]]


def test_no_bonds():
    graph = featurize("[Na+].[Cl-]")
    assert graph.num_edges == 0
    assert graph.distance.tolist() == [[0, 255], [255, 0]]


def test_fragments_of_a_salt_are_255_apart():
    distance = featurize("CC(=O)[O-].[K+].O").distance
    fragment = np.array([0, 0, 0, 0, 1, 2])
    assert ((distance == 255) == (fragment[:, None] != fragment)).all()


def test_five_hundred_atoms(reference):
    graph = featurize("C" * 500)
    reference.same(graph, reference.graph("C" * 500))
    assert graph.num_nodes == 500
    assert graph.distance[0, 253:256].tolist() == [253, 254, 254]
    assert graph.distance[0, 499] == 254


def test_atoms_beyond_100_are_other():
    feature_set = get_feature_set()
    for smiles, column in (
        ("[Fm]", "atomic_number=100"),
        ("[Md]", "atomic_number=other"),
        ("*", "atomic_number=other"),
    ):
        row = featurize(smiles).node_features[0]
        assert row[feature_set.node_feature_names.index(column)] == 1
        assert row[feature_set.node_slice("atomic_number")].sum() == 1


def test_charges_without_parameters_are_zero():
    graph = featurize("*C[Fe]")
    assert np.isfinite(graph.node_features).all()
    start = get_feature_set().node_slice("gasteiger_charge").start
    assert (graph.node_features[:, start : start + 2] == 0).all()
    assert (featurize("CCO").node_features[:, start] != 0).all()


def test_explicit_hydrogens_stay_as_rdkit_parses_them():
    assert featurize("[H]C([H])([H])[H]").num_nodes == 1
    assert featurize("[2H]C").num_nodes == 2
    hydrogens = get_feature_set().node_slice("total_hydrogens").start
    assert featurize("[2H]C").node_features[1, hydrogens] == 4 / 8  # neighbouring ones count


def test_arrays_are_read_only():
    graph = featurize("CCO")
    for name in ("node_features", "edge_index", "edge_features", "distance", "atom_index"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(graph, name)[:] = 0


@pytest.mark.parametrize("smiles", [None, float("nan"), 3, "", "  ", "C1CC"])
def test_bad_smiles_is_an_error_in_its_place(smiles):
    with pytest.raises(InvalidSmilesError) as caught:
        featurize(smiles)
    first, second, third = featurize_many(["C", smiles, "CC"])
    assert isinstance(second, InvalidSmilesError)
    assert str(second) == str(caught.value)
    assert (first.num_nodes, third.num_nodes) == (1, 2)


def test_only_bad_smiles():
    assert [error.reason for error in featurize_many(["", None])] == ["it is empty", "it is not text but NoneType"]


def test_unknown_feature_set_is_refused():
    for call in (lambda: featurize("C", "grovr"), lambda: featurize_many(["C"], "grovr")):
        with pytest.raises(InvalidArgumentError, match="feature_set is 'grovr'; accepted: 'compt', 'compt-own-slot'"):
            call()


def test_a_release_of_rdkit_with_another_binary_format_changes_nothing(reference, monkeypatch):
    fast = featurize_many(ODDITIES)
    monkeypatch.setattr(featurizer, "read_binaries", lambda binaries: (None, np.zeros(len(binaries), bool)))
    for graph, other in zip(featurize_many(ODDITIES), fast, strict=True):
        reference.same(graph, other)
        assert isinstance(graph, MolGraph)


def test_import_needs_neither_torch_nor_deepchem_nor_dgl():
    code = (
        "import sys, dc_graphsam.chem as chem; chem.featurize('CCO')\n"
        "print([name for name in ('torch', 'deepchem', 'dgl', 'transformers', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
