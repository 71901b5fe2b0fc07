"""``torchrun --nproc_per_node 2 dc-graphsam …``: the first process prepares, writes and speaks, all train."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed"),
]

PROGRAM = Path(sys.executable).parent / "dc-graphsam"
ROWS = 75  # 60 to train on: with batches of 16 the last of an epoch is not full, and is shared by the two
TINY = [
    *(
        "--target",
        "a",
        "b",
        "--hidden-size",
        "8",
        "--num-hidden-layers",
        "1",
        "--num-attention-heads",
        "2",
        "--dropout",
        "0",
    ),
    *("--no-report", "--use-cpu", "true", "--lr", "0.01", "--seed", "3", "--no-baselines"),
]


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def torchrun(*words, env=None):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port()}"]
    return subprocess.Popen(
        [*launcher, str(PROGRAM), *map(str, words)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def alone(*words, env):
    return subprocess.run([str(PROGRAM), *map(str, words)], env=env, capture_output=True, text=True)


def finish(process, seconds=300):
    """Exit code, and what was said; no process of the session is left."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"still running after {seconds} s: {process.communicate()}")
    return process.returncode, out, err


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """One label that every row has, and one that half of the rows have."""
    path = tmp_path_factory.mktemp("torchrun") / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["smiles", "a", "b"])
        for i in range(ROWS):
            writer.writerow(["C" * (1 + i % 15) + "ON"[i % 2], 10 + i % 15, i % 7 if i % 2 else ""])
    return path


@pytest.fixture
def env(tmp_path):
    """A cache of its own: the table has to be featurized."""
    return {**os.environ, "DC_GRAPHSAM_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_two_processes_give_what_one_gives_each_time(table, tmp_path, env):
    """The union of their batches is the batch of the one; nothing is missing, nothing said twice."""
    words = ["train", "--data", table, *TINY, "--epochs", "2", "--output"]
    one = alone(*words, tmp_path / "one", "--batch-size", "16", env=env)
    assert one.returncode == 0, one.stderr
    for run in ("two", "three", "four"):
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        code, out, err = finish(torchrun(*words, tmp_path / run, "--batch-size", "8", env=env))
        assert code == 0, err
        assert sorted(p.name for p in (tmp_path / run).iterdir()) == sorted(
            p.name for p in (tmp_path / "one").iterdir()
        )
        for name, value in weights(tmp_path / "one").items():
            torch.testing.assert_close(weights(tmp_path / run)[name], value, rtol=0, atol=1e-5)
        assert out.count("test set") == 1 and err.count("[2/3] data") == err.count("[3/3] training") == 1
        history = [list(map(json.loads, (tmp_path / name / "history.jsonl").open())) for name in ("one", run)]
        for mine, its in zip(*history, strict=True):
            for key in ("loss", "loss_clean", "loss_perturbed", "eval_loss", "eval_rmse"):
                assert its.get(key) == pytest.approx(mine.get(key), abs=1e-5), key
        assert json.loads((tmp_path / run / "run.json").read_text())["processes"] == 2


def test_what_the_first_process_refuses_ends_all_and_is_said_once(table, tmp_path, env):
    """In the middle of the preparation, where the others wait; and before it."""
    bad = tmp_path / "bad.csv"
    bad.write_text("smiles,a,b\nnothing,1,2\n")
    code, out, err = finish(torchrun("train", "--data", bad, *TINY, "--output", tmp_path / "run", env=env))
    assert code != 0
    assert len(re.findall(r"^dc-graphsam: .*no row can be used", err, re.MULTILINE)) == 1
    assert len(re.findall(r"^dc-graphsam: ", err, re.MULTILINE)) == 1 and not out


def test_ctrl_c_leaves_a_run_that_can_be_continued(table, tmp_path, env):
    output = tmp_path / "run"
    words = ["train", "--data", table, *TINY, "--batch-size", "8", "--epochs", "40", "--output", output]
    process = torchrun(*words, env=env)
    deadline = time.monotonic() + 120
    while not list(output.glob("checkpoint-*/trainer_state.json")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the launcher and both processes get it
    code, _, err = finish(process)
    assert code != 0 and err.count("stopped: ") == 1 and not (output / "metrics.json").exists()
    lone = alone("train", "--output", output, "--resume", "--data", table, env=env)
    assert lone.returncode == 2 and "had 2 processes" in lone.stderr
    code, _, err = finish(torchrun("train", "--output", output, "--resume", "--data", table, env=env))
    assert code == 0, err
    assert err.count("resuming from checkpoint-") == 1
    code, _, err = finish(torchrun(*words[:-1], tmp_path / "whole", env=env))
    assert code == 0, err
    for name, value in weights(tmp_path / "whole").items():
        assert torch.equal(weights(output)[name], value), name


def test_predict_and_evaluate_are_done_once(table, tmp_path, env):
    model, predicted = tmp_path / "run", tmp_path / "predicted.csv"
    words = ["train", "--data", table, *TINY, "--epochs", "1", "--output", model]
    assert alone(*words, env=env).returncode == 0
    code, out, err = finish(torchrun("predict", "--model", model, "--input", table, "--output", predicted, env=env))
    assert code == 0 and out.count(f"{ROWS} rows") == 1, err
    assert len(predicted.read_text().splitlines()) == ROWS + 1
    code, out, err = finish(torchrun("evaluate", "--model", model, "--data", table, "--json", env=env))
    assert code == 0 and json.loads(out)["molecules"] == ROWS, err
