"""The parent Trainer, without our subclass, around our optimizers: it calls ``optimizer.train()`` before each forward pass."""

from __future__ import annotations

import pytest
import torch
from transformers import Trainer, TrainingArguments

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.hf import GraphSAMTrainer
from dc_graphsam.optim import SAM, GraphSAM, MomentumSAM

IN_STREAM = {"anchor": "in-stream", "anchor_every": 5, "rho": 0.1, "rho_schedule": "constant"}


# Clipping is off: in the parent's loop it comes before the method has seen the gradient, which shortens the anchor.


def stock(tmp_path, model, rows, method, options, **arguments):
    args = TrainingArguments(
        str(tmp_path / "stock"), num_train_epochs=2, per_device_train_batch_size=8, learning_rate=1e-3, warmup_steps=0.05,
        use_cpu=True, seed=3, disable_tqdm=True, max_grad_norm=0, **{"save_strategy": "no", **arguments},
    )  # fmt: skip
    optimizer = {
        "optimizer_cls_and_kwargs": (method, {"base_optimizer": torch.optim.AdamW, "weight_decay": 0.0, **options})
    }
    return Trainer(model, args, train_dataset=rows, eval_dataset=rows, **optimizer)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_in_stream_is_what_our_trainer_does(
    make_module, make_args, numbers, largest_difference, tmp_path, accumulation
):
    trainer = stock(
        tmp_path, make_module(), numbers, GraphSAM, {"lr": 1e-3, **IN_STREAM}, gradient_accumulation_steps=accumulation
    )
    trainer.train()
    ours = GraphSAMTrainer(
        make_module(),
        make_args(**IN_STREAM, optim="adamw_torch", max_grad_norm=0, gradient_accumulation_steps=accumulation),
        train_dataset=numbers,
    )
    ours.train()
    plain = GraphSAMTrainer(
        make_module(), make_args(sam="none", gradient_accumulation_steps=accumulation), train_dataset=numbers
    )
    plain.train()
    assert largest_difference(trainer.model, ours.model) < 1e-7
    assert largest_difference(trainer.model, plain.model) > 1e-5  # it has been perturbed


@pytest.mark.parametrize(("method", "options"), [(GraphSAM, IN_STREAM), (MomentumSAM, {"rho": 0.1})])
def test_evaluation_and_checkpoints_see_clean_weights(make_module, numbers, same_bits, tmp_path, method, options):
    from safetensors.torch import load_file
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            ends[state.global_step] = {k: v.clone() for k, v in model.state_dict().items()}

        def on_prediction_step(self, args, state, control, model=None, **kwargs):
            assert same_bits(ends[state.global_step], model)

    ends = {}
    trainer = stock(
        tmp_path, make_module(), numbers, method, {"lr": 1e-3, **options}, save_strategy="steps", save_steps=3,
        eval_strategy="steps", eval_steps=3,
    )  # fmt: skip
    trainer.add_callback(Watch())
    trainer.train()
    for step in (3, 6, 9):
        assert same_bits(load_file(tmp_path / "stock" / f"checkpoint-{step}" / "model.safetensors"), ends[step])


def test_methods_with_two_passes_say_what_to_do(make_module, numbers, tmp_path):
    trainer = stock(tmp_path, make_module(), numbers, SAM, {"lr": 1e-3})
    with pytest.raises(InvalidArgumentError, match=r"closure is None, .* this step of SAM"):
        trainer.train()
