"""What training had, and what lies beyond."""

from __future__ import annotations

import json
import time

import pytest

from dc_graphsam.chem import featurize, featurize_many
from dc_graphsam.chem.seen import Seen

TRAINING = ["CCO", "CC(=O)O", "c1ccccc1C", "[O-]C=O", "C/C=C/C"]


@pytest.fixture(params=["compt-own-slot", "compt"])
def seen(request):
    record = Seen(request.param)
    record.add(featurize_many(TRAINING[:2], request.param))
    record.add(featurize_many(TRAINING[2:], request.param))
    return record


def test_what_was_seen_is_not_beyond(seen):
    assert seen.beyond(featurize_many(TRAINING, seen.feature_set)) == [[]] * len(TRAINING)
    assert seen.atoms == 7


@pytest.mark.parametrize(
    ("smiles", "words"),
    [
        ("C[Se]C", ["element Se"]),
        ("CO", []),
        ("C[O+](C)C", ["charge +1"]),
        ("C#CC", ["hybridization SP", "bond type TRIPLE"]),
        ("C/C=C\\C", ["bond stereo Z"]),
        ("CN", ["element N"]),
    ],
)
def test_what_was_not(seen, smiles, words):
    strange, usual = seen.beyond([featurize(smiles, seen.feature_set), featurize("CC", seen.feature_set)])
    assert strange == words and usual == []


def test_rings_and_aromaticity():
    record = Seen("compt-own-slot")
    record.add([featurize("CCO"), featurize("C=CC=O")])
    assert record.beyond([featurize("C1CC1"), featurize("c1ccccc1"), featurize("C")]) == [
        ["rings"],
        ["aromatic atoms"],
        [],
    ]


def test_a_bond_of_no_listed_type():
    record = Seen("compt-own-slot")
    record.add(featurize_many(["N", "[Fe]", "CN"]))
    (words,) = record.beyond([featurize("N->[Fe]")])
    assert "a bond that is none of the listed types" in words


def test_the_record_is_json_and_goes_on(seen):
    again = Seen(seen.feature_set, json.loads(json.dumps(seen.to_dict())))
    assert again.to_dict() == seen.to_dict()
    again.add([featurize("C[Se]C", seen.feature_set)])
    assert again.beyond([featurize("C[Se]C", seen.feature_set)]) == [[]]
    assert seen.beyond([featurize("C[Se]C", seen.feature_set)]) != [[]]


def test_without_a_record_nothing_is_said():
    assert Seen("compt").beyond([featurize("CCO", "compt")]) == [[]]


def test_it_is_cheap(seen):
    """Featurizing alone takes fifty times as long."""
    smiles = ["CC(=O)Oc1ccccc1C(=O)O", "CCO", "Cc1ccccc1C(=O)O"] * 300
    started = time.perf_counter()
    graphs = featurize_many(smiles, seen.feature_set, num_workers=0)
    featurizing = time.perf_counter() - started
    spent = []
    for _ in range(5):
        started = time.perf_counter()
        seen.beyond(graphs)
        spent.append(time.perf_counter() - started)
    assert min(spent) < 0.2 * featurizing
