"""Two processes on the CPU, as ``torchrun`` starts them."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed"),
]

CASES = [(sam, steps) for sam in ("graphsam", "sam", "none") for steps in (1, 2)]

SCRIPT = """
import os, sys
import torch
sys.path.insert(0, sys.argv[2])
from conftest import make_net
from dc_graphsam.hf import GraphSAMTrainer, GraphSAMTrainingArguments
from dc_graphsam.hf.passes import find_sharpness_aware

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
out, world = sys.argv[1], int(os.environ.get("WORLD_SIZE", 1))
generator = torch.Generator().manual_seed(0)
rows = [{"x": torch.randn(6, generator=generator), "labels": torch.randn(1, generator=generator)} for _ in range(32)]
for sam in ("graphsam", "sam", "none"):
    for steps in (1, 2):
        args = GraphSAMTrainingArguments(
            f"{out}/run", sam=sam, use_cpu=True, ddp_backend="gloo" if world > 1 else None, num_train_epochs=2, save_strategy="no", disable_tqdm=True,
            per_device_train_batch_size=8 // world // steps, gradient_accumulation_steps=steps, learning_rate=0.05,
            train_sampling_strategy="sequential", max_grad_norm=0.5, optim="sgd", rho=None if sam == "none" else 0.3,
        )
        trainer = GraphSAMTrainer(make_net(dropout=0.0), args, train_dataset=rows)
        trainer.train()
        method = find_sharpness_aware(trainer.optimizer)
        record = {
            "weights": trainer.model.state_dict(), "logs": [r for r in trainer.state.log_history if "loss" in r],
            "passes": trainer.passes, "epsilon": getattr(method, "epsilon", {}),
            "norm": float(method.last.perturbation_norm) if method is not None else 0.0,
        }
        torch.save(record, f"{out}/{sam}-{steps}-{world}-{args.process_index}.pt")
# Like-sized batches, dropout, and a resume in the middle of the second epoch.
sized = [{**row, "num_nodes": i % 7} for i, row in enumerate(rows)]
for name, checkpoint in (("whole", None), ("resumed", f"{out}/whole-{world}/checkpoint-6")):
    args = GraphSAMTrainingArguments(
        f"{out}/{name}-{world}", use_cpu=True, ddp_backend="gloo" if world > 1 else None, num_train_epochs=3, save_steps=1,
        save_strategy="steps", save_total_limit=20, per_device_train_batch_size=4, disable_tqdm=True,
    )
    trainer = GraphSAMTrainer(make_net(dropout=0.3), args, train_dataset=sized)
    trainer.train(resume_from_checkpoint=checkpoint)
    torch.save({"weights": trainer.model.state_dict(), "passes": trainer.passes}, f"{out}/{name}-{world}-{args.process_index}.pt")
if world > 1:
    torch.distributed.barrier()
    os._exit(0)  # gloo's threads may abort a process that takes them down in order
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same trainings in one process and in two."""
    folder = tmp_path_factory.mktemp("distributed")
    script = folder / "train.py"
    script.write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [str(script), str(folder), str(Path(__file__).parents[1])]
    for launcher in ([], ["-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}"]):
        done = subprocess.run([sys.executable, *launcher, *arguments], capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[:1500] + done.stderr[-1500:]
    return {path.stem: torch.load(path, weights_only=True) for path in folder.glob("*.pt")}


@pytest.mark.parametrize(("sam", "steps"), CASES)
def test_two_processes_are_one_on_the_union_batch(runs, sam, steps):
    one, two = runs[f"{sam}-{steps}-1-0"], runs[f"{sam}-{steps}-2-0"]
    for name, value in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], value, rtol=0, atol=1e-6)
    assert one["passes"] == two["passes"]
    for mine, other in zip(one["logs"], two["logs"], strict=True):
        for key in ("loss", "loss_clean", "loss_perturbed", "perturbation_norm", "grad_norm"):
            assert mine.get(key, 0.0) == pytest.approx(other.get(key, 0.0), abs=1e-6)


@pytest.mark.parametrize(("sam", "steps"), CASES)
def test_all_processes_hold_the_same(runs, sam, steps):
    first, second = runs[f"{sam}-{steps}-2-0"], runs[f"{sam}-{steps}-2-1"]
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in first["weights"])
    assert first["norm"] == second["norm"]
    assert first["epsilon"].keys() == second["epsilon"].keys()
    assert all(torch.equal(first["epsilon"][key], second["epsilon"][key]) for key in first["epsilon"])
    assert bool(first["epsilon"]) == (sam == "graphsam")


@pytest.mark.parametrize("sam", ["graphsam", "sam"])
def test_accumulation_changes_nothing(runs, sam):
    one, two = runs[f"{sam}-1-2-0"], runs[f"{sam}-2-2-0"]
    for name, value in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("world", [1, 2])
def test_resumed_within_an_epoch_is_the_same_bits(runs, world):
    whole, resumed = runs[f"whole-{world}-0"], runs[f"resumed-{world}-0"]
    assert all(torch.equal(whole["weights"][name], resumed["weights"][name]) for name in whole["weights"])
    assert whole["passes"] == resumed["passes"] == (24 if world == 1 else 12) + 3
