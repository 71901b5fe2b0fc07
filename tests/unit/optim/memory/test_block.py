"""Where the perturbed weights lie: beside the clean ones where nobody else looks at these, in their place elsewhere."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dc_graphsam.optim import SAM, GraphSAM
from dc_graphsam.optim.memory import beside, streams
from dc_graphsam.optim.memory.beside import LONG


@pytest.fixture(autouse=True, params=["kernels", "torch"])
def arithmetic(request, monkeypatch):
    """Every test once with the compiled sums over lists, once without."""
    if request.param == "torch":
        monkeypatch.setattr(streams, "_library", lambda: None)


def make(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(40, 300), nn.Tanh(), nn.Linear(300, 60), nn.Tanh(), nn.Linear(60, 1)).to(dtype)


def batches(n=6, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(8, 40, generator=generator, dtype=dtype), torch.randn(8, 1, generator=generator, dtype=dtype))
        for _ in range(n)
    ]


def train(model, method=GraphSAM, forward=None, look=None, **options):
    forward = forward or model
    optimizer = method(model.parameters(), torch.optim.Adam, lr=1e-2, rho=0.05, **options)
    if method is GraphSAM:
        optimizer.set_epoch(0)
    for x, y in batches():

        def closure(x=x, y=y):
            optimizer.zero_grad()
            if look is not None:
                look(optimizer)
            loss = (forward(x) - y).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
    return optimizer


def same_bits(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("method", [GraphSAM, SAM])
@pytest.mark.parametrize("flat", [False, True], ids=["as they are", "flattened"])
def test_both_ways_give_the_same_bits(method, flat, monkeypatch):
    def run(model):
        seen = []
        home = {id(p): p.data_ptr() for p in model.parameters()}

        def look(optimizer):
            if optimizer.perturbed:
                moved = [p.data_ptr() != home[id(p)] for p in model.parameters()]
                seen.append(moved == [flat or p.numel() >= LONG for p in model.parameters()])

        optimizer = method(model.parameters(), torch.optim.Adam, lr=1e-2)
        if flat:
            optimizer.flatten_parameters()
            home.update({id(p): p.data_ptr() for p in model.parameters()})
        train(model, method, look=look)
        assert all(p.data_ptr() == home[id(p)] for p in model.parameters())
        return seen

    moving, in_place = make(), make()
    assert all(run(moving)) and len(run(copy.deepcopy(moving))) >= 6
    monkeypatch.setattr(beside, "_use_count", None)  # a torch that does not tell
    assert not any(run(in_place))
    assert same_bits(moving, in_place)


def _hold_a_view(model):
    return model[0].weight.detach()


def _tie(model):
    model[2].bias.data = model[0].bias.data[:60]


def _share(model):
    model.share_memory()


def _transpose(model):
    model[2].weight.data = torch.empty(300, 60).t().copy_(model[2].weight.data)


@pytest.mark.parametrize("disturb", [_hold_a_view, _tie, _share, _transpose])
def test_weights_that_somebody_else_sees_are_perturbed_in_place(disturb):
    model, quiet = make(), make()
    held = disturb(model)
    home, seen = [p.data_ptr() for p in model.parameters()], []

    def look(optimizer):
        seen.append([p.data_ptr() for p in model.parameters()] == home)
        if held is not None:  # the view goes along
            assert torch.equal(held, model[0].weight)

    train(model, look=look)
    assert len(seen) == 7 and all(seen)
    if disturb is not _tie:  # which is another model
        train(quiet)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), quiet.parameters(), strict=True))


def test_a_view_that_comes_later_is_noticed():
    model = make()
    home, held, seen = model[0].weight.data_ptr(), [], []

    def look(optimizer):
        if optimizer.perturbed:
            seen.append(model[0].weight.data_ptr() == home)
        if len(seen) == 3 and not held:
            held.append(torch.zeros(0))  # and from the next step on a real one

    optimizer = train(model, look=look)
    assert seen == [False] * 6
    view = model[0].weight.detach()
    optimizer.ascend()
    assert optimizer.perturbed and model[0].weight.data_ptr() == home and torch.equal(view, model[0].weight)
    optimizer.skip_step()
    del view
    optimizer.ascend()
    assert model[0].weight.data_ptr() != home
    optimizer.skip_step()
    assert model[0].weight.data_ptr() == home


def test_a_backward_pass_that_comes_too_late_is_refused():
    """As after any change of the weights: a gradient that mixes two points would be wrong in silence."""
    model = make()
    optimizer = train(model)
    (x, y), *_ = batches()
    versions = [p._version for p in model.parameters()]
    optimizer.ascend()
    loss = (model(x) - y).square().mean()
    assert all(p._version > version for p, version in zip(model.parameters(), versions, strict=True))
    optimizer.restore()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("at", range(4))
def test_cut_off_while_moving_leaves_clean_weights(at, monkeypatch):
    monkeypatch.setattr(streams, "_library", lambda: None)  # one call into a kernel is not interrupted half-way
    model = make()
    optimizer = train(model)
    before, pointers = copy.deepcopy(model), [p.data_ptr() for p in model.parameters()]
    calls, add = [], torch.add

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) > at:
            raise KeyboardInterrupt
        return add(*args, **kwargs)

    if at < 2:  # two weights are long enough for a call of their own
        monkeypatch.setattr(torch, "add", interrupted)
    else:
        monkeypatch.setattr(
            torch, ("_foreach_copy_", "_foreach_add_")[at - 2], lambda *a, **k: interrupted(*[None] * 9)
        )
        calls.extend([1] * at)
    with pytest.raises(KeyboardInterrupt):
        optimizer.ascend()
    monkeypatch.undo()
    optimizer.skip_step()
    assert same_bits(model, before) and pointers == [p.data_ptr() for p in model.parameters()]


def test_a_tied_parameter_moves_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(40, 40, bias=False), nn.Linear(40, 40, bias=False)
            self.second.weight, self.out = self.first.weight, nn.Linear(40, 1)

        def forward(self, x):
            return self.out(torch.tanh(self.second(torch.tanh(self.first(x)))))

    model, seen = Tied(), []
    train(model, look=lambda optimizer: seen.append(model.first.weight is model.second.weight))
    assert all(seen)


@pytest.mark.slow
def test_a_compiled_model_is_compiled_once():
    """Its code takes the weights where they are at each call."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    model, plain = make(), make()
    try:
        optimizer = train(model, forward=torch.compile(model))
    except torch._inductor.exc.InductorError as error:
        pytest.skip(f"no compiler: {str(error).splitlines()[0]}")
    train(plain)
    assert optimizer._layout.blocks[0].may_move_beside()
    assert counters["stats"]["unique_graphs"] == 1
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    torch._dynamo.reset()
