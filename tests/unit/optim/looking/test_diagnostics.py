"""Probes of the gradients: right numbers, and a run that does not notice them."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.optim import OPTIMIZERS, GradientProbe, build_optimizer

EPOCHS, STEPS = 2, 6
METHODS = [name for name in OPTIMIZERS if name != "none"]
OPTIONS = {
    "ae-sam": {"total_steps": 12},
    "sam-k": {"k": 3},
    "looksam": {"k": 3},
    "momentum-sam": {"momentum": 0.9},
}


def make(norm=True, dtype=torch.float64):
    torch.manual_seed(0)
    layers = [
        nn.Linear(5, 9),
        nn.BatchNorm1d(9) if norm else nn.Identity(),
        nn.Tanh(),
        nn.Dropout(0.3),
        nn.Linear(9, 1),
    ]
    return nn.Sequential(*layers).to(dtype)


def batches():
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(8, 5, generator=generator).double(), torch.randn(8, 1, generator=generator).double())
        for _ in range(STEPS)
    ]


def run(method, probe=None, model=None, visit=None, **options):
    """The model and the optimizer after two epochs, and the state of the generator."""
    model = make() if model is None else model
    options = {"rho": 0.05, "lr": 0.05, **OPTIONS.get(method, {}), **options}
    optimizer = build_optimizer(method, model.parameters(), torch.optim.SGD, model=model, **options)
    optimizer.probe = probe
    torch.manual_seed(7)
    for epoch in range(EPOCHS):
        optimizer.set_epoch(epoch)
        for x, y in batches():

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = (model(x) - y).square().mean()
                loss.backward()
                return loss

            optimizer.step(closure)
            if visit is not None:
                visit(optimizer, model)
    return model, optimizer, torch.get_rng_state()


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_the_run_is_the_same_bits(method, every):
    plain, _, state = run(method)
    probed, optimizer, other = run(method, GradientProbe(every))
    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), probed.state_dict().values(), strict=True)
    )
    assert torch.equal(state, other)
    assert optimizer.steps == EPOCHS * STEPS and "omega_norm" in optimizer.probe.read()


def _cosine(a, b):
    dot, one, other = (
        sum(float((x * y).sum()) for x, y in zip(*pair, strict=True)) for pair in ((a, b), (a, a), (b, b))
    )
    return dot / math.sqrt(one * other)


def _norm(a):
    return math.sqrt(sum(float(x.square().sum()) for x in a))


def _minus(a, b):
    return [x - y for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("every", [1, 2, 4])
@pytest.mark.parametrize("method", ["graphsam", "sam", "sam-k"])
def test_numbers_are_those_of_their_definitions(method, every):
    """Everything recomputed from recorded weights and gradients, one step at a time."""
    model = make(norm=False)
    model[3].p = 0.0
    params = list(model.parameters())
    omegas, trues, epsilons, found = [], [], [], []
    weights = [[p.detach().clone() for p in params]]
    data = batches() * EPOCHS

    def gradient_at(values, batch):
        twin = copy.deepcopy(model)
        with torch.no_grad():
            for p, value in zip(twin.parameters(), values, strict=True):
                p.copy_(value)
        return torch.autograd.grad((twin(batch[0]) - batch[1]).square().mean(), list(twin.parameters()))

    stored = []

    def visit(optimizer, model):
        step = len(omegas)
        trues.append(gradient_at(weights[-1], data[step]))
        clean = optimizer.last.passes == 2
        epsilons.append(trues[-1] if clean or method == "sam" else stored[-1])
        omegas.append([p.grad.clone() for p in params])  # SGD leaves it
        weights.append([p.detach().clone() for p in params])
        if method != "sam":
            stored.append([value.clone() for value in optimizer._epsilon.values().values()])
        found.append((clean, optimizer.probe.read()))

    run(method, GradientProbe(every), model, visit)
    probed = 0
    for t, (clean, values) in enumerate(found):
        if not (t and t % every == 0):
            assert values == {}
            continue
        probed += 1
        expected = {
            "cos_epsilon_omega": _cosine(trues[t], omegas[t - 1]),
            "consistent_pairs": float(_cosine(trues[t], omegas[t - 1]) >= 0),
            "consistent_tensors": sum(_cosine([a], [b]) >= 0 for a, b in zip(trues[t], omegas[t - 1], strict=True)) / 4,
            "gradient_cosine": _cosine(omegas[t], omegas[t - 1]),
            "epsilon_norm": _norm(epsilons[t]),
            "epsilon_variation": _norm(_minus(epsilons[t], epsilons[t - 1])),
            "omega_norm": _norm(omegas[t]),
            "omega_variation": _norm(_minus(omegas[t], omegas[t - 1])),
        }
        if not clean:
            expected["cos_epsilon_true"] = _cosine(epsilons[t], trues[t])
        assert values == pytest.approx(expected, rel=1e-9, abs=1e-12), t
    assert probed == (EPOCHS * STEPS - 1) // every


def test_per_tensor():
    probe = GradientProbe(2, per_tensor=True)
    run("graphsam", probe, make(norm=False))
    found = probe.read(["w1", "b1", "w2", "b2"])
    for key in ("cos_epsilon_omega", "cos_epsilon_true"):
        each = [found[f"{key}/{name}"] for name in ("w1", "b1", "w2", "b2")]
        assert all(-1 - 1e-9 <= value <= 1 + 1e-9 for value in each) and len(set(each)) > 1
    assert probe.read() == {}


def test_a_tensor_without_gradient_and_a_gradient_of_zero_do_not_count():
    model = make(norm=False)
    model.unused = nn.Parameter(torch.ones(3, dtype=torch.float64))
    model[0].bias.register_hook(torch.zeros_like)
    probe = GradientProbe(1, per_tensor=True)
    run("graphsam", probe, model)
    found = probe.read()
    assert math.isfinite(found["cos_epsilon_omega"])
    per_tensor = [key for key in found if key.startswith("cos_epsilon_omega/")]
    assert len(per_tensor) == 3  # of four with a gradient one is 0 throughout


def test_nothing_is_read_from_the_device(monkeypatch):
    """As on an accelerator: until read() is called."""
    monkeypatch.setattr("dc_graphsam.optim.memory.block.reading_is_free", lambda device: False)
    probe = GradientProbe(2)

    def refuse(*_):
        raise AssertionError("a number was read from the device")

    for name in ("item", "__bool__", "__float__", "tolist"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    monkeypatch.setattr(torch.optim.Optimizer, "profile_hook_step", staticmethod(lambda f: f))
    run("graphsam", probe)
    monkeypatch.undo()
    assert probe.read()["omega_norm"] > 0


def test_a_skipped_step_is_probed_when_it_is_made():
    model = make(norm=False)
    optimizer = build_optimizer("graphsam", model.parameters(), torch.optim.SGD, lr=0.05, anchor_every=100)
    optimizer.probe = GradientProbe(2)
    (x, y), *_ = batches()

    def backward():
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()

    for attempt in ("step", "step", "skip", "step"):
        if optimizer.wants_probe:
            backward()
            optimizer.probe_clean_gradient()
            assert all(p.grad is None for p in model.parameters())
        if optimizer.wants_clean_gradient:
            backward()
        optimizer.ascend()
        backward()
        optimizer.restore()
        if attempt == "skip":
            optimizer.skip_step()
        else:
            optimizer.step()
    found = optimizer.probe.read()
    assert optimizer.steps == 3
    assert {"cos_epsilon_omega", "cos_epsilon_true", "omega_variation", "epsilon_variation"} <= set(found)


@pytest.mark.parametrize("every", [0, 1.5, None, True])
def test_wrong_use(every):
    with pytest.raises(InvalidArgumentError, match="every is"):
        GradientProbe(every)
