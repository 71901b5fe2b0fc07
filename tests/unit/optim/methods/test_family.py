"""What single methods do beyond the common contract."""

from __future__ import annotations

import math

import pytest
import torch

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.optim import AESAM, ASAM, ESAM, OPTIMIZERS, RST, SAM, LookSAM, SAMk, build_optimizer
from dc_graphsam.optim.methods.rst import coin


def leaf(*values):
    return torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))


def closure_for(optimizer, params, points=None):
    def closure():
        optimizer.zero_grad()
        if points is not None:
            points.append([p.detach().clone() for p in params])
        loss = sum((torch.arange(1, p.numel() + 1) * p.square()).sum() for p in params)
        loss.backward()
        return loss

    return closure


# -------------------------------------------------------------------- registry
def test_registry_names_and_options():
    assert list(OPTIMIZERS) == [
        "none",
        "sam",
        "asam",
        "sam-one",
        "sam-k",
        "looksam",
        "ae-sam",
        "rst",
        "esam",
        "graphsam",
        "momentum-sam",
    ]
    assert {"beta", "anchor_every_epochs", "anchor", "preset"} <= set(OPTIMIZERS["graphsam"].own_options)
    assert {"lambda_1", "total_steps"} <= set(OPTIMIZERS["ae-sam"].own_options)
    for name, info in OPTIMIZERS.items():
        assert info.name == name and (info.cls is None or info.cls.method == name)
        assert set(info.own_options) <= set(info.options)
        assert "params" not in info.options and "base_options" not in info.options
        if info.cls is not None:
            needed = {"total_steps": 5} if name == "ae-sam" else {}
            defaults = {
                key: p.default for c in info.cls.__mro__ for key, p in _parameters(c) if key in info.own_options
            }
            for option, value in defaults.items():  # every option that is listed is one
                options = {**needed, option: value} if value is not None else needed
                build_optimizer(name, [leaf(1.0)], torch.optim.SGD, lr=0.1, **options)
    assert "k" in OPTIMIZERS["sam-k"].options and not {"k", "stale"} & set(OPTIMIZERS["sam-one"].options)


def _parameters(cls):
    import inspect

    return inspect.signature(cls.__init__).parameters.items() if "__init__" in vars(cls) else ()


def test_none_is_the_base_optimizer():
    optimizer = build_optimizer("none", [leaf(1.0)], torch.optim.AdamW, lr=0.1)
    assert type(optimizer) is torch.optim.AdamW


def test_fused_base_optimizers_pass_through():
    optimizer = build_optimizer("sam", [torch.nn.Parameter(torch.ones(3))], torch.optim.Adam, lr=0.1, fused=True)
    assert optimizer.base_optimizer.param_groups[0]["fused"] is True
    optimizer.step(closure_for(optimizer, optimizer.param_groups[0]["params"]))
    assert torch.isfinite(optimizer.param_groups[0]["params"][0]).all()


# -------------------------------------------------------------------- ASAM
def test_asam_does_not_care_how_layers_are_scaled():
    moves = []
    for factor in (1.0, 10.0):
        first, second = leaf(1.0, -2.0), leaf(0.5, 3.0)
        with torch.no_grad():
            first.mul_(factor)
            second.div_(factor)
        optimizer = ASAM([first, second], torch.optim.SGD, lr=0.0, rho=0.3, eta=0.0, scope="all")
        points = []

        def closure(first=first, second=second, optimizer=optimizer, points=points):
            optimizer.zero_grad()
            points.append((first * second).detach())  # the function does not change when both are rescaled
            loss = (first * second).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        moves.append(points[1] - points[0])
    assert torch.allclose(*moves, rtol=1e-12)


def test_asam_finds_names_in_params_model_or_shapes():
    layer = torch.nn.LayerNorm(3).double()
    for params, model in ((layer.named_parameters(), None), (layer.parameters(), layer), (layer.parameters(), None)):
        optimizer = ASAM(params, torch.optim.SGD, lr=0.0, model=model)
        found = [optimizer._is_weight(p) for p in layer.parameters()]
        named = model is not None or "param_names" in optimizer.param_groups[0]
        assert found == ([True, False] if named else [False, False])


def test_weights_of_zero_are_not_perturbed_without_eta():
    weight = leaf(0.0, 2.0)
    optimizer, points = ASAM([weight], torch.optim.SGD, lr=0.0, rho=0.5, eta=0.0, scope="all"), []
    with torch.no_grad():
        weight.add_(0.0)
    optimizer.step(closure_for(optimizer, [weight], points))
    assert points[1][0][0] == 0.0 and points[1][0][1] != 2.0


# -------------------------------------------------------------------- SAM-k, LookSAM
def test_sam_k_reuses_or_skips():
    for stale, perturbed in (("reuse", [True] * 4), ("skip", [True, False, True, False])):
        weight = leaf(1.0, 2.0)
        optimizer, found = SAMk([weight], torch.optim.SGD, lr=0.1, k=2, stale=stale), []
        for _ in range(4):
            optimizer.step(closure_for(optimizer, [weight]))
            found.append(optimizer.last.loss_perturbed is not None)
        assert found == perturbed


def test_looksam_skips_what_rounding_leaves():
    single, pair = torch.nn.Parameter(torch.tensor([0.3])), torch.nn.Parameter(torch.tensor([0.7, -0.2]))
    optimizer = LookSAM([single, pair], torch.optim.SGD, lr=0.0, k=2)
    for _ in range(2):
        optimizer.step(closure_for(optimizer, [single, pair]))
    assert torch.equal(single.grad, 2 * single.detach())  # g itself: one number has nothing orthogonal to it
    assert not torch.allclose(pair.grad, 2 * torch.tensor([1.0, 2.0]) * pair.detach())


def test_looksam_without_a_gradient_for_a_tensor_it_knows():
    weight, sometimes = leaf(1.0, 2.0), leaf(1.0, 1.0)
    optimizer = LookSAM([weight, sometimes], torch.optim.SGD, lr=0.1, k=3)
    optimizer.step(closure_for(optimizer, [weight, sometimes]))
    before = sometimes.detach().clone()
    optimizer.step(closure_for(optimizer, [weight]))
    assert torch.equal(sometimes, before) and sometimes.grad is None
    optimizer.step(closure_for(optimizer, [weight, sometimes]))
    assert not torch.equal(sometimes, before)


# -------------------------------------------------------------------- AE-SAM
def test_ae_sam_does_not_fire_on_small_gradients():
    weight = leaf(5.0)
    optimizer, passes, means = AESAM([weight], torch.optim.SGD, lr=0.2, total_steps=1000), [], []
    for _ in range(8):
        optimizer.step(closure_for(optimizer, [weight]))
        passes.append(optimizer.last.passes)
        means.append(optimizer.mean)
    assert passes[0] == 2 and passes[-1] == 1  # gradients shrink to below the moving mean
    assert means[0] == pytest.approx(0.1 * 100.0)


def test_ae_sam_debiased():
    thresholds = []
    for debias in (False, True):
        optimizer = AESAM([leaf(5.0)], torch.optim.SGD, lr=0.2, total_steps=10, lambda_1=0, lambda_2=0, debias=debias)
        thresholds.append(optimizer._threshold(0.1 * 100.0, 1.0))
    assert thresholds == pytest.approx([10.0, 100.0])


def test_ae_sam_keeps_the_gradient_it_has_in_phases():
    weight = leaf(5.0)
    optimizer = AESAM([weight], torch.optim.SGD, lr=0.1, total_steps=10, lambda_1=math.inf, lambda_2=math.inf)
    weight.square().sum().backward()
    assert optimizer.ascend(reuse_gradient=True) is False
    assert weight.grad.item() == 10.0
    optimizer.step()
    assert weight.item() == 4.0 and optimizer.last.passes == 1


# -------------------------------------------------------------------- RST
def test_coins_are_the_same_everywhere_and_fair():
    draws = [coin(7, t) for t in range(4000)]
    assert draws == [coin(7, t) for t in range(4000)] and draws != [coin(8, t) for t in range(4000)]
    assert sum(d < 0.3 for d in draws) / 4000 == pytest.approx(0.3, abs=0.03)


def test_rst_changes_its_probability_linearly():
    weight, passes = leaf(1.0), []
    optimizer = RST([weight], torch.optim.SGD, lr=0.0, p=1.0, p_end=0.0, total_steps=400)
    for _ in range(450):
        optimizer.step(closure_for(optimizer, [weight]))
        passes.append(optimizer.last.passes - 1)
    assert sum(passes[:100]) > 75 and sum(passes[300:400]) < 25 and sum(passes[400:]) == 0


# -------------------------------------------------------------------- ESAM
def test_esam_perturbs_some_tensors_more():
    params = [leaf(float(i + 1), 1.0) for i in range(40)]
    optimizer, points = ESAM(params, torch.optim.SGD, lr=0.0, rho=0.1, weight_share=0.5), []
    plain_points = []
    optimizer.step(closure_for(optimizer, params, points))
    sam = SAM(params, torch.optim.SGD, lr=0.0, rho=0.1)
    sam.step(closure_for(sam, params, plain_points))
    moved = [b - a for a, b in zip(*points)]
    plain = [b - a for a, b in zip(*plain_points)]
    chosen = [bool(m.any()) for m in moved]
    assert 8 < sum(chosen) < 32
    for m, p, keep in zip(moved, plain, chosen):
        assert torch.allclose(m, 2 * p if keep else torch.zeros_like(p), rtol=1e-12, atol=1e-15)
    assert optimizer.last.perturbation_norm == pytest.approx(math.sqrt(sum(float(m.square().sum()) for m in moved)))


def test_esam_descends_on_the_samples_that_rose_most():
    torch.manual_seed(0)
    x, weight = torch.randn(8, 3, dtype=torch.float64), leaf(0.5, -1.0, 2.0)
    optimizer, used = ESAM([weight], torch.optim.SGD, lr=0.0, rho=0.5, sample_share=0.25), []

    def closure(indices=None):
        used.append(indices)
        return (x if indices is None else x[indices]).mul(weight).sum(1).square()

    clean = optimizer.step(closure)
    theta = weight.detach().clone().requires_grad_()
    losses = (x @ theta).square()
    (g,) = torch.autograd.grad(losses.mean(), theta)
    moved = (theta.detach() + 0.5 * g / g.norm()).requires_grad_()
    rises = (x @ moved).square() - losses
    expected = torch.topk(rises, 2).indices
    assert [u is None for u in used] == [True, True, False] and sorted(used[2].tolist()) == sorted(expected.tolist())
    (descent,) = torch.autograd.grad((x[expected] @ moved).square().mean(), moved)
    assert torch.allclose(weight.grad, descent) and torch.allclose(clean, losses.mean())


def test_esam_refuses_a_reduced_loss_and_an_unselected_second_pass():
    weight = leaf(0.5, -1.0)
    optimizer = ESAM([weight], torch.optim.SGD, lr=0.1, sample_share=0.5)
    with pytest.raises(InvalidArgumentError, match=r"shape \(\).*one loss per sample, shape \[B\]"):
        optimizer.step(lambda: weight.square().sum())
    weight.square().sum().backward()
    optimizer.ascend()
    weight.square().sum().backward()
    with pytest.raises(InvalidArgumentError, match=r"sample_share is 0\.5, and no samples were selected"):
        optimizer.step()
    optimizer.skip_step()
    weight.square().sum().backward()
    optimizer.ascend()
    assert optimizer.select(torch.zeros(4), torch.tensor([0.0, 3.0, 1.0, 2.0])).tolist() == [1, 3]
    optimizer.step()
    assert optimizer.steps == 1


def test_esam_switched_off_is_one_plain_pass():
    weight, calls = leaf(0.5, -1.0), []
    optimizer = ESAM([weight], torch.optim.SGD, lr=0.1, rho=0.0, sample_share=0.5)

    def closure(indices=None):
        calls.append(indices)
        return weight.square()

    optimizer.step(closure)
    assert calls == [None] and torch.allclose(weight, torch.tensor([0.45, -0.9], dtype=torch.float64))
