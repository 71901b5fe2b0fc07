"""Features do not depend on RDKit's switch for the perception of stereochemistry, nor on how a SMILES is written."""

from __future__ import annotations

import csv
import gzip
import os
import subprocess
import sys

import numpy as np
import pytest
from rdkit import Chem

from dc_graphsam.chem import (
    FEATURE_SETS,
    chirality_is_lost,
    differ_in_chirality,
    featurize,
    featurize_many,
    get_feature_set,
)
from dc_graphsam.chem.parse import parse_smiles
from dc_graphsam.chem.stereo import CIP_LABELS, cip_codes

ALKENES = [
    "C/C=C/C",
    "C/C=C\\C=C\\Cl",
    "F/C(C)=C/F",
    "C/C(=N\\O)/C",
    "F\\N=N\\F",
    "C/C=N/N=C/C",
    "[H]/C=C/C",  # a hydrogen atom that is written for its direction
    "[H]/N=C(/C)N",
    "[H]/[NH+]=C(/C)\\N",
    "[2H]/C=C/C",
    "C1CCCC/C=C\\1",  # ring of seven: no label
    "C1CCCCC/C=C\\1",  # of eight
    "O=C1O/C(=C/C)/C=C1",
    "C/C=C/C(/C=C\\C)=C/C",  # neighbours that differ in their own double bonds only
    "C/C=C/C(=C/F)/C=C\\C",
    "F/C(C)=C(/[C@H](F)Cl)[C@@H](F)Cl",  # … in R and S only
    "F/C(C)=C(/[C@H](F)Cl)[C@H](F)Cl",
    "C/C=C(/[C@H](O)C=C)[C@@H](O)C=C",  # … where the older perception and the CIP rules differ
    "C/C=C1/C[C@H](C)C[C@H](C)C1",
    "C/C=C1/C[C@H]2CC[C@@H](C1)C2",
    "C\\C=C1/CC[C@@H](O)CC1",  # bond and atom are stereocentres because of each other only: no label
    "O/N=C1/CC[C@H](C)CC1",
    "OC(=O)/C=C1/CC[C@@H](C(C)(C)C)CC1",
    "C/C=C1/CC/C(=C\\C)CC1",
    "C/C=C1/C[C@H](C)C[C@@H](C)C1",
    "F/C=C/[C@@H](C(=C/C)/[C@H](C)F)/C=C\\F",
    "C/C=C(/C(/C=C/F)=C/C)/C(/C=C\\F)=C/C",
    "C/C=C/C(\\C=C/C)=C\\C",  # contradictory directions
    "F/C(/Cl)=C/F",
    "FC(F)=C/C",
    "F/C=C=C/F",
    "C/C=C/C name",
    "CC=CC |c:1|",
    "CC=CC |t:1|",
    "CC(F)=CC |t:2|",
    "C1CC=CCC1 |c:2|",
    "CC=CC |w:1.0|",  # either side
    "C/C=C/C |w:1.0|",
    "CC(C)=CC |w:1.0|",
    "C[S@](=O)/C=C/C",
    "C/C=C/c1cc[nH]c1.[Na+]",
    "C/C=C/[CH2:7]C",  # not in the form that is read from RDKit's binary one
]


@pytest.fixture
def switched():
    """Set the switch; afterwards it is as before."""
    before = Chem.GetUseLegacyStereoPerception()
    yield Chem.SetUseLegacyStereoPerception
    Chem.SetUseLegacyStereoPerception(before)


def read(path, column):
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        return [row[column] for row in csv.DictReader(file)]


def same_under_both(smiles, feature_set, switched, reference):
    graphs = {}
    for legacy in (True, False):
        switched(legacy)
        graphs[legacy] = featurize_many(smiles, feature_set, num_workers=1)
        assert Chem.GetUseLegacyStereoPerception() is legacy
    for old, new in zip(graphs[True], graphs[False], strict=True):
        reference.same(old, new)


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_same_features_under_both_settings(feature_set, switched, reference):
    same_under_both(ALKENES, feature_set, switched, reference)
    same_under_both(STEREOCENTRES, feature_set, switched, reference)


def test_the_settings_do_differ(switched):
    """Otherwise the tests above say nothing."""
    for legacy, name in ((True, "STEREOE"), (False, "STEREOTRANS")):
        switched(legacy)
        assert Chem.MolFromSmiles("C/C=C/C").GetBondWithIdx(1).GetStereo().name == name
        assert parse_smiles("C/C=C/C").GetBondWithIdx(1).GetStereo().name == "STEREOE"


def test_the_environment_variable_does_not_matter():
    code = (
        "from rdkit import Chem\nfrom dc_graphsam.chem import featurize\n"
        "print(Chem.GetUseLegacyStereoPerception(), featurize('C/C=C\\\\C').edge_features.tolist())"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "RDK_USE_LEGACY_STEREO_PERCEPTION": value},
        ).stdout.split(maxsplit=1)
        for value in ("1", "0")
    ]
    assert [words[0] for words in said] == ["True", "False"]
    assert said[0][1] == said[1][1]


@pytest.mark.parametrize(
    ("name", "column", "at_least"),
    [("Lipophilicity.csv", "smiles", 60), ("BBBP.csv", "smiles", 100), ("tox21.csv.gz", "smiles", 300)],
)
def test_all_directional_molecules_of_real_tables(moleculenet_dir, switched, reference, name, column, at_least):
    smiles = [text for text in read(moleculenet_dir / name, column) if "/" in text or "\\" in text]
    switched(True)
    smiles = [
        text for text, graph in zip(smiles, featurize_many(smiles), strict=True) if not isinstance(graph, Exception)
    ]
    assert len(smiles) >= at_least
    for feature_set in FEATURE_SETS:
        same_under_both(smiles, feature_set, switched, reference)


STEREOCENTRES = {
    "C[C@H](N)C(=O)O": "S",
    "C[C@@H](N)C(=O)O": "R",
    "CC1=CN=C(C(=C1OC)C)C[S@](=O)C2=NC3=C(N2)C=C(C=C3)OC": "S",  # esomeprazole: a lone pair
    "C[S@](=O)c1ccccc1": "S",
    "C[S@@](=O)c1ccccc1": "R",
    "C[S@+]([O-])c1ccccc1": "S",
    "C[P@](=O)(O)c1ccccc1": "S",
    "C[C@H]1CC[C@@H](O)CC1": "ss",  # a mirror leaves these as they are
    "C[C@H](O)[C@H](F)[C@@H](C)O": "SsR",
    "C[C@H](C)O": "",  # no stereocentre
    "CC(N)C(=O)O": "",
    "C[N@](CC)CCC": "",
}


def labels(smiles):
    return "".join(CIP_LABELS[code] for code in cip_codes(parse_smiles(smiles, stereo=True)) if code < 4)


@pytest.mark.parametrize("smiles", STEREOCENTRES)
def test_labels_of_stereocentres(smiles, switched):
    for legacy in (True, False):
        switched(legacy)
        assert labels(smiles) == STEREOCENTRES[smiles]


def test_a_label_does_not_depend_on_how_the_molecule_is_written(moleculenet_dir, switched):
    smiles = [text for text in read(moleculenet_dir / "BBBP.csv", "smiles") if "@" in text][::12]
    smiles += [text for text in read(moleculenet_dir / "bace.csv", "mol") if "[S@" in text][:20] + list(STEREOCENTRES)
    checked = 0
    for text in smiles:
        molecule = Chem.MolFromSmiles(text)
        if molecule is None:
            continue
        for number in range(3):
            order = np.random.default_rng(number).permutation(molecule.GetNumAtoms()).tolist()
            rewritten = Chem.MolToSmiles(Chem.RenumberAtoms(molecule, order), canonical=False)
            assert sorted(labels(rewritten)) == sorted(labels(text)), (text, rewritten)
            checked += 1
    assert checked > 150


def test_only_the_chiral_set_tells_enantiomers_apart():
    for name in FEATURE_SETS:
        left, right = featurize("C[C@H](N)C(=O)O", name), featurize("C[C@@H](N)C(=O)O", name)
        assert (left.node_features != right.node_features).any() == (name == "compt-chiral")
        np.testing.assert_array_equal(left.edge_features, right.edge_features)


def test_the_chiral_set_adds_five_columns_at_the_end():
    plain, chiral = get_feature_set("compt-own-slot"), get_feature_set("compt-chiral")
    assert chiral.node_feature_names[: plain.node_feature_size] == plain.node_feature_names
    assert chiral.node_feature_names[plain.node_feature_size :] == tuple(f"chirality={label}" for label in CIP_LABELS)
    assert chiral.edge_feature_names == plain.edge_feature_names
    for smiles in [*STEREOCENTRES, *ALKENES, "*[C@H](F)Cl", "[CH3:7][C@H](F)Cl"]:
        graph = featurize(smiles, "compt-chiral")
        np.testing.assert_array_equal(graph.node_features[:, :-5], featurize(smiles).node_features)
        assert (graph.node_features[:, -5:].sum(1) == 1).all()


def test_rows_of_a_chunk_keep_their_labels():
    """Those that are read slowly are moved to its end and back."""
    smiles = ["CCO", "*[C@H](F)Cl", "C[C@H](N)C(=O)O", "C1CC", "[CH3:7][C@@H](F)Cl", "C[C@@H](N)C(=O)O"]
    for text, graph in zip(smiles, featurize_many(smiles, "compt-chiral"), strict=True):
        if text != "C1CC":
            np.testing.assert_array_equal(graph.node_features, featurize(text, "compt-chiral").node_features)


def test_more_processes_give_the_same():
    smiles = ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "C/C=C/C"] * 400
    for one, other in zip(
        featurize_many(smiles, "compt-chiral", 1), featurize_many(smiles, "compt-chiral", 2), strict=True
    ):
        np.testing.assert_array_equal(one.node_features, other.node_features)


def test_what_is_lost_is_known():
    plain = get_feature_set()
    assert [chirality_is_lost(smiles, plain) for smiles in STEREOCENTRES] == [bool(x) for x in STEREOCENTRES.values()]
    assert not any(chirality_is_lost(smiles, get_feature_set("compt-chiral")) for smiles in STEREOCENTRES)
    assert not any(chirality_is_lost(smiles, plain) for smiles in (None, float("nan"), "", "@", "C[C@H", "C/C=C/C"))


def test_rows_that_differ_in_chirality_only():
    rows = ["C[C@H](N)C(=O)O", "CC(N)C(=O)O", None, "C[C@@H](N)C(=O)O", "C/C=C/[C@H](F)Cl", "C/C=C\\[C@@H](F)Cl"]
    assert differ_in_chirality(rows) == [[0, 3]]
    assert differ_in_chirality(["C[C@H](N)C(=O)O", "OC(=O)[C@@H](N)C"]) == []
