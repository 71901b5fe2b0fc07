"""``torchrun --nproc_per_node 2 dc-graphsam …``: the first process prepares, writes and speaks, all train."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dc_graphsam.cli.main import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed"),
]

PROGRAM = Path(sys.executable).parent / "dc-graphsam"
ROWS = 75  # 60 to train on: with batches of 16 the last of an epoch is not full, and is shared by the two
TINY = [
    *("--target", "a", "b", "--hidden-size", "8", "--num-hidden-layers", "1", "--num-attention-heads", "2"),
    *("--dropout", "0", "--no-report", "--use-cpu", "true", "--lr", "0.01", "--seed", "3", "--no-baselines"),
]
EPOCHS = 8  # so many that Ctrl-C comes before the last

# Several commands in the processes of one start, which costs more than they do.
SEVERAL = """
import json, sys
from dc_graphsam.cli.main import main
sys.exit(max(main(words) for words in json.loads(sys.argv[1])))
"""
# The first process is held up between its failure and what it says of it.
SLOW = """
import os, sys, time
from dc_graphsam.cli import main as cli
say = cli._one_line
if os.environ["RANK"] == "0":
    cli._one_line = lambda *error: (time.sleep(4), say(*error))[1]
sys.exit(cli.main())
"""


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def torchrun(*words, env, program=PROGRAM):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port()}"]
    return subprocess.Popen(
        [*launcher, str(program), *map(str, words)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process, seconds=300):
    """Exit code, and what was said; no process of the session is left."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"still running after {seconds} s: {process.communicate()}")
    return process.returncode, out, err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("torchrun")


@pytest.fixture(scope="module")
def table(folder):
    """One label that every row has, and one that half of the rows have."""
    path = folder / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["smiles", "a", "b"])
        for i in range(ROWS):
            writer.writerow(["C" * (1 + i % 15) + "ON"[i % 2], 10 + i % 15, i % 7 if i % 2 else ""])
    return path


@pytest.fixture(scope="module")
def env(folder):
    """A cache of its own: the table has to be featurized."""
    return {**os.environ, "DC_GRAPHSAM_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def words(table):
    return ["train", "--data", table, *TINY, "--epochs", EPOCHS, "--output"]


@pytest.fixture(scope="module")
def two(words, folder, env):
    """The run of two processes, and what they said."""
    code, out, err = finish(torchrun(*words, folder / "two", "--batch-size", "8", env=env))
    assert code == 0, err
    return folder / "two", out, err


@pytest.fixture(scope="module")
def one(words, folder):
    """The run of one process, which is this one; with a cache of its own, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DC_GRAPHSAM_CACHE", str(folder / "cache-of-one"))
        assert main([*map(str, words), str(folder / "one"), "--batch-size", "16"]) == 0
    return folder / "one"


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_two_processes_give_what_one_gives(one, two):
    """The union of their batches is the batch of the one; nothing is missing, nothing said twice. That they give it each
    time is shown below, where the run is done once more, in two parts."""
    run, out, err = two
    assert sorted(p.name for p in run.iterdir()) == sorted(p.name for p in one.iterdir())
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(run)[name], value, rtol=0, atol=1e-5)
    assert out.count("test set") == 1 and err.count("[2/3] data") == err.count("[3/3] training") == 1
    history = [list(map(json.loads, (path / "history.jsonl").open())) for path in (one, run)]
    for mine, its in zip(*history, strict=True):
        for key in ("loss", "loss_clean", "loss_perturbed", "eval_loss", "eval_rmse"):
            assert its.get(key) == pytest.approx(mine.get(key), abs=1e-5), key
    assert json.loads((run / "run.json").read_text())["processes"] == 2


def test_what_the_first_process_refuses_ends_all_and_is_said_once(tmp_path, env):
    """In the middle of the preparation, where the others wait; also where the first is slow to say it."""
    bad, program = tmp_path / "bad.csv", tmp_path / "slow.py"
    bad.write_text("smiles,a,b\nnothing,1.5,2.5\n")
    program.write_text(SLOW)
    words = ["train", "--data", bad, *TINY, "--output", tmp_path / "run"]
    code, out, err = finish(torchrun(*words, env=env, program=program))
    assert code != 0
    said = re.findall(r"^dc-graphsam: .*", err, re.MULTILINE)
    assert len(said) == 1 and "no row can be used" in said[0] and not out, err


def test_ctrl_c_leaves_a_run_that_can_be_continued(table, words, two, tmp_path, env, capsys):
    output = tmp_path / "run"
    process = torchrun(*words, output, "--batch-size", "8", env=env)
    deadline = time.monotonic() + 120
    while not list(output.glob("checkpoint-*/trainer_state.json")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the launcher and both processes get it
    code, _, err = finish(process)
    assert code != 0 and err.count("stopped: ") == 1 and not (output / "metrics.json").exists()
    again = ["train", "--output", output, "--resume", "--data", table]
    assert main(list(map(str, again))) == 2 and "had 2 processes" in capsys.readouterr().err
    code, _, err = finish(torchrun(*again, env=env))
    assert code == 0, err
    assert err.count("resuming from checkpoint-") == 1
    for name, value in weights(two[0]).items():
        assert torch.equal(weights(output)[name], value), name


def test_predict_and_evaluate_are_done_once(table, two, tmp_path, env):
    predicted, program = tmp_path / "predicted.csv", tmp_path / "several.py"
    program.write_text(SEVERAL)
    commands = [
        ["predict", "--model", two[0], "--input", table, "--output", predicted],
        ["evaluate", "--model", two[0], "--data", table, "--json"],
    ]
    code, out, err = finish(torchrun(json.dumps(commands, default=str), env=env, program=program))
    assert code == 0 and out.count(f"{ROWS} rows") == 1, err
    assert len(predicted.read_text().splitlines()) == ROWS + 1
    assert json.loads(out[out.index("{") :])["molecules"] == ROWS, out
