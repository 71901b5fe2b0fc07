"""A step over several micro-batches and processes is one step on the big batch, whatever labels are missing where."""

from __future__ import annotations

import csv
import json
import socket
import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed")

ROWS, BATCH = 72, 32  # two steps of an epoch, and one that is not full

# Trains on the table of the first argument; run in this process by exec, and by torchrun.
SCRIPT = """
import json, os, sys, torch
from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction
from dc_graphsam.data import load_csv
from dc_graphsam.hf import GraphSAMTrainer, GraphSAMTrainingArguments

def load(path, kind):
    return load_csv(path, "smiles", ["a", "b", "c", "d"], kind, progress=False, num_workers=1,
                    cache_dir=os.path.dirname(path), sizes=(1.0, 0.0, 0.0))["train"]

def train(data, sam, loss, steps, world=1, epochs=1, optim="sgd", **options):
    torch.manual_seed(0)
    config = CoMPTConfig.for_dataset(
        data, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, dropout=0.0, **({"loss": loss} if loss else {})
    )
    options = {"learning_rate": 0.02, "max_grad_norm": 0.5, "per_device_eval_batch_size": 16, **options}
    args = GraphSAMTrainingArguments(
        os.path.join(os.path.dirname(str(sys.argv[1])), "run"), sam=sam, use_cpu=True, ddp_backend="gloo" if world > 1 else None,
        num_train_epochs=epochs, save_strategy="no", disable_tqdm=True, logging_strategy="steps", logging_steps=1, eval_strategy="epoch", optim=optim,
        per_device_train_batch_size=32 // world // steps, gradient_accumulation_steps=steps,
        train_sampling_strategy="sequential", lr_scheduler_type="constant", **options,
        **({} if sam == "none" else {"rho": 0.2}),
    )
    trainer = GraphSAMTrainer(CoMPTForPropertyPrediction(config), args, train_dataset=data, eval_dataset=data)
    gradients = []
    if sam == "none":
        def note(*_):
            gradients.append({n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None})
        clip = trainer._clip_grad_norm
        trainer._clip_grad_norm = lambda model: (note(), clip(model))[1]
    trainer.train()
    return {"weights": trainer.model.state_dict(), "gradients": gradients, "logs": trainer.state.log_history}
"""
WORKER = """
torch.set_num_threads(1)
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
for name, case in json.load(open(sys.argv[2])).items():
    torch.save(train(load(sys.argv[1], "regression"), world=world, **case), f"{sys.argv[3]}/{name}-{rank}.pt")
torch.distributed.barrier()
os._exit(0)  # gloo's threads may abort a process that takes them down in order
"""

TWO = {
    f"{sam}-{loss}-{steps}": {"sam": sam, "loss": loss, "steps": steps}
    for sam, loss, steps in [
        ("none", "mse", 1),
        ("none", "rmse", 1),
        ("none", "rmse", 2),
        ("sam", "mae", 1),
        ("graphsam", "rmse", 2),
        ("graphsam", "mse", 2),
    ]
}


def _write(path, values):
    """Half of the rows with four labels and half with one, in the order of the file."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["smiles", "a", "b", "c", "d"])
        for i in range(ROWS):
            labels = [values(i, t) for t in range(4)]
            writer.writerow(
                ["C" * (1 + i % 9) + ("O" if i % 2 else "N"), *(labels if i % 8 < 4 else [labels[0], "", "", ""])]
            )
    return path


@pytest.fixture(scope="module")
def numbers_csv(tmp_path_factory):
    return str(_write(tmp_path_factory.mktemp("step") / "numbers.csv", lambda i, t: (i % 9) * (t + 1) + 0.1 * i))


@pytest.fixture(scope="module")
def scope(numbers_csv):
    """The names of the script, in this process."""
    names, before = {}, sys.argv
    sys.argv = ["", numbers_csv]
    exec(SCRIPT, names)
    yield names
    sys.argv = before


@pytest.fixture(scope="module")
def train(scope, numbers_csv):
    table, done = scope["load"](numbers_csv, "regression"), {}

    def run(data=table, **case):
        key = (id(data), repr(sorted(case.items())))
        if key not in done:
            done[key] = data, scope["train"](data, **case)
        return done[key][1]

    return run


def _assert_same(one, other, atol=1e-5):
    assert one["weights"].keys() == other["weights"].keys()
    for name, value in one["weights"].items():
        torch.testing.assert_close(other["weights"][name], value, rtol=0, atol=atol)
    assert len(one["gradients"]) == len(other["gradients"])
    for mine, its in zip(one["gradients"], other["gradients"], strict=True):
        for name, value in mine.items():
            torch.testing.assert_close(its[name], value, rtol=0, atol=atol)
    for mine, its in zip(one["logs"], other["logs"], strict=True):
        for key in ("loss", "loss_clean", "loss_perturbed", "eval_loss", "perturbation_norm", "train_loss"):
            assert (key in mine) == (key in its)
            assert mine.get(key, 0.0) == pytest.approx(its.get(key, 0.0), abs=1e-5), key


@pytest.mark.parametrize("loss", ["mse", "rmse", "mae"])
@pytest.mark.parametrize("sam", ["none", "sam", "graphsam"])
def test_four_times_eight_is_thirty_two(train, sam, loss):
    """72 rows: the last step of the epoch has one micro-batch of eight, not four."""
    whole = train(sam=sam, loss=loss, steps=1, epochs=2)
    _assert_same(whole, train(sam=sam, loss=loss, steps=4, epochs=2))
    assert len([r for r in whole["logs"] if "loss" in r]) == 6


def test_with_adam(train):
    options = {"optim": "adamw_torch", "adam_epsilon": 1e-3, "learning_rate": 1e-2}
    for sam in ("none", "graphsam"):
        whole, parts = (train(sam=sam, loss=None, steps=steps, epochs=2, **options) for steps in (1, 4))
        _assert_same(whole, parts)


def test_classification(train, scope, tmp_path):
    path = _write(tmp_path / "classes.csv", lambda i, t: (i // (t + 1)) % 2)
    data = scope["load"](str(path), "classification")
    for sam in ("none", "graphsam"):
        whole, parts = (train(data, sam=sam, loss=None, steps=steps) for steps in (1, 4))
        _assert_same(whole, parts)


def test_a_step_without_any_label(train, scope, numbers_csv):
    """The second of three steps has none: its gradient is zero, the others are as they were."""
    data = _without_labels(scope["load"](numbers_csv, "regression"), range(32, 64))
    for sam in ("sam", "none"):
        whole, parts = (train(data, sam=sam, loss="rmse", steps=steps) for steps in (1, 4))
        _assert_same(whole, parts)
    moved = [any(bool(g.any()) for g in step.values()) for step in parts["gradients"]]
    assert moved == [True, False, True]


def _without_labels(table, rows):
    from datasets import Dataset

    from dc_graphsam.tasks import TaskSpec

    columns = table.with_format(None).to_dict()
    columns["labels"] = [[float("nan")] * 4 if i in rows else label for i, label in enumerate(columns["labels"])]
    return TaskSpec.of(table).attach(Dataset.from_dict(columns, features=table.features)).with_format("numpy")


@pytest.mark.parametrize("loss", ["mse", "rmse", "mae"])
def test_eval_loss_does_not_depend_on_the_batch_size(train, loss):
    found = [
        next(
            r["eval_loss"]
            for r in train(sam="none", loss=loss, steps=1, per_device_eval_batch_size=size)["logs"]
            if "eval_loss" in r
        )
        for size in (72, 16, 5)
    ]
    assert found[1:] == pytest.approx(found[:1] * 2, rel=1e-6)


@pytest.mark.slow
def test_two_processes_are_one(train, numbers_csv, tmp_path):
    """72 rows in batches of 16 on each of two processes: the last round repeats rows, which must not count."""
    script, cases = tmp_path / "train.py", tmp_path / "cases.json"
    script.write_text(SCRIPT + WORKER)
    cases.write_text(json.dumps(TWO))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        f"--master_port={port}",
        str(script),
    ]
    done = subprocess.run(
        [*command, numbers_csv, str(cases), str(tmp_path)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, case in TWO.items():
        whole = train(**{**case, "steps": 1})
        for rank in (0, 1):
            two = torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True)
            if rank:
                two["logs"] = whole["logs"]  # only the first process logs its own
            _assert_same(whole, two)


def test_a_loss_of_the_user_gets_the_number_of_measured_labels(scope, numbers_csv, tmp_path):
    from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction
    from dc_graphsam.hf import GraphSAMTrainer, GraphSAMTrainingArguments

    data, counts = scope["load"](numbers_csv, "regression"), []

    def loss(outputs, labels, num_items_in_batch=None):
        counts.append(int(num_items_in_batch))
        return torch.nan_to_num(outputs.logits - labels).square().sum() / num_items_in_batch

    config = CoMPTConfig.for_dataset(data, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    args = GraphSAMTrainingArguments(
        str(tmp_path), sam="none", use_cpu=True, max_steps=1, per_device_train_batch_size=8, gradient_accumulation_steps=4,
        train_sampling_strategy="sequential", save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    GraphSAMTrainer(CoMPTForPropertyPrediction(config), args, train_dataset=data, compute_loss_func=loss).train()
    assert counts == [16 * 4 + 16] * 4
