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
    config = CoMPTConfig(task_names=list("abc"), task_type="classification")
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
