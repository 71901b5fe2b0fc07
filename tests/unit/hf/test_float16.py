"""Loss scaling, with torch's own scaler on the CPU."""

from __future__ import annotations

import pytest
import torch
from transformers import TrainerCallback

from dc_graphsam.hf import GraphSAMTrainer
from dc_graphsam.hf.passes import find_sharpness_aware


class Overflow(torch.nn.Module):
    """Returns an infinite loss in the forward passes that are named."""

    def __init__(self, net, at=()):
        super().__init__()
        self.net, self.at, self.calls = net, at, 0

    def forward(self, x, labels=None):
        self.calls += 1
        output = self.net(x, labels)
        if self.calls in self.at:
            output["loss"] = output["loss"] * float("inf")
        return output


class Watch(TrainerCallback):
    """Weights, learning rate and method state after each step."""

    def __init__(self):
        self.records = []

    def on_step_end(self, args, state, control, model=None, optimizer=None, lr_scheduler=None, **kwargs):
        sam = find_sharpness_aware(optimizer)
        epsilon = {k: v.clone() for k, v in sam.epsilon.items()} if hasattr(sam, "epsilon") else {}
        weights = {k: v.clone() for k, v in model.state_dict().items()}
        self.records.append((weights, lr_scheduler.get_last_lr()[0], epsilon, sam.steps))


def scaled(model, args, rows, scale=2.0**16):
    """A trainer as on a GPU with ``fp16=True``: scaled losses, and a scaler that skips overflowing steps."""
    watch = Watch()
    trainer = GraphSAMTrainer(model, args, train_dataset=rows, callbacks=[watch])
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
    trainer.accelerator.native_amp = True
    trainer.accelerator.state._mixed_precision = "fp16"
    return trainer, watch


@pytest.fixture(autouse=True)
def _fresh_accelerator():
    from accelerate.state import AcceleratorState

    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True)
def _no_casting(monkeypatch):
    """The CPU has no float16 to speak of; what is tested is the scaling."""
    import accelerate.accelerator

    monkeypatch.setattr(
        accelerate.accelerator, "get_mixed_precision_context_manager", lambda *a, **k: lambda function: function
    )


OPTIONS = {
    "num_train_epochs": 1,
    "warmup_steps": 0,
    "max_grad_norm": 0.5,
    "logging_strategy": "steps",
    "logging_steps": 1,
}


@pytest.mark.parametrize("sam", ["graphsam", "sam", "looksam", "ae-sam", "momentum-sam", "asam"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_scale_changes_nothing(make_module, make_args, numbers, largest_difference, sam, accumulation):
    options = {**OPTIONS, "sam": sam, "gradient_accumulation_steps": accumulation, "per_device_train_batch_size": 4}
    plain = GraphSAMTrainer(make_module(), make_args(**options), train_dataset=numbers)
    plain.train()
    trainer, _ = scaled(make_module(), make_args(**options), numbers)
    trainer.train()
    assert trainer.accelerator.scaler.get_scale() == 2.0**16
    assert largest_difference(plain.model, trainer.model) < 1e-6
    assert trainer.passes == plain.passes
    for one, other in zip(plain.state.log_history, trainer.state.log_history, strict=True):
        assert one.get("perturbation_norm", 0) == pytest.approx(other.get("perturbation_norm", 0), rel=1e-5)
        assert one.get("grad_norm", 0) == pytest.approx(other.get("grad_norm", 0), rel=1e-4)


# Forward passes of SAM: A B | A B | …; of GraphSAM: A B | B | B | …
@pytest.mark.parametrize(
    ("sam", "call", "step"),
    [("sam", 3, 1), ("sam", 4, 1), ("graphsam", 1, 0), ("graphsam", 2, 0), ("graphsam", 4, 2), ("momentum-sam", 3, 2)],
)
def test_an_overflow_skips_the_step(make_module, make_args, numbers, same_bits, sam, call, step):
    options = {**OPTIONS, "sam": sam}
    model = Overflow(make_module(), at=(call,))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    trainer, watch = scaled(model, make_args(**options), numbers)
    trainer.train()
    weights, rates, epsilons, steps = zip(*watch.records, strict=True)
    before = start if step == 0 else weights[step - 1]
    assert same_bits(before, weights[step])  # restored, not stepped
    assert same_bits(epsilons[step - 1] if step else {}, epsilons[step])
    assert steps[step] == (steps[step - 1] if step else 0)
    assert trainer.accelerator.scaler.get_scale() == 2.0**15
    assert not any(same_bits(weights[i], weights[i + 1]) for i in range(4) if i + 1 != step)  # all others are taken
    assert trainer.state.global_step == 5
    assert trainer.lr_scheduler.last_epoch == 4  # the schedule waits
    assert rates[step] == (rates[step - 1] if step else rates[0])


def test_the_anchor_is_asked_for_again(make_module, make_args, numbers):
    model = Overflow(make_module(), at=(1,))
    trainer, _ = scaled(model, make_args(**OPTIONS), numbers)
    trainer.train()
    assert model.calls == 1 + 2 + 4 - 1  # A fails | A B | B | B | B
    assert trainer.passes == 2 + 3


def test_overflow_within_an_accumulated_step(make_module, make_args, numbers, same_bits):
    model = Overflow(make_module(), at=(2,))  # second micro-batch of pass A
    start = {name: value.clone() for name, value in model.state_dict().items()}
    trainer, watch = scaled(model, make_args(**OPTIONS, sam="sam", gradient_accumulation_steps=2), numbers)
    trainer.train()
    assert same_bits(watch.records[0][0], start)
    assert not same_bits(watch.records[1][0], start)


def test_without_a_method_the_scaler_works_as_ever(make_module, make_args, numbers):
    trainer = GraphSAMTrainer(Overflow(make_module(), at=(2,)), make_args(**OPTIONS, sam="none"), train_dataset=numbers)
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    trainer.accelerator.native_amp = True
    trainer.accelerator.state._mixed_precision = "fp16"
    trainer.train()
    assert trainer.accelerator.scaler.get_scale() == 2.0
