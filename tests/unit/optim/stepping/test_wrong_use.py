"""Wrong arguments and wrong driving: one line that names the argument, what it got and what it accepts."""

from __future__ import annotations

import pytest
import torch

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.optim import AESAM, OPTIMIZERS, SAM, GraphSAM, MomentumSAM, build_optimizer


def weights():
    return [torch.nn.Parameter(torch.ones(3))]


BAD = [
    ("sam", {"rho": -0.1}, r"rho is -0\.1; accepted: a number in \[0, inf\)"),
    ("sam", {"rho": float("nan")}, "rho is nan"),
    ("sam", {"rho": "0.05"}, r"rho is '0\.05'"),
    ("sam", {"rho": True}, "rho is True"),
    ("graphsam", {"beta": 1.0}, r"beta is 1\.0; accepted: a number in \[0, 1\)"),
    ("graphsam", {"beta": -0.1}, r"beta is -0\.1"),
    ("graphsam", {"gamma": 0.0}, r"gamma is 0\.0; accepted: a number in \(0, inf\)"),
    ("graphsam", {"anchor_every_epochs": 0}, "anchor_every_epochs is 0; accepted: a whole number >= 1 or None"),
    ("graphsam", {"anchor_every_epochs": 1.5}, r"anchor_every_epochs is 1\.5"),
    ("graphsam", {"anchor_every": 0}, "anchor_every is 0"),
    ("graphsam", {"rho_update_epochs": 0}, "rho_update_epochs is 0"),
    ("graphsam", {"rho_schedule": "cosine"}, "rho_schedule is 'cosine'; accepted: 'constant', 'paper'"),
    ("graphsam", {"preset": "release"}, "preset is 'release'; accepted: 'paper', 'released'. Did you mean 'released'"),
    ("graphsam", {"anchor": "instream"}, "anchor is 'instream'.*Did you mean 'in-stream'"),
    ("graphsam", {"anchor_scale": "none"}, "anchor_scale is 'none'"),
    ("graphsam", {"scale": "local"}, "scale is 'local'"),
    ("graphsam", {"omega_norm": "none"}, "omega_norm is 'none'"),
    ("graphsam", {"clip_radius": 0.0}, r"clip_radius is 0\.0"),
    ("graphsam", {"loss_weighting": "squared"}, "loss_weighting is 'squared'; accepted: 'none', 'loss', 'elementwise'"),
    ("graphsam", {"groups": "second"}, "groups is 'second'"),
    ("graphsam", {"max_grad_norm": 0}, "max_grad_norm is 0"),
    ("graphsam", {"bta": 0.9}, "bta is no argument of GraphSAM or its base optimizer.*Did you mean 'beta'"),
    ("sam", {"beta": 0.9}, "beta is no argument of SAM"),
    ("asam", {"eta": -1.0}, r"eta is -1\.0"),
    ("asam", {"scope": "biases"}, "scope is 'biases'; accepted: 'all', 'weights'"),
    ("sam-k", {"k": 0}, "k is 0; accepted: a whole number >= 1"),
    ("sam-k", {"stale": "keep"}, "stale is 'keep'; accepted: 'reuse', 'skip'"),
    ("sam-one", {"k": 8}, "k is no argument of SAMOne, whose direction is never refreshed; accepted with SAMk"),
    ("sam-one", {"stale": "skip"}, "stale is no argument of SAMOne"),
    ("looksam", {"alpha": -0.1}, r"alpha is -0\.1"),
    ("looksam", {"k": 2.0}, r"k is 2\.0"),
    ("looksam", {"scope": "layer"}, "scope is 'layer'"),
    ("looksam", {"preset": "paper"}, "preset is 'paper'; accepted: 'original', 'graphsam-paper'"),
    ("ae-sam", {}, "total_steps is None; accepted: a whole number >= 1"),
    ("ae-sam", {"total_steps": 5, "delta": 1.0}, r"delta is 1\.0"),
    ("ae-sam", {"total_steps": 5, "lambda_1": "low"}, "lambda_1 is 'low'"),
    ("rst", {"p": 1.1}, r"p is 1\.1; accepted: a number in \[0, 1\]"),
    ("rst", {"p_end": 0.1}, "total_steps is None"),
    ("rst", {"seed": -1}, "seed is -1"),
    ("rst", {"kappa": -1.0}, r"kappa is -1\.0"),
    ("esam", {"weight_share": 0.0}, r"weight_share is 0\.0; accepted: a number in \(0, 1\]"),
    ("esam", {"sample_share": 1.5}, r"sample_share is 1\.5"),
    ("momentum-sam", {"direction": "down"}, "direction is 'down'"),
    ("none", {"rho": 0.05}, "rho is no argument"),
    ("grafsam", {}, "name is 'grafsam'; accepted: 'none', 'sam'.*Did you mean 'graphsam'"),
]


@pytest.mark.parametrize(("name", "options", "words"), BAD, ids=lambda v: str(v) if not isinstance(v, str) else v[:12])
def test_options(name, options, words):
    with pytest.raises(InvalidArgumentError, match=words) as error:
        build_optimizer(name, weights(), torch.optim.Adam, lr=0.1, **options)
    assert "\n" not in str(error.value)


def test_radius_of_a_group():
    with pytest.raises(InvalidArgumentError, match="rho is -1"):
        SAM([{"params": weights(), "rho": -1}], lr=0.1)
    optimizer = SAM(weights(), lr=0.1)
    with pytest.raises(InvalidArgumentError, match="rho is 'big'"):
        optimizer.add_param_group({"params": weights(), "rho": "big"})


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("none", "ae-sam")])
def test_base_optimizers(name):
    params = weights()
    with pytest.raises(
        InvalidArgumentError, match=r"base_optimizer is an instance of SGD; accepted: a class.*torch\.optim\.SGD"
    ):
        build_optimizer(name, params, torch.optim.SGD(params, lr=0.1))
    with pytest.raises(InvalidArgumentError, match="base_optimizer is 'adam'; accepted"):
        build_optimizer(name, params, "adam")
    with pytest.raises(InvalidArgumentError, match="base_optimizer is LBFGS; accepted: one that steps"):
        build_optimizer(name, params, torch.optim.LBFGS)


def test_params_of_every_kind():
    layer = torch.nn.Linear(3, 2)
    assert len(SAM(layer.parameters(), lr=0.1).param_groups[0]["params"]) == 2  # a generator
    assert SAM(layer.named_parameters(), lr=0.1).param_groups[0]["param_names"] == ["weight", "bias"]
    groups = [{"params": [layer.weight], "rho": 0.1, "lr": 0.5}, {"params": layer.bias}]
    optimizer = SAM(groups, lambda params, lr: torch.optim.SGD(params, lr=lr), lr=0.1)
    assert [(g["rho"], g["lr"]) for g in optimizer.base_optimizer.param_groups] == [(0.1, 0.5), (0.05, 0.1)]
    with pytest.raises(ValueError, match="empty parameter list"):
        SAM([], lr=0.1)
    with pytest.raises(TypeError, match="iterable of Tensors"):
        SAM(layer.weight, lr=0.1)


# -------------------------------------------------------------------- driving
def step(optimizer, weight):
    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    return optimizer.step(closure)


def test_set_epoch_never_called():
    (weight,) = weights()
    optimizer = GraphSAM([weight], lr=0.1)
    with pytest.raises(InvalidArgumentError, match=r"set_epoch was never called.*set_epoch\(e\).*anchor_every=<steps>"):
        step(optimizer, weight)
    with pytest.raises(InvalidArgumentError, match="set_epoch was never called"):
        _ = optimizer.wants_clean_gradient
    with pytest.raises(InvalidArgumentError, match="set_epoch was never called"):
        optimizer.train()
    sam = SAM([weight], lr=0.1, rho_schedule="paper")
    with pytest.raises(
        InvalidArgumentError, match=r"SAM has rho_schedule='paper'; accepted: .*rho_schedule='constant'"
    ):
        step(sam, weight)
    assert torch.equal(weight, torch.ones(3))


@pytest.mark.parametrize("epoch", [-1, 1.0, "0", None, True])
def test_epochs(epoch):
    with pytest.raises(InvalidArgumentError, match=f"epoch is {epoch!r}; accepted: a whole number >= 0"):
        GraphSAM(weights(), lr=0.1).set_epoch(epoch)


@pytest.mark.parametrize(
    "options",
    [
        {"anchor_every": 3},
        {"anchor_every": 3, "anchor": "in-stream"},
        {"anchor_every_epochs": None, "rho_schedule": "constant"},
    ],
    ids=str,
)
def test_streams_need_no_epoch(options):
    (weight,) = weights()
    optimizer = GraphSAM([weight], lr=0.1, **options)
    radii = []
    for _ in range(7):
        step(optimizer, weight)
        radii.append(optimizer.last.rho)
    periods = [0.05] * 3 + [0.025] * 3 + [0.0125]  # a period of anchor_every steps stands for an epoch
    assert radii == (periods if "anchor_every" in options else [0.05] * 7)


def test_set_epoch_twice_does_not_anchor_twice():
    (weight,) = weights()
    optimizer, passes = GraphSAM([weight], lr=0.1), []
    for epoch in (0, 0, 1, 1):
        optimizer.set_epoch(epoch)
        step(optimizer, weight)
        passes.append(optimizer.last.passes)
    assert passes == [2, 1, 2, 1]


def test_ascend_without_a_gradient():
    optimizer = SAM(weights(), lr=0.1)
    with pytest.raises(InvalidArgumentError, match=r"p\.grad is None for every parameter.*before ascend\(\)"):
        optimizer.ascend()
    assert not optimizer.perturbed


def test_observe_before_ascend():
    with pytest.raises(InvalidArgumentError, match=r"closure is None.*ascend\(\)"):
        SAM(weights(), lr=0.1).observe()


def test_a_second_step_without_train():
    (weight,) = weights()
    optimizer = GraphSAM([weight], lr=0.1, anchor="in-stream", anchor_every=4)
    optimizer.train()
    weight.sum().backward()
    optimizer.step()
    weight.sum().backward()
    with pytest.raises(InvalidArgumentError, match=r"train\(\) before each forward pass"):
        optimizer.step()


def test_an_anchor_in_a_loop_without_closure():
    (weight,) = weights()
    optimizer = GraphSAM([weight], lr=0.1, anchor_every=4)
    optimizer.train()
    weight.sum().backward()
    with pytest.raises(InvalidArgumentError, match="anchor='in-stream'"):
        optimizer.step()


def test_loss_weighting_needs_the_loss():
    (weight,) = weights()
    optimizer = SAM([weight], lr=0.1, loss_weighting="loss")
    weight.sum().backward()
    optimizer.ascend()
    weight.sum().backward()
    with pytest.raises(InvalidArgumentError, match="loss is None; loss_weighting='loss'"):
        optimizer.step()


def test_elementwise_weighting_needs_the_elements():
    (weight,) = weights()
    optimizer = SAM([weight], lr=0.1, loss_weighting="elementwise")
    with pytest.raises(InvalidArgumentError, match="closure returned a reduced loss"):
        optimizer.step(lambda: weight.sum())


def test_momentum_sam_without_momentum():
    (weight,) = weights()
    optimizer = MomentumSAM([weight], torch.optim.SGD, lr=0.1)
    step(optimizer, weight)
    with pytest.raises(
        InvalidArgumentError, match="base_optimizer SGD keeps no momentum; accepted: .*'exp_avg' or 'momentum_buffer'"
    ):
        step(optimizer, weight)


def test_sparse_and_complex_parameters():
    embedding = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = SAM(embedding.parameters(), torch.optim.SGD, lr=0.1)
    with pytest.raises(InvalidArgumentError, match="sparse gradient; accepted: dense"):
        optimizer.step(lambda: embedding(torch.tensor([1])).sum().backward())
    weight = torch.nn.Parameter(torch.ones(2, dtype=torch.complex64))
    optimizer = SAM([weight], torch.optim.SGD, lr=0.1)
    with pytest.raises(InvalidArgumentError, match="complex64; accepted: real"):
        optimizer.step(lambda: weight.abs().sum().backward())


def test_coarse_weights_are_warned_of():
    with pytest.warns(UserWarning, match=r"bfloat16.*rounds away; keep the weights in float32"):
        SAM([torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))], torch.optim.SGD, lr=0.1)


def test_ae_sam_takes_infinities():
    assert AESAM(weights(), lr=0.1, total_steps=3, lambda_1=float("inf")).lambda_1 == float("inf")
