"""Baselines on the split of the model."""

from __future__ import annotations

import csv
import logging

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from dc_graphsam.exceptions import InvalidArgumentError, InvalidSmilesError
from dc_graphsam.metrics import all_metrics
from dc_graphsam.runs.baselines import fit_baselines, tree_baseline
from dc_graphsam.runs.trees import boosted_trees, forest, tree_features
from dc_graphsam.tasks import TaskSpec

ALKYL = ["C" * n for n in range(1, 13)]
SMILES = [chain + end for chain in ALKYL for end in ("", "O", "N", "Cl", "C(=O)O")]


def make_data(labels, task_type, metric, smiles=SMILES, seed=0):
    """A quarter of the rows for testing."""
    names = [f"t{i}" for i in range(labels.shape[1])]
    order = np.random.default_rng(seed).permutation(len(smiles))
    cut = len(smiles) // 4
    parts = {"test": order[:cut], "train": order[cut:]}
    data = DatasetDict(
        {
            split: Dataset.from_dict({"smiles": [smiles[i] for i in rows], "labels": labels[rows].tolist()})
            for split, rows in parts.items()
        }
    )
    return TaskSpec("toy", names, task_type, metric).attach(data), labels[parts["train"]], labels[parts["test"]]


def oxygens():
    return np.array([[s.count("O") + 0.01 * len(s)] for s in SMILES])


def test_regression_baselines_and_their_metrics():
    data, train, test = make_data(oxygens(), "regression", "rmse")
    baselines = fit_baselines(data)
    assert list(baselines) == ["mean", "forest", "boosting"]
    for values in baselines.values():
        assert values["predictions"].shape == test.shape
        expected, _ = all_metrics("regression", test, values["predictions"], ["t0"])
        assert {k: v for k, v in values.items() if k != "predictions"} == expected
    assert baselines["mean"]["predictions"] == pytest.approx(np.full(test.shape, train.mean()))
    assert baselines["forest"]["rmse"] < 0.5 * baselines["mean"]["rmse"]


def test_classification_gives_probabilities_and_priors():
    labels = (oxygens() > 0.9).astype(float)
    data, train, test = make_data(labels, "classification", "roc_auc")
    baselines = fit_baselines(data)
    assert baselines["mean"]["roc_auc"] == 0.5
    assert baselines["mean"]["prc_auc"] == pytest.approx(test.mean())
    assert baselines["mean"]["predictions"][0, 0] == pytest.approx(train.mean())
    for name in ("forest", "boosting"):
        assert baselines[name]["predictions"].min() >= 0
        assert baselines[name]["predictions"].max() <= 1
        assert baselines[name]["roc_auc"] > 0.95


def test_a_fixed_seed_repeats_and_another_differs():
    data, _, _ = make_data(oxygens() + np.random.default_rng(1).normal(size=(len(SMILES), 1)), "regression", "rmse")
    first, again, other = (fit_baselines(data, seed)["forest"]["predictions"] for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_each_task_learns_from_its_own_labelled_rows(caplog):
    rng = np.random.default_rng(0)
    labels = np.concatenate([oxygens(), oxygens() + 100, np.zeros((len(SMILES), 2))], axis=1)
    labels[rng.random(labels.shape) < 0.3] = np.nan
    labels[:, 2] = np.nan  # never measured
    labels[:, 3] = 7.0
    data, train, _ = make_data(labels, "regression", "rmse")
    with caplog.at_level(logging.WARNING):
        baselines = fit_baselines(data)
    assert "baselines leave out tasks without a training label: t2" in caplog.text
    mean = baselines["mean"]["predictions"][0]
    assert mean[[0, 1, 3]] == pytest.approx(np.nanmean(train[:, [0, 1, 3]], axis=0))
    assert np.isnan(mean[2])
    for name in ("forest", "boosting"):
        trees = baselines[name]
        assert (trees["predictions"][:, 1] > 99).all()  # no other task's labels leak in
        assert (trees["predictions"][:, 3] == 7).all()
        assert np.isfinite(trees["rmse"])
        assert {"rmse_t0", "rmse_t1", "rmse_t3"} <= set(trees)
        assert "rmse_t2" not in trees


@pytest.mark.parametrize("learner", [forest, boosted_trees])
def test_a_task_with_one_training_class_predicts_it(learner):
    rows = tree_features(SMILES)
    labels = np.array([[1.0, 0.0]] * 30 + [[np.nan, 1.0]] * 30)
    predictions = tree_baseline(learner, rows, labels, rows, "classification")
    assert (predictions[:, 0] == 1).all()
    assert len(np.unique(predictions[:, 1])) > 1


def test_rows_per_tree_are_bounded_on_large_sets(monkeypatch):
    monkeypatch.setattr("dc_graphsam.runs.trees.MAX_ROWS_PER_TREE", 20)
    data, _, _ = make_data(oxygens(), "regression", "rmse")
    bounded = fit_baselines(data)["forest"]
    assert np.isfinite(bounded["rmse"])
    monkeypatch.undo()
    assert (fit_baselines(data)["forest"]["predictions"] != bounded["predictions"]).any()


def test_bad_input_is_named():
    data, _, _ = make_data(oxygens(), "regression", "rmse")
    with pytest.raises(InvalidArgumentError, match="data has no rows in split 'test'"):
        fit_baselines(DatasetDict(train=data["train"]))
    with pytest.raises(InvalidArgumentError, match="labels have 1 columns; accepted: 2, one per task name"):
        fit_baselines(TaskSpec("toy", ("a", "b"), "regression", "rmse").attach(data))
    with pytest.raises(InvalidSmilesError, match="cannot be used: cannot be parsed"):
        tree_features(["C", "C1CC"])


def test_every_writing_of_the_molecules_gives_the_same_baselines():
    from dc_graphsam.check.characters import rewrite

    data, *_ = make_data(oxygens(), "regression", "rmse")
    other, *_ = make_data(oxygens(), "regression", "rmse", rewrite(SMILES, "random order", 4))
    one, two = fit_baselines(data), fit_baselines(other)
    for name in one:
        np.testing.assert_allclose(one[name]["predictions"], two[name]["predictions"], atol=1e-9)


def test_columns_without_a_number_are_borne():
    metals = ["[Fe]", "[Na+].[Cl-]", "[NH3]->[Fe]", "C[Mg]Br"] * 10
    data, *_ = make_data(np.arange(40.0)[:, None] % 4, "regression", "rmse", metals)
    for values in fit_baselines(data).values():
        assert np.isfinite(values["predictions"]).all()


def test_real_molecules_are_better_than_the_mean(moleculenet_dir):
    with open(moleculenet_dir / "delaney-processed.csv", newline="") as file:
        rows = list(csv.DictReader(file))[:400]
    labels = np.array([[float(row["measured log solubility in mols per litre"])] for row in rows])
    data, _, _ = make_data(labels, "regression", "rmse", [row["smiles"] for row in rows])
    baselines = fit_baselines(data)
    for name in ("forest", "boosting"):
        assert baselines[name]["rmse"] < 0.5 * baselines["mean"]["rmse"]
        assert baselines[name]["r2"] > 0.75
