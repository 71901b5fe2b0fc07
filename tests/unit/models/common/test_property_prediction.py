"""Losses over what was measured, and over bounds where nothing else is known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.models.common.property_prediction import masked_loss, property_loss

NAN = float("nan")


def config(loss="mse", mean=None, std=None, task_type="regression"):
    return SimpleNamespace(loss=loss, label_mean=mean, label_std=std, task_type=task_type)


def column(*numbers):
    return torch.tensor(numbers).view(-1, 1)


@pytest.mark.parametrize("loss", ["mse", "rmse", "mae"])
def test_a_bound_costs_nothing_on_its_right_side_and_what_a_value_costs_on_the_wrong(loss):
    scores = column(1.0, 3.0, 1.0, 3.0, 7.0).requires_grad_()
    labels, lower, upper = (
        column(NAN, NAN, NAN, NAN, 5.0),
        column(2.0, 2.0, NAN, NAN, NAN),
        column(NAN, NAN, 2.0, 2.0, NAN),
    )
    found = property_loss(config(loss), scores, labels, lower, upper)
    # the first and the fourth are 1 off, the last 2 off; five entries count
    reference = masked_loss(loss, scores[[0, 3, 4]], column(2.0, 2.0, 5.0))
    expected = {"mse": reference * 3 / 5, "mae": reference * 3 / 5, "rmse": (reference.square() * 3 / 5).sqrt()}[loss]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    slopes = torch.autograd.grad(found, scores)[0]
    assert slopes[1] == slopes[2] == 0 and slopes[0] < 0 < slopes[3]
    torch.testing.assert_close(slopes, torch.autograd.grad(expected, scores)[0])


def test_standardised_bounds_stay_on_their_side():
    labels, nothing = column(NAN), column(NAN)
    for score, cost in ((0.0, 1.0), (1.0, 0.0), (2.0, 0.0)):  # 12 label units are one standard deviation above the mean
        found = property_loss(config("mae", [10.0], [2.0]), column(score), labels, column(12.0), nothing)
        assert float(found) == cost


def test_a_value_beats_a_bound_and_without_bounds_nothing_changes():
    scores, labels = torch.randn(6, 2), torch.randn(6, 2)
    labels[::2, 0] = NAN
    nothing = torch.full_like(labels, NAN)
    for loss in ("mse", "rmse", "mae"):
        plain = property_loss(config(loss), scores, labels)
        assert torch.equal(plain, property_loss(config(loss), scores, labels, nothing, nothing))
        assert torch.equal(plain, masked_loss(loss, scores, labels))
        beside = torch.where(torch.isnan(labels), NAN, labels + 100)
        assert torch.equal(plain, property_loss(config(loss), scores, labels, beside, None))


def test_both_bounds_are_an_interval():
    labels, lower, upper = column(*[NAN] * 3), column(*[1.0] * 3), column(*[2.0] * 3)
    scores = column(0.0, 1.5, 4.0)
    assert float(property_loss(config("mae"), scores, labels, lower, upper)) == pytest.approx((1 + 0 + 2) / 3)


def test_classes_have_no_bounds():
    with pytest.raises(InvalidArgumentError, match="the batch has bounds and the model is for classification"):
        property_loss(config("bce", task_type="classification"), column(1.0), column(1.0), column(1.0))
