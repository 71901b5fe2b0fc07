"""Functions of the molecule and functions of its text."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dc_graphsam.check import check_rewriting
from dc_graphsam.exceptions import InvalidArgumentError, InvalidShapeError

SMILES = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "CCO",
    "OCC(N)C",
    "c1ccncc1C",
    "C[C@H](N)C(=O)O",
    "CC(=O)[O-].[Na+]",
    "FC(F)F",
    "NCC",
]
LABELS = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, np.nan], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0]])


def of_the_text(texts):
    return np.array([[sum(map(ord, text[:2])) % 7 / 7, len(text) % 5 / 5] for text in texts])


def of_the_molecule(texts):
    from rdkit import Chem
    from rdkit.Chem import Descriptors

    molecules = map(Chem.MolFromSmiles, texts)
    return np.array([[Descriptors.MolWt(m) / 200, Descriptors.TPSA(m) / 100] for m in molecules])


def check(predict, task_type="classification", metric="roc_auc", **options):
    return check_rewriting(predict, SMILES, LABELS, ["a", "b"], task_type, metric, **options)


def test_a_function_of_the_molecule_changes_by_nothing():
    found = check(of_the_molecule)
    assert found.invariant and found.flipped == 0.0
    assert {found.as_written, found.canonical, *found.random} == {found.as_written}
    assert "Any SMILES of a molecule gives the same prediction" in found.sentence()


def test_a_function_of_the_text_is_found_out():
    found = check(of_the_text, rewrites=4)
    assert not found.invariant and len(found.random) == 4
    assert 0 < found.mean_change <= found.largest_change <= 1 and 0 < found.flipped <= 1
    assert len({found.as_written, found.canonical, *found.random}) > 1
    assert "of the decisions turn" in found.sentence()


def test_values_have_no_decisions_and_the_metric_is_as_elsewhere():
    from dc_graphsam.metrics import all_metrics

    found = check(of_the_text, "regression", "rmse")
    assert found.flipped is None
    assert found.as_written == all_metrics("regression", LABELS, of_the_text(SMILES), ["a", "b"])[0]["rmse"]


def test_what_one_writing_cannot_be_predicted_is_left_out_everywhere():
    def sometimes(texts):
        values = of_the_molecule(texts)
        values[[not text[0].isupper() for text in texts]] = np.nan
        return values

    found = check(sometimes, "regression", "rmse")
    assert np.isfinite([found.as_written, found.canonical, *found.random, found.largest_change]).all()


def test_equal_seeds_give_equal_orders():
    assert check(of_the_text, seed=1) == check(of_the_text, seed=1) != check(of_the_text, seed=2)


def test_the_record_is_json():
    record = json.loads(json.dumps(check(of_the_text).record()))
    assert record["invariant"] is False and record["sentence"].startswith("The prediction hangs on")


def test_wrong_use():
    with pytest.raises(InvalidArgumentError, match="rewrites is 0; accepted: a whole number >= 1"):
        check(of_the_text, rewrites=0)
    with pytest.raises(InvalidArgumentError, match="smiles is empty"):
        check_rewriting(of_the_text, [], np.zeros((0, 2)), ["a", "b"], "regression", "rmse")
    with pytest.raises(InvalidShapeError, match="the result of predict"):
        check(lambda texts: np.zeros(len(texts)))


@pytest.mark.parametrize(("position", "readout", "holds"), [("rwse", "attention", True), ("index", "gru", False)])
def test_the_assertion_tells_models_apart(position, readout, holds):
    import torch

    from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction
    from dc_graphsam.testing import assert_rewriting_has_no_influence

    torch.manual_seed(0)
    config = CoMPTConfig(position=position, readout=readout, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    model = CoMPTForPropertyPrediction(config)
    if holds:
        assert_rewriting_has_no_influence(model, SMILES)
        return
    with pytest.raises(AssertionError, match="changes a prediction by"):
        assert_rewriting_has_no_influence(model, SMILES)
    assert_rewriting_has_no_influence(model, SMILES, atom_order="canonical")


def test_several_classes_are_decided_by_the_likeliest():
    labels = np.array([[0.0], [1.0], [2.0], [0.0], [1.0], [2.0], [0.0], [1.0]])

    def predict(texts):
        scores = np.array([[len(text) % 3 == k for k in range(3)] for text in texts], float)
        return scores / scores.sum(axis=1, keepdims=True)

    found = check_rewriting(predict, SMILES, labels, ["grade"], "multiclass", "accuracy", class_counts=[3], rewrites=4)
    assert 0 < found.flipped <= 1 and 0 <= found.canonical <= 1 and not found.invariant
