"""Copies of optimizers, by pickle, ``copy.deepcopy`` and joblib, go on bit for bit; overridden phases are asked."""

from __future__ import annotations

import copy
import io
import pickle

import joblib
import pytest
import torch

from dc_graphsam.optim import OPTIMIZERS, SAM, GraphSAM, build_optimizer

METHODS = sorted(set(OPTIMIZERS) - {"none"})


def by_pickle(thing):
    return pickle.loads(pickle.dumps(thing))


def by_joblib(thing):
    buffer = io.BytesIO()
    joblib.dump(thing, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


WAYS = [by_pickle, copy.deepcopy, by_joblib]


def build(method, width=5, **options):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(width, 40), torch.nn.Tanh(), torch.nn.Linear(40, 2))
    more = {"total_steps": 40} if method == "ae-sam" else {}
    return model, build_optimizer(method, model.parameters(), torch.optim.Adam, lr=0.01, **more, **options)


def passes(model, optimizer, step):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(8, model[0].in_features, generator=generator)

    def closure(indices=None):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    return closure


def train(model, optimizer, epochs):
    torch.manual_seed(7)
    for epoch in epochs:
        optimizer.set_epoch(epoch)
        for step in range(4):
            optimizer.step(passes(model, optimizer, 4 * epoch + step))
    return [p.detach().clone() for p in model.parameters()]


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("epochs", [0, 2])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_copy_goes_on_as_the_original_and_leaves_it_alone(method, fused, epochs, way):
    model, optimizer = build(method, fused=fused)
    train(model, optimizer, range(epochs))
    before = [p.detach().clone() for p in model.parameters()]
    twin, other = way((model, optimizer))
    assert all(a is b for a, b in zip(twin.parameters(), other.param_groups[0]["params"], strict=True))
    after = train(twin, other, range(epochs, epochs + 2))
    assert equal(model.parameters(), before) and not equal(after, before)
    assert equal(train(model, optimizer, range(epochs, epochs + 2)), after)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("width", [5, 4000])  # moved in place, and beside
def test_a_copy_at_perturbed_weights_restores_the_clean_ones(width, way):
    model, optimizer = build("graphsam", width)
    train(model, optimizer, range(1))
    clean = [p.detach().clone() for p in model.parameters()]
    assert not optimizer.wants_clean_gradient
    optimizer.ascend()
    moved = [p.detach().clone() for p in model.parameters()]
    twin, other = way((model, optimizer))
    assert other.perturbed and equal(twin.parameters(), moved) and not equal(moved, clean)
    ends = []
    for net, opt in ((twin, other), (model, optimizer)):
        passes(net, opt, 9)()
        opt.restore()
        assert equal(net.parameters(), clean)
        opt.step()
        ends.append(train(net, opt, range(1, 2)))
    assert equal(*ends)


def counting(base):
    class Counting(base):
        def __init__(self, *args, **options):
            self.calls = []
            super().__init__(*args, **options)

        def ascend(self, *args, **options):
            self.calls.append("ascend")
            return super().ascend(*args, **options)

        def restore(self):
            self.calls.append("restore")
            super().restore()

        def observe(self, *args, **options):
            self.calls.append("observe")
            super().observe(*args, **options)

    return Counting


@pytest.mark.parametrize("drive", ["closure", "phases", "train"])
def test_overridden_phases_are_asked_however_the_step_is_driven(drive):
    model, _ = build("sam")
    if drive == "train":
        optimizer = counting(GraphSAM)(model.parameters(), lr=0.01, anchor="in-stream")
        optimizer.set_epoch(0)
        optimizer.step(passes(model, optimizer, 0))
        optimizer.calls.clear()
        optimizer.train()
        passes(model, optimizer, 1)()
        optimizer.step()
    else:
        optimizer = counting(SAM)(model.parameters(), lr=0.01)
        if drive == "closure":
            optimizer.step(passes(model, optimizer, 0))
        else:
            passes(model, optimizer, 0)()
            optimizer.ascend()
            passes(model, optimizer, 0)()
            optimizer.restore()
            optimizer.observe()
            optimizer.step()
    asked = [call for i, call in enumerate(optimizer.calls) if call not in optimizer.calls[:i]]
    assert set(asked) == {"ascend", "restore", "observe"} and optimizer.calls.count("ascend") == 1
