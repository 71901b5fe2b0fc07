"""One contract over all sharpness-aware optimizers: every rule and every named test for every member."""

from __future__ import annotations

import copy
import io
import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.optim import OPTIMIZERS, build_optimizer

reference = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "reference" / "sharpness.py")))
EPOCHS, STEPS = 3, 5


@dataclass(frozen=True)
class Member:
    """A row of the table: a method, its options, and what it has to do."""

    name: str
    method: str
    options: dict = field(default_factory=dict)
    passes: tuple = ()  # of one epoch
    follows: tuple = ()  # reference function and its options
    perturbs_every_step: bool = True
    momentum: float = 0.0

    def build(self, params, base=torch.optim.SGD, lr=0.05, **more):
        if base is torch.optim.SGD:
            more.setdefault("momentum", self.momentum)
        return build_optimizer(self.method, params, base, lr=lr, **{**self.options, **more})


MEMBERS = [
    Member("sam", "sam", {"rho": 0.05}, (2,) * 5, (reference.sam, {"rho": 0.05})),
    Member(
        "asam",
        "asam",
        {"rho": 0.5},
        (2,) * 5,
        (reference.asam, {"rho": 0.5, "eta": 0.01, "weights": (True, False, True, False)}),
    ),
    Member(
        "asam-all",
        "asam",
        {"rho": 0.5, "eta": 0.0, "scope": "all"},
        (2,) * 5,
        (reference.asam, {"rho": 0.5, "eta": 0.0, "weights": (True,) * 4}),
    ),
    Member("sam-one", "sam-one", {"rho": 0.05}, (), (reference.sam_one, {"rho": 0.05})),
    Member("sam-k", "sam-k", {"rho": 0.05, "k": 3}, (), (reference.sam_k, {"rho": 0.05, "k": 3})),
    Member(
        "sam-k-skip",
        "sam-k",
        {"rho": 0.05, "k": 3, "stale": "skip"},
        (),
        (reference.sam_k, {"rho": 0.05, "k": 3, "stale": "skip"}),
        perturbs_every_step=False,
    ),
    Member(
        "looksam",
        "looksam",
        {"rho": 0.05, "k": 3, "alpha": 0.7},
        (),
        (reference.looksam, {"rho": 0.05, "k": 3, "alpha": 0.7}),
        perturbs_every_step=False,
    ),
    Member(
        "looksam-global",
        "looksam",
        {"rho": 0.05, "k": 3, "alpha": 0.7, "scope": "global"},
        (),
        (reference.looksam, {"rho": 0.05, "k": 3, "alpha": 0.7, "scope": "global"}),
        perturbs_every_step=False,
    ),
    Member(
        "ae-sam",
        "ae-sam",
        {"rho": 0.05, "total_steps": 15},
        (),
        (reference.ae_sam, {"rho": 0.05, "total_steps": 15, "lambda_1": -1.0, "lambda_2": 1.0, "delta": 0.9}),
        perturbs_every_step=False,
    ),
    Member("rst", "rst", {"rho": 0.05, "seed": 3}, (), (reference.rst, {"rho": 0.05, "p": 0.5, "seed": 3}), False),
    Member(
        "g-rst",
        "rst",
        {"rho": 0.05, "kappa": 1.5, "p": 0.7},
        (),
        (reference.rst, {"rho": 0.05, "p": 0.7, "kappa": 1.5}),
        False,
    ),
    Member("esam", "esam", {"rho": 0.05}, (2,) * 5, (reference.sam, {"rho": 0.05})),
    Member(
        "graphsam",
        "graphsam",
        {"rho": 0.05, "beta": 0.9},
        (2, 1, 1, 1, 1),
        (reference.graphsam, {"rho": 0.05, "beta": 0.9}),
    ),
    Member(
        "graphsam-k",
        "graphsam",
        {"rho": 0.05, "beta": 0.9, "anchor_every_epochs": 2, "rho_update_epochs": 2, "anchor_scale": "unit"},
        (),
        (reference.graphsam, {"rho": 0.05, "beta": 0.9, "every": 2, "rho_update_epochs": 2, "unit": True}),
    ),
    Member(
        "graphsam-in-stream",
        "graphsam",
        {"rho": 0.05, "beta": 0.9, "anchor": "in-stream"},
        (1,) * 5,
        (reference.graphsam, {"rho": 0.05, "beta": 0.9, "in_stream": True}),
        perturbs_every_step=False,
    ),
    Member(
        "graphsam-released",
        "graphsam",
        {"rho": 0.05, "beta": 0.9, "preset": "released"},
        (2, 1, 1, 1, 1),
        (reference.graphsam_released, {"rho": 0.05, "beta": 0.9, "radius": 0.05}),
    ),
    Member(
        "momentum-sam",
        "momentum-sam",
        {"rho": 0.05},
        (1,) * 5,
        (reference.momentum_sam, {"rho": 0.05}),
        perturbs_every_step=False,
        momentum=0.9,
    ),
    Member(
        "momentum-sam-ascent",
        "momentum-sam",
        {"rho": 0.05, "direction": "ascent"},
        (1,) * 5,
        (reference.momentum_sam, {"rho": 0.05, "sign": 1.0}),
        perturbs_every_step=False,
        momentum=0.9,
    ),
]
PLAIN = [m for m in MEMBERS if m.method != "asam" and m.name != "graphsam-released"]  # ‖ε̂‖ = ρ


def each(members=MEMBERS):
    return pytest.mark.parametrize("member", members, ids=lambda m: m.name)


def test_the_table_has_every_method():
    assert {m.method for m in MEMBERS} == set(OPTIMIZERS) - {"none"}


# -------------------------------------------------------------------- a small problem
def network(params, x):
    hidden = torch.tanh(x @ params[0].T + params[1])
    return hidden @ params[2].T + params[3]


def loss_of(params, batch):
    x, y = batch
    return (network(params, x) - y).square().mean()


def make_problem():
    """A 5-7-1 tanh network and a stream of batches of 8, float64."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    start = [0.5 * draw(7, 5), 0.1 * draw(7), 0.5 * draw(1, 7), 0.1 * draw(1)]
    batches = [[(draw(8, 5), draw(8, 1)) for _ in range(STEPS)] for _ in range(EPOCHS)]
    return SimpleNamespace(start=start, batches=batches)


@pytest.fixture
def problem():
    return make_problem()


def leaves(start, dtype=torch.float64):
    return [nn.Parameter(p.to(dtype).clone()) for p in start]


def closure_for(optimizer, params, batch, counter=None, factor=1.0):
    def closure():
        optimizer.zero_grad()
        loss = factor * loss_of(params, [t.to(params[0].dtype) for t in batch])
        loss.backward()
        if counter is not None:
            counter.append(1)
        return loss

    return closure


def stream(problem):
    for epoch in range(EPOCHS):
        for i in range(STEPS):
            yield epoch, i, problem.batches[epoch][i]


def train(optimizer, params, problem, steps=range(EPOCHS * STEPS), counter=None, visit=None):
    for t, (epoch, i, batch) in enumerate(stream(problem)):
        if t not in steps:
            continue
        if i == 0 and hasattr(optimizer, "set_epoch"):
            optimizer.set_epoch(epoch)
        optimizer.step(closure_for(optimizer, params, batch, counter))
        if visit is not None:
            visit(t)
    return params


def largest_difference(a, b):
    return max(float((x.detach() - y.detach()).abs().max()) for x, y in zip(a, b, strict=True))


# -------------------------------------------------------------------- the equations, step by step
@each()
@pytest.mark.parametrize("base", ["sgd", "adam"])
def test_follows_its_equations(member, base, problem):
    params, mirror = leaves(problem.start), [p.clone() for p in problem.start]
    kind, lr = (torch.optim.SGD, 0.05) if base == "sgd" else (torch.optim.Adam, 0.01)
    optimizer = member.build(params, kind, lr)
    descend = reference.sgd(mirror, lr, member.momentum) if base == "sgd" else reference.adam(mirror, lr)
    function, options = member.follows
    step = function(mirror, loss_of, descend, **options)
    for epoch, i, batch in stream(problem):
        if i == 0:
            optimizer.set_epoch(epoch)
        optimizer.step(closure_for(optimizer, params, batch))
        step(batch, epoch, i == 0)
        assert largest_difference(params, mirror) < 1e-9, f"epoch {epoch}, step {i}"


# -------------------------------------------------------------------- the fourteen tests of the specification
@each()
@pytest.mark.parametrize("base", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW], ids=lambda b: b.__name__)
def test_1_rho_0_is_the_base_optimizer_bit_for_bit(member, base, problem):
    params, plain = leaves(problem.start, torch.float32), leaves(problem.start, torch.float32)
    optimizer = member.build(params, base, rho=0.0)
    options = {"momentum": member.momentum} if base is torch.optim.SGD else {}
    counter = []
    train(optimizer, params, problem, counter=counter)
    train(base(plain, lr=0.05, **options), plain, problem)
    assert all(torch.equal(a, b) for a, b in zip(params, plain, strict=True))
    assert len(counter) == EPOCHS * STEPS
    assert not optimizer.perturbed and not optimizer._layout.blocks  # nothing was copied


def test_2_sam_on_a_quadratic():
    hessian = torch.diag(torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64))
    theta = nn.Parameter(torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64))
    optimizer = build_optimizer("sam", [theta], torch.optim.SGD, lr=0.0, rho=0.3)

    def closure():
        optimizer.zero_grad()
        loss = 0.5 * theta @ hessian @ theta
        loss.backward()
        return loss

    optimizer.step(closure)
    h = hessian @ theta.detach()
    assert torch.allclose(theta.grad, hessian @ (theta.detach() + 0.3 * h / h.norm()), atol=1e-6, rtol=0)


def _equal_runs(problem, first, second):
    runs = []
    for name, options in (first, second):
        params = leaves(problem.start)
        train(build_optimizer(name, params, torch.optim.Adam, lr=0.01, **options), params, problem)
        runs.append(params)
    return largest_difference(*runs)


SAM, BASE = ("sam", {"rho": 0.05}), ("none", {})


@pytest.mark.parametrize(
    ("special", "general"),
    [
        (("sam-k", {"rho": 0.05, "k": 1}), SAM),
        (("ae-sam", {"rho": 0.05, "total_steps": 15, "lambda_1": -math.inf, "lambda_2": -math.inf}), SAM),
        (("rst", {"rho": 0.05, "p": 1.0}), SAM),
        (("graphsam", {"rho": 0.05, "anchor_every": 1, "rho_schedule": "constant"}), SAM),
        (("looksam", {"rho": 0.05, "k": 1}), SAM),
        (("esam", {"rho": 0.05}), SAM),
        (("asam", {"rho": 0.05, "adaptive": False}), SAM),
        (("ae-sam", {"rho": 0.05, "total_steps": 15, "lambda_1": math.inf, "lambda_2": math.inf}), BASE),
        (("rst", {"rho": 0.05, "p": 0.0}), BASE),
        (("sam-one", {"rho": 0.05}), ("sam-k", {"rho": 0.05, "k": 1000})),
        (("rst", {"rho": 0.05, "kappa": 0.0}), BASE),
    ],
    ids=lambda pair: pair[0],
)
def test_3_special_cases_are_equal(special, general, problem):
    assert _equal_runs(problem, special, general) < 1e-12


def test_3_graphsam_with_one_step_per_epoch_is_sam(problem):
    params, other = leaves(problem.start), leaves(problem.start)
    graphsam = build_optimizer("graphsam", params, torch.optim.Adam, lr=0.01, rho_schedule="constant")
    sam = build_optimizer("sam", other, torch.optim.Adam, lr=0.01)
    for t, (_, _, batch) in enumerate(stream(problem)):
        graphsam.set_epoch(t)
        graphsam.step(closure_for(graphsam, params, batch))
        sam.step(closure_for(sam, other, batch))
    assert largest_difference(params, other) < 1e-12


def test_4_looksam_stores_the_orthogonal_part(problem):
    params = leaves(problem.start)
    optimizer = build_optimizer("looksam", params, torch.optim.SGD, lr=0.0, rho=0.05, alpha=0.7, k=2)
    batch = problem.batches[0][0]
    optimizer.step(closure_for(optimizer, params, batch))
    g, _ = reference.gradient([p.detach() for p in params], loss_of, batch)
    stored = optimizer._orthogonal.values()
    for i, gradient in enumerate(g):
        assert abs(float((stored[i] * gradient).sum())) < 1e-12
    # the same batch again: g is orthogonal to g_v, so ‖d‖ = ‖g‖ √(1 + α²) per tensor (a tensor of one number has no g_v)
    optimizer.step(closure_for(optimizer, params, batch))
    for i, (p, gradient) in enumerate(zip(params, g, strict=True)):
        if p.numel() > 1:
            assert float(p.grad.norm() / gradient.norm()) == pytest.approx(math.sqrt(1 + 0.7**2), rel=1e-6), i


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.99])
def test_5_graphsam_average_is_equation_12(beta, problem):
    params = leaves(problem.start)
    optimizer = build_optimizer("graphsam", params, torch.optim.SGD, lr=0.05, rho=0.05, beta=beta)
    optimizer.set_epoch(0)
    anchor, omegas = None, []
    for batch in problem.batches[0]:
        if anchor is None:
            anchor, _ = reference.gradient([p.detach() for p in params], loss_of, batch)
        optimizer.step(closure_for(optimizer, params, batch))
        omegas.append([p.grad.clone() for p in params])  # SGD leaves ω where it was
        t = len(omegas)
        for i, value in optimizer.epsilon.items():
            expected = beta**t * anchor[i]
            for s, omega in enumerate(omegas):
                expected = expected + (1 - beta) * beta ** (t - 1 - s) * omega[i] / reference.norm(omega)
            assert torch.allclose(value, expected, atol=1e-12, rtol=1e-9)


def _displacements(optimizer, params, problem):
    """θ at each pass, for every step: the clean weights and the points where gradients were taken."""
    found = []
    for epoch, i, batch in stream(problem):
        if i == 0:
            optimizer.set_epoch(epoch)
        clean, points = [p.detach().clone() for p in params], []

        def closure(batch=batch, points=points):
            points.append([p.detach().clone() for p in params])
            return closure_for(optimizer, params, batch)()

        optimizer.step(closure)
        found.append((clean, points))
    return found


@each(PLAIN)
def test_6_perturbation_has_norm_rho(member, problem):
    params = leaves(problem.start)
    optimizer = member.build(params, rho_schedule="constant")
    seen = 0
    for clean, points in _displacements(optimizer, params, problem):
        size = reference.norm([a - b for a, b in zip(points[-1], clean, strict=True)])
        assert size == 0 or size == pytest.approx(0.05, rel=1e-9)
        seen += size > 0
    assert seen == EPOCHS * STEPS if member.perturbs_every_step else 0 < seen < EPOCHS * STEPS


@pytest.mark.parametrize("eta", [0.0, 0.01])
@pytest.mark.parametrize("method", ["asam", "graphsam"])
def test_6_adaptive_bound_is_on_the_scaled_perturbation(method, eta, problem):
    params = leaves(problem.start)
    options = {"scope": "all"} if method == "asam" else {"adaptive": True, "rho_schedule": "constant"}
    optimizer = build_optimizer(method, params, torch.optim.SGD, lr=0.05, rho=0.5, eta=eta, **options)
    for clean, points in _displacements(optimizer, params, problem):
        moves = [(a - b) / (b.abs() + eta) for a, b in zip(points[-1], clean, strict=True)]
        assert reference.norm(moves) == pytest.approx(0.5, rel=1e-9)


@each()
def test_6_the_logged_norm_is_the_norm(member, problem):
    params = leaves(problem.start)
    optimizer = member.build(params)
    logged = []
    found = []
    for epoch, i, batch in stream(problem):
        if i == 0:
            optimizer.set_epoch(epoch)
        clean, points = [p.detach().clone() for p in params], []

        def closure(batch=batch, points=points):
            points.append([p.detach().clone() for p in params])
            return closure_for(optimizer, params, batch)()

        optimizer.step(closure)
        found.append(reference.norm([a - b for a, b in zip(points[-1], clean, strict=True)]))
        logged.append(float(optimizer.last.perturbation_norm))
    assert logged == pytest.approx(found, rel=1e-9, abs=1e-15)


@each()
def test_7_weights_are_restored_bit_for_bit_in_place(member, problem):
    params = leaves(problem.start, torch.float32)
    optimizer = member.build(params, lr=0.0)
    pointers, before = [p.data_ptr() for p in params], [p.detach().clone() for p in params]
    counter = []
    train(optimizer, params, problem, counter=counter, visit=lambda t: _same_bits(params, before))
    assert pointers == [p.data_ptr() for p in params]
    assert len(counter) >= EPOCHS * STEPS


def _same_bits(params, before):
    assert all(torch.equal(p.view(torch.int32), b.view(torch.int32)) for p, b in zip(params, before, strict=True))


@each()
def test_8_passes_are_counted_and_no_more_than_promised(member, problem):
    params, counter, passes = leaves(problem.start), [], []
    optimizer = member.build(params)
    for epoch, i, batch in stream(problem):
        if i == 0:
            optimizer.set_epoch(epoch)
        before = len(counter)
        optimizer.step(closure_for(optimizer, params, batch, counter))
        passes.append(len(counter) - before)
        assert optimizer.last.passes == passes[-1]
    expected = {
        "sam-one": [2] + [1] * 14,
        "sam-k": ([2, 1, 1] * 5),
        "sam-k-skip": ([2, 1, 1] * 5),
        "looksam": ([2, 1, 1] * 5),
        "looksam-global": ([2, 1, 1] * 5),
        "graphsam-k": [2] + [1] * 9 + [2] + [1] * 4,
    }.get(member.name, list(member.passes) * EPOCHS)
    if expected:
        assert passes == expected
    else:
        assert set(passes) == {1, 2}
    if member.name == "graphsam":
        assert sum(passes) == EPOCHS * (STEPS + 1)


@pytest.mark.parametrize("method", ["sam", "asam", "sam-one", "sam-k", "rst", "esam"])
def test_9_a_factor_on_the_loss_does_not_change_the_perturbation(method, problem):
    moves = []
    for factor in (1.0, 1000.0):
        params = leaves(problem.start)
        optimizer = build_optimizer(method, params, torch.optim.SGD, lr=0.0, rho=0.05)
        counter = []
        for batch in problem.batches[0]:
            points = []

            def closure(batch=batch, points=points, params=params, optimizer=optimizer, factor=factor):
                points.append([p.detach().clone() for p in params])
                return closure_for(optimizer, params, batch, factor=factor)()

            optimizer.step(closure)
            counter.append([a - b for a, b in zip(points[-1], problem.start, strict=True)])
        moves.append(counter)
    for small, large in zip(*moves, strict=True):
        assert largest_difference(small, large) < 1e-12


@each()
@pytest.mark.parametrize("stop", [1, 3, 5, 7, 11])
@pytest.mark.parametrize("base", [torch.optim.SGD, torch.optim.Adam], ids=lambda b: b.__name__)
def test_10_saved_loaded_and_continued_is_uninterrupted(member, stop, base, problem):
    straight = leaves(problem.start, torch.float32)
    train(member.build(straight, base), straight, problem)
    params = leaves(problem.start, torch.float32)
    first = member.build(params, base)
    train(first, params, problem, steps=range(stop))
    file = io.BytesIO()
    torch.save({"model": [p.detach() for p in params], "optimizer": first.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = leaves(saved["model"], torch.float32)
    second = member.build(resumed, base)
    second.load_state_dict(saved["optimizer"])
    assert second.param_groups is second.base_optimizer.param_groups
    if stop % STEPS:
        second.set_epoch(stop // STEPS)  # what a training loop does when it takes an epoch up again
    train(second, resumed, problem, steps=range(stop, EPOCHS * STEPS))
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))


@each()
def test_11_groups_frozen_tensors_and_tensors_without_gradient(member, problem):
    params = leaves(problem.start)
    frozen = nn.Parameter(torch.ones(3, dtype=torch.float64), requires_grad=False)
    unused = nn.Parameter(torch.ones(4, dtype=torch.float64))
    groups = [{"params": [params[0], frozen]}, {"params": [unused, *params[1:]], "lr": 0.01}]
    optimizer = member.build(groups, groups="all", loss_weighting="none")
    seen = []
    for clean, points in _displacements(optimizer, params, problem):
        seen.append([float((a - b).abs().max()) > 0 for a, b in zip(points[-1], clean, strict=True)])
    assert torch.equal(frozen, torch.ones_like(frozen)) and torch.equal(unused, torch.ones_like(unused))
    assert all(any(column) for column in zip(*seen, strict=True))  # every group was perturbed
    assert all(len({*row}) == 1 for row in seen)  # and always all of them or none
    # one group for all gives the same ε̂: the norm is global
    alike, together = leaves(problem.start), leaves(problem.start)
    split = [{"params": alike[:1]}, {"params": alike[1:]}]
    train(member.build(split, groups="all"), alike, problem)
    train(member.build(together, groups="all"), together, problem)
    assert largest_difference(alike, together) < 1e-9


@each()
def test_11_a_group_with_rho_0_is_left_alone(member, problem):
    params = leaves(problem.start)
    optimizer = member.build([{"params": params[:2]}, {"params": params[2:], "rho": 0.0}], groups="all")
    for clean, points in _displacements(optimizer, params, problem):
        for point in points:
            assert largest_difference(point[2:], clean[2:]) == 0
    assert largest_difference(params, problem.start) > 0
    assert largest_difference(params[2:], problem.start[2:]) > 0  # but trained


@each(PLAIN)
def test_11_groups_with_radii_of_their_own(member, problem):
    params = leaves(problem.start)
    groups = [{"params": params[:2], "rho": 0.2}, {"params": params[2:], "rho": 0.05}]
    optimizer = member.build(groups, rho_schedule="constant")
    for clean, points in _displacements(optimizer, params, problem):
        move = [(a - b) / (0.2 if i < 2 else 0.05) for i, (a, b) in enumerate(zip(points[-1], clean, strict=True))]
        assert reference.norm(move) == pytest.approx(1.0, rel=1e-9) or reference.norm(move) == 0


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def two_processes(request, tmp_path_factory):
    """What two processes ended with: for each rank, weights and perturbation norms by member."""
    folder = tmp_path_factory.mktemp(request.param)
    script = Path(__file__).parents[1] / "reference" / "two_processes.py"
    commands = [[sys.executable, str(script), str(rank), str(folder), request.param] for rank in range(2)]
    running = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for c in commands]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(outputs)[-4000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@each()
def test_12_two_processes_equal_one_on_the_union_of_their_batches(member, two_processes, problem):
    params, norms = leaves(problem.start), []
    optimizer = member.build(params, torch.optim.Adam, lr=0.01)
    train(optimizer, params, problem, visit=lambda t: norms.append(float(optimizer.last.perturbation_norm)))
    for found in (rank[member.name] for rank in two_processes):
        assert largest_difference(found["weights"], params) < 1e-6
        assert found["norms"] == pytest.approx(norms, abs=1e-9)
    first, second = (rank[member.name]["weights"] for rank in two_processes)
    assert largest_difference(first, second) == 0


def test_13_released_clips_every_tensor_to_the_radius(problem):
    params = leaves(problem.start)
    optimizer = build_optimizer("graphsam", params, torch.optim.Adam, lr=0.01, preset="released")
    for t, (clean, points) in enumerate(_displacements(optimizer, params, problem)):
        norms = [float((a - b).norm()) for a, b in zip(points[-1], clean, strict=True)]
        radius = 0.05 * 0.5 ** sum(range(t // STEPS + 1))
        if t % STEPS:
            assert norms == pytest.approx([radius] * 4, rel=1e-9)
        else:
            assert all(n <= radius * (1 + 1e-9) for n in norms) and min(norms) < radius


@each()
def test_14_accumulation_equals_one_large_batch(member, problem):
    large, small = leaves(problem.start), leaves(problem.start)
    train(member.build(large), large, problem)
    optimizer = member.build(small)
    for epoch, i, (x, y) in stream(problem):
        if i == 0:
            optimizer.set_epoch(epoch)

        def closure(x=x, y=y):
            optimizer.zero_grad()
            total = 0.0
            for part in range(4):
                loss = loss_of(small, (x[2 * part : 2 * part + 2], y[2 * part : 2 * part + 2])) / 4
                loss.backward()
                total = total + loss.detach()
            return total

        optimizer.step(closure)
    assert largest_difference(large, small) < 1e-10


# -------------------------------------------------------------------- ways to drive
def drive_by_phases(optimizer, params, problem, scale=None):
    """A trainer that owns its loop; ``scale`` is a loss scale that the gradients carry until just before the step."""
    for epoch, i, batch in stream(problem):
        if i == 0:
            optimizer.set_epoch(epoch)
        factor = 1.0 if scale is None else scale
        if optimizer.wants_clean_gradient:
            (factor * loss_of(params, batch)).backward()
        optimizer.ascend(grad_scale=scale)
        assert all(p.grad is None for p in params)
        loss = loss_of(params, batch)
        (factor * loss).backward()
        optimizer.restore()
        if scale is not None:
            optimizer.observe(loss=loss.detach(), grad_scale=scale)
            for p in params:
                p.grad /= scale
        optimizer.step(loss=loss.detach())
        optimizer.zero_grad()


@each()
@pytest.mark.parametrize("scale", [None, 1024.0], ids=["plain", "scaled loss"])
def test_phases_equal_the_closure(member, scale, problem):
    by_closure, by_phases = leaves(problem.start), leaves(problem.start)
    train(member.build(by_closure), by_closure, problem)
    optimizer = member.build(by_phases)
    drive_by_phases(optimizer, by_phases, problem, scale)
    assert largest_difference(by_closure, by_phases) < 1e-11
    assert optimizer.steps == EPOCHS * STEPS


@each()
def test_a_skipped_step_leaves_no_trace(member, problem):
    params, undisturbed = leaves(problem.start), leaves(problem.start)
    optimizer = member.build(params)
    train(member.build(undisturbed), undisturbed, problem)
    for epoch, i, batch in stream(problem):
        if i == 0:
            optimizer.set_epoch(epoch)
        for overflow in ("first pass", "second pass", None):
            if optimizer.wants_clean_gradient:
                (loss_of(params, batch) * (math.inf if overflow == "first pass" else 1.0)).backward()
                optimizer.ascend()
                if overflow == "first pass":
                    assert optimizer.non_finite
                    optimizer.skip_step()
                    continue
            else:
                optimizer.ascend()
            before = optimizer.state_dict()["sharpness"]["vectors"]
            before = {name: copy.deepcopy(vector) for name, vector in before.items()}
            loss = loss_of(params, batch) * (math.inf if overflow else 1.0)
            loss.backward()
            optimizer.restore()
            if overflow:
                if member.options.get("preset") != "released":  # which multiplies by the infinite loss
                    optimizer.observe(loss=1.0)
                optimizer.skip_step()
                optimizer.zero_grad()
                continue
            optimizer.step(loss=loss.detach())
            optimizer.zero_grad()
    assert largest_difference(params, undisturbed) < 1e-12


@each()
def test_an_exception_in_the_closure_leaves_clean_weights(member, problem):
    params = leaves(problem.start)
    optimizer = member.build(params)
    train(optimizer, params, problem, steps=range(2))
    before, count = [p.detach().clone() for p in params], []
    inner = closure_for(optimizer, params, problem.batches[0][2])

    def closure():
        count.append(1)
        inner()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    assert largest_difference(params, before) == 0 and not optimizer.perturbed and optimizer.steps == 2


IN_STREAM = [m for m in MEMBERS if m.name in ("graphsam-in-stream", "momentum-sam", "momentum-sam-ascent")]


@each(IN_STREAM)
@pytest.mark.parametrize("hold", [False, True], ids=["train() per forward", "train(hold=True) per epoch"])
def test_a_loop_without_closure(member, hold, problem):
    by_closure, params = leaves(problem.start), leaves(problem.start)
    train(member.build(by_closure), by_closure, problem)
    optimizer = member.build(params)
    for epoch, i, batch in stream(problem):
        if i == 0:
            optimizer.set_epoch(epoch)
        if not hold or i == 0:
            optimizer.train(hold=hold)
        loss_of(params, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        assert optimizer.perturbed == (hold and optimizer.perturbed)
        if i == 2:  # evaluation in mid-epoch
            optimizer.eval()
            assert not optimizer.perturbed
            optimizer.train(hold=hold)
    optimizer.eval()
    assert largest_difference(by_closure, params) < 1e-12


@each()
def test_a_step_without_closure_is_refused_where_it_would_be_plain(member, problem):
    params = leaves(problem.start)
    optimizer = member.build(params)
    optimizer.set_epoch(0)
    loss_of(params, problem.batches[0][0]).backward()
    with pytest.raises(InvalidArgumentError, match=r"closure is None.*step\(closure\).*ascend\(\).*train\(\)"):
        optimizer.step()


@each()
def test_schedulers_hooks_and_copies(member, problem):
    params = leaves(problem.start)
    optimizer = member.build(params)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    calls = []
    optimizer.load_state_dict(optimizer.state_dict())  # accelerate does so at once
    optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
    optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    train(optimizer, params, problem, steps=range(2))
    scheduler.step()
    assert optimizer.base_optimizer.param_groups[0]["lr"] == 0.025
    assert calls == ["pre", "post"] * 2
    optimizer.load_state_dict(optimizer.state_dict())
    scheduler.step()
    assert optimizer.base_optimizer.param_groups[0]["lr"] == 0.0125
    clone = copy.deepcopy(optimizer)
    twins = clone.param_groups[0]["params"]
    train(optimizer, params, problem, steps=range(2, 7))
    train(clone, twins, problem, steps=range(2, 7))
    assert largest_difference(params, twins) == 0


@each()
def test_the_state_of_another_method_is_refused(member, problem):
    params = leaves(problem.start)
    optimizer = member.build(params)
    train(optimizer, params, problem, steps=range(2))
    other = build_optimizer("rst" if member.method == "sam" else "sam", leaves(problem.start), torch.optim.SGD, lr=0.05)
    with pytest.raises(InvalidArgumentError, match=f"method '{member.method}'.*method '{other.method}'"):
        other.load_state_dict(optimizer.state_dict())
    plain = torch.optim.SGD(leaves(problem.start), lr=0.05)
    with pytest.raises(InvalidArgumentError, match=f"plain optimizer.*'{member.method}'"):
        optimizer.load_state_dict(plain.state_dict())
    adam = member.build(leaves(problem.start), torch.optim.Adam)
    with pytest.raises(InvalidArgumentError, match="base_optimizer 'SGD'.*base_optimizer 'Adam'"):
        adam.load_state_dict(optimizer.state_dict())


@each()
def test_numbers_stay_on_the_device(member, problem, monkeypatch):
    """The path for accelerators, run on the CPU: the same steps, and no number is read back."""
    by_host, params = leaves(problem.start), leaves(problem.start)
    train(member.build(by_host), by_host, problem)
    monkeypatch.setattr("dc_graphsam.optim.memory.block.reading_is_free", lambda device: False)
    optimizer = member.build(params)

    def refuse(*_):
        raise AssertionError("a number was read from the device")

    if member.method != "ae-sam":  # which has to branch on one
        for name in ("item", "__bool__", "__float__", "tolist"):
            monkeypatch.setattr(torch.Tensor, name, refuse)
        monkeypatch.setattr(torch.optim.Optimizer, "profile_hook_step", staticmethod(lambda f: f))
    train(optimizer, params, problem)
    monkeypatch.undo()
    assert not any(block.host for block in optimizer._layout.blocks)
    assert largest_difference(by_host, params) < 1e-10


@each()
def test_mixed_dtypes(member, problem):
    params = leaves(problem.start, torch.float32)
    params[1] = nn.Parameter(params[1].double())
    optimizer = member.build(params)
    for epoch, i, (x, y) in stream(problem):
        if i == 0:
            optimizer.set_epoch(epoch)

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = loss_of([p.float() for p in params], (x.float(), y.float()))
            loss.backward()
            return loss

        optimizer.step(closure)
    same = leaves(problem.start, torch.float32)
    train(member.build(same), same, problem)
    assert largest_difference([p.float() for p in params], same) < 1e-4


@each()
def test_flattened_parameters_train_alike(member, problem):
    params, flat = leaves(problem.start), leaves(problem.start)
    train(member.build(params), params, problem)
    optimizer = member.build(flat)
    optimizer.flatten_parameters()
    pointers = [p.data_ptr() for p in flat]
    train(optimizer, flat, problem, steps=range(7))
    assert pointers == [p.data_ptr() for p in flat] and pointers == sorted(pointers)
    flat[0].data = flat[0].data.clone()  # as moving a model does
    train(optimizer, flat, problem, steps=range(7, EPOCHS * STEPS))
    assert largest_difference(params, flat) < 1e-12


def test_extra_memory_is_what_the_registry_says(problem):
    for member in MEMBERS:
        params = leaves(problem.start)
        optimizer = member.build(params)
        train(optimizer, params, problem)
        views = [view for block in optimizer._layout.blocks for _, list_ in block.vectors.values() for view in list_]
        numbers = sum(view.numel() for view in views)
        size = sum(p.numel() for p in params)
        assert numbers <= OPTIMIZERS[member.method].extra_copies * size, member.name
