"""Arguments of the Trainer."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import HfArgumentParser, TrainingArguments

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.hf import GraphSAMTrainingArguments
from dc_graphsam.hf.optimizers import method_names
from dc_graphsam.optim import OPTIMIZERS


def test_open_options_become_those_of_the_method(make_args):
    args = make_args()
    assert (args.sam, args.rho, args.beta, args.gamma, args.rho_update_epochs) == ("graphsam", 0.05, 0.99, 0.5, 1)
    assert (args.rho_schedule, args.anchor, args.anchor_every_epochs, args.loss_weighting) == (
        "paper",
        "extra-pass",
        1,
        "none",
    )
    assert make_args(sam="asam").rho == 0.5
    assert make_args(sam="sam").beta is None
    assert make_args(sam="none").rho is None
    released = make_args(sam_preset="released")
    assert (released.rho_schedule, released.loss_weighting) == ("released", "loss")


@pytest.mark.parametrize("sam", method_names())
def test_every_method_has_arguments(make_args, sam):
    args = make_args(sam=sam)
    options = args.method_options()
    assert set(options) <= set(OPTIMIZERS[sam].options)
    again = dataclasses.replace(args)  # what was filled in is accepted
    assert again.method_options() == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sam": "graphsan"}, "sam is 'graphsan'; accepted: .*. Did you mean 'graphsam'"),
        ({"rho": -0.1}, r"rho is -0.1; accepted: a number in \[0, inf\)"),
        ({"rho": float("nan")}, "rho is nan"),
        ({"beta": 1.0}, r"beta is 1.0; accepted: a number in \[0, 1\)"),
        ({"gamma": 0}, r"gamma is 0; accepted: a number in \(0, inf\)"),
        ({"rho_update_epochs": 0}, "rho_update_epochs is 0"),
        ({"anchor_every_epochs": 0}, "anchor_every_epochs is 0"),
        ({"anchor_every": 0}, "anchor_every is 0"),
        ({"rho_schedule": "cosine"}, "rho_schedule is 'cosine'; accepted: 'constant', 'paper'"),
        ({"anchor": "none"}, "anchor is 'none'; accepted: 'extra-pass', 'in-stream'"),
        ({"sam_preset": "papr"}, "preset is 'papr'; accepted: 'paper', 'released'"),
        ({"loss_weighting": "elementwise"}, "loss_weighting is 'elementwise'; accepted: 'none', 'loss'"),
        ({"lr_schedule": "cosine"}, "lr_schedule is 'cosine'; accepted: 'released'"),
        ({"final_learning_rate": 1.0}, r"final_learning_rate is 1.0; accepted: a number in \(0, 0.001\]"),
        ({"lr_warmup_epochs": -1}, "lr_warmup_epochs is -1"),
        ({"train_sampling_strategy": "sorted"}, "train_sampling_strategy is 'sorted'; accepted: 'auto'"),
        ({"sam": "sam", "beta": 0.9}, "beta is no option of sam='sam'; accepted: .*rho"),
        ({"sam": "none", "rho": 0.1}, "rho is no option of sam='none'; accepted: none"),
        ({"sam_options": {"radius": 1}}, "radius is no option of sam='graphsam'"),
        ({"sam_options": "{k: 8}"}, "sam_options is '{k: 8}'; accepted: a JSON object"),
        ({"sam_options": [1]}, r"sam_options is \[1\]; accepted: a dictionary"),
        ({"beta": 0.9, "sam_options": {"beta": 0.8}}, "beta is 0.9 and sam_options says 0.8; set one of them"),
        ({"sam": "esam", "sam_options": {"sample_share": 0.5}}, "sample_share is 0.5; accepted by the Trainer"),
        ({"sam": "sam-k", "sam_options": {"k": 0}}, "k is 0"),
        ({"optim": "lomo"}, "optim is 'lomo', which updates weights within the backward pass"),
        (
            {"fsdp": True, "use_cpu": False},
            "sam='graphsam' does not work with fsdp, which shards the weights; use data-parallel",
        ),
        ({"deepspeed": "zero3.json"}, "sam='graphsam' does not work with deepspeed"),
    ],
)
def test_bad_values(make_args, options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make_args(**options)


def test_sharding_asked_for_by_the_launcher_is_refused(make_args, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InvalidArgumentError, match="sam='sam' does not work with fsdp"):
        make_args(sam="sam")


def test_further_options_reach_the_method(make_args):
    args = make_args(sam="looksam", sam_options='{"k": 5, "alpha": 0.2}')
    assert args.method_options()["k"] == 5
    assert args.method_options()["alpha"] == 0.2


def test_defaults_that_differ_are_listed(tmp_path):
    listed = GraphSAMTrainingArguments.__doc__
    own, parents = GraphSAMTrainingArguments(str(tmp_path)), TrainingArguments(str(tmp_path))
    hidden = {"dataloader_pin_memory"}  # follows the device
    for field in dataclasses.fields(TrainingArguments):
        if getattr(own, field.name) != getattr(parents, field.name) and field.name not in hidden:
            assert f"``{field.name}``" in listed, field.name
    assert (own.remove_unused_columns, own.max_grad_norm, own.weight_decay) == (True, 1.0, 0.0)


def test_parses_from_the_command_line(tmp_path):
    (args,) = HfArgumentParser(GraphSAMTrainingArguments).parse_args_into_dataclasses(
        [
            "--output_dir",
            str(tmp_path),
            "--sam",
            "sam-k",
            "--rho",
            "0.1",
            "--sam_options",
            '{"k": 4}',
            "--save_total_limit",
            "3",
        ]
    )
    assert (args.sam, args.rho, args.sam_options, args.save_total_limit) == ("sam-k", 0.1, {"k": 4}, 3)


def test_every_own_field_has_help():
    inherited = {field.name for field in dataclasses.fields(TrainingArguments)}
    for field in dataclasses.fields(GraphSAMTrainingArguments):
        if field.name not in inherited:
            assert field.metadata["help"]


@pytest.mark.parametrize("fused", [False, True])
def test_adamw_without_decay_is_adam(fused):
    """What the docstring says of the default optimizer."""
    torch.manual_seed(0)
    start = torch.randn(37)
    weights = [torch.nn.Parameter(start.clone()) for _ in range(2)]
    adam = torch.optim.Adam([weights[0]], lr=1e-3, fused=fused)
    adamw = torch.optim.AdamW([weights[1]], lr=1e-3, weight_decay=0.0, fused=fused)
    for step in range(20):
        gradient = torch.randn(37, generator=torch.Generator().manual_seed(step))
        for weight, optimizer in zip(weights, (adam, adamw), strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    assert torch.equal(weights[0], weights[1])


def test_best_metric_is_known_to_be_open(make_args):
    assert make_args().metric_is_default
    args = make_args(save_strategy="best", eval_strategy="epoch")
    assert (args.metric_is_default, args.metric_for_best_model, args.greater_is_better) == (True, "loss", False)
    assert not make_args(metric_for_best_model="rmse", greater_is_better=False).metric_is_default
