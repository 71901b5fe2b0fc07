"""Atom scores: what they are by definition, in whose order, and how they are drawn."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dc_graphsam.chem import featurize
from dc_graphsam.exceptions import InvalidArgumentError, InvalidSmilesError
from dc_graphsam.explain.attribution import METHODS, draw_atom_scores, explain_atoms

SMILES = "CC(=O)Oc1ccccc1C(=O)O"


@pytest.fixture(scope="module")
def model():
    import torch

    from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction

    torch.manual_seed(0)
    config = CoMPTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, task_names=["logS", "logP"], position="none",
        readout="sum", label_mean=[1.0, -2.0], label_std=[3.0, 0.5],
    )  # fmt: skip
    return CoMPTForPropertyPrediction(config)


@pytest.mark.parametrize("method", METHODS)
def test_one_score_per_atom_and_task(model, method):
    found = explain_atoms(model, SMILES, method=method)
    assert found.scores.shape == (13, 2) and np.isfinite(found.scores).all() and found.task_names == ("logS", "logP")
    from dc_graphsam.predict.molecules import predict_graphs

    values, _ = predict_graphs(model, [featurize(SMILES)])
    np.testing.assert_allclose(found.prediction, values[0], rtol=1e-5)
    assert model.training  # as it was


def test_occlusion_is_the_difference_it_says(model):
    import torch

    from dc_graphsam.data import MoleculeCollator

    found = explain_atoms(model, SMILES, batch_size=3)
    batch = MoleculeCollator()([featurize(SMILES)])
    touches = (batch["edge_index"][0] == 4).any(0)
    batch["node_features"][0, 4] = 0
    batch["edge_features"][0, touches] = 0
    with torch.no_grad():
        without = model.eval()(**batch).logits[0].numpy()
    model.train()
    np.testing.assert_allclose(found.scores[4], found.prediction - without, atol=1e-5)


def test_gradient_is_the_derivative_it_says(model):
    """Scaling the features of one atom by 1 + t changes the prediction by t times its score."""
    import torch

    from dc_graphsam.data import MoleculeCollator

    found = explain_atoms(model, SMILES, method="gradient")
    double = model.double().eval()
    batch = {k: v.double() if v.is_floating_point() else v for k, v in MoleculeCollator()([featurize(SMILES)]).items()}
    values = []
    for t in (1e-5, -1e-5):
        scaled = {**batch, "node_features": batch["node_features"].clone()}
        scaled["node_features"][0, 6] *= 1 + t
        with torch.no_grad():
            values.append(double(**scaled).logits[0])
    model.float().train()
    np.testing.assert_allclose(found.scores[6], ((values[0] - values[1]) / 2e-5).numpy(), rtol=1e-3, atol=1e-4)


def test_scores_follow_the_atoms(model):
    """The same molecule written from the other end."""
    one, other = explain_atoms(model, "CCCO"), explain_atoms(model, "OCCC")
    np.testing.assert_allclose(one.scores, other.scores[::-1], atol=1e-4)
    np.testing.assert_array_equal(one.of(), one.scores[:, 0])
    np.testing.assert_array_equal(one.of("logP"), one.scores[:, 1])


def test_wrong_use(model):
    with pytest.raises(InvalidSmilesError, match="unclosed ring"):
        explain_atoms(model, "C1CC")
    with pytest.raises(InvalidArgumentError, match="method is 'shap'"):
        explain_atoms(model, "C", method="shap")
    with pytest.raises(InvalidArgumentError, match="task is 'p'"):
        explain_atoms(model, "C").of("p")
    with pytest.raises(InvalidArgumentError, match="one SMILES"):
        explain_atoms(model, ["C"])


def test_drawing():
    svg = draw_atom_scores("CCO", [1.0, 0.0, -0.5])
    fills = re.findall(r"ellipse[^>]*fill:(#[0-9A-F]{6})", svg)
    red, white, blue = [tuple(int(fill[i : i + 2], 16) for i in (1, 3, 5)) for fill in fills]
    assert red[0] > red[1] + 80 and min(white) == 255 and blue[2] > blue[0] + 20
    weak = re.findall(r"ellipse[^>]*fill:(#[0-9A-F]{6})", draw_atom_scores("CCO", [1.0, 0, 0], limit=10.0))
    assert weak[0] != fills[0]
    assert "svg" in draw_atom_scores("[Na+].[Cl-]", [0.0, 0.0])
    with pytest.raises(InvalidArgumentError, match="each of the 3 atoms"):
        draw_atom_scores("CCO", [1.0])
    with pytest.raises(InvalidSmilesError):
        draw_atom_scores("C1CC", [1.0])
