"""SAM, its adaptive form and LookSAM against the package pytorch_optimizer, where the definitions agree.

They differ in this: there, every step of LookSAM needs two passes, of which one is thrown away between refreshes; a tensor
of a single number keeps as g_v what rounding leaves of it, which is dropped here; and momentum buffers survive a checkpoint
of SAM only with its own ``load_state_dict``.
"""

from __future__ import annotations

import pytest
import torch

from dc_graphsam.optim import ASAM, SAM, LookSAM

theirs = pytest.importorskip(
    "pytorch_optimizer", reason="pytorch_optimizer is not installed; pip install pytorch_optimizer"
)


def train(make, theirs_needs_a_gradient_first):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 2)).double()
    optimizer = make(model.parameters())
    for _ in range(12):
        x, y = torch.randn(8, 5, dtype=torch.float64), torch.randn(8, 2, dtype=torch.float64)

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            return loss

        if theirs_needs_a_gradient_first:
            closure()
        optimizer.step(closure)
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize(
    ("ours", "other"),
    [
        (
            lambda p: SAM(p, torch.optim.SGD, lr=0.1, momentum=0.9),
            lambda p: theirs.SAM(p, torch.optim.SGD, lr=0.1, momentum=0.9),
        ),
        (lambda p: SAM(p, torch.optim.Adam, lr=0.01), lambda p: theirs.SAM(p, torch.optim.Adam, lr=0.01)),
        (
            lambda p: ASAM(p, torch.optim.SGD, rho=0.5, eta=0.0, scope="all", lr=0.1),
            lambda p: theirs.SAM(p, torch.optim.SGD, rho=0.5, adaptive=True, lr=0.1),
        ),
        (
            lambda p: LookSAM(p, torch.optim.SGD, rho=0.1, k=3, alpha=0.7, lr=0.05),
            lambda p: theirs.LookSAM(p, torch.optim.SGD, rho=0.1, k=3, alpha=0.7, lr=0.05),
        ),
    ],
    ids=["SAM around SGD", "SAM around Adam", "adaptive SAM", "LookSAM"],
)
def test_equal_trajectories(ours, other):
    for a, b in zip(train(ours, False), train(other, True)):
        assert torch.allclose(a, b, atol=1e-7, rtol=0)  # theirs adds up norms in float32
