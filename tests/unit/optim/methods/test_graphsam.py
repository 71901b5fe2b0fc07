"""GraphSAM against recorded and recomputed trajectories, and its options."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open

from dc_graphsam.optim import SAM, GraphSAM

reference = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "reference" / "sharpness.py")))


def network_loss(params, x, y):
    return (torch.tanh(x @ params[0].T + params[1]) @ params[2].T + params[3] - y).square().mean()


def run(optimizer, params, xs, ys):
    """Train one epoch per first axis, one step per second; the parameters after each step."""
    trace = []
    for epoch, (x_epoch, y_epoch) in enumerate(zip(xs, ys)):
        optimizer.set_epoch(epoch)
        for x, y in zip(x_epoch, y_epoch):

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = network_loss(params, x, y)
                loss.backward()
                return loss

            optimizer.step(closure)
            trace.append([p.detach().clone() for p in params])
    return trace


@pytest.mark.parametrize("flat", [False, True], ids=["as they are", "flattened"])
def test_released_preset_follows_the_recorded_trajectory(golden_dir, flat):
    with safe_open(golden_dir / "graphsam_released_adam.safetensors", "pt") as file:
        settings = {name: json.loads(value) for name, value in file.metadata().items()}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    params = [torch.nn.Parameter(tensors[f"init.{i}"]) for i in range(4)]
    options = {
        name: settings[name] for name in ("rho", "beta", "gamma", "rho_update_epochs", "adaptive", "clip_radius")
    }
    optimizer = GraphSAM(
        params,
        getattr(torch.optim, settings["base"]),
        preset="released",
        loss_weighting=settings["loss_weighting"],
        **options,
        **settings["base_kwargs"],
    )
    if flat:
        optimizer.flatten_parameters()
    trace = run(optimizer, params, tensors["X"], tensors["Y"])
    assert len(trace) == 18
    for t, found in enumerate(trace):
        for i, value in enumerate(found):
            assert torch.allclose(value, tensors[f"trace.{i}"][t], atol=1e-6, rtol=0), f"step {t}, tensor {i}"


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("rho_update_epochs", "gamma", "radius"), [(1, 0.5, 0.05), (2, 0.2, 0.01)])
def test_released_options_follow_the_published_algorithm(adaptive, weighted, rho_update_epochs, gamma, radius):
    torch.manual_seed(1)
    start = [torch.randn(s, dtype=torch.float64) * 0.5 for s in ((7, 5), (7,), (1, 7), (1,))]
    xs, ys = torch.randn(4, 3, 8, 5, dtype=torch.float64), torch.randn(4, 3, 8, 1, dtype=torch.float64)
    params, mirror = [torch.nn.Parameter(p.clone()) for p in start], [p.clone() for p in start]
    optimizer = GraphSAM(
        params,
        torch.optim.Adam,
        lr=0.01,
        beta=0.9,
        gamma=gamma,
        rho_update_epochs=rho_update_epochs,
        preset="released",
        adaptive=adaptive,
        clip_radius=radius,
        loss_weighting="loss" if weighted else "none",
    )
    trace = run(optimizer, params, xs, ys)
    step = reference.graphsam_released(
        mirror,
        lambda p, batch: network_loss(p, *batch),
        reference.adam(mirror, 0.01),
        rho=0.05,
        beta=0.9,
        radius=radius,
        gamma=gamma,
        rho_update_epochs=rho_update_epochs,
        adaptive=adaptive,
        weighted=weighted,
    )
    for epoch in range(4):
        for i in range(3):
            step((xs[epoch, i], ys[epoch, i]), epoch, i == 0)
            for found, expected in zip(trace[3 * epoch + i], mirror):
                assert torch.allclose(found, expected, atol=1e-9, rtol=0), (epoch, i)


def quadratic(weight):
    return (torch.arange(1.0, 4.0) * weight.square()).sum()


def closure_for(optimizer, weight):
    def closure():
        optimizer.zero_grad()
        loss = quadratic(weight)
        loss.backward()
        return loss

    return closure


def test_elementwise_weighting_is_the_gradient_of_half_the_sum_of_squares():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
    optimizer = SAM([weight], torch.optim.SGD, lr=0.0, rho=0.1, loss_weighting="elementwise")

    def closure():
        optimizer.zero_grad()
        return torch.arange(1.0, 4.0) * weight.square()

    loss = optimizer.step(closure)
    theta = weight.detach().clone().requires_grad_()
    clean = (torch.arange(1.0, 4.0) * theta.square()).mean()
    (g,) = torch.autograd.grad(clean, theta)
    moved = (weight.detach() + 0.1 * g / g.norm()).requires_grad_()
    losses = torch.arange(1.0, 4.0) * moved.square()
    (expected,) = torch.autograd.grad(0.5 * losses.square().sum(), moved)
    assert torch.allclose(weight.grad, expected, rtol=1e-5)
    assert torch.allclose(loss, clean) and torch.allclose(optimizer.last.loss_perturbed, losses.mean())


def test_loss_weighting_is_the_gradient_of_half_the_square():
    grads = []
    for weighting in ("none", "loss"):
        weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
        optimizer = SAM([weight], torch.optim.SGD, lr=0.0, rho=0.1, loss_weighting=weighting)
        optimizer.step(closure_for(optimizer, weight))
        grads.append(weight.grad)
    assert torch.allclose(grads[1], grads[0] * optimizer.last.loss_perturbed)


@pytest.mark.parametrize("method", ["SAM", "GraphSAM"])
def test_clipping_acts_on_the_direction_only(method):
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0, 0.0]))
    options = {"max_grad_norm": 0.5, "lr": 0.1, "rho": 0.05}
    optimizer = (
        SAM([weight], torch.optim.SGD, **options) if method == "SAM" else GraphSAM([weight], torch.optim.SGD, **options)
    )
    optimizer.set_epoch(0)
    optimizer.step(closure_for(optimizer, weight))
    assert float(weight.grad.norm()) == pytest.approx(0.5, rel=1e-5)
    assert float(optimizer.last.perturbation_norm) == pytest.approx(0.05)
    if method == "GraphSAM":  # ε took the direction of ω, which clipping does not change, and the raw anchor
        assert float(optimizer.epsilon[0].norm()) > 10


def test_the_record_of_a_step():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
    optimizer = GraphSAM([weight], torch.optim.SGD, lr=0.0)
    optimizer.set_epoch(0)
    clean = optimizer.step(closure_for(optimizer, weight))
    record = optimizer.last
    assert clean.item() == quadratic(weight).item() == record.loss_clean.item() < record.loss_perturbed.item()
    assert (record.passes, record.rho) == (2, 0.05) and not record.loss_perturbed.requires_grad
    perturbed = optimizer.step(closure_for(optimizer, weight))
    assert optimizer.last.loss_clean is None and perturbed.item() == optimizer.last.loss_perturbed.item() > clean.item()
    off = GraphSAM([weight], torch.optim.SGD, lr=0.0, rho=0.0)
    off.step(closure_for(off, weight))
    assert off.last.loss_clean.item() == clean.item() and off.last.loss_perturbed is None
    assert (off.last.rho, off.last.perturbation_norm, off.last.passes) == (0.0, 0.0, 1)


def test_unit_anchor():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
    optimizer = GraphSAM([weight], torch.optim.SGD, lr=0.0, beta=0.9, anchor_scale="unit")
    optimizer.set_epoch(0)
    optimizer.step(closure_for(optimizer, weight))
    g = 2 * torch.arange(1.0, 4.0) * weight.detach()
    expected = 0.9 * g / g.norm() + 0.1 * weight.grad / weight.grad.norm()
    assert torch.allclose(optimizer.epsilon[0], expected, rtol=1e-5)


def test_a_known_norm_saves_the_norm():
    first, second = (torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5])) for _ in range(2))
    for weight, known in ((first, False), (second, True)):
        optimizer = GraphSAM([weight], torch.optim.SGD, lr=0.01, anchor_every=5)
        for _ in range(8):
            if optimizer.wants_clean_gradient:
                quadratic(weight).backward()
            optimizer.ascend()
            quadratic(weight).backward()
            optimizer.restore()
            optimizer.observe(grad_norm=weight.grad.norm().item() if known else None)
            optimizer.step()
            optimizer.zero_grad()
    assert torch.allclose(first, second, atol=1e-6)


def test_gradients_that_vanish_perturb_nothing():
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = GraphSAM([weight], torch.optim.SGD, lr=0.1)
    optimizer.set_epoch(0)
    for _ in range(3):
        optimizer.step(closure_for(optimizer, weight))
    assert torch.equal(weight, torch.zeros(3)) and optimizer.last.perturbation_norm == 0.0


def test_tensors_may_join_and_leave():
    first, second = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2), requires_grad=False)
    optimizer = GraphSAM([first, second], torch.optim.SGD, lr=0.1, anchor_every_epochs=None)
    optimizer.set_epoch(0)

    def closure():
        optimizer.zero_grad()
        loss = first.square().sum() + 2 * second.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert set(optimizer.epsilon) == {0}
    before = optimizer.epsilon[0]
    second.requires_grad_(True)
    optimizer.step(closure)
    assert set(optimizer.epsilon) == {0, 1}
    assert torch.nn.functional.cosine_similarity(before, optimizer.epsilon[0], dim=0) > 0.99
    first.requires_grad_(False)
    kept = first.detach().clone()
    optimizer.step(closure)
    optimizer.step(closure)
    assert set(optimizer.epsilon) == {1} and torch.equal(first, kept)
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(4))], "rho": 0.2, "lr": 0.5})
    optimizer.step(closure)
    assert optimizer.base_optimizer.param_groups[1]["rho"] == 0.2
    assert optimizer.last.perturbation_norm == pytest.approx(0.05)


def test_maximize_climbs_the_other_way():
    points = []
    for maximize in (False, True):
        weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
        optimizer = SAM([weight], torch.optim.SGD, lr=0.0, rho=0.1, maximize=maximize)

        def closure(weight=weight, optimizer=optimizer, maximize=maximize):
            optimizer.zero_grad()
            points.append(weight.detach().clone())
            loss = -quadratic(weight) if maximize else quadratic(weight)
            loss.backward()
            return loss

        optimizer.step(closure)
    assert torch.allclose(points[1], points[3]) and not torch.equal(points[0], points[1])


def test_bfloat16_weights_run():
    with pytest.warns(UserWarning, match="rounds away"):
        weight = torch.nn.Parameter(torch.ones(64, dtype=torch.bfloat16))
        optimizer = GraphSAM([weight], torch.optim.SGD, lr=0.1, rho=1.0, anchor_every=3)
    for _ in range(5):
        optimizer.step(lambda: (weight.sum(), optimizer.zero_grad(), weight.float().square().mean().backward())[0])
    assert weight.dtype == torch.bfloat16 and torch.isfinite(weight).all()
    assert optimizer.epsilon[0].dtype == torch.float32


def test_flattening_leaves_shared_memory_alone():
    first = torch.nn.Parameter(torch.ones(4, 4))
    twin = torch.nn.Parameter(first.data)  # the same memory
    view = torch.nn.Parameter(torch.ones(10)[:5])
    frozen, alone, other = (
        torch.nn.Parameter(torch.ones(3), requires_grad=False),
        *(torch.nn.Parameter(torch.ones(3)) for _ in range(2)),
    )
    params = [first, twin, view, frozen, alone, other]
    before = [p.data_ptr() for p in params]
    optimizer = GraphSAM(params, torch.optim.SGD, lr=0.1, anchor_every=3)
    optimizer.flatten_parameters()
    assert [p.data_ptr() == pointer for p, pointer in zip(params, before)] == [True] * 4 + [False] * 2
    assert other.data_ptr() - alone.data_ptr() == 64
    for _ in range(4):
        optimizer.step(lambda: (optimizer.zero_grad(), sum(p.square().sum() for p in params).backward()))
    assert torch.equal(first, twin) and torch.equal(frozen, torch.ones(3))


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({}, [True] * 4),
        ({"anchor": "in-stream"}, [False, True, True, True]),
        ({"anchor": "in-stream", "anchor_scale": "unit"}, [False, True, True, True]),
        ({"omega_norm": "tensor"}, [False] * 4),  # other norms
        ({"loss_weighting": "loss"}, [True] * 4),
        ({"rho": 0.0}, [False] * 4),
    ],
    ids=str,
)
def test_the_norm_it_has_measured_is_that_of_the_gradients(options, known):
    weights = [torch.nn.Parameter(torch.arange(1.0, 4.0)), torch.nn.Parameter(torch.ones(3))]
    optimizer = GraphSAM(weights, torch.optim.SGD, lr=0.01, anchor_every=100, **options)
    for expected in known:
        optimizer.zero_grad()
        if optimizer.wants_clean_gradient:
            sum(quadratic(w) for w in weights).backward()
        optimizer.ascend()
        assert optimizer.measured_gradient_norm() is None
        loss = sum(quadratic(w) for w in weights)
        loss.backward()
        optimizer.observe(loss=loss.detach())
        norm = optimizer.measured_gradient_norm()
        assert (norm is not None) == expected
        if expected:
            assert norm == pytest.approx(float(torch.cat([w.grad for w in weights]).norm()), rel=1e-6)
        optimizer.step()
    group = [{"params": weights[:1]}, {"params": weights[1:], "rho": 0.0}]
    optimizer = GraphSAM(group, torch.optim.SGD, lr=0.01, anchor="in-stream", anchor_every=100)
    for _ in range(2):
        optimizer.zero_grad()
        optimizer.ascend()
        sum(quadratic(w) for w in weights).backward()
        optimizer.observe()
        assert optimizer.measured_gradient_norm() is None
        optimizer.step()
