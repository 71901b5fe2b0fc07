"""Runs on labels in words, on several classes, and on divisions that the data say themselves."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from dc_graphsam.exceptions import MissingDataError
from dc_graphsam.hub.card import ModelCard
from dc_graphsam.hub.publish import prepare_publication
from dc_graphsam.metrics import class_metric
from dc_graphsam.predict.loading import load_run
from dc_graphsam.predict.table import predict_csv
from dc_graphsam.runs.baselines import class_share_baseline, tree_baseline
from dc_graphsam.runs.evaluate import evaluate_run
from dc_graphsam.runs.settings import RunSettings
from dc_graphsam.runs.train import resume_settings, train_run
from dc_graphsam.runs.trees import boosted_trees, forest

TINY = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "optimizer": "none"}
SHORT = {"num_train_epochs": 2, "per_device_train_batch_size": 32, "use_cpu": True}
ENDS = {"": "alkane", "O": "alcohol", "N": "amine"}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """48 molecules of three kinds, with a call, a date, an assay and a part; and another table of nine."""
    folder = tmp_path_factory.mktemp("data")
    rows, n = ["smiles,kind,hit,day,assay,part"], 0
    for length in range(1, 17):
        for end, kind in ENDS.items():
            hit, part = ("Inactive", "Active")[length % 2], ("train", "train", "val", "test")[length % 4]
            rows.append(f"{'C' * length}{end},{kind},{hit},2020-{1 + n % 12:02d}-01,a{n % 8},{part}")
            n += 1
    (folder / "my.csv").write_text("\n".join(rows) + "\n")
    more = [
        f"{'C' * length}{end},{kind},{('inactive', 'active')[length % 2]}"
        for length in (20, 21, 22)
        for end, kind in ENDS.items()
    ]
    (folder / "test.csv").write_text("\n".join(["SMILES,kind,hit", *more]) + "\n")
    return folder


def settings(here, **more) -> RunSettings:
    return RunSettings.from_flat(
        {"data": str(here / "my.csv"), **TINY, **SHORT, "report": False, "baselines": False, **more}
    )


@pytest.fixture(scope="module")
def classes(here):
    """A finished run on three classes, divided by a column, with report and baselines."""
    more = {"target": "kind", "task_type": "multiclass", "split_column": "part", "report": True, "baselines": True}
    return train_run(settings(here, **more), here / "classes")


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class TestSeveralClasses:
    names = ("alcohol", "alkane", "amine")

    def test_the_files_say_the_same(self, classes):
        rows = read(classes.folder / "predictions_test.csv")
        assert list(rows[0]) == ["row", "smiles", "kind", "kind_label", *(f"kind={name}" for name in self.names)]
        p = np.array([[float(row[f"kind={name}"]) for name in self.names] for row in rows])
        np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
        assert [row["kind"] for row in rows] == [self.names[k] for k in p.argmax(1)]
        labels = [self.names.index(row["kind_label"]) for row in rows]
        for name in ("roc_auc_ovr", "balanced_accuracy", "accuracy", "f1_macro"):
            assert classes.metrics["test"][name] == pytest.approx(class_metric(name, labels, p, (3,)).value, abs=1e-6)
        run = json.loads((classes.folder / "run.json").read_text())
        assert run["task"]["class_names"] == [list(self.names)] and run["task"]["metric"] == "roc_auc_ovr"
        assert (run["dataset"]["split"], run["dataset"]["split_by"]) == ("column", "'part'")
        assert run["dataset"]["counts"] == {"train": 24, "validation": 12, "test": 12}

    def test_baselines(self, classes):
        found = classes.metrics["baselines"]
        assert found["mean"]["roc_auc_ovr"] == 0.5 and found["mean"]["accuracy"] == pytest.approx(1 / 3)
        assert found["forest"]["accuracy"] > 0.9

    def test_evaluate_gives_the_numbers_again_and_those_of_other_data(self, classes, here):
        own = evaluate_run(classes.folder, data=here / "my.csv", split="test")["metrics"]
        assert own == pytest.approx(classes.metrics["test"])
        other = evaluate_run(classes.folder, data=here / "test.csv")
        assert other["molecules"] == 9 and 0 <= other["metrics"]["accuracy"] <= 1

    def test_predict(self, classes, here):
        run = load_run(classes.folder)
        done = predict_csv(run.model, here / "test.csv", here / "out.csv", processor=run.processor, overwrite=True)
        assert done.columns == ("kind_predicted", *(f"kind={name}" for name in self.names), "error", "note")
        rows = read(here / "out.csv")
        assert all(row["kind_predicted"] in self.names for row in rows)
        assert sum(float(rows[0][f"kind={name}"]) for name in self.names) == pytest.approx(1, abs=1e-5)

    def test_the_row_without_a_prediction(self, classes, tmp_path):
        (tmp_path / "in.csv").write_text("smiles\nC1CC\nCCO\n")
        predict_csv(load_run(classes.folder).model, tmp_path / "in.csv", tmp_path / "out.csv")
        row = read(tmp_path / "out.csv")[0]
        assert row["kind"] == "" and row["kind=amine"] == "nan" and "unclosed ring" in row["error"]

    def test_the_report_shows_a_confusion_matrix(self, classes):
        text = (classes.folder / "report.html").read_text()
        assert "Confusion matrix" in text and "predict the commonest class" in text and "column &#39;part&#39;" in text
        assert "ROC-AUC (one against the rest)" in text and "lowest probability of their own class" in text

    def test_the_card(self, classes):
        card = ModelCard.from_runs([classes.folder], "toy", license="mit", source="me/toy")
        assert (
            "the likeliest class, and the probability of each class (alcohol, alkane, amine), for `kind`" in card.body
        )
        assert "multi-class-classification" in card.metadata["tags"] and "predict the commonest class" in card.body
        assert "column 'part', 24 train" in card.body
        files = prepare_publication(classes.folder, "me/toy").files
        assert "figures/confusion-1.svg" in files

    def test_the_settings_repeat_the_run(self, classes, here):
        from dc_graphsam.cli.settings import read_config

        flat = read_config(classes.folder / "run.yaml")
        again = train_run(
            RunSettings.from_flat({**flat, "data": str(here / "my.csv"), "report": False}), here / "again"
        )
        assert again.metrics == classes.metrics


class TestWords:
    def test_the_words_go_with_the_model(self, here):
        done = train_run(settings(here, target="hit"), here / "words")
        config = load_run(done.folder).model.config
        assert config.task_type == "classification" and config.class_names == [["Inactive", "Active"]]
        assert evaluate_run(done.folder, data=here / "test.csv")["molecules"] == 9
        card = ModelCard.from_runs([done.folder], "toy", license="mit", source="me/toy")
        assert "the probability of class 1 (Active) for `hit`" in card.body
        turned = train_run(settings(here, target="hit", positive="inactive"), here / "turned")
        assert load_run(turned.folder).model.config.class_names == [["Active", "Inactive"]]
        labels = [[row["hit_label"] for row in read(run.folder / "predictions_test.csv")] for run in (done, turned)]
        assert set(labels[0]) == {"0", "1"} and labels[1] == [{"0": "1", "1": "0"}[label] for label in labels[0]]


class TestDivisions:
    def test_another_table(self, here):
        done = train_run(settings(here, target="hit", test_data=str(here / "test.csv")), here / "other")
        run = json.loads((done.folder / "run.json").read_text())["dataset"]
        assert (run["split"], run["counts"]["test"]) == ("table", 9) and "test.csv" in run["split_by"]
        flat = (done.folder / "run.yaml").read_text()
        assert "test_data: test.csv" in flat  # no absolute path
        with pytest.raises(
            MissingDataError, match="a table of the run, test.csv, is not here; say where it is with test_data"
        ):
            evaluate_run(done.folder, data=here / "my.csv", split="test")
        found = evaluate_run(done.folder, data=here / "my.csv", split="test", test_data=here / "test.csv")
        assert found["metrics"] == pytest.approx(done.metrics["test"]) and found["molecules"] == 9

    def test_time_and_groups(self, here):
        done = train_run(settings(here, target="hit", time_column="day"), here / "time")
        rows = read(here / "my.csv")
        splits = json.loads((done.folder / "splits.json").read_text())
        assert (splits["split"], splits["split_by"]) == ("time", "'day'")
        days = {part: [rows[i]["day"] for i in numbers] for part, numbers in splits["rows"].items()}
        assert max(days["train"]) < min(days["validation"]) and max(days["validation"]) < min(days["test"])
        found = evaluate_run(done.folder, data=here / "my.csv", split="test")["metrics"]
        assert found == pytest.approx(done.metrics["test"], nan_ok=True)

    def test_resume_goes_by_the_written_rows(self, here, monkeypatch):
        from dc_graphsam.runs.training import Training

        def stop(self, trainer):
            raise KeyboardInterrupt

        whole = train_run(settings(here, target="hit", group_column="assay"), here / "whole")
        with monkeypatch.context() as patch:
            patch.setattr(Training, "train", stop)
            with pytest.raises(KeyboardInterrupt):
                train_run(settings(here, target="hit", group_column="assay"), here / "stopped")
        plan = resume_settings(here / "stopped", {"data": str(here / "my.csv")})
        assert plan.group_column == "assay"
        assert train_run(plan, here / "stopped", resume=True).metrics == whole.metrics


def test_class_baselines_know_nothing_of_unseen_classes():
    labels = np.array([[0.0, np.nan], [2.0, np.nan], [2.0, np.nan]])
    shares = class_share_baseline(labels, 2, (3, 2))
    np.testing.assert_allclose(shares[0, :3], [1 / 3, 0, 2 / 3])
    assert np.isnan(shares[:, 3:]).all()
    bits = np.eye(3, 8, dtype=np.float32)
    for learner in (forest, boosted_trees):
        found = tree_baseline(learner, bits, labels, bits, "multiclass", class_counts=(3, 2))
        np.testing.assert_allclose(found[:, :3].sum(1), 1)
        assert not found[:, 1].any() and np.isnan(found[:, 3:]).all()
        if learner is forest:  # boosting splits no group of fewer than twenty
            assert found[0, :3].argmax() == 0
