"""Sums over lists of tensors: the same bits as torch, on any number of threads."""

from __future__ import annotations

import math
import shutil

import pytest
import torch

from dc_graphsam.optim import LookSAM
from dc_graphsam.optim.memory import streams
from dc_graphsam.optim.memory.streams import (
    add_lists,
    add_to_each,
    average_lists,
    copy_lists,
    products_of_each,
    sum_of_squares,
)

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (cc), there is none here")

SIZES = [1, 7, 16, 0, 4097, 3, 100_003, 15, 8192]


def lists(number: int, sizes=SIZES):
    torch.manual_seed(number)
    return [[torch.randn(n) for n in sizes] for _ in range(number)]


def test_addition(threads):
    x, v, out = lists(3)
    assert add_lists(x, v, 0.3, out)
    assert all(torch.equal(o, torch.add(a, b, alpha=0.3)) for a, b, o in zip(x, v, out, strict=True))


def test_addition_into_memory_that_begins_anywhere(threads):
    x, v = lists(2)
    whole = torch.zeros(sum(SIZES) + len(SIZES))
    out = [part[:-1] for part in whole.split([n + 1 for n in SIZES])]
    assert add_lists(x, v, -1.5, out)
    assert all(torch.equal(o, torch.add(a, b, alpha=-1.5)) for a, b, o in zip(x, v, out, strict=True))
    assert all(part[-1] == 0 for part in whole.split([n + 1 for n in SIZES])), "nothing else was written to"


def test_average(threads):
    e, x = lists(2)
    expected = [a.clone() for a in e]
    torch._foreach_lerp_(expected, x, 0.01)
    squares = average_lists(e, x, 0.01)
    assert all(torch.equal(a, b) for a, b in zip(e, expected, strict=True))
    assert squares == pytest.approx(sum(float(t.double().square().sum()) for t in expected), rel=1e-6)


def test_sum_of_squares(threads):
    (x,) = lists(1)
    exact = sum(float(t.double().square().sum()) for t in x)
    assert sum_of_squares(x) == pytest.approx(exact, rel=1e-6)
    assert sum_of_squares([]) == 0.0
    x[4][17] = float("nan")
    assert math.isnan(sum_of_squares(x))
    x[4][17] = float("inf")
    assert sum_of_squares(x) == math.inf


def test_products_tensor_by_tensor(threads):
    x, y = lists(2)
    expected = [float((a.double() * b.double()).sum()) for a, b in zip(x, y, strict=True)]
    assert products_of_each(x, y) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert products_of_each([], []) == []


def test_addition_with_a_factor_for_each(threads):
    x, v = lists(2)
    factors = [0.5 * i - 1.0 for i in range(len(x))]
    expected = [torch.add(a, b, alpha=f) for a, b, f in zip(x, v, factors, strict=True)]
    out = [torch.zeros_like(a) for a in x]
    assert add_to_each(x, v, factors, out) and add_to_each(x, v, factors, x)
    for own, other, exact in zip(out, x, expected, strict=True):
        assert torch.equal(own, other)
        torch.testing.assert_close(own, exact)


def test_copies():
    (x,) = lists(1)
    out = [torch.zeros_like(a) for a in x]
    assert copy_lists(x, out) and all(map(torch.equal, x, out))


def test_what_they_do_not_know_is_left_to_torch():
    plain = [torch.ones(4, 4)]
    for other in (
        [torch.ones(4, 4).double()],
        [torch.ones(4, 4).t()[::2]],
        [torch.ones(4, 4).to_sparse()],
        [torch.ones(1).expand(4, 4)],
    ):
        assert sum_of_squares(other) is None
        assert average_lists(plain, other, 0.5) is None
        assert add_lists(plain, other, 1.0, plain) is None
    assert torch.equal(plain[0], torch.ones(4, 4))


def test_switched_off(monkeypatch):
    monkeypatch.setattr(streams, "_library", lambda: None)
    assert sum_of_squares([torch.ones(3)]) is None


@pytest.mark.parametrize("scope", ["tensor", "global"])
def test_looksam_in_streams_is_looksam_with_torch(scope, monkeypatch, threads):
    def run():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(40, 300), torch.nn.Tanh(), torch.nn.Linear(300, 1))
        optimizer = LookSAM(model.parameters(), torch.optim.Adam, lr=1e-2, rho=0.1, alpha=0.7, k=3, scope=scope)
        x, y = torch.randn(16, 40), torch.randn(16, 1)

        def closure():
            optimizer.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            return loss

        for _ in range(7):
            optimizer.step(closure)
        return [p.detach() for p in model.parameters()]

    calls, real = [], streams.add_to_each
    monkeypatch.setattr(streams, "add_to_each", lambda *a, **k: calls.append(1) or real(*a, **k))
    ours = run()
    assert len(calls) == 7, "one stream a step, after its products"
    monkeypatch.setattr(streams, "_library", lambda: None)
    theirs = run()
    assert len(calls) == 7
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)
