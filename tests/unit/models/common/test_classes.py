"""Several classes per task: loss, probabilities, and the model around them."""

import numpy as np
import pytest
import torch

from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction
from dc_graphsam.chem import featurize
from dc_graphsam.data import MoleculeCollator
from dc_graphsam.exceptions import InvalidArgumentError, InvalidShapeError
from dc_graphsam.models.common.classes import class_log_odds, class_probabilities
from dc_graphsam.models.common.property_prediction import masked_loss

NAMES = [["low", "medium", "high"], ["no", "yes"]]
SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


def config(**more):
    return CoMPTConfig(**{**SMALL, "task_names": ["a", "b"], "task_type": "multiclass", "class_names": NAMES, **more})


def test_the_loss_is_the_mean_cross_entropy_of_what_was_measured():
    torch.manual_seed(0)
    scores = torch.randn(4, 5, requires_grad=True)
    nan = float("nan")
    labels = torch.tensor([[0, 1], [2, nan], [nan, nan], [1, 0]])
    loss = masked_loss("cross_entropy", scores, labels, (3, 2))
    logs = [scores[:, :3].log_softmax(1), scores[:, 3:].log_softmax(1)]
    expected = -(logs[0][0, 0] + logs[0][1, 2] + logs[0][3, 1] + logs[1][0, 1] + logs[1][3, 0]) / 5
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-6)
    (slope,) = torch.autograd.grad(loss, scores)
    assert not slope[2].any() and not slope[1, 3:].any() and slope[1, :3].any()
    assert not masked_loss("cross_entropy", scores, torch.full((4, 2), nan), (3, 2)).detach()


@pytest.mark.parametrize("label", [3.0, -1.0, 0.5])
def test_labels_that_are_no_class_are_named(label):
    labels = torch.tensor([[label, 0.0]])
    with pytest.raises(
        InvalidArgumentError, match=f"labels hold {label:g} in column 0; accepted: the numbers of its 3"
    ):
        masked_loss("cross_entropy", torch.zeros(1, 5), labels, (3, 2))
    with pytest.raises(InvalidShapeError, match="one column per task"):
        masked_loss("cross_entropy", torch.zeros(1, 5), torch.zeros(1, 3), (3, 2))


def test_log_odds_are_those_of_the_probabilities():
    scores = torch.randn(6, 5, dtype=torch.float64)
    p = class_probabilities(scores, (3, 2))
    torch.testing.assert_close(p[:, :3].sum(1), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(class_log_odds(scores, (3, 2)), (p / (1 - p)).log())


def test_the_configuration_survives_its_file(tmp_path):
    made = config()
    assert (made.loss, made.metric, made.class_counts, made.num_logits) == ("cross_entropy", "roc_auc_ovr", (3, 2), 5)
    assert list(made.id2label.values()) == ["a=low", "a=medium", "a=high", "b=no", "b=yes"] and made.num_labels == 5
    made.save_pretrained(tmp_path)
    again = CoMPTConfig.from_pretrained(tmp_path)
    assert again.to_dict() == made.to_dict() and again.class_names == NAMES


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"class_names": None}, "class_names is None"),
        ({"class_names": NAMES[:1]}, r"one per task \(2\)"),
        ({"loss": "bce"}, "loss is 'bce'; accepted: 'cross_entropy'"),
        ({"task_type": "classification"}, "two names"),
        ({"task_type": "regression"}, "a regression has no classes"),
    ],
)
def test_fields_that_do_not_fit(fields, message):
    with pytest.raises(InvalidArgumentError, match=message):
        config(**fields)


def test_two_classes_stay_one_logit(tmp_path):
    made = CoMPTConfig(**SMALL, task_names=["a"], task_type="classification", class_names=[["no", "yes"]])
    made.save_pretrained(tmp_path)
    again = CoMPTConfig.from_pretrained(tmp_path)
    assert (again.num_logits, again.loss, again.class_counts, again.class_names) == (1, "bce", None, [["no", "yes"]])
    assert again.id2label == {0: "a"}


def test_the_model_predicts_and_is_explained_class_by_class(tmp_path):
    from dc_graphsam import pipeline
    from dc_graphsam.explain.attribution import explain_atoms

    torch.manual_seed(0)
    model = CoMPTForPropertyPrediction(config()).eval()
    batch = MoleculeCollator()([featurize("CCO"), featurize("c1ccccc1")])
    out = model(**batch, labels=torch.tensor([[2.0, float("nan")], [0.0, 1.0]]))
    assert out.logits.shape == (2, 5) and out.loss > 0
    model.save_pretrained(tmp_path)
    expected = class_probabilities(out.logits, (3, 2)).detach().numpy()
    rows = pipeline(model=str(tmp_path), device="cpu")(["CCO", "c1ccccc1", "C1CC"])
    for row, p in zip(rows, expected, strict=False):
        assert list(row) == ["a", "a=low", "a=medium", "a=high", "b", "b=no", "b=yes"]
        assert row["a"] == NAMES[0][p[:3].argmax()] and row["b"] == NAMES[1][p[3:].argmax()]
        np.testing.assert_allclose([row["a=low"], row["a=medium"], row["a=high"]], p[:3], atol=1e-6)
    assert rows[2]["a"] is None and np.isnan(rows[2]["a=low"]) and "unclosed ring" in rows[2]["error"]
    for method in ("occlusion", "gradient"):
        found = explain_atoms(model, "CCO", method=method)
        assert found.task_names == ("a=low", "a=medium", "a=high", "b=no", "b=yes") and found.scores.shape == (3, 5)
        np.testing.assert_allclose(found.prediction, np.log(expected[0] / (1 - expected[0])), atol=1e-5)
        np.testing.assert_allclose(found.of("b=no"), -found.of("b=yes"), atol=1e-5)  # of two classes, one is the other
