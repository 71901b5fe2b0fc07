"""The program from end to end: train, look, evaluate, predict, interrupt, resume."""

from __future__ import annotations

import csv
import json
import re
import shlex
import signal
import time

import pytest

from dc_graphsam.cli.main import main
from dc_graphsam.run_folder import FILES

EPOCHS = 6
# A model of some thousand weights: what is tested is everything around it.
TINY = [
    "--hidden-size",
    "16",
    "--num-hidden-layers",
    "1",
    "--num-attention-heads",
    "2",
    "--batch-size",
    "16",
    "--lr",
    "0.01",
]
TRAIN = ["train", "--data", "my.csv", "--target", "pIC50", *TINY, "--epochs", EPOCHS, "--seed", 1]


@pytest.fixture(scope="module")
def finished(table, program):
    """A run that nobody disturbed: (what the program said, its folder)."""
    done = program(*TRAIN, "--output", "runs/whole", cwd=table.parent)
    assert done.returncode == 0, done.stderr
    return done, table.parent / "runs" / "whole"


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_the_folder_holds_what_is_promised_and_nothing_else(finished):
    _, folder = finished
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    run, metrics = json.loads((folder / "run.json").read_text()), metrics_of(folder)
    assert run["dataset"]["name"] == "my" and run["dataset"]["source"] == "my.csv"
    assert run["dataset"]["counts"] == {"train": 93, "validation": 12, "test": 12} and run["dataset"]["dropped"] == 3
    assert run["dataset"]["splits_sha256"] == json.loads((folder / "splits.json").read_text())["sha256"]
    assert run["task"]["task_names"] == ["pIC50"] and run["task"]["metric"] == "rmse"
    assert run["optimizer"]["name"] == "graphsam" and run["optimizer"]["rho"] == 0.05
    assert run["training"]["num_train_epochs"] == EPOCHS and run["training"]["seed"] == 1
    assert (
        run["versions"]["torch"] and run["seconds"] > 0 and run["command"].startswith("dc-graphsam train --data my.csv")
    )
    assert set(metrics) == {"metric", "best_epoch", "validation", "test", "baselines"}
    assert set(metrics["baselines"]) == {"mean", "forest", "boosting"} and metrics["metric"] == "rmse"
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    validated = {record["epoch"]: record["eval_rmse"] for record in history if "eval_rmse" in record}
    assert sorted(validated) == list(range(1, EPOCHS + 1))
    best = min(validated, key=validated.get)
    assert metrics["best_epoch"] == best and metrics["validation"]["rmse"] == pytest.approx(validated[best], abs=1e-5)
    assert any("rho" in record and "loss_clean" in record for record in history)


def test_nothing_in_the_folder_says_who_or_where(finished):
    _, folder = finished
    for name in FILES:
        if name != "model.safetensors":
            text = (folder / name).read_text(encoding="utf-8")
            assert str(folder.parents[1]) not in text and "/home" not in text and "/root" not in text, name


def test_what_the_program_says(finished):
    done, _ = finished
    assert re.search(r"warning: my: 3 of 120 rows left out \(.*row 17: .*parsed.*row 40: label is 'inf'", done.stderr)
    assert re.search(
        r"\[2/3\] data .*117 molecules, 1 regression task, split 93/12/12, 3 left out.*dropped.csv", done.stderr
    )
    assert re.search(
        r"\[3/3\] training .*compt \(0\.01 M parameters\) · graphsam \(rho 0\.05\) · 6 epochs", done.stderr
    )
    assert re.search(
        r"test set +RMSE +MAE +R²\n predict the mean .*\n random forest .*\n gradient boosting .*\n CoMPT \+ GraphSAM ",
        done.stdout,
    )
    assert "next    dc-graphsam predict --model runs/whole" in done.stdout
    assert len(done.stderr.splitlines()) <= 3 + EPOCHS and "%|" not in done.stderr  # no progress bar in a file


def test_dropped_rows_and_test_predictions_are_tables(finished):
    _, folder = finished
    with (folder / "dropped.csv").open(newline="") as file:
        dropped = list(csv.DictReader(file))
    assert [(row["row"], row["smiles"]) for row in dropped] == [("17", "C1CC"), ("40", "CCO"), ("41", "")]
    with (folder / "predictions_test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == json.loads((folder / "splits.json").read_text())["rows"]["test"]
    mean_square = sum((float(row["pIC50"]) - float(row["pIC50_label"])) ** 2 for row in rows) / len(rows)
    assert mean_square**0.5 == pytest.approx(metrics_of(folder)["test"]["rmse"], abs=1e-4)


def test_evaluate_gives_the_same_numbers(finished, program):
    _, folder = finished
    done = program("evaluate", "--model", folder, "--json", cwd=folder.parents[1])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["metrics"] == metrics_of(folder)["test"] and found["molecules"] == 12


def test_evaluate_on_other_data(finished, table, tmp_path, capsys, monkeypatch):
    _, folder = finished
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--model", str(folder), "--data", str(table)]) == 0
    assert "my.csv: 117 molecules" in capsys.readouterr().out
    assert main(["evaluate", "--model", str(folder)]) == 2  # the run says my.csv, which is not here
    assert "my.csv, is not here; say where it is: --data FILE --split test" in capsys.readouterr().err
    assert main(["evaluate", "--model", str(folder), "--data", str(table), "--split", "test", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    assert found == pytest.approx(metrics_of(folder)["test"], abs=1e-5)
    assert main(["evaluate", "--model", str(folder), "--dataset", "freewilson"]) == 2
    assert "'freewilson' has the tasks 'pAct', the model predicts 'pIC50'" in capsys.readouterr().err


def test_predict_a_table(finished, tmp_path, capsys):
    _, folder = finished
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(b'\xef\xbb\xbfname,Smiles\r\n"a, b",CCO\r\nc,nonsense\r\n007,N\r\n')
    words = ["predict", "--model", str(folder), "--input", str(source), "--output", str(out)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "3 rows → " in said.out and "1 of 3 rows have no prediction (1 × " in said.err
    with out.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["a, b", "c", "007"] and list(rows[0]) == [
        "name",
        "Smiles",
        "pIC50",
        "error",
        "note",
    ]
    assert rows[1]["pIC50"] == "nan" and "parsed" in rows[1]["error"] and not rows[0]["error"]
    assert main(words) == 2
    assert "exists; choose another name, or replace it with --overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


def test_the_file_repeats_the_run(finished, program):
    _, folder = finished
    words = ["train", "--config", "runs/whole/run.yaml", "--output", "runs/again", "--no-baselines"]
    done = program(*words, cwd=folder.parents[1])
    assert done.returncode == 0, done.stderr
    again = metrics_of(folder.parent / "again")
    assert {**again, "baselines": 0} == {**metrics_of(folder), "baselines": 0}
    assert (folder.parent / "again" / "splits.json").read_text() == (folder / "splits.json").read_text()


def test_interrupted_and_resumed_equals_undisturbed(finished, table, program, capsys):
    _, whole = finished
    folder = table.parent / "runs" / "broken"
    process = program.start(*TRAIN, "--output", "runs/broken", cwd=table.parent)
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoint-*/trainer_state.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    found = re.search(
        r"stopped: (runs/broken/checkpoint-\d+) holds ([\d.]+) epochs.*continue with\n  (dc-graphsam .*)", said
    )
    assert found and (table.parent / found[1] / "model.safetensors").is_file() and float(found[2]) < EPOCHS

    assert main(["evaluate", "--model", str(folder)]) == 2
    assert "its training has not finished; continue it with dc-graphsam train --output" in capsys.readouterr().err
    assert main(["train", "--output", str(folder), "--data", str(table), "--resume", "--rho", "0.3"]) == 2
    assert "rho is 0.3 but the interrupted run in" in capsys.readouterr().err
    assert main(["train", "--output", str(folder), "--data", str(table)]) == 2
    assert "--resume to continue the run in it, or --overwrite" in capsys.readouterr().err

    words = shlex.split(found[3])[1:]
    done = program(*words, cwd=table.parent)
    assert done.returncode == 0, done.stderr
    assert f"resuming from {found[1].rpartition('/')[2]}" in done.stderr
    assert metrics_of(folder) == metrics_of(whole)
    assert (folder / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not list(folder.glob("checkpoint-*"))


def test_a_resumed_run_needs_one(tmp_path, capsys, finished):
    _, folder = finished
    assert main(["train", "--resume", "--output", str(tmp_path / "no")]) == 2
    assert "there is no run folder" in capsys.readouterr().err
    assert main(["train", "--resume"]) == 2
    assert "--resume needs --output" in capsys.readouterr().err
    assert main(["train", "--resume", "--output", str(folder)]) == 2
    assert "is a finished run: there is nothing to resume" in capsys.readouterr().err
