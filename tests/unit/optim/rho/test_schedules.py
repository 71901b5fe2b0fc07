"""Radius schedules against their formulas."""

from __future__ import annotations

import pytest
import torch

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.optim import RHO_SCHEDULES, SAM, GraphSAM, RhoSchedule

PAPER = [0.05, 0.025, 0.0125, 0.00625, 0.003125, 0.0015625, 0.00078125]  # equation 4, γ = 0.5, λ = 1
RELEASED = [0.05, 0.025, 0.00625, 7.8125e-4, 4.8828125e-5, 1.52587890625e-6, 2.384185791015625e-8]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (RhoSchedule("constant"), [0.05] * 7),
        (RhoSchedule("paper"), PAPER),
        (RhoSchedule("paper", rho_update_epochs=3), [0.05] * 3 + [0.025] * 3 + [0.0125]),
        (RhoSchedule("paper", rho_min=0.01), [0.05, 0.025, 0.0125] + [0.01] * 4),
        (RhoSchedule("paper-smooth", rho_update_epochs=2), [0.05 * 0.5 ** (e / 2) for e in range(7)]),
        (RhoSchedule("floor"), [*PAPER[:6], 0.001]),
        (RhoSchedule("released"), RELEASED),
        (RhoSchedule("released", gamma=0.2, rho_update_epochs=3), [0.05] * 3 + [0.01] * 3 + [0.0004]),
    ],
    ids=lambda value: f"{value.name}-{value.rho_update_epochs}" if isinstance(value, RhoSchedule) else "",
)
def test_formula(schedule, expected):
    assert [schedule(0.05, epoch) for epoch in range(7)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", RHO_SCHEDULES)
def test_zero_stays_zero(name):
    assert RhoSchedule(name, rho_min=0.01)(0.0, 5, lr=0.1, lr_max=0.2) == 0.0


def test_linear_lr():
    schedule = RhoSchedule("linear-lr", rho_min=0.01, lr_min=1e-4, lr_max=1e-3)
    assert [schedule(0.05, lr=lr) for lr in (1e-4, 5.5e-4, 1e-3)] == pytest.approx([0.01, 0.03, 0.05])
    assert schedule.may_rise and not schedule.uses_epoch


def test_linear_lr_follows_a_scheduler_with_warm_up():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = GraphSAM([weight], torch.optim.SGD, lr=0.1, rho=0.05, rho_schedule="linear-lr")
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(t / 4, 1.0))

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    optimizer.set_epoch(0)
    radii, passes = [], []
    for _ in range(6):
        optimizer.step(closure)
        scheduler.step()
        radii.append(optimizer.last.rho)
        passes.append(optimizer.last.passes)
    assert radii == pytest.approx([0.0, 0.0125, 0.025, 0.0375, 0.05, 0.05])
    assert passes == [1] * 6  # at learning rate 0 the first gradient becomes the anchor, free of charge


def test_linear_lr_needs_a_learning_rate():
    with pytest.raises(InvalidArgumentError, match=r"lr is None.*linear-lr"):
        RhoSchedule("linear-lr")(0.05)
    with pytest.raises(InvalidArgumentError, match=r"lr_max is 0\.1.*lr_min"):
        RhoSchedule("linear-lr", lr_min=0.1)(0.05, lr=0.1, lr_max=0.1)


def test_the_optimizer_uses_the_schedule():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = SAM([weight], torch.optim.SGD, lr=0.0, rho=0.05, rho_schedule="released")
    radii = []
    for epoch in range(7):
        optimizer.set_epoch(epoch)
        optimizer.step(lambda: weight.sum().backward())
        radii.append(float(optimizer.last.perturbation_norm))
    assert radii == pytest.approx(RELEASED, rel=1e-6)


def test_a_radius_that_has_underflowed_costs_nothing():
    weight, passes = torch.nn.Parameter(torch.ones(3)), []
    optimizer = SAM([weight], torch.optim.SGD, lr=0.0, rho_schedule="released")
    for epoch in (0, 100):
        optimizer.set_epoch(epoch)
        optimizer.step(lambda: weight.sum().backward())
        passes.append(optimizer.last.passes)
    assert optimizer.last.rho == 0.0 and passes == [2, 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "papr"}, r"rho_schedule is 'papr'; accepted: .*Did you mean 'paper'"),
        ({"gamma": 0.0}, r"gamma is 0\.0; accepted"),
        ({"gamma": -1.0}, r"gamma is -1\.0; accepted"),
        ({"rho_update_epochs": 0}, r"rho_update_epochs is 0; accepted"),
        ({"rho_update_epochs": 1.5}, r"rho_update_epochs is 1\.5; accepted: a whole number"),
        ({"rho_min": -0.1}, r"rho_min is -0\.1; accepted"),
        ({"lr_min": 0.1, "lr_max": 0.05}, r"lr_max is 0\.05; accepted"),
    ],
)
def test_bad_input(options, words):
    with pytest.raises(InvalidArgumentError, match=words):
        RhoSchedule(**options)


def test_growth_beyond_every_float_is_refused():
    with pytest.raises(InvalidArgumentError, match="gamma is 10"):
        RhoSchedule("released", gamma=10.0)(0.05, 1000)
