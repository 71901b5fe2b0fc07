"""Bounds among the labels, in the Trainer."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from dc_graphsam.exceptions import InvalidArgumentError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sizes, of which those above 15 and below 6 atoms were not read off the scale."""
    from dc_graphsam.data import load_csv

    path = tmp_path_factory.mktemp("bounds") / "sizes.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["smiles", "size"])
        for i in range(64):
            atoms = 1 + i % 20
            writer.writerow(["C" * atoms, ">15" if atoms > 15 else "<6" if atoms < 6 else atoms + 0.001 * i])
    return load_csv(path, task_columns="size", censored="bounded", progress=False, num_workers=1, cache_dir=path.parent)


def train(make_compt, folder, data, steps=1, epochs=1, **options):
    from dc_graphsam.hf import GraphSAMTrainer, GraphSAMTrainingArguments

    args = GraphSAMTrainingArguments(
        str(folder), num_train_epochs=epochs, per_device_train_batch_size=32 // steps, gradient_accumulation_steps=steps,
        save_strategy="no", eval_strategy="epoch", disable_tqdm=True, use_cpu=True, logging_strategy="steps", logging_steps=1, **options,
    )  # fmt: skip
    trainer = GraphSAMTrainer(
        make_compt(data, dropout=0.0), args, train_dataset=data["train"], eval_dataset=data["train"]
    )
    trainer.train()
    return trainer


def test_metrics_are_of_exact_values(make_compt, tmp_path, data):
    trainer = train(make_compt, tmp_path, data)
    found = trainer.predict(data["train"])
    labels = np.asarray(data["train"][:]["labels"]).reshape(-1)
    exact = ~np.isnan(labels)
    assert 0 < exact.sum() < len(labels)
    expected = np.sqrt(((found.predictions.reshape(-1) - labels)[exact] ** 2).mean())
    assert found.metrics["test_rmse"] == pytest.approx(expected, rel=1e-5)
    assert np.isnan(found.label_ids.reshape(-1)).sum() == (~exact).sum()
    mean = trainer.model.config.label_mean[0]
    assert mean == pytest.approx(labels[exact].mean(), rel=1e-5)


@pytest.mark.parametrize("sam", ["none", "graphsam"])
def test_micro_batches_count_bounds_as_measured(make_compt, tmp_path, data, sam):
    options = {"sam": sam, "train_sampling_strategy": "sequential", "optim": "sgd", "learning_rate": 0.05}
    one, four = (train(make_compt, tmp_path, data, steps, 2, **options) for steps in (1, 4))
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(four.model.state_dict()[name], value, rtol=0, atol=1e-5)
    for mine, its in zip(one.state.log_history, four.state.log_history, strict=True):
        for key in ("loss", "loss_clean", "eval_loss"):
            assert mine.get(key, 0) == pytest.approx(its.get(key, 0), abs=1e-5)


def test_what_is_learnt_is_the_side(make_compt, tmp_path, data):
    """Predictions move beyond bounds that were values to a model that takes them so."""
    trainer = train(make_compt, tmp_path, data, epochs=60, sam="none", learning_rate=0.02)
    rows = data["train"]
    lower, upper = (np.asarray(rows[:][name]).reshape(-1) for name in ("lower_bounds", "upper_bounds"))
    values = trainer.predict(rows).predictions.reshape(-1)
    atoms = np.asarray(rows[:]["num_nodes"])
    slack = 1.5
    assert (values[~np.isnan(lower)] > 15 - slack).all() and (values[~np.isnan(upper)] < 6 + slack).all()
    assert values[atoms == 20].mean() > values[atoms == 16].mean()


def test_a_model_that_does_not_read_bounds_refuses_them(make_compt, tmp_path, data):
    from dc_graphsam.hf import GraphSAMTrainer, GraphSAMTrainingArguments

    class Deaf(type(make_compt(data))):
        def forward(self, labels=None, **tensors):
            return super().forward(labels, **tensors)

    args = GraphSAMTrainingArguments(str(tmp_path), use_cpu=True)
    with pytest.raises(
        InvalidArgumentError, match=r"train_dataset has bounds for labels .* which Deaf for regression does not read"
    ):
        GraphSAMTrainer(Deaf(make_compt(data).config), args, train_dataset=data["train"])
