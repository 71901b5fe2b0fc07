"""One contract for copies of all sharpness-aware optimizers, in every state: they go on bit for bit, and the original is left alone."""

from __future__ import annotations

import copy
import io
import pickle

import joblib
import pytest
import torch

from dc_graphsam.optim import OPTIMIZERS, GradientProbe, build_optimizer

WIDE = 1400  # 8,400 weights: long enough to move beside their memory

MEMBERS = {name: (name, {}) for name in OPTIMIZERS if name != "none"}
MEMBERS |= {
    "ae-sam": ("ae-sam", {"total_steps": 12}),
    "g-rst": ("rst", {"kappa": 1.5, "p": 0.7}),
    "esam-half": ("esam", {"weight_share": 0.5}),
    "looksam-global": ("looksam", {"scope": "global", "k": 3}),
    "graphsam-in-stream": ("graphsam", {"anchor": "in-stream"}),
    "graphsam-released": ("graphsam", {"preset": "released"}),
}


def by_pickle(thing):
    return pickle.loads(pickle.dumps(thing))


def by_joblib(thing):
    buffer = io.BytesIO()
    joblib.dump(thing, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


WAYS = [by_pickle, by_joblib, copy.deepcopy]


def build(member):
    torch.manual_seed(0)
    method, options = MEMBERS[member]
    net = torch.nn.Sequential(torch.nn.Linear(WIDE, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
    return net, build_optimizer(method, net.parameters(), torch.optim.Adam, lr=0.01, fused=True, **options)


def weights(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


def passes(optimizer, step):
    """The closure of a step, from the optimizer's own parameters: a copy needs no model."""
    x = torch.randn(4, WIDE, generator=torch.Generator().manual_seed(step))

    def closure():
        optimizer.zero_grad()
        w, b, v, c = weights(optimizer)
        loss = (torch.tanh(x @ w.T + b) @ v.T + c).square().mean()
        loss.backward()
        return loss.detach()

    return closure


def train(optimizer, first, last):
    """Steps ``first`` to ``last`` of epochs of four, and the weights after them."""
    for step in range(first, last):
        optimizer.set_epoch(step // 4)
        optimizer.step(passes(optimizer, step))
    return [p.detach().clone() for p in weights(optimizer)]


def equal(these, those):
    return all(map(torch.equal, these, those))


def fresh(member):
    return *build(member), 0


def after_steps(member):
    net, optimizer = build(member)
    train(optimizer, 0, 6)
    return net, optimizer, 6


def probed(member):
    net, optimizer = build(member)
    optimizer.probe = GradientProbe(every=2)
    train(optimizer, 0, 5)
    return net, optimizer, 5


def loaded(member):
    net, optimizer = build(member)
    other_net, other, _ = after_steps(member)
    net.load_state_dict(other_net.state_dict())
    optimizer.load_state_dict(copy.deepcopy(other.state_dict()))
    return net, optimizer, 6


def scheduled(member):
    net, optimizer = build(member)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    for step in range(6):
        train(optimizer, step, step + 1)
        schedule.step()
    return net, optimizer, 6


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("state", [fresh, after_steps, probed, loaded, scheduled])
@pytest.mark.parametrize("member", MEMBERS)
def test_a_copy_goes_on_bit_for_bit_and_leaves_the_original_alone(member, state, way):
    net, optimizer, step = state(member)
    before = [p.detach().clone() for p in net.parameters()]
    twin_net, twin = way((net, optimizer))
    assert all(a is b for a, b in zip(twin_net.parameters(), weights(twin), strict=True))
    after = train(twin, step, step + 8)
    assert equal(net.parameters(), before) and not equal(after, before)
    assert equal(train(optimizer, step, step + 8), after)
    assert twin.last.passes == optimizer.last.passes and twin.steps == optimizer.steps == step + 8
    if optimizer.probe is not None:
        ours, theirs = optimizer.probe.read(), twin.probe.read()
        assert ours and ours == theirs


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("member", MEMBERS)
def test_a_copy_without_the_model_has_parameters_of_its_own(member, way):
    net, optimizer, step = after_steps(member)
    before = [p.detach().clone() for p in net.parameters()]
    twin = way(optimizer)
    after = train(twin, step, step + 8)
    assert equal(net.parameters(), before) and equal(train(optimizer, step, step + 8), after)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("start", [1, 4], ids=["within-an-epoch", "at-its-start"])
@pytest.mark.parametrize("member", MEMBERS)
def test_a_copy_from_between_the_passes_restores_the_clean_weights_and_ends_the_step(member, start, way):
    net, optimizer = build(member)
    train(optimizer, 0, start)
    optimizer.set_epoch(start // 4)
    clean = [p.detach().clone() for p in net.parameters()]
    if optimizer.wants_clean_gradient:
        passes(optimizer, start)()
    optimizer.ascend()
    moved = [p.detach().clone() for p in net.parameters()]
    perturbed = optimizer.perturbed
    assert perturbed != equal(moved, clean)
    ends = []
    for one in (way((net, optimizer))[1], optimizer):
        assert one.perturbed == perturbed and equal(weights(one), moved)
        loss = passes(one, start)()
        one.restore()
        assert equal(weights(one), clean)
        one.step(loss=loss)
        ends.append(train(one, start + 1, start + 9))
    assert equal(*ends)
