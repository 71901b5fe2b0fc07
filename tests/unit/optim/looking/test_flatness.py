"""Sharpness and the largest eigenvalue, against closed forms and an exact Hessian."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.optim import largest_hessian_eigenvalue, sharpness


@pytest.fixture
def small():
    """A network with an exact Hessian, and its loss."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2), nn.Tanh(), nn.Linear(2, 1)).double()
    x, y = torch.randn(16, 4).double(), torch.randn(16, 1).double()
    return model, lambda: (model(x) - y).square().mean()


def exact_hessian(model, loss):
    params = list(model.parameters())
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss(), params, create_graph=True)])
    rows = [torch.autograd.grad(g, params, retain_graph=True, allow_unused=True) for g in gradient]
    return torch.stack(
        [
            torch.cat([(torch.zeros_like(p) if r is None else r).reshape(-1) for r, p in zip(row, params, strict=True)])
            for row in rows
        ]
    )


def test_eigenvalue_of_an_exact_hessian(small):
    model, loss = small
    expected = float(torch.linalg.eigvalsh(exact_hessian(model, loss))[-1])
    found = largest_hessian_eigenvalue(loss, model, iterations=60, tolerance=1e-10)
    assert found == pytest.approx(expected, rel=1e-6)
    assert largest_hessian_eigenvalue(loss, model, seed=3) == pytest.approx(expected, rel=1e-2)
    single = model.float()
    x = torch.randn(16, 4)
    flat = largest_hessian_eigenvalue(lambda: single(x).square().mean(), single, iterations=60, tolerance=1e-6)
    wide = single.double()
    exact = float(torch.linalg.eigvalsh(exact_hessian(wide, lambda: wide(x.double()).square().mean()))[-1])
    assert flat == pytest.approx(exact, rel=1e-2)


@pytest.mark.parametrize("scales", [[1.0, 4.0, -9.0], [-1.0, -2.0, -3.0], [5.0, 5.0, 5.0]])
def test_eigenvalue_of_a_quadratic(scales):
    diagonal = torch.tensor(scales, dtype=torch.float64)
    weight = nn.Parameter(torch.ones(3, dtype=torch.float64))
    found = largest_hessian_eigenvalue(lambda: 0.5 * (diagonal * weight.square()).sum(), [weight])
    assert found == pytest.approx(max(scales), rel=1e-6)


def test_sharpness_of_a_quadratic():
    weight = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))

    def loss():
        return 0.5 * weight.square().sum()

    assert sharpness(loss, [weight], rho=0.1) == pytest.approx((5.1**2 - 5**2) / 2, rel=1e-12)
    theta = weight.detach()
    moved = theta + 0.1 * theta**3 / (theta**2).norm()  # T²g = θ³
    assert sharpness(loss, [weight], rho=0.1, adaptive=True) == pytest.approx(
        float(moved.square().sum() / 2 - 12.5), rel=1e-12
    )
    assert sharpness(lambda: (weight * 0).sum(), [weight]) == 0.0


@pytest.mark.parametrize("measure", [sharpness, largest_hessian_eigenvalue])
def test_nothing_is_left_behind(measure):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 1))
    model.unused = nn.Parameter(torch.ones(2))
    model[0].bias.requires_grad_(False)
    x = torch.randn(8, 4)
    model(x).sum().backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients, pointers = [p.grad for p in model.parameters()], [p.data_ptr() for p in model.parameters()]
    state = torch.get_rng_state()
    first = measure(lambda: model(x).square().mean(), model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(a is b for a, b in zip(gradients, [p.grad for p in model.parameters()], strict=True))
    assert pointers == [p.data_ptr() for p in model.parameters()]
    assert measure(lambda: model(x).square().mean(), model) == first  # the same dropout

    def broken():
        if not torch.equal(model[0].weight, before["0.weight"]):
            raise RuntimeError("broken row")
        return model(x).square().mean()

    with pytest.raises(RuntimeError, match="broken row"):
        measure(broken, model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda loss, w: sharpness(loss, [w], rho=0), "rho is 0"),
        (lambda loss, w: sharpness(loss, [w], eta=-1), "eta is -1"),
        (lambda loss, w: sharpness(loss, []), "params has no parameter"),
        (lambda loss, w: sharpness(loss, [nn.Parameter(torch.ones(1))]), "loss depends on none of params"),
        (lambda loss, w: largest_hessian_eigenvalue(loss, [w], iterations=0), "iterations is 0"),
        (lambda loss, w: largest_hessian_eigenvalue(loss, [w], tolerance=-1), "tolerance is -1"),
        (lambda loss, w: largest_hessian_eigenvalue(loss, [w], step=0), "step is 0"),
    ],
)
def test_wrong_use(call, message):
    weight = nn.Parameter(torch.ones(2))
    with pytest.raises(InvalidArgumentError, match=message):
        call(lambda: weight.square().sum(), weight)
