"""Subclasses that override the public phases: they are asked however the step is driven."""

from __future__ import annotations

import pytest
import torch

from dc_graphsam.optim import SAM, GraphSAM

DRIVES = ["closure", "phases", "train", "hold"]


def build(base, seed=0):
    torch.manual_seed(seed)
    net = torch.nn.Linear(3, 2)
    one = {"anchor": "in-stream", "rho_schedule": "constant"} if issubclass(base, GraphSAM) else {}
    return net, base(net.parameters(), torch.optim.SGD, lr=0.1, rho=0.5, **one)


def run(net, optimizer, drive, steps=4):
    """``steps`` steps, driven in one of the ways; the weights after them."""
    optimizer.set_epoch(0)
    if drive == "hold":
        optimizer.train(hold=True)
    for step in range(steps):
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))

        def closure(x=x):
            optimizer.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            return loss

        if drive == "closure":
            optimizer.step(closure)
        elif drive == "phases":
            if optimizer.wants_clean_gradient:
                closure()
            optimizer.ascend()
            closure()
            optimizer.restore()
            optimizer.observe()
            optimizer.step()
        else:
            if drive == "train":
                optimizer.train()
            closure()
            optimizer.step()
    optimizer.eval()
    return [p.detach().clone() for p in net.parameters()]


def ways(base):
    return DRIVES if base is GraphSAM else DRIVES[:2]  # SAM's step begins with a clean pass: train() cannot drive it


CASES = [(base, drive) for base in (SAM, GraphSAM) for drive in ways(base)]


@pytest.mark.parametrize(("base", "drive"), CASES)
def test_each_phase_is_asked_in_turn(base, drive):
    class Noting(base):
        def ascend(self, *args, **options):
            calls.append("ascend")
            return super().ascend(*args, **options)

        def restore(self):
            calls.append("restore")
            super().restore()

        def observe(self, *args, **options):
            calls.append("observe")
            super().observe(*args, **options)

    calls = []
    net, optimizer = build(Noting)
    run(net, optimizer, drive)
    left = [call for call in calls if call != "restore"]
    assert left[:8] == ["ascend", "observe"] * 4
    assert calls.count("restore") >= (4 if base is SAM else 3)  # an in-stream anchor perturbs nothing


@pytest.mark.parametrize(("base", "drive"), CASES)
def test_what_observe_does_to_the_gradient_is_what_the_base_optimizer_sees(base, drive):
    class Halving(base):
        def observe(self, *args, **options):
            super().observe(*args, **options)
            for group in self.param_groups:
                for p in group["params"]:
                    p.grad.mul_(0.5)

    net, optimizer = build(Halving)
    reference_net, reference = build(base)
    reference.param_groups[0]["lr"] = 0.05
    ours, theirs = run(net, optimizer, drive, 1), run(reference_net, reference, drive, 1)  # half the rate
    assert all(map(torch.allclose, ours, theirs))
    plain = run(*build(base), drive, 1)
    assert not any(map(torch.allclose, ours, plain))


@pytest.mark.parametrize(("base", "drive"), CASES)
def test_a_radius_set_in_ascend_is_that_of_the_step(base, drive):
    class Growing(base):
        def ascend(self, *args, **options):
            for group in self.param_groups:
                group["rho"] = 0.1 * (self.steps + 1)
            return super().ascend(*args, **options)

    net, optimizer = build(Growing)
    run(net, optimizer, drive, 3)
    assert optimizer.last.rho == pytest.approx(0.3) == optimizer.last.perturbation_norm


def test_an_ascend_that_forgets_to_return_still_takes_both_passes():
    class Forgetful(SAM):
        def ascend(self, *args, **options):
            super().ascend(*args, **options)

    ours, plain = run(*build(Forgetful), "closure"), run(*build(SAM), "closure")
    assert all(map(torch.equal, ours, plain))


@pytest.mark.parametrize("base", [SAM, GraphSAM])
def test_an_override_that_fails_leaves_clean_weights_behind(base):
    class Failing(base):
        def observe(self, *args, **options):
            if self.steps == 2:
                raise RuntimeError("not now")
            super().observe(*args, **options)

    net, optimizer = build(Failing)
    clean = run(*build(base), "closure", 2)
    with pytest.raises(RuntimeError, match="not now"):
        run(net, optimizer, "closure", 3)
    assert all(map(torch.equal, net.parameters(), clean)) and not optimizer.perturbed
