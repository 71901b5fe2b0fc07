"""Both passes of a step see the same random numbers."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from dc_graphsam.optim import SAM, SameNoise


def draw():
    return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()


def test_replay_repeats_all_generators():
    noise = SameNoise()
    with noise.record():
        first = draw()
    with noise.replay():
        assert draw() == first
    assert draw() != first


def test_replay_without_record_and_when_disabled():
    noise = SameNoise(enabled=False)
    with noise.record():
        first = draw()
    with noise.replay():
        assert draw() != first


@pytest.mark.parametrize("same_noise", [True, False])
def test_dropout_masks_repeat_in_the_second_pass(same_noise):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 50), torch.nn.Dropout(0.5), torch.nn.Linear(50, 1))
    optimizer = SAM(model.parameters(), torch.optim.SGD, lr=0.1, rho=1e-6, same_noise=same_noise)
    x, outputs = torch.randn(4, 20), []

    def closure():
        optimizer.zero_grad()
        hidden = model[1](model[0](x))
        outputs.append(hidden == 0)
        loss = model[2](hidden).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert torch.equal(outputs[0], outputs[1]) == same_noise


def test_a_step_uses_up_as_many_numbers_as_one_pass():
    weight, after = torch.nn.Parameter(torch.ones(5)), []
    for rho in (0.0, 0.05):
        torch.manual_seed(0)
        optimizer = SAM([weight], torch.optim.SGD, lr=0.0, rho=rho)

        def closure(optimizer=optimizer):
            optimizer.zero_grad()
            loss = torch.nn.functional.dropout(weight).sum() + weight.sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        after.append(torch.rand(3))
    assert torch.equal(*after)
