"""The learning-rate schedule of the released code."""

from __future__ import annotations

import pytest
import torch

from dc_graphsam.hf.schedules import linear_exponential_factor, linear_exponential_schedule, released_schedule


def reference(step, steps_per_epoch, warmup_epochs, total_epochs, initial, peak, final):
    """As the released code walks: a constant increment, then a constant ratio, then the end."""
    warmup, total = int(warmup_epochs * steps_per_epoch), total_epochs * steps_per_epoch
    if step <= warmup:
        return initial + step * (peak - initial) / warmup
    if step <= total:
        return peak * ((final / peak) ** (1 / (total - warmup))) ** (step - warmup)
    return final


def test_follows_the_released_walk():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1e-3)
    scheduler = linear_exponential_schedule(optimizer, 2 * 7, 30 * 7)
    for step in range(32 * 7):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(reference(step, 7, 2, 30, 1e-4, 1e-3, 1e-4), rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_without_rise():
    assert linear_exponential_factor(0, 0, 4, 0.1, 0.5) == 1
    assert linear_exponential_factor(4, 0, 4, 0.1, 0.5) == 0.5


@pytest.mark.parametrize(("epochs", "steps", "peak_at"), [(30, 300, 20), (2, 20, 10), (10**9, 100, 50)])
def test_rise_is_two_epochs_but_at_most_half_of_the_run(make_args, epochs, steps, peak_at):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    args = make_args(lr_schedule="released", final_learning_rate=2e-4)
    factor = released_schedule(optimizer, args, steps, epochs).lr_lambdas[0]
    rates = [factor(step) for step in range(steps + 1)]
    assert max(range(steps + 1), key=rates.__getitem__) == peak_at
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.2)
