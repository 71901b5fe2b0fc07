"""report.html from run folders of all kinds."""

from __future__ import annotations

import base64
import csv
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from dc_graphsam.exceptions import MissingColumnError, RunFolderError
from dc_graphsam.metrics import all_metrics
from dc_graphsam.report.figures import draw_molecule, line_chart, parity_plot, roc_plot, series
from dc_graphsam.report.page import write_report

SMILES = ["CCO", "c1ccccc1", "CC(=O)O", "CCN", "CCCl", "C1CCCCC1", "OCC(O)CO", "c1ccncc1", "CC#N", "CCS", "[Na+].[Cl-]"]
SVG = "{http://www.w3.org/2000/svg}"


class Page(HTMLParser):
    """Text, images and links of a page; balanced tags are checked on the way."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.images, self.text, self.open, self.tags, self.links = [], [], [], [], []
        self.feed(self.source)
        assert self.open == []
        self.words = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.links += [attributes[key] for key in ("src", "href", "srcset", "data", "action") if key in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    def svgs(self):
        head = "data:image/svg+xml;base64,"
        assert all(image["src"].startswith(head) for image in self.images)
        return [ElementTree.fromstring(base64.b64decode(image["src"][len(head) :])) for image in self.images]


def history(metric, epochs, per_epoch=1, sam=True):
    records = []
    for step in range(1, epochs * per_epoch + 1):
        epoch = step / per_epoch
        record = {"epoch": epoch, "step": step, "loss": 1 / epoch, "learning_rate": 1e-4}
        if sam:
            record |= {"loss_clean": 0.9 / epoch, "loss_perturbed": 1 / epoch}
            record |= {"rho": 0.05 * 0.9**epoch, "perturbation_norm": 0.05 * 0.9**epoch}
        records.append(record)
        if step % per_epoch == 0:
            records.append(
                {"epoch": epoch, "step": step, "eval_loss": 1.1 / epoch, f"eval_{metric}": 0.5 + 0.01 * epoch}
            )
    return [*records, {"epoch": epochs, "step": epochs * per_epoch, "train_runtime": 7.0, "train_loss": 0.4}]


def make_run(folder, task_type="regression", n_tasks=1, epochs=3, n_rows=40, missing=0.0, names=None, **changes):
    """A run folder with everything in it; changes replace fields of run.json."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(n_tasks)
    metric = "rmse" if task_type == "regression" else "roc_auc"
    names = names or ([f"task-{t}" for t in range(n_tasks)] if n_tasks > 1 else ["logS"])
    labels = rng.normal(-2, 2, (n_rows, n_tasks))
    predictions = labels + rng.normal(0, 0.5, labels.shape)
    if task_type == "classification":
        labels = rng.integers(0, 2, labels.shape).astype(float)
        labels[:2] = np.array([[0.0], [1.0]])
        predictions = 1 / (1 + np.exp(-(labels - 0.5 + rng.normal(0, 1, labels.shape))))
    labels[2:][rng.random(labels[2:].shape) < missing] = np.nan
    test, _ = all_metrics(task_type, labels, predictions, names)
    forest, _ = all_metrics(task_type, labels, 0.7 * predictions + 0.3 * rng.random(labels.shape), names)
    mean, _ = all_metrics(task_type, labels, np.full(labels.shape, 0.5), names)
    run = {
        "format": 1,
        "command": "dc-graphsam train --dataset toy --optimizer graphsam",
        "dataset": {
            "name": "toy",
            "source": "toy.csv",
            "split": "scaffold",
            "seed": 7,
            "fold": None,
            "counts": {"train": 320, "validation": 40, "test": 40},
            "dropped": 3,
            "splits_sha256": "ab12" * 16,
        },
        "task": {
            "dataset": "toy",
            "task_names": names,
            "task_type": task_type,
            "metric": metric,
            "feature_set": "compt",
        },
        "model": {"name": "compt", "parameters": 1234567, "config": {"hidden_size": 256, "task_names": names}},
        "optimizer": {"name": "graphsam", "base": "adamw", "rho": 0.05, "beta": 0.99},
        "training": {"num_train_epochs": epochs, "bf16": False, "learning_rate": 1e-4},
        "versions": {"dc_graphsam": "0.1.0", "torch": "2.13.0+cpu"},
        "seconds": 72.4,
        "started": "2026-01-02T03:04:05+00:00",
        **changes,
    }
    (folder / "run.json").write_text(json.dumps(run))
    baselines = {"mean": mean, "random_forest": forest}
    scores = {"test": test, "validation": test, "baselines": baselines, "metric": metric, "best_epoch": epochs}
    (folder / "metrics.json").write_text(json.dumps(scores))
    (folder / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in history(metric, epochs)))
    (folder / "splits.json").write_text(
        json.dumps({"rows": {"train": [0, 3], "validation": [1], "test": [2]}, "sha256": "ab12" * 16})
    )
    with (folder / "predictions_test.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "smiles", *(column for name in names for column in (name, f"{name}_label"))])
        for i, (p, y) in enumerate(zip(predictions, labels, strict=True)):
            cells = ["" if np.isnan(v) else v for pair in zip(p, y, strict=True) for v in pair]
            writer.writerow([100 + i, SMILES[i % len(SMILES)], *cells])
    with (folder / "dropped.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "smiles", "reason"])
        writer.writerows(
            [[17, "C1CC", "cannot be parsed"], [204, "N(C", "cannot be parsed"], [9, "CCO", "label is 'inf'"]]
        )
    return folder


def test_a_regression_report_holds_everything(tmp_path):
    path = write_report(make_run(tmp_path))
    assert path == tmp_path / "report.html"
    page = Page(path)
    for words in (
        "CoMPT + GraphSAM on toy",
        "Trained 2026-01-02 03:04",
        "320 train, 40 validation, 40 test",
        "Left out 3 rows",
        "scaffold, seed 7",
        "ab12ab12ab12ab12…",
        "1,234,567",
        "GraphSAM on adamw (rho 0.05, beta 0.99)",
        "3 in 1 min 12 s; weights of epoch 3",
        "predict the mean",
        "random forest (Morgan bits)",
        "dc-graphsam train --dataset toy --optimizer graphsam",
        "torch 2.13.0+cpu",
        "17 C1CC 204 N(C",
        "label is 'inf'",
        "The 10 molecules of the test set with the largest error",
        "learning_rate 0.0001",
        "bf16 false",
    ):
        assert words in page.words
    titles = re.findall(r"<h3>([^<]*)</h3>", page.source)
    assert titles == [
        "Parity plot",
        "Errors",
        "Loss",
        "RMSE on the validation set",
        "Perturbation radius",
        "Perturbation norm",
    ]
    assert len(page.images) == 6 + 10
    assert all(image["alt"] for image in page.images)


def test_counts_come_from_the_splits_where_the_run_does_not_say(tmp_path):
    dataset = {"name": "toy", "source": "toy.csv", "split": "scaffold", "seed": 7}
    assert "2 train, 1 validation, 1 test" in Page(write_report(make_run(tmp_path, dataset=dataset))).words


def test_probed_values_have_a_section(tmp_path):
    make_run(tmp_path)
    assert "Inside the optimizer" not in Page(write_report(tmp_path)).words
    records = [
        {
            "epoch": float(epoch), "step": epoch, "loss": 1.0, "cos_epsilon_omega": 0.1 * epoch, "consistent_pairs": 0.5,
            "omega_norm": 2.0 / epoch, "epsilon_norm": 1.0, "omega_variation": 0.1, "sharpness": 0.01,
            "hessian_eigenvalue": 30.0 + epoch, **{f"cos_epsilon_omega/layer.{i}.weight": 0.02 * i - 0.3 for i in range(60)},
        }
        for epoch in range(1, 4)
    ]  # fmt: skip
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    page = Page(write_report(tmp_path))
    titles = re.findall(r"<h3>([^<]*)</h3>", page.source.split("Inside the optimizer")[1])
    assert titles == [
        "Cosine with the true perturbation gradient",
        "Consistent pairs (cosine of last ω and true ε ≥ 0)",
        "Gradient norms",
        "Change from step to step",
        "Sharpness",
        "Largest Hessian eigenvalue",
        "Cosine of last ω and true ε, by tensor",
        *titles[7:],
    ]
    assert "45 of 60 tensors have a mean that is not negative. Shown are the 20 at either end." in page.words
    drawn = base64.b64decode(
        next(i["src"] for i in page.images if i["alt"].startswith("Mean cosine")).split(",")[1]
    ).decode()
    assert "layer.59.weight" in drawn and "layer.0.weight" in drawn and "layer.30.weight" not in drawn


def test_the_file_is_self_contained_and_small(tmp_path):
    path = write_report(make_run(tmp_path, "classification", n_tasks=12, epochs=30, n_rows=2000, missing=0.2))
    assert path.stat().st_size < 1_500_000
    page = Page(path)
    assert all(link.startswith("data:") for link in page.links)
    assert not {"script", "iframe", "object", "link"} & set(page.tags)
    assert "@import" not in page.source
    assert "url(" not in page.source
    for svg in page.svgs():
        assert not list(svg.iter(f"{SVG}script"))
        links = [value for node in svg.iter() for key, value in node.attrib.items() if key.endswith("href")]
        assert all(link.startswith(("#", "data:")) for link in links)


def test_numbers_shown_are_those_of_the_files(tmp_path):
    make_run(tmp_path)
    scores = json.loads((tmp_path / "metrics.json").read_text())
    page = Page(write_report(tmp_path))
    assert f"{scores['test']['rmse']:#.3g}" in page.words
    assert f"{scores['baselines']['random_forest']['rmse']:#.3g}" in page.words
    with (tmp_path / "predictions_test.csv").open() as file:
        rows = list(csv.DictReader(file))
    worst = max(rows, key=lambda row: abs(float(row["logS"]) - float(row["logS_label"])))
    first = page.source[page.source.index('<div class="card">') :]
    assert f"<span>row</span><span>{worst['row']}</span>" in first[: first.index("</code>")]


@pytest.mark.parametrize("n_tasks", [1, 5, 12])
def test_classification_has_curves_and_a_table_of_tasks(tmp_path, n_tasks):
    page = Page(write_report(make_run(tmp_path, "classification", n_tasks=n_tasks, n_rows=120, missing=0.1)))
    plural = "s" if n_tasks > 1 else ""
    assert f"ROC curve{plural}" in page.words
    assert f"Precision-recall curve{plural}" in page.words
    assert ("random forest ROC-AUC" in page.words) == (n_tasks > 1)
    curve = page.svgs()[0]
    texts = [node.text or "" for node in curve.iter(f"{SVG}text")]
    assert any("mean of 12 tasks" in text for text in texts) == (n_tasks == 12)
    assert sum("task-" in text for text in texts) == {1: 0, 5: 5, 12: 2}[n_tasks]
    if n_tasks > 1:
        assert f"task-{n_tasks - 1}" in page.words


def test_scores_of_tasks_stay_small_and_readable(tmp_path):
    path = write_report(make_run(tmp_path, "classification", n_tasks=60, n_rows=80, missing=0.5))
    assert path.stat().st_size < 600_000
    page = Page(path)
    assert "band: the middle 80 % of the tasks" in page.words
    assert "60 tasks task labels positive" in page.words  # folded away


def test_many_regression_tasks_show_the_six_worst(tmp_path):
    page = Page(write_report(make_run(tmp_path, n_tasks=9, missing=0.2)))
    assert "The 6 of 9 tasks with the lowest R²" in page.words
    texts = [node.text or "" for node in page.svgs()[0].iter(f"{SVG}text")]
    assert sum("task-" in text for text in texts) == 6
    assert "in units of the spread of that task’s labels" in page.words


def test_a_task_with_one_class_is_named_and_not_drawn(tmp_path):
    make_run(tmp_path, "classification", n_tasks=2)
    with (tmp_path / "predictions_test.csv").open() as file:
        header, *rows = csv.reader(file)
    column = header.index("task-1_label")
    rows = [[*row[:column], "0.0", *row[column + 1 :]] for row in rows]
    with (tmp_path / "predictions_test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    page = Page(write_report(tmp_path))
    assert "task-1 (not in the mean: all 40 labels are 0)" in page.words


@pytest.mark.parametrize("epochs", [1, 30])
def test_one_epoch_and_thirty(tmp_path, epochs):
    page = Page(write_report(make_run(tmp_path, epochs=epochs)))
    assert f"Ring: epoch {epochs}, whose weights were kept." in page.words
    loss = next(image for image in page.images if image["alt"].startswith("Line chart of loss"))
    assert f"at epoch {epochs}" in loss["alt"]
    assert {"clean", "perturbed", "validation"} <= set(re.findall(r"(\w+): [\d.]+ at", loss["alt"]))


def test_only_run_json_is_needed(tmp_path):
    make_run(tmp_path)
    for name in ("metrics.json", "history.jsonl", "splits.json", "predictions_test.csv", "dropped.csv"):
        (tmp_path / name).unlink()
    task = json.loads((tmp_path / "run.json").read_text())["task"]
    (tmp_path / "run.json").write_text(json.dumps({"task": task}))
    page = Page(write_report(tmp_path))
    assert "model on toy" in page.words
    assert "No metrics were recorded for the test set." in page.words
    assert page.images == []


def test_a_run_without_sharpness_has_no_charts_of_it(tmp_path):
    make_run(tmp_path, optimizer={"name": "none", "base": "adam"})
    (tmp_path / "history.jsonl").write_text(
        "".join(json.dumps(record) + "\n" for record in history("rmse", 3, sam=False))
    )
    page = Page(write_report(tmp_path))
    assert "CoMPT on toy" in page.words
    assert "Optimizer adam Epochs" in page.words
    assert "GraphSAM" not in page.words.replace("--optimizer graphsam", "")
    assert "Perturbation radius" not in page.words
    assert any("training: 1 at epoch 1" in image["alt"] for image in page.images)


def test_values_that_are_not_finite(tmp_path):
    make_run(tmp_path)
    scores = json.loads((tmp_path / "metrics.json").read_text())
    scores["test"] |= {"rmse": float("nan"), "r2": None}
    scores["best_epoch"] = None
    (tmp_path / "metrics.json").write_text(json.dumps(scores))
    lines = [{**record, "loss_clean": None, "loss_perturbed": float("nan")} for record in history("rmse", 3)]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in lines))
    with (tmp_path / "predictions_test.csv").open("a") as file:
        file.write("900,C,,1.0\n901,CC,nan,\n902,CCC,inf,3\n903,,0.5,0.5\n")
    page = Page(write_report(tmp_path))
    assert "–" in page.words
    assert "nan" not in page.words.lower().split()
    assert "14 logged values are not finite and not drawn." in page.words
    assert "Ring" not in page.words


def test_text_from_outside_is_escaped(tmp_path):
    hostile = "<script>alert('x')</script>&$x^2$ \"q\""
    make_run(tmp_path, "classification", names=[hostile, "b"], n_tasks=2, command=hostile, versions={hostile: hostile})
    with (tmp_path / "dropped.csv").open("a", newline="") as file:
        csv.writer(file).writerow([5, hostile, hostile])
    page = Page(write_report(tmp_path))
    assert "script" not in page.tags
    assert page.words.count(hostile) >= 4
    page.svgs()  # parse
    path = tmp_path / "predictions_test.csv"
    path.write_text(path.read_text().replace("CCO", "<b>"))
    page = Page(write_report(tmp_path))
    assert "b" not in page.tags


def test_the_network_that_loses_is_said_to(tmp_path):
    make_run(tmp_path)
    scores = json.loads((tmp_path / "metrics.json").read_text())
    assert "is not better" not in Page(write_report(tmp_path)).words
    scores["baselines"]["random_forest"]["rmse"] = scores["test"]["rmse"] / 2
    (tmp_path / "metrics.json").write_text(json.dumps(scores))
    words = Page(write_report(tmp_path)).words
    assert "On this test set the network is not better than the baseline “random forest (Morgan bits)”." in words


def test_equal_runs_give_equal_files(tmp_path):
    first = write_report(make_run(tmp_path / "a")).read_bytes()
    assert write_report(make_run(tmp_path / "b")).read_bytes() == first


def test_pyplot_and_its_settings_are_left_alone(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    write_report(make_run(tmp_path))
    assert dict(matplotlib.rcParams) == before


def test_series_takes_means_over_epochs_where_the_log_is_fine():
    fine = [{"epoch": step / 10, "loss": float(step)} for step in range(1, 61)]
    epochs, values, n_lost = series(fine, "loss")
    assert epochs.tolist() == [1, 2, 3, 4, 5, 6]
    assert values.tolist() == [5.5, 15.5, 25.5, 35.5, 45.5, 55.5]
    assert n_lost == 0
    epochs, values, _ = series(fine[:20], "loss")  # two epochs: the steps themselves
    assert len(epochs) == 20
    again = [{"epoch": 3.0, "eval_rmse": 1.0}, {"epoch": 3.0, "eval_rmse": 0.2}]  # the best model, evaluated at the end
    assert series(again, "eval_rmse")[1].tolist() == [1.0]


def test_charts_with_nothing_to_draw_are_none():
    assert line_chart([{"epoch": 1.0, "rho": 0.0}], [("rho", "rho")], "t", "rho", log=True) is None
    assert roc_plot(["a"], np.array([[1.0], [1.0]]), np.array([[0.2], [0.3]]), {}) is None
    assert parity_plot(["a"], np.array([[np.nan]]), np.array([[1.0]])) is None
    assert parity_plot(["a"], np.array([[1.0]]), np.array([[1.0]])).title == "Parity plot"


def test_constant_rho_is_drawn_on_a_log_axis():
    chart = line_chart([{"epoch": e, "rho": 0.05} for e in (1, 2, 3)], [("rho", "rho")], "t", "rho", log=True)
    svg = ElementTree.fromstring(base64.b64decode(chart.uri.split(",")[1]))
    assert "0.05" in [node.text for node in svg.iter(f"{SVG}text")]


def test_molecules_that_cannot_be_drawn():
    assert draw_molecule("C1CC") is None
    assert draw_molecule("") is None
    assert draw_molecule(None) is None
    assert draw_molecule("C" * 200).startswith("data:image/svg+xml;base64,")


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(RunFolderError, match=r"nowhere has no run.json.*no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match=r"has no run.json.*not a folder that dc-graphsam train"):
        write_report(tmp_path)
    folder = make_run(tmp_path / "run")
    (folder / "history.jsonl").write_text('{"epoch": 1}\n{broken\n')
    with pytest.raises(RunFolderError, match=r"history.jsonl, line 2, is not a JSON object: '{broken'"):
        write_report(folder)
    (folder / "history.jsonl").unlink()
    (folder / "predictions_test.csv").write_text("row,smiles,logs,logS_label\n1,C,2,3\n")
    with pytest.raises(
        MissingColumnError, match=r"predictions_test.csv has no column 'logS'. It has: .*Did you mean 'logs'"
    ):
        write_report(folder)
    (folder / "run.json").write_text('{"task": {"dataset": "toy"}}')
    with pytest.raises(RunFolderError, match=r"run.json does not say what was predicted under 'task'"):
        write_report(folder)
    (folder / "run.json").write_text("[1]")
    with pytest.raises(RunFolderError, match="holds no JSON object"):
        write_report(folder)
