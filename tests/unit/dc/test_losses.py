from __future__ import annotations

import numpy as np
import pytest
import torch

from dc_graphsam.dc.losses import TaskLoss, weighted_loss
from dc_graphsam.exceptions import InvalidArgumentError, InvalidShapeError
from dc_graphsam.models import CoMPTConfig
from dc_graphsam.models.common.property_prediction import masked_loss


@pytest.mark.parametrize("kind", ["bce", "mse", "rmse", "mae"])
def test_with_weights_0_and_1_it_is_the_loss_of_the_model(kind):
    torch.manual_seed(0)
    scores, targets = torch.randn(6, 3), (torch.randn(6, 3) > 0).float()
    weights = (torch.rand(6, 3) > 0.4).float()
    expected = masked_loss(kind, scores, torch.where(weights > 0, targets, torch.nan))
    assert float(weighted_loss(kind, scores, targets, weights)) == float(expected)
    assert float(weighted_loss(kind, scores, torch.full_like(targets, torch.nan), weights)) < 2e-6


def test_it_is_deepchems_loss_where_everything_is_measured(dc):
    torch.manual_seed(0)
    scores, targets, weights = torch.randn(6, 3), torch.randn(6, 3), torch.rand(6, 3) + 0.1
    theirs = (dc.models.losses.L2Loss()._create_pytorch_loss()(scores, targets) * weights).mean()
    torch.testing.assert_close(weighted_loss("mse", scores, targets, weights), theirs)
    theirs = (
        dc.models.losses.SigmoidCrossEntropy()._create_pytorch_loss()(scores, (targets > 0).float()) * weights
    ).mean()
    torch.testing.assert_close(weighted_loss("bce", scores, (targets > 0).float(), weights), theirs)


def test_gradients_do_not_see_missing_labels():
    scores = torch.zeros(2, 2, requires_grad=True)
    targets, weights = torch.tensor([[1.0, torch.nan], [5.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, 2.0]])
    weighted_loss("mse", scores, targets, weights).backward()
    np.testing.assert_allclose(scores.grad.numpy(), [[-1.0, 0.0], [0.0, -4.0]])


def test_shapes_of_labels_and_weights():
    loss = TaskLoss(CoMPTConfig(task_names=["a", "b"], loss="mse"), 2)
    scores, y = [torch.zeros(3, 2)], torch.arange(6.0).view(3, 2)
    expected = float(loss(scores, [y], [torch.ones(3, 2)]))
    for labels, weights in ((y[..., None], [torch.ones(3, 1)]), (y, [torch.ones(3)]), (y, [])):
        assert float(loss(scores, [labels], weights)) == expected
    with pytest.raises(InvalidShapeError, match="y has shape \\(3, 3\\), expected \\(3, 2\\)"):
        loss(scores, [torch.zeros(3, 3)], [])


def test_several_classes():
    config = CoMPTConfig(task_names=["kind"], task_type="multiclass", class_names=[["a", "b", "c"]])
    loss = TaskLoss(config, 1, 3)
    torch.manual_seed(0)
    scores, y = torch.randn(4, 3), torch.tensor([[0.0], [1.0], [2.0], [2.0]])
    expected = torch.nn.functional.cross_entropy(scores[:3], y[:3, 0].long())
    torch.testing.assert_close(loss([scores], [y], [torch.tensor([[1.0], [1.0], [1.0], [0.0]])]), expected)
    with pytest.raises(InvalidArgumentError, match="y holds class 3"):
        loss([scores], [y + 1], [])


def test_labels_in_units_are_standardised_and_regularization_is_added():
    config = CoMPTConfig(loss="mse", label_mean=[2.0], label_std=[4.0])
    loss = TaskLoss(config, 1, regularization_loss=lambda: 10.0)
    assert float(loss([torch.tensor([[6.0]])], [torch.tensor([[2.0]])], [])) == 11.0


@pytest.mark.parametrize("loss", ["mse", "rmse", "mae"])
def test_bounds_are_those_of_the_model(loss):
    """y with w = 0 and a side is to this door what a bound is to the other one."""
    from dc_graphsam.models.common.property_prediction import property_loss

    torch.manual_seed(0)
    config = CoMPTConfig(
        task_type="regression", task_names=["a", "b"], loss=loss, label_mean=[1.0, -1.0], label_std=[2.0, 0.5]
    )
    scores = torch.randn(8, 2).requires_grad_()  # standardised
    y, sides = torch.randn(8, 2), torch.randint(-1, 2, (8, 2))
    weights = (sides == 0).float()
    weights[0] = sides[0] = 0  # neither a value nor a bound
    known = weights > 0
    expected = property_loss(
        config,
        scores,
        torch.where(known, y, torch.nan),
        torch.where(sides > 0, y, torch.nan),
        torch.where(sides < 0, y, torch.nan),
    )
    mean, std = torch.tensor([1.0, -1.0]), torch.tensor([2.0, 0.5])
    found = TaskLoss(config, 2)([scores * std + mean], [y, sides.to(torch.int8)], [weights])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, scores)[0] for value in (found, expected)))
    without = TaskLoss(config, 2)([scores * std + mean], [y], [weights])
    assert not torch.allclose(without, expected)


def test_classes_have_no_bounds():
    config = CoMPTConfig(task_type="classification", task_names=["a"])
    with pytest.raises(InvalidArgumentError, match="graphs in X have bounds and mode is 'classification'"):
        TaskLoss(config, 1)([torch.zeros(2, 1)], [torch.ones(2, 1), torch.ones(2, 1)], [torch.ones(2, 1)])


def test_a_fitted_model_respects_bounds_and_metrics_leave_them_out(dc, tmp_path):
    from dc_graphsam.data import dataset_to_deepchem, load_csv
    from dc_graphsam.dc import CoMPTModel

    lines = ["smiles,size"]
    for i in range(48):
        atoms = 1 + i % 16
        lines.append(f"{'C' * atoms},{'>10' if atoms > 10 else atoms}")
    (tmp_path / "sizes.csv").write_text("\n".join(lines))
    options = {
        "task_columns": "size",
        "sizes": (1.0, 0.0, 0.0),
        "progress": False,
        "num_workers": 1,
        "cache_dir": tmp_path,
    }
    rows = load_csv(tmp_path / "sizes.csv", censored="bounded", **options)["train"]
    data = dataset_to_deepchem(rows, in_memory=True)
    model = CoMPTModel(
        1,
        "regression",
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        dropout=0.0,
        batch_size=16,
        learning_rate=0.02,
    )
    model.fit(data, nb_epoch=40)
    predicted = model.predict(data).ravel()
    above = np.array([graph.bounds[0] > 0 for graph in data.X])
    assert above.any() and (predicted[above] > 10 - 1.5).all()
    exact = (predicted - data.y.ravel())[~above]
    from dc_graphsam.metrics import dc_metric

    assert model.evaluate(data, [dc_metric("mae")])["mae"] == pytest.approx(np.abs(exact).mean())
    theirs = dc.metrics.Metric(dc.metrics.mean_squared_error)
    found = model.evaluate(data, [theirs], use_sample_weights=True)["mean_squared_error"]
    assert found == pytest.approx(np.square(exact).mean())
