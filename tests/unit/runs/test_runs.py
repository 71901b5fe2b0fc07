"""Runs from Python: settings, folders, and what a training leaves behind."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dc_graphsam.exceptions import InvalidArgumentError, RunFolderError
from dc_graphsam.predict.loading import load_run
from dc_graphsam.run_folder import FILES, RunFolder
from dc_graphsam.runs.data import resolve_split
from dc_graphsam.runs.evaluate import evaluate_run
from dc_graphsam.runs.results import RunInterrupted
from dc_graphsam.runs.settings import RunSettings, portable_path
from dc_graphsam.runs.train import resume_settings, train_run

TINY = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
SHORT = {"num_train_epochs": 1, "per_device_train_batch_size": 32, "use_cpu": True}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """80 molecules with a number and two classes, the second mostly unmeasured."""
    rows = ["smiles,logS,toxic,rare"]
    for n in range(1, 41):
        rows += [f"{'C' * n}O,{-0.1 * n},{int(n > 12)},{n % 2 if n % 5 == 0 else ''}"]
        rows += [f"{'C' * n}N,{0.2 * n},{int(n > 20)},"]
    path = tmp_path_factory.mktemp("data") / "my.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def settings(table, **more) -> RunSettings:
    fields = {"data": str(table), "target": "logS", "baselines": False, "report": False, **TINY, **SHORT, **more}
    return RunSettings.from_flat(fields)


class TestSettings:
    def test_flat_and_back(self):
        flat = {
            "dataset": "bbbp",
            "seed": 2,
            "hidden_size": 64,
            "rho": 0.1,
            "optimizer": "sam",
            "fold": 1,
            "n_folds": 10,
        }
        made = RunSettings.from_flat(flat)
        assert made.model_options == {"hidden_size": 64} and made.training_options == {"rho": 0.1}
        assert RunSettings.from_flat(made.flat()) == made
        assert made.flat() == {**flat, "model": "compt"}

    def test_adam_is_no_method(self):
        assert RunSettings(dataset="bbbp", optimizer="adam").optimizer == "none"

    def test_the_command_asks_for_the_same_run(self):
        from dc_graphsam.cli.settings import read_words

        flat = {"data": "my data.csv", "target": ["a b", "c"], "seed": 3, "bf16": False, "released": False}
        flat |= {"lr_scheduler_kwargs": {"a": 1}, "learning_rate": 1e-4, "sizes": [0.5, 0.25, 0.25], "max_atoms": None}
        made = RunSettings.from_flat(flat)
        import shlex

        assert RunSettings.from_flat(read_words(shlex.split(made.command())[2:])) == made

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({}, "needs one of dataset .* got neither"),
            ({"dataset": "bbbp", "data": "x.csv"}, "got dataset 'bbbp' and data 'x.csv'"),
            ({"dataset": "bbbp", "model": "grover"}, "model is 'grover'"),
            ({"dataset": "bbbp", "seed": -1}, "seed is -1"),
            ({"dataset": "bbbp", "hidden_sise": 1}, "'hidden_sise' is no field of a run, of the model"),
            ({"data": "x.csv", "released": True}, "released is for built-in data sets"),
        ],
    )
    def test_mistakes(self, fields, words):
        with pytest.raises(InvalidArgumentError, match=words):
            RunSettings.from_flat(fields)

    def test_nothing_absolute_or_secret_is_written(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        fields = {
            "data": "/srv/secret/my.csv",
            "splits_file": str(tmp_path / "a" / "splits.json"),
            "data_dir": "/srv/raw",
        }
        flat = RunSettings.from_flat({**fields, "hub_token": "hf_x"}).portable().flat()
        assert flat == {
            "data": "my.csv",
            "splits_file": "a/splits.json",
            "seed": 0,
            "model": "compt",
            "optimizer": "graphsam",
        }
        assert portable_path("../x.csv") == "../x.csv"

    def test_released_settings_choose_the_released_features(self):
        assert resolve_split(RunSettings(dataset="bbbp", released=True)).feature_set == "compt"
        assert resolve_split(RunSettings(dataset="Delaney")).dataset == "esol"
        own = RunSettings(dataset="esol", model_options={"unknown_bond": "as-aromatic"})
        assert resolve_split(own).feature_set == "compt"
        assert resolve_split(RunSettings(dataset="esol", fold=2)).split == "kfold"


class TestFolder:
    def test_checkpoints_that_were_cut_off_are_passed_over(self, tmp_path):
        for step, state in ((5, '{"global_step": 5}'), (10, '{"glob'), (20, None)):
            folder = tmp_path / f"checkpoint-{step}"
            folder.mkdir()
            for name in ("config.json", "model.safetensors", "optimizer.pt", "scheduler.pt"):
                (folder / name).touch()
            if state is not None:
                (folder / "trainer_state.json").write_text(state)
        (tmp_path / "checkpoint-best").mkdir()
        assert [path.name for path in RunFolder(tmp_path).checkpoints()] == ["checkpoint-5"]

    def test_only_what_a_run_writes_is_removed(self, tmp_path):
        for name in (*FILES, "notes.txt"):
            (tmp_path / name).touch()
        (tmp_path / "checkpoint-3").mkdir()
        (tmp_path / "checkpoint-mine").mkdir()
        RunFolder(tmp_path).prepare(overwrite=True)
        assert (tmp_path / "run.json").exists()  # until there is something to put in its place
        RunFolder(tmp_path).clear()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-mine", "notes.txt"]

    def test_what_cannot_be_resumed(self, tmp_path):
        with pytest.raises(RunFolderError, match="there is no run folder"):
            resume_settings(tmp_path / "no", {})
        with pytest.raises(RunFolderError, match="holds no interrupted run"):
            resume_settings(tmp_path, {})
        (tmp_path / "run.yaml").write_text("a: [")
        with pytest.raises(RunFolderError, match=r"run\.yaml is absent or broken"):
            resume_settings(tmp_path, {})


def test_a_regression_run_loads_and_evaluates_as_it_was_trained(table, tmp_path):
    said = []
    done = train_run(settings(table, report=True), tmp_path / "run", notify=said.append)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(FILES)
    assert [line[:5] for line in said] == ["[2/3]", "[3/3]", " epoc"]
    run = load_run(tmp_path / "run")
    assert run.model.config.label_mean[0] == pytest.approx(1.0, abs=0.7) and not run.model.training
    assert run.processor.feature_set == run.model.config.feature_set
    assert evaluate_run(tmp_path / "run", data=table, split="test")["metrics"] == done.metrics["test"]
    everything = evaluate_run(tmp_path / "run", data=table, split="all")
    assert everything["molecules"] == 80 and everything["dropped"] == 0


def test_classification_with_missing_labels(table, tmp_path):
    done = train_run(settings(table, target=["toxic", "rare"], optimizer="sam", baselines=True), tmp_path / "run")
    assert 0 <= done.metrics["test"]["roc_auc"] <= 1 and "roc_auc_toxic" in done.metrics["test"]
    assert done.metrics["baselines"]["mean"]["roc_auc"] == pytest.approx(0.5)
    lines = (tmp_path / "run" / "predictions_test.csv").read_text().splitlines()
    assert lines[0] == "row,smiles,toxic,toxic_label,rare,rare_label"
    cells = np.array([line.split(",")[2:] for line in lines[1:]])
    assert ((cells[:, 0].astype(float) > 0) & (cells[:, 0].astype(float) < 1)).all() and (cells[:, 3] == "").any()


def test_a_validation_split_with_one_class_keeps_the_last_epoch(table, tmp_path):
    rows = {"train": list(range(0, 70)), "validation": [78, 79], "test": [70, 71, 72, 73]}
    from dc_graphsam.data import save_splits

    save_splits(rows, tmp_path / "splits.json")
    said = []
    plan = settings(table, target="toxic", splits_file=str(tmp_path / "splits.json"), num_train_epochs=2)
    done = train_run(plan, tmp_path / "run", notify=said.append)
    assert "warning: roc_auc is not defined on the validation split: the last epoch is kept" in said
    assert (
        done.metrics["best_epoch"] == 2
        and done.metrics["validation"]["roc_auc"] != done.metrics["validation"]["roc_auc"]
    )
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert written["validation"]["roc_auc"] is None  # JSON has no NaN
    assert json.loads((tmp_path / "run" / "splits.json").read_text())["rows"] == rows


def test_folds_differ_and_checkpoints_can_be_kept(table, tmp_path):
    tests = []
    for fold in range(2):
        train_run(settings(table, split="kfold", fold=fold), tmp_path / str(fold), keep_checkpoints=fold == 0)
        tests.append(set(json.loads((tmp_path / str(fold) / "splits.json").read_text())["rows"]["test"]))
    assert not tests[0] & tests[1]
    assert list((tmp_path / "0").glob("checkpoint-*")) and not list((tmp_path / "1").glob("checkpoint-*"))


def test_two_runs_on_one_split_differ_in_their_weights(table, tmp_path):
    digests = []
    for seed in (0, 1):
        train_run(settings(table, seed=seed, split_seed=7), tmp_path / str(seed))
        digests.append(json.loads((tmp_path / str(seed) / "splits.json").read_text())["sha256"])
    assert digests[0] == digests[1]
    weights = [(tmp_path / str(seed) / "model.safetensors").read_bytes() for seed in (0, 1)]
    assert weights[0] != weights[1]


def test_nothing_is_written_before_the_data_are_known_to_be_good(table, tmp_path):
    with pytest.raises(InvalidArgumentError, match="several columns with numbers"):
        train_run(settings(table, target=None), tmp_path / "run")
    assert not list((tmp_path / "run").glob("*"))


@pytest.fixture(scope="module")
def undisturbed(table, tmp_path_factory):
    """Settings, and the run with them."""
    plan = settings(table, num_train_epochs=3, per_device_train_batch_size=16)
    return plan, train_run(plan, tmp_path_factory.mktemp("runs") / "whole")


def interrupted(plan, folder, monkeypatch, where: str, at: int = 1):
    """Train until Ctrl-C at the ``at``-th call of a method of the trainer."""
    from dc_graphsam.hf import GraphSAMTrainer

    original, calls = getattr(GraphSAMTrainer, where), []

    def stop(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(GraphSAMTrainer, where, stop)
        with pytest.raises(RunInterrupted) as caught:
            train_run(plan, folder)
    return caught.value


@pytest.mark.parametrize(
    ("where", "at", "epochs"),
    [
        ("training_step", 1, 0),
        ("training_step", 7, 1.5),
        ("evaluate", 3, 2),
        ("_save_checkpoint", 2, 2),
        ("_load_best_model", 1, 3),
    ],
)
def test_ctrl_c_anywhere_and_the_end_is_the_same(undisturbed, table, tmp_path, monkeypatch, where, at, epochs):
    plan, whole = undisturbed
    stopped = interrupted(plan, tmp_path / "run", monkeypatch, where, at)
    assert stopped.epoch == epochs and bool(stopped.checkpoint) == bool(epochs)
    assert f"--output {tmp_path / 'run'} --resume --data {table}" in stopped.command
    again = resume_settings(tmp_path / "run", {"data": str(table)})
    assert train_run(again, tmp_path / "run", resume=True).metrics == whole.metrics
    weights = [(folder / "model.safetensors").read_bytes() for folder in (tmp_path / "run", whole.folder)]
    assert weights[0] == weights[1] and not list((tmp_path / "run").glob("checkpoint-*"))


def test_ctrl_c_after_the_training_resumes_at_the_test(undisturbed, table, tmp_path, monkeypatch):
    from dc_graphsam.runs import training

    plan, whole = undisturbed

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate_model", stop)
        with pytest.raises(RunInterrupted, match="checkpoint-12 holds 3 epochs and can be used"):
            train_run(plan, tmp_path / "run")
    again = resume_settings(tmp_path / "run", {"data": str(table)})
    assert train_run(again, tmp_path / "run", resume=True).metrics == whole.metrics


def test_a_run_is_not_replaced_by_one_that_cannot_start(table, tmp_path):
    train_run(settings(table), tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_text()
    with pytest.raises(InvalidArgumentError, match="rho is -1"):
        train_run(settings(table, rho=-1), tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "run.json").read_text() == before
    train_run(settings(table, rho=0.2), tmp_path / "run", overwrite=True)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["optimizer"]["rho"] == 0.2


def test_an_output_that_is_there_is_left_alone(table, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "x").touch()
    with pytest.raises(InvalidArgumentError, match="exists and is not empty"):
        train_run(settings(table), tmp_path / "run")


def test_the_released_settings(tmp_path):
    """On the data set that comes along there are none; on a copy of a released one there are."""
    with pytest.raises(InvalidArgumentError, match="dataset is 'freewilson'"):
        train_run(RunSettings(dataset="freewilson", released=True), tmp_path / "run")


def test_the_released_settings_of_bbbp(moleculenet_dir, tmp_path):
    flat = {
        "dataset": "bbbp",
        "released": True,
        "data_dir": str(moleculenet_dir),
        "baselines": False,
        "max_steps": 2,
        **TINY,
    }
    train_run(RunSettings.from_flat(flat), tmp_path / "run")
    run, config = json.loads((tmp_path / "run" / "run.json").read_text()), load_run(tmp_path / "run").model.config
    assert config.unknown_bond == "as-aromatic" and config.edge_feature_size == 13 and config.hidden_size == 8
    assert run["optimizer"]["lr_schedule"] == "released" and run["dataset"]["split"] == "scaffold"
    assert str(moleculenet_dir) not in (tmp_path / "run" / "run.yaml").read_text()


def test_what_becomes_of_bounds_is_a_setting(tmp_path):
    from dc_graphsam.exceptions import InvalidArgumentError
    from dc_graphsam.runs.data import load_data, resolve_split
    from dc_graphsam.runs.settings import RunSettings

    path = tmp_path / "my.csv"
    path.write_text("smiles,y\n" + "".join(f"{'C' * n},{'>' if n % 2 else ''}{n}.5\n" for n in range(1, 21)))
    for censored, rows in ((None, 10), ("drop", 10), ("exact", 20), ("bounded", 20)):
        flat = {"data": str(path), "target": ["y"], **({"censored": censored} if censored else {})}
        settings = RunSettings.from_flat(flat)
        data = load_data(resolve_split(settings))
        assert sum(map(len, data.values())) == rows
        assert ("lower_bounds" in data["train"].column_names) == (censored == "bounded")
        assert ("censored" in settings.flat()) == (censored in ("exact", "bounded"))
    with pytest.raises(InvalidArgumentError, match="censored is 'all'; accepted: 'drop', 'exact', 'bounded'"):
        RunSettings(data=str(path), censored="all")
    with pytest.raises(InvalidArgumentError, match="the built-in data set 'freewilson' has no bounds"):
        load_data(resolve_split(RunSettings(dataset="freewilson", censored="exact")))


@pytest.mark.parametrize(("position", "readout", "holds"), [("rwse", "attention", True), ("index", "gru", False)])
def test_evaluation_says_what_rewriting_does(table, tmp_path, position, readout, holds):
    plan = settings(table, position=position, readout=readout)
    train_run(plan, tmp_path / "run")
    found = evaluate_run(tmp_path / "run", data=table, split="test", rewrite=2)
    told = found["rewriting"]
    assert told["rewrites"] == 2 and told["metric"] == "rmse"
    assert told["as_written"] == pytest.approx(found["metrics"]["rmse"], rel=1e-5)
    assert told["invariant"] is holds
    assert ("hangs on how the SMILES is written" in told["sentence"]) is not holds
    with pytest.raises(InvalidArgumentError, match="rewrite is -1"):
        evaluate_run(tmp_path / "run", data=table, rewrite=-1)
