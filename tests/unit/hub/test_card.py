"""Cards: facts from runs, text from facts, and back."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path

import pytest
import yaml

from dc_graphsam.exceptions import InvalidArgumentError, MissingDataError, RunFolderError
from dc_graphsam.hf import ModelCard
from dc_graphsam.hub.card_data import summary

ROOT = Path(__file__).resolve().parents[3]
METRIC = "rmse"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Tiny runs: GraphSAM with two seeds, Adam with one, of the data set that comes with RDKit."""
    from dc_graphsam.hf import RunSettings, train_run

    base = tmp_path_factory.mktemp("runs")
    common = {"dataset": "freewilson", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    common |= {"num_train_epochs": 1.0, "report": False, "baselines": False}
    for name, method, seed in (("g0", "graphsam", 0), ("g1", "graphsam", 1), ("a0", "none", 0)):
        train_run(RunSettings.from_flat({**common, "optimizer": method, "seed": seed}), base / name)
    return base


@pytest.fixture(scope="module")
def card(runs):
    return ModelCard.from_runs([runs / "g0", runs / "g1", runs / "a0"], "tiny")


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text())


def edited(runs, name, tmp_path, file="run.json", **changes):
    """A copy of a run with other values under dotted names."""
    folder = tmp_path / name
    shutil.copytree(runs / name, folder)
    record = json.loads((folder / file).read_text())
    for key, value in changes.items():
        part = record
        *path, last = key.split("__")
        for step in path:
            part = part[step]
        part[last] = value
    (folder / file).write_text(json.dumps(record))
    return folder


def test_card_to_file_to_card_is_equal(card, tmp_path):
    card.write(tmp_path)
    assert ModelCard.read(tmp_path) == card
    assert ModelCard.read(tmp_path / "README.md").text == card.text
    assert ModelCard.parse(card.text) == card


@pytest.mark.parametrize("place", ["text", "data"])
def test_a_number_that_was_changed_by_hand_is_found(place, card, tmp_path):
    value = card.facts["metrics"]["test"][METRIC]
    if place == "text":
        text = card.text.replace(f"| tiny | {value:.4f} |", f"| tiny | {value - 0.1:.4f} |")
    else:
        text = card.text.replace(f"value: {value!r}", f"value: {value - 0.1!r}", 1)
    assert text != card.text
    with pytest.raises(InvalidArgumentError, match=r"line \d+ of the card does not follow from its facts"):
        ModelCard.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# a card", "has no facts under 'dc_graphsam': it was not written by this package"),
        ("---\ntags: [a]\n---\n\ntext", "has no facts under 'dc_graphsam'"),
        ("---\na: [\n---\n\ntext", "the card's metadata are not YAML"),
        ("---\ndc_graphsam: {name: x}\n---\n\ntext", "the card's facts are incomplete: KeyError"),
    ],
)
def test_other_texts_are_no_cards(text, message):
    with pytest.raises(InvalidArgumentError, match=message):
        ModelCard.parse(text)


def test_no_card(tmp_path):
    with pytest.raises(MissingDataError, match="there is no card"):
        ModelCard.read(tmp_path)


def test_every_number_is_that_of_the_files(card, runs):
    values = {name: metrics_of(runs / name)["test"][METRIC] for name in ("g0", "g1", "a0")}
    assert card.facts["metrics"] == metrics_of(runs / "g0")
    mean, spread = statistics.fmean([values["g0"], values["g1"]]), statistics.stdev([values["g0"], values["g1"]])
    assert f"| GraphSAM | {mean:.4f} ± {spread:.4f} |" in card.text and "| 2 | 0, 1 |" in card.text
    assert f"| Adam | {values['a0']:.4f} |" in card.text
    assert card.mean_of("GraphSAM", METRIC) == (mean, spread, 2) and card.mean_of("Adam", METRIC)[1] is None
    better = int(values["g0"] < values["a0"])
    assert (
        f"Against Adam on the 1 common seed: RMSE {values['g0'] - values['a0']:+.4f} on average, better on {better} of 1."
        in (card.text.replace("−", "-"))
    )
    split = json.loads((runs / "g0" / "splits.json").read_text())["sha256"]
    assert f"SHA-256 `{split}` (seed 0)" in card.text


def test_the_kept_seed_is_called_the_best_only_if_it_is(runs):
    validation = {name: metrics_of(runs / name)["validation"][METRIC] for name in ("g0", "g1")}
    best, other = sorted(validation, key=validation.get)
    said = "Of 2 seeds, the one with the best RMSE on its validation set."
    assert said in ModelCard.from_runs([runs / best, runs / other], "x").text
    assert said not in ModelCard.from_runs([runs / other, runs / best], "x").text
    assert said not in ModelCard.from_runs([runs / best], "x").text


def test_metadata_are_those_the_hub_reads(card, runs):
    from huggingface_hub import EvalResultEntry
    from huggingface_hub import ModelCard as TheirCard

    theirs = TheirCard(card.text).data
    assert (theirs.library_name, theirs.pipeline_tag, theirs.license) == ("dc_graphsam", "graph-ml", "apache-2.0")
    assert {"compt", "graphsam", "sharpness-aware-minimization", "regression"} <= set(theirs.tags)
    assert theirs.metrics[0] == METRIC and theirs.datasets == ["freewilson"]
    found = {result.metric_type: result.metric_value for result in theirs.eval_results}
    assert found == {key: value for key, value in metrics_of(runs / "g0")["test"].items() if value is not None}
    entries = yaml.safe_load(card.files()[".eval_results/freewilson.yaml"])
    assert entries[0]["value"] == found[METRIC]
    EvalResultEntry(dataset_id=entries[0]["dataset"]["id"], task_id=entries[0]["dataset"]["task_id"], value=0.0)


def test_the_recipe_is_that_of_the_run(card, runs):
    recipe = yaml.safe_load(card.files()["recipe.yaml"])
    assert recipe == yaml.safe_load((runs / "g0" / "run.yaml").read_text())
    from dc_graphsam.hf import RunSettings

    assert RunSettings.from_flat(recipe).dataset == "freewilson"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training__num_train_epochs": 2.0}, "training.num_train_epochs is 2.0, there it is 1.0"),
        ({"model__config__hidden_size": 16}, "model.config.hidden_size is 16, there it is 8"),
        ({"dataset__splits_sha256": "0" * 64}, "splits_sha256 is '000"),
        ({"dataset__split": "scaffold"}, "dataset.split is 'scaffold', there it is 'random'"),
    ],
)
def test_runs_of_another_protocol_are_not_compared(changes, message, runs, tmp_path):
    other = edited(runs, "a0", tmp_path, **changes)
    with pytest.raises(RunFolderError, match=f"does not follow the protocol of .*: {message}"):
        ModelCard.from_runs([runs / "g0", other], "x")


def test_other_constants_of_the_method_are_another_protocol(runs, tmp_path):
    other = edited(runs, "g1", tmp_path, optimizer__rho=0.1)
    with pytest.raises(RunFolderError, match="optimizer constants is"):
        ModelCard.from_runs([runs / "g0", other], "x")


def test_unfinished_runs_and_runs_without_a_test(runs, tmp_path):
    with pytest.raises(RunFolderError, match="there is no such folder"):
        ModelCard.from_runs([tmp_path / "none"], "x")
    folder = tmp_path / "g0"
    shutil.copytree(runs / "g0", folder)
    metrics = metrics_of(folder)
    del metrics["test"]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(RunFolderError, match="has no test metrics: a card needs a test split"):
        ModelCard.from_runs([folder], "x")


def test_metrics_that_are_not_defined(runs, tmp_path):
    metrics = metrics_of(runs / "g0")["test"]
    other = edited(runs, "g0", tmp_path, file="metrics.json", test={**metrics, "r2": None})
    card = ModelCard.from_runs([other], "x")
    assert "R²" not in card.text and ModelCard.parse(card.text) == card
    assert summary([{"test": {"r2": None}}], "r2") == (None, None, 0)


def test_names_of_tasks_cannot_break_the_page(runs, tmp_path):
    folder = edited(runs, "g0", tmp_path, task__task_names=["p|x_y <b>", "second"])
    card = ModelCard.from_runs([folder], "a|b")
    assert "# a\\|b" in card.text and "| p\\|x\\_y \\<b\\> |" in card.text
    assert ModelCard.parse(card.text) == card


@pytest.mark.parametrize(
    "folder", sorted(p.parent for p in (ROOT / "hub_cards").glob("*/README.md")), ids=lambda p: p.name
)
def test_published_cards_follow_from_the_results_beside_them(folder):
    card = ModelCard.read(folder)
    assert (folder / "recipe.yaml").read_text() == card.files()["recipe.yaml"]
    found = {}
    for results in sorted((folder / "results").iterdir()):
        run, metrics = (json.loads((results / name).read_text()) for name in ("run.json", "metrics.json"))
        recipe = yaml.safe_load((results / "run.yaml").read_text())
        found[run["optimizer"]["name"], recipe["seed"]] = metrics["test"][card.facts["task"]["metric"]]
    names = {"none": "Adam", "graphsam": "GraphSAM"}
    said = {
        (method["name"], run["seed"]): run["test"][card.facts["task"]["metric"]]
        for method in card.facts["methods"]
        for run in method["runs"]
    }
    assert said == {(names[method], seed): value for (method, seed), value in found.items()}
    assert all((folder / figure["file"]).is_file() for figure in card.facts["figures"])
