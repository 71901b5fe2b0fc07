"""compute_metrics as the Trainer calls it."""

from __future__ import annotations

import logging
import pickle

import numpy as np
import pytest
from transformers import EvalPrediction

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.metrics import compute_metrics_for, roc_auc


def test_classification_from_logits_and_from_tuples():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (30, 2)).astype(np.float32)
    labels[rng.random(labels.shape) < 0.2] = np.nan
    logits = rng.normal(size=labels.shape).astype(np.float32)
    compute_metrics = compute_metrics_for("classification", ["a", "b"])
    values = compute_metrics(EvalPrediction(logits, labels))
    assert values["roc_auc"] == roc_auc(labels, logits).value
    assert set(values) == {"roc_auc", "prc_auc", "roc_auc_a", "roc_auc_b", "prc_auc_a", "prc_auc_b"}
    assert all(type(value) is float for value in values.values())
    assert compute_metrics(EvalPrediction((logits, np.zeros((30, 5))), (labels,))) == values


def test_regression_keys():
    values = compute_metrics_for("regression")(EvalPrediction(np.array([[1.0], [2.0]]), np.array([[1.0], [4.0]])))
    assert values == {"rmse": pytest.approx(2**0.5), "mae": 1.0, "r2": pytest.approx(1 - 4 / 4.5)}


def test_tasks_left_out_are_named_once(caplog):
    labels = np.array([[1.0, 0.0], [0.0, 0.0]])
    prediction = EvalPrediction(np.zeros((2, 2)), labels)
    compute_metrics = compute_metrics_for("classification", ["good", "flat"])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            compute_metrics(prediction)
        assert [r.getMessage() for r in caplog.records] == [
            "left out of the mean over tasks: flat (all 2 labels are 0)"
        ]
        compute_metrics(EvalPrediction(np.zeros((2, 2)), np.array([[1.0, np.nan], [0.0, np.nan]])))
    assert caplog.records[-1].getMessage() == "left out of the mean over tasks: flat (no label)"
    assert len(caplog.records) == 2


def test_many_tasks_left_out_make_one_short_line(caplog):
    labels = np.zeros((3, 14))
    with caplog.at_level(logging.WARNING):
        values = compute_metrics_for("classification")(EvalPrediction(np.zeros((3, 14)), labels))
    assert np.isnan(values["roc_auc"])
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage().endswith("task_9 (all 3 labels are 0) and 4 more")


def test_crosses_process_borders():
    compute_metrics = pickle.loads(pickle.dumps(compute_metrics_for("regression", ["a"], per_task=True)))
    values = compute_metrics(EvalPrediction(np.array([[1.0], [2.0]]), np.array([[1.0], [4.0]])))
    assert values["mae_a"] == 1.0


def test_task_type_is_checked_at_once():
    with pytest.raises(InvalidArgumentError, match="task_type is 'binary'; accepted: 'regression', 'classification'"):
        compute_metrics_for("binary")
