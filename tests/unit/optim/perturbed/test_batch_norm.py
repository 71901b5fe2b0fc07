"""Running statistics move once per step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dc_graphsam.optim import GraphSAM, frozen_running_statistics


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1), nn.BatchNorm1d(1, momentum=None))


def buffers(model):
    return {name: value.clone() for name, value in model.named_buffers()}


def test_statistics_are_held_also_against_infinities(model):
    before = buffers(model)
    with frozen_running_statistics(model):
        model(torch.full((4, 3), torch.inf))
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    with frozen_running_statistics(model, enabled=False):
        model(torch.randn(4, 3))
    assert all(not torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_gradients_are_those_of_training_mode(model):
    x = torch.randn(8, 3)
    model(x).square().mean().backward()
    plain = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    with frozen_running_statistics(model):
        model(x).square().mean().backward()
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), plain))


def test_layers_in_evaluation_mode_and_no_model():
    layer = nn.BatchNorm1d(2).eval()
    with frozen_running_statistics(layer), frozen_running_statistics(None):
        layer(torch.randn(4, 2))
    assert layer.num_batches_tracked == 0


@pytest.mark.parametrize("known", [True, False], ids=["model given", "model not given"])
def test_one_update_per_step(model, known):
    optimizer = GraphSAM(model.parameters(), torch.optim.SGD, lr=0.1, model=model if known else None)
    optimizer.set_epoch(0)
    x = torch.randn(8, 3)

    def closure():
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        return loss

    for _ in range(3):  # an anchor with two passes, then one pass each
        optimizer.step(closure)
    assert model[1].num_batches_tracked == (3 if known else 4)
