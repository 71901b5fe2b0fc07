"""Steps of the Trainer: which passes run, at which weights, and what is left behind."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.hf import GraphSAMTrainer
from dc_graphsam.hf.passes import find_sharpness_aware
from dc_graphsam.optim import OPTIMIZERS, SAM

STEPS, BATCH = 10, 8  # of two epochs on 40 rows


def train(make_module, make_args, rows, module=None, **options):
    trainer = GraphSAMTrainer(module if module is not None else make_module(), make_args(**options), train_dataset=rows)
    trainer.train()
    return trainer


def stock(args, model, rows):
    """The parent with the same values for all of its arguments."""
    import dataclasses

    values = {f.name: getattr(args, f.name) for f in dataclasses.fields(TrainingArguments) if f.init}
    values["train_sampling_strategy"] = "random"
    trainer = Trainer(model, TrainingArguments(**values), train_dataset=rows)
    trainer.train()
    return trainer


# ---- Equal to the parent


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2, "max_grad_norm": 0.01}, {"optim": "sgd"}])
def test_without_a_method_it_is_the_parent(make_module, make_args, numbers, same_bits, options):
    args = make_args(sam="none", **options)
    expected = stock(args, make_module(), numbers)
    trainer = train(make_module, make_args, numbers, sam="none", **options)
    assert same_bits(trainer.model, expected.model)
    assert trainer.state.log_history[0]["loss"] == expected.state.log_history[0]["loss"]
    assert trainer.state.log_history[0]["grad_norm"] == expected.state.log_history[0]["grad_norm"]


@pytest.mark.parametrize("sam", [name for name in OPTIMIZERS if name != "none"])
def test_without_a_radius_it_is_the_parent(make_module, make_args, numbers, same_bits, sam):
    expected = stock(make_args(sam="none"), make_module(), numbers)
    trainer = train(make_module, make_args, numbers, sam=sam, rho=0.0)
    if sam == "looksam":  # adds to the gradient whatever the radius; with radius 0 there is nothing to add
        assert trainer.passes >= STEPS
    assert same_bits(trainer.model, expected.model)


def test_the_noise_of_a_run_is_that_of_the_parent(make_module, make_args, numbers):
    """Two passes with the same dropout use up one pass of random numbers."""
    train(make_module, make_args, numbers, sam="none")
    after_plain = torch.rand(3)
    train(make_module, make_args, numbers, sam="sam")
    assert torch.equal(torch.rand(3), after_plain)


# ---- Passes


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({"sam": "graphsam"}, 2 * (5 + 1)),
        ({"sam": "graphsam", "anchor": "in-stream"}, STEPS),
        ({"sam": "graphsam", "anchor_every": 2}, STEPS + 5),
        ({"sam": "graphsam", "sam_options": {"anchor_every_epochs": None}}, STEPS + 1),
        ({"sam": "sam"}, 2 * STEPS),
        ({"sam": "asam"}, 2 * STEPS),
        ({"sam": "sam-one"}, STEPS + 1),
        ({"sam": "sam-k", "sam_options": {"k": 5}}, STEPS + 2),
        ({"sam": "looksam", "sam_options": {"k": 5}}, STEPS + 2),
        ({"sam": "rst", "sam_options": {"p": 0.0}}, STEPS),
        ({"sam": "rst", "sam_options": {"p": 1.0}}, 2 * STEPS),
        ({"sam": "ae-sam", "sam_options": {"lambda_1": math.inf, "lambda_2": math.inf}}, STEPS),
        ({"sam": "esam", "sam_options": {"weight_share": 0.6}}, 2 * STEPS),
        ({"sam": "momentum-sam"}, STEPS),
        ({"sam": "none"}, STEPS),
    ],
)
def test_pass_counts(make_module, make_args, numbers, options, passes):
    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.count = make_module(), 0

        def forward(self, x, labels=None):
            self.count += 1
            return self.net(x, labels)

    trainer = train(make_module, make_args, numbers, Counting(), **options)
    assert trainer.passes == trainer.model.count == passes


def test_sam_takes_the_steps_of_the_equations(make_module, make_args, numbers):
    model = make_module(dropout=0.0)
    reference = make_module(dropout=0.0)
    base = torch.optim.Adam(reference.parameters(), lr=1e-2)
    args = make_args(
        sam="sam", rho=0.1, learning_rate=1e-2, lr_scheduler_type="constant", warmup_steps=0, num_train_epochs=1,
        train_sampling_strategy="sequential", max_grad_norm=0,
    )  # fmt: skip
    GraphSAMTrainer(model, args, train_dataset=numbers).train()
    for start in range(0, 40, BATCH):
        x = torch.stack([row["x"] for row in numbers[start : start + BATCH]])
        y = torch.stack([row["labels"] for row in numbers[start : start + BATCH]])
        live = [p for name, p in reference.named_parameters() if "unused" not in name]
        g = torch.autograd.grad(reference(x, y)["loss"], live)
        norm = torch.sqrt(sum((part**2).sum() for part in g))
        saved = [p.detach().clone() for p in live]
        with torch.no_grad():
            for p, part in zip(live, g, strict=True):
                p += 0.1 * part / norm
        base.zero_grad()
        reference(x, y)["loss"].backward()
        with torch.no_grad():
            for p, value in zip(live, saved, strict=True):
                p.copy_(value)
        base.step()
    for (name, value), expected in zip(model.state_dict().items(), reference.state_dict().values(), strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("sam", ["graphsam", "sam", "momentum-sam"])
def test_accumulation_is_one_large_batch(make_module, make_args, numbers, largest_difference, sam):
    options = {
        "sam": sam, "train_sampling_strategy": "sequential", "max_grad_norm": 0.5, "optim": "sgd", "learning_rate": 0.1,
        "optim_args": "momentum=0.9",
    }  # fmt: skip
    module = lambda: make_module(dropout=0.0).double()  # noqa: E731
    rows = [{name: value.double() for name, value in row.items()} for row in numbers]
    whole = train(make_module, make_args, rows, module(), per_device_train_batch_size=20, **options)
    parts = train(
        make_module, make_args, rows, module(), per_device_train_batch_size=5, gradient_accumulation_steps=4, **options
    )
    assert parts.passes == whole.passes
    assert largest_difference(whole.model, parts.model) < 1e-9
    for key in ("loss_clean", "loss_perturbed", "perturbation_norm"):
        for one, other in zip(whole.state.log_history, parts.state.log_history, strict=True):
            assert (key in one) == (key in other)
            assert one.get(key, 0.0) == pytest.approx(other.get(key, 0.0), rel=1e-5)


def test_last_step_of_an_epoch_may_be_short(make_module, make_args, numbers):
    """40 rows are 5 batches; with three per step the second step has two."""
    trainer = train(make_module, make_args, numbers, sam="sam", gradient_accumulation_steps=3)
    assert trainer.state.global_step == 4
    assert trainer.passes == 8


def test_both_passes_see_the_same_dropout(make_module, make_args, numbers):
    """With the same masks, a vanishing radius gives the same loss twice."""

    def losses(same_noise):
        trainer = train(
            make_module, make_args, numbers, make_module(dropout=0.5), sam="sam", rho=1e-7, same_noise=same_noise
        )
        return trainer.state.log_history[0]["loss_clean"], trainer.state.log_history[0]["loss_perturbed"]

    clean, perturbed = losses(True)
    assert perturbed == pytest.approx(clean, abs=1e-5)
    clean, perturbed = losses(False)
    assert abs(perturbed - clean) > 1e-3


def test_running_statistics_move_once_per_step(make_module, make_args, numbers):
    model = make_module(norm=True)
    trainer = train(
        make_module, make_args, numbers, model, sam="sam", gradient_accumulation_steps=2, num_train_epochs=1
    )
    assert trainer.passes == 2 * 3
    assert model.body[1].num_batches_tracked.item() == 5  # batches, not passes


@pytest.mark.parametrize("sam", ["sam", "graphsam"])
def test_clipping_acts_on_the_updating_gradient(make_module, make_args, numbers, sam):
    seen = []

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            seen.append(math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None)))

    args = make_args(sam=sam, rho=0.05, max_grad_norm=0.01, num_train_epochs=1)
    trainer = GraphSAMTrainer(make_module(), args, train_dataset=numbers, callbacks=[Watch()])
    trainer.train()
    assert max(seen) == pytest.approx(0.01, rel=1e-3)
    assert trainer.state.log_history[0]["perturbation_norm"] == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("limit", [0.05, 1e3, 0])
def test_a_norm_that_was_measured_clips_as_the_parent_does(
    make_module, make_args, numbers, largest_difference, monkeypatch, limit, frozen
):
    """GraphSAM knows the norm of its updating gradient; the parent would measure it again."""
    from dc_graphsam.hf.passes import StepPasses

    def run():
        model = make_module()
        model.body[0].requires_grad_(not frozen)
        return train(
            make_module, make_args, numbers, model, max_grad_norm=limit, logging_strategy="steps", logging_steps=1
        )

    used, original = [], StepPasses.gradient_norm
    monkeypatch.setattr(StepPasses, "gradient_norm", lambda *a: used.append(original(*a)) or used[-1])
    mine = run()
    assert len(used) == STEPS and all(norm is not None for norm in used)
    monkeypatch.setattr(StepPasses, "gradient_norm", lambda *a: None)
    parents = run()
    assert largest_difference(mine.model, parents.model) < 1e-6
    norms = [[r["grad_norm"] for r in t.state.log_history if "grad_norm" in r] for t in (mine, parents)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5) and (max(norms[0]) > limit) == (limit < 1)


def test_loss_weighting_multiplies_the_updating_gradient(make_module, make_args, numbers):
    seen = {"none": [], "loss": []}

    def run(weighting):
        class Watch(TrainerCallback):
            def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
                seen[weighting].append(model.head.weight.grad.clone())

        args = make_args(
            sam="graphsam", loss_weighting=weighting, max_steps=1, max_grad_norm=0, gradient_accumulation_steps=2
        )
        trainer = GraphSAMTrainer(make_module(), args, train_dataset=numbers, callbacks=[Watch()])
        trainer.train()
        return trainer

    run("none")
    trainer = run("loss")
    loss = float(find_sharpness_aware(trainer.optimizer).last.loss_perturbed)
    torch.testing.assert_close(seen["loss"][0], loss * seen["none"][0])


# ---- Weights outside a step


@pytest.mark.parametrize("sam", ["graphsam", "sam", "momentum-sam"])
def test_callbacks_evaluation_and_checkpoints_see_clean_weights(
    make_module, make_args, numbers, same_bits, tmp_path, sam
):
    from safetensors.torch import load_file

    class Watch(TrainerCallback):
        def __init__(self):
            self.ends, self.evaluated, self.storage = {}, {}, set()

        def on_step_end(self, args, state, control, model=None, **kwargs):
            assert not find_sharpness_aware(trainer.optimizer).perturbed
            self.ends[state.global_step] = {k: v.clone() for k, v in model.state_dict().items()}
            self.storage.add(model.head.weight.data_ptr())

        def on_prediction_step(self, args, state, control, model=None, **kwargs):
            self.evaluated[state.global_step] = {k: v.clone() for k, v in model.state_dict().items()}

    watch = Watch()
    args = make_args(sam=sam, eval_strategy="epoch", save_strategy="epoch")
    trainer = GraphSAMTrainer(make_module(), args, train_dataset=numbers, eval_dataset=numbers, callbacks=[watch])
    trainer.train()
    assert len(watch.storage) == 1
    for step in (5, 10):
        assert same_bits(watch.evaluated[step], watch.ends[step])
        assert same_bits(load_file(tmp_path / "run" / f"checkpoint-{step}" / "model.safetensors"), watch.ends[step])


def test_an_error_in_the_perturbed_pass_leaves_clean_weights(make_module, make_args, numbers, same_bits):
    class Breaking(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.calls = make_module(), 0

        def forward(self, x, labels=None):
            self.calls += 1
            if self.calls == 2:  # pass B of the first step
                raise RuntimeError("broken row")
            return self.net(x, labels)

    model = Breaking()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="broken row"):
        train(make_module, make_args, numbers, model, sam="sam", rho=0.5)
    assert same_bits(before, model)


def test_too_little_memory_for_a_batch_is_retried_from_clean_weights(make_module, make_args, numbers):
    class Hungry(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.calls, self.sizes = make_module(), 0, []

        def forward(self, x, labels=None):
            self.calls += 1
            self.sizes.append(len(x))
            if self.calls == 2:  # pass B of the first step
                raise RuntimeError("CUDA out of memory.")
            if self.calls == 3:
                self.at_retry = self.net.head.weight.detach().clone()
            return self.net(x, labels)

    model = Hungry()
    start = model.net.head.weight.detach().clone()
    train(make_module, make_args, numbers, model, sam="sam", rho=0.5, auto_find_batch_size=True, num_train_epochs=1)
    assert model.sizes[:2] == [8, 8]
    assert max(model.sizes[2:]) < 8
    assert torch.equal(model.at_retry, start)


# ---- Logs


def test_logged_values(make_module, make_args, numbers):
    trainer = train(make_module, make_args, numbers, rho=0.1, gamma=0.5)
    first, second = [record for record in trainer.state.log_history if "loss" in record]
    assert first["rho"] == pytest.approx(0.1)
    assert second["rho"] == pytest.approx(0.05)
    assert first["perturbation_norm"] == pytest.approx(0.1, rel=1e-4)
    assert second["perturbation_norm"] == pytest.approx(0.05, rel=1e-4)
    assert first["loss"] == pytest.approx(first["loss_perturbed"], rel=1e-4)
    assert first["loss_clean"] > 0
    assert (first["passes"], second["passes"]) == (6, 12)
    assert first["passes_per_second"] > 0


def test_absent_values_are_not_logged(make_module, make_args, numbers):
    logs = train(make_module, make_args, numbers, sam="momentum-sam").state.log_history[0]
    assert "loss_clean" in logs  # the first step of momentum-sam is a plain one
    logs = train(make_module, make_args, numbers, sam="momentum-sam").state.log_history[1]
    assert "loss_clean" not in logs
    assert "loss_perturbed" in logs
    logs = train(make_module, make_args, numbers, sam="none").state.log_history[0]
    assert not {"loss_clean", "loss_perturbed", "rho", "perturbation_norm"} & set(logs)
    assert logs["passes"] == 5
    logs = train(make_module, make_args, numbers, sam="graphsam", rho=0).state.log_history[0]
    assert "loss_perturbed" not in logs


def test_a_second_call_of_train_begins_anew(make_module, make_args, numbers):
    trainer = GraphSAMTrainer(make_module(), make_args(num_train_epochs=1), train_dataset=numbers)
    for _ in range(2):
        trainer.train()
        assert trainer.passes == 6


def test_epochs_cut_short_are_counted(make_module, make_args, numbers):
    class Cut(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_epoch_stop = state.global_step % 2 == 0

    args = make_args(num_train_epochs=3, gamma=0.5, rho=0.4, logging_strategy="steps", logging_steps=1)
    trainer = GraphSAMTrainer(make_module(), args, train_dataset=numbers, callbacks=[Cut()])
    trainer.train()
    assert [record["rho"] for record in trainer.state.log_history if "rho" in record] == [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]


def test_streams_without_length(make_module, make_args, numbers):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(numbers)

    args = make_args(max_steps=8, anchor_every=3)
    trainer = GraphSAMTrainer(make_module(), args, train_dataset=Stream())
    trainer.train()
    assert trainer.state.global_step == 8
    assert trainer.passes == 8 + 3


# ---- Optimizers and schedules


def test_given_optimizers(make_module, make_args, numbers):
    model = make_module()
    plain = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.ConstantLR(plain, factor=0.5, total_iters=100)
    trainer = GraphSAMTrainer(model, make_args(sam="sam"), train_dataset=numbers, optimizers=(plain, schedule))
    trainer.train()
    sam = find_sharpness_aware(trainer.optimizer)
    assert sam.base_optimizer is plain
    assert plain.param_groups[0]["lr"] == 0.05
    assert trainer.passes == 2 * STEPS

    model = make_module()
    own = SAM(model.parameters(), torch.optim.SGD, lr=0.1, rho=0.3)
    trainer = GraphSAMTrainer(model, make_args(sam="graphsam"), train_dataset=numbers, optimizers=(own, None))
    trainer.train()
    assert find_sharpness_aware(trainer.optimizer) is own
    assert trainer.state.log_history[0]["rho"] == pytest.approx(0.3)


def test_groups_are_those_of_the_parent(make_module, make_args, numbers):
    trainer = train(make_module, make_args, numbers, weight_decay=0.1, learning_rate=0.01)
    groups = trainer.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    sam = find_sharpness_aware(trainer.optimizer)
    assert sam.base_optimizer.param_groups is sam.param_groups
    assert trainer.lr_scheduler.get_last_lr()[0] == groups[0]["lr"] < 0.01


def test_frozen_parameters_do_not_move(make_module, make_args, numbers):
    model = make_module()
    model.body[0].requires_grad_(False)
    before = model.body[0].weight.clone()
    trainer = train(make_module, make_args, numbers, model)
    assert torch.equal(model.body[0].weight, before)
    assert trainer.state.log_history[0]["perturbation_norm"] == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize(
    "optim",
    [
        "adamw_torch",
        "adamw_torch_fused",
        "adafactor",
        "sgd",
        "adagrad",
        "rmsprop",
        "rmsprop_bnb",
        "schedule_free_adamw",
    ],
)
def test_base_optimizers(make_module, make_args, numbers, optim):
    trainer = GraphSAMTrainer(make_module(), make_args(optim=optim), train_dataset=numbers)
    before = trainer.model.head.weight.detach().clone()
    try:
        trainer.create_optimizer()
    except ImportError as error:
        pytest.skip(str(error).splitlines()[0])
    trainer.optimizer = None
    trainer.train()
    trainer.evaluate(numbers)
    assert not torch.equal(trainer.model.head.weight, before)
    assert trainer.passes == 12


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("cosine", {}),
        ("constant_with_warmup", {}),
        ("polynomial", {}),
        ("inverse_sqrt", {}),
        ("cosine_with_min_lr", {"lr_scheduler_kwargs": {"min_lr": 1e-5}}),
        ("reduce_lr_on_plateau", {"eval_strategy": "epoch", "metric_for_best_model": "loss"}),
        ("warmup_stable_decay", {"lr_scheduler_kwargs": {"num_decay_steps": 2}}),
    ],
)
def test_schedulers(make_module, make_args, numbers, kind, options):
    args = make_args(lr_scheduler_type=kind, rho_schedule="linear-lr", **options)
    trainer = GraphSAMTrainer(make_module(), args, train_dataset=numbers, eval_dataset=numbers)
    trainer.train()
    rate = trainer.optimizer.param_groups[0]["lr"]
    assert find_sharpness_aware(trainer.optimizer).base_optimizer.param_groups[0]["lr"] == rate
    assert math.isfinite(trainer.state.log_history[-1]["train_loss"])


def test_released_schedule(make_module, make_args, numbers):
    args = make_args(
        lr_schedule="released", num_train_epochs=10, learning_rate=1e-3, logging_strategy="steps", logging_steps=1
    )
    trainer = GraphSAMTrainer(make_module(), args, train_dataset=numbers)
    trainer.train()
    rates = [record["learning_rate"] for record in trainer.state.log_history if "learning_rate" in record]
    assert rates[0] == pytest.approx(1e-4)
    assert max(range(50), key=rates.__getitem__) == 10
    assert rates[10] == pytest.approx(1e-3)
    assert trainer.lr_scheduler.get_last_lr()[0] == pytest.approx(1e-4)


# ---- Refused


def test_plain_arguments_are_refused(make_module, tmp_path):
    with pytest.raises(
        InvalidArgumentError, match="args is of class TrainingArguments; accepted: GraphSAMTrainingArguments"
    ):
        GraphSAMTrainer(make_module(), TrainingArguments(str(tmp_path)))


def test_sharded_training_is_refused(make_module, make_args, monkeypatch):
    module = make_module()
    module.is_distributed_loading_by_transformers = True
    with pytest.raises(InvalidArgumentError, match="sam='graphsam' does not work with weights sharded at load time"):
        GraphSAMTrainer(module, make_args())
