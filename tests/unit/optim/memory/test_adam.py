"""Adam's step in one stream: the bits of torch's fused Adam, its state, and torch itself wherever something is out of the ordinary."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, optimizer

from dc_graphsam.optim import SAM, GraphSAM, MomentumSAM
from dc_graphsam.optim.memory import adam, streams
from dc_graphsam.optim.memory.adam import AdamStep, lanes

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (cc), there is none here")

SIZES = [(1,), (7,), (8,), (16, 3), (4097,), (90, 111), (15,), (300, 300)]


@pytest.fixture(autouse=True)
def _kernel():
    if lanes() is None:
        pytest.skip("no kernel gives the bits of torch's own on this processor")


def tensors(seed=0):
    torch.manual_seed(seed)
    return [nn.Parameter(torch.randn(size)) for size in SIZES]


def give(params, step, without=()):
    generator = torch.Generator().manual_seed(step)
    for i, p in enumerate(params):
        g = torch.randn(p.shape, generator=generator) * 10.0 ** torch.randn(1, generator=generator)
        p.grad = None if i in without else g


def same(ours, theirs, one, other):
    """Weights and the whole state, bit for bit."""
    for p, q in zip(one, other, strict=True):
        assert torch.equal(p, q)
        assert ours.state[p].keys() == theirs.state[q].keys()
        assert all(torch.equal(ours.state[p][k], theirs.state[q][k]) for k in theirs.state[q])


def pair(cls=Adam, groups=None, **options):
    one, other = tensors(), tensors()
    make = groups or (lambda params: params)
    return one, other, cls(make(one), fused=True, **options), cls(make(other), fused=True, **options)


def run(cls=Adam, steps=5, change=lambda i, optimizer: None, by_torch=(0,), without=lambda i: (), **options):
    """Both through the same steps; ``by_torch`` are the steps that are left to torch."""
    one, other, ours, theirs = pair(cls, **options)
    step = AdamStep(ours)
    for i in range(steps):
        for params, optimizer_ in ((one, ours), (other, theirs)):
            change(i, optimizer_)
            give(params, i, without(i))
        done = step()
        assert done == (i not in by_torch), i
        if not done:
            ours.step()
        theirs.step()
    same(ours, theirs, one, other)


@pytest.mark.parametrize("cls", [Adam, AdamW])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_bits_of_torch(cls, weight_decay, threads):
    run(cls, lr=1.3e-3, betas=(0.87, 0.99), eps=1e-6, weight_decay=weight_decay)


def test_numbers_out_of_range():
    """Infinite, missing, denormal and zero gradients."""
    one, other, ours, theirs = pair(lr=1e-2)
    step = AdamStep(ours)
    for i in range(4):
        for params in (one, other):
            give(params, i)
            params[4].grad[::5] = (0.0, float("inf"), 1e-42, float("nan"))[i]
        done = step()
        assert done == (i > 0)
        if not done:
            ours.step()
        theirs.step()
    for p, q in zip(one, other, strict=True):
        assert torch.equal(p.nan_to_num(7.0), q.nan_to_num(7.0))


def test_a_rate_that_changes():
    def change(i, optimizer_):
        for group in optimizer_.param_groups:
            group["lr"] *= 0.5

    run(change=change, lr=1e-2)


def test_groups_of_their_own():
    def groups(params):
        return [{"params": params[:3], "lr": 1e-2}, {"params": params[3:], "weight_decay": 0.1, "betas": (0.8, 0.9)}]

    run(groups=groups, lr=1e-3)


def test_a_group_that_is_empty_or_has_no_gradients():
    def groups(params):
        return [{"params": params[:2]}, {"params": []}, {"params": params[2:]}]

    run(groups=groups, without=lambda i: (0, 1) if i < 2 else (), by_torch=(0, 2))


def test_tensors_that_come_and_go():
    """A tensor counts its own steps; one that is new gets its state from torch."""
    run(steps=6, without=lambda i: (1, 5) if i < 2 else (5,) if i == 4 else (), by_torch=(0, 2))


@pytest.mark.parametrize(
    "options", [{"amsgrad": True}, {"maximize": True}, {"betas": (0.3, 0.9)}, {"lr": torch.tensor(1e-3)}], ids=str
)
def test_options_that_are_left_to_torch(options):
    run(by_torch=range(5), **options)


def _new_moment(optimizer_):
    first = optimizer_.param_groups[0]["params"][0]
    optimizer_.state[first]["exp_avg"] = torch.ones_like(first)


def _moment_elsewhere(optimizer_):
    first = optimizer_.param_groups[0]["params"][3]
    optimizer_.state[first]["exp_avg_sq"].data = torch.ones_like(first)


def _moments_to_zero(optimizer_):
    for state in optimizer_.state.values():
        state["exp_avg"].zero_()
        state["step"] = torch.tensor(0.0)


def _weights_elsewhere(optimizer_):
    for p in optimizer_.param_groups[0]["params"]:
        p.data = p.data.clone()


def _state_loaded(optimizer_):
    optimizer_.load_state_dict(copy.deepcopy(optimizer_.state_dict()))


@pytest.mark.parametrize(
    "disturb", [_new_moment, _moment_elsewhere, _moments_to_zero, _weights_elsewhere, _state_loaded]
)
def test_state_that_somebody_changes_is_the_state(disturb):
    def change(i, optimizer_):
        if i == 3:
            disturb(optimizer_)

    run(change=change)


def test_state_that_somebody_drops_is_made_anew():
    def change(i, optimizer_):
        if i == 3:
            optimizer_.state.clear()

    run(change=change, by_torch=(0, 3))


def test_hooks_and_schedulers_of_the_base_optimizer_are_heard():
    one, _, ours, _ = pair()
    step, heard = AdamStep(ours), []
    give(one, 0)
    ours.step()
    assert step()
    handle = ours.register_step_post_hook(lambda *_: heard.append("own"))
    assert not step()
    handle.remove()
    assert step()
    handle = optimizer.register_optimizer_step_pre_hook(lambda *_: heard.append("all"))
    assert not step()
    handle.remove()
    torch.optim.lr_scheduler.LambdaLR(ours, lambda _: 1.0)  # which counts the calls of step
    assert not step()


def test_a_step_that_somebody_replaces_is_called(monkeypatch):
    one, _, ours, _ = pair()
    give(one, 0)
    ours.step()
    step = AdamStep(ours)
    assert step()
    monkeypatch.setattr(Adam, "step", lambda self: None)
    assert not step()


@pytest.mark.parametrize("kind", ["float64", "strided", "not fused", "subclass", "sgd", "tied"])
def test_other_tensors_and_optimizers_are_left_to_torch(kind):
    params = tensors()
    if kind == "float64":
        params = [nn.Parameter(p.detach().double()) for p in params]
    if kind == "strided":
        params[5] = nn.Parameter(torch.randn(111, 90).t())
    if kind == "tied":
        params[2].data = params[4].data[:8]
    cls = {"sgd": SGD, "subclass": type("Own", (Adam,), {})}.get(kind, Adam)
    ours = cls(params, fused=kind != "not fused")
    for _ in range(2):
        for p in params:
            p.grad = torch.ones_like(p)
        assert not AdamStep(ours)()
        ours.step()


def test_without_the_kernel(monkeypatch):
    monkeypatch.setattr(streams, "_library", lambda: None)
    lanes.cache_clear()
    try:
        run(by_torch=range(5))
    finally:
        monkeypatch.undo()
        lanes.cache_clear()


def test_a_kernel_with_other_bits_is_not_used(monkeypatch):
    real = streams.adam_lists

    def worse(p, g, moments, options, *rest):
        return real(p, g, moments, (options[0] * (1 + 1e-6), *options[1:]), *rest)

    monkeypatch.setattr(adam.streams, "adam_lists", worse)
    lanes.cache_clear()
    try:
        assert lanes() is None
    finally:
        monkeypatch.undo()
        lanes.cache_clear()


# ---------------------------------------------------------------- under the methods
def batches(n=7):
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(8, 40, generator=generator), torch.randn(8, 1, generator=generator)) for _ in range(n)]


def train(method, look=lambda optimizer: None, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 300), nn.Tanh(), nn.Linear(300, 60), nn.Tanh(), nn.Linear(60, 1))
    ours = method(model.parameters(), Adam, lr=1e-2, rho=0.05, fused=True, **options)
    for i, (x, y) in enumerate(batches()):
        if method is GraphSAM and i % 4 == 0:
            ours.set_epoch(i // 4)

        def closure(x=x, y=y):
            ours.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            return loss

        ours.step(closure)
        look(ours)
    return model, ours


@pytest.mark.parametrize("method", [SAM, GraphSAM, MomentumSAM])
def test_methods_take_the_same_path_with_and_without(method, monkeypatch):
    calls, real = [], streams.adam_lists
    monkeypatch.setattr(streams, "adam_lists", lambda *a: calls.append(a[6:]) or real(*a))
    model, ours = train(method)
    assert len(calls) >= 6, "the kernel did the steps"
    if method is GraphSAM:
        assert sum(rest[0] is not None for rest in calls) >= 6, "and the average went along"
    monkeypatch.setattr(AdamStep, "__call__", lambda self, average=None: False)
    plain, theirs = train(method)
    same(ours.base_optimizer, theirs.base_optimizer, list(model.parameters()), list(plain.parameters()))
    if method is GraphSAM:
        assert ours._epsilon.squares() == theirs._epsilon.squares()
        for i, value in ours.epsilon.items():
            assert torch.equal(value, theirs.epsilon[i])


def test_nothing_is_due_outside_a_step():
    due = []
    train(GraphSAM, look=lambda ours: due.append(ours._epsilon.due))
    assert due == [None] * 7


def test_clipping_sees_the_average_first():
    """Between ω and the step stands something: the average is carried out before it."""
    seen = []
    _, ours = train(GraphSAM, look=lambda ours: seen.append(ours._epsilon.scale), max_grad_norm=1e-3)
    _, free = train(GraphSAM, max_grad_norm=1e9)
    assert len(set(seen)) > 3 and ours._epsilon.due is None
    assert ours._epsilon.scale != free._epsilon.scale


def test_cut_off_before_the_step_drops_what_is_due(monkeypatch):
    model, ours = train(GraphSAM)
    before = {k: v.clone() for k, v in ours.epsilon.items()}
    weights = [p.detach().clone() for p in model.parameters()]

    def interrupted(self, average=None):
        assert average.due is not None
        raise KeyboardInterrupt

    (x, y), *_ = batches()

    def closure():
        ours.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        return loss

    monkeypatch.setattr(AdamStep, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ours.step(closure)
    assert ours._epsilon.due is None
    assert all(torch.equal(ours.epsilon[i], value) for i, value in before.items())
    assert all(map(torch.equal, model.parameters(), weights))


def test_a_copied_optimizer_steps_its_own_weights():
    model, ours = train(GraphSAM)
    state = [p.detach().clone() for p in model.parameters()]
    twin_model, twin = copy.deepcopy((model, ours))
    for p in twin_model.parameters():
        p.grad = torch.ones_like(p)
    twin._adam()
    assert all(map(torch.equal, model.parameters(), state))
    assert not any(torch.equal(p, s) for p, s in zip(twin_model.parameters(), state, strict=True))


def test_a_profiler_and_hooks_see_each_step():
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        train(SAM)
    assert any(event.key == "Optimizer.step#SAM.step" for event in profile.key_averages())
    heard = []

    def watch(ours):
        if not heard:
            ours.register_step_pre_hook(lambda *_: heard.append("before"))
            ours.register_step_post_hook(lambda *_: heard.append("after"))
            heard.append("on")

    train(SAM, look=watch)
    assert heard[1:] == ["before", "after"] * 6
