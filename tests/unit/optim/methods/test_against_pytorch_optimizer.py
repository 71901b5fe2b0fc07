"""SAM, its adaptive form and LookSAM against the package pytorch_optimizer, where the definitions agree.

Equal: SAM, SAM with ``adaptive`` (our ASAM with η = 0 on all tensors), LookSAM (product and norms per tensor), and GSAM
without its surrogate gap (α = 0), which is SAM with a radius proportional to the learning rate (our ``linear-lr``).

Not equal, by definition: GSAM with α > 0 descends along ω plus a part of g orthogonal to it, WSAM along a weighted mean of g
and ω, and FriendlySAM climbs along g minus a moving average of g: none of the members here does. BSAM is a Bayesian optimizer
of its own, without a base optimizer. LookSAM there needs two passes at every step, of which one is thrown away between
refreshes; a tensor of a single number keeps as g_v what rounding leaves of it, which is dropped here. Momentum buffers
survive a checkpoint of SAM there only with its own ``load_state_dict``. GraphSAM, MomentumSAM, AE-SAM, RST, ESAM, SAM-k and
SAM-One are not in that package.
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
    for a, b in zip(train(ours, False), train(other, True), strict=True):
        assert torch.allclose(a, b, atol=1e-7, rtol=0)  # theirs adds up norms in float32


def problem():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 2)).double()
    return model, [(torch.randn(8, 5).double(), torch.randn(8, 2).double()) for _ in range(12)]


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_gsam_without_its_gap_is_sam_with_a_radius_that_follows_the_learning_rate(alpha):
    criterion, steps = torch.nn.MSELoss(), 12
    model, batches = problem()
    base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(base, steps, eta_min=0.01)
    radii = theirs.lr_scheduler.ProportionScheduler(rates, max_lr=0.1, min_lr=0.01, max_value=0.2, min_value=0.05)
    other = theirs.GSAM(model.parameters(), base, model, radii, alpha=alpha)
    twin, _ = problem()
    optimizer = SAM(
        twin.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9,
        rho=0.2, rho_schedule="linear-lr", rho_min=0.05, lr_min=0.01, lr_max=0.1,
    )  # fmt: skip
    used = []
    for x, y in batches:
        for group in optimizer.param_groups:
            group["lr"] = base.param_groups[0]["lr"]
        used.append((other.rho_t, optimizer.current_rho()[0]))
        other.set_closure(criterion, x, y)
        other.step()

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = criterion(twin(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)
        rates.step()
        other.update_rho_t()
    assert all(a == pytest.approx(b) for a, b in used) and len({a for a, _ in used}) > 5
    same = all(
        torch.allclose(a, b, atol=1e-6, rtol=0) for a, b in zip(model.parameters(), twin.parameters(), strict=True)
    )
    assert same == (alpha == 0.0)
