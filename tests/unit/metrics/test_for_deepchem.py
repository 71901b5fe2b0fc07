"""The masked metrics where DeepChem calls them."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import pytest

from dc_graphsam.exceptions import InvalidArgumentError, InvalidShapeError
from dc_graphsam.metrics import dc_metric, get_metric, mae, roc_auc


@pytest.fixture(scope="module")
def dc():
    dc_metric("mae")  # imports deepchem with its warnings off
    import deepchem

    return deepchem


def multitask(seed=0, n_tasks=3, rows=60):
    """Labels as DeepChem keeps them (0 with weight 0 where missing), and the same with NaN."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (rows, n_tasks)).astype(float)
    weights = (rng.random(labels.shape) > 0.3).astype(float)
    return rng, labels * weights, weights, np.where(weights == 0, np.nan, labels)


def test_import_noise_stays_off_the_terminal():
    code = "from dc_graphsam.metrics import dc_metric; print(dc_metric('roc_auc').name)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "roc_auc"
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["roc_auc", "prc_auc"])
def test_evaluate_of_a_multitask_classifier(dc, name):
    rng, y, w, labels = multitask()
    data = dc.data.NumpyDataset(rng.normal(size=(60, 5)), y, w)
    model = dc.models.MultitaskClassifier(n_tasks=3, n_features=5, layer_sizes=[8], dropouts=0.0, seed=1)
    model.fit(data, nb_epoch=3)
    metric = dc_metric(name)
    scores, per_task = model.evaluate(data, [metric], [], per_task_metrics=True)
    expected = get_metric(name)(labels, model.predict(data)[:, :, 1])
    assert scores == {name: pytest.approx(expected.value, abs=1e-12)}
    assert per_task[name] == pytest.approx(list(expected.per_task.values()), abs=1e-12)
    assert model.evaluate(data, [metric], []) == {name: pytest.approx(expected.value, abs=1e-12)}


@pytest.mark.parametrize("name", ["rmse", "mae", "r2"])
def test_evaluate_of_a_regressor_in_label_units(dc, name):
    rng = np.random.default_rng(4)
    y = rng.normal(7, 5, (40, 2))
    w = (rng.random(y.shape) > 0.3).astype(float)
    data = dc.data.NumpyDataset(rng.normal(size=(40, 5)), y, w)
    transformer = dc.trans.NormalizationTransformer(transform_y=True, dataset=data)
    normed = transformer.transform(data)
    model = dc.models.MultitaskRegressor(n_tasks=2, n_features=5, layer_sizes=[8], dropouts=0.0, seed=1)
    model.fit(normed, nb_epoch=3)
    scores = model.evaluate(normed, [dc_metric(name)], [transformer])
    predictions = model.predict(normed, [transformer]).reshape(40, 2)
    expected = get_metric(name)(np.where(w == 0, np.nan, y), predictions).value
    assert scores[name] == pytest.approx(expected, rel=1e-6)


def test_a_single_task_sklearn_classifier(dc):
    from sklearn.linear_model import LogisticRegression

    rng, y, w, labels = multitask(n_tasks=1)
    data = dc.data.NumpyDataset(rng.normal(size=(60, 5)), y, w)
    model = dc.models.SklearnModel(LogisticRegression())
    model.fit(data)
    probability = model.predict(data)
    assert probability.shape == (60, 2)
    assert model.evaluate(data, [dc_metric("roc_auc")], [])["roc_auc"] == roc_auc(labels, probability[:, 1:]).value


def test_equals_deepchems_metric_where_nothing_is_missing(dc):
    rng, _, _, _ = multitask()
    y, probability = rng.integers(0, 2, (50, 2)).astype(float), rng.random((50, 2, 1))
    probability = np.concatenate([1 - probability, probability], axis=2)
    theirs = dc.metrics.Metric(dc.metrics.roc_auc_score, np.mean).compute_metric(y, probability, n_tasks=2)
    assert dc_metric("roc_auc").compute_metric(y, probability, n_tasks=2) == pytest.approx(theirs, abs=1e-12)
    theirs = dc.metrics.Metric(dc.metrics.prc_auc_score, np.mean).compute_metric(y, probability, n_tasks=2)
    ours = dc_metric("prc_auc").compute_metric(y, probability, n_tasks=2, interpolation="trapezoid")
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_labels_and_weights_that_are_nan_are_missing():
    y, predictions = np.array([[1.0], [np.nan], [5.0], [2.0]]), np.array([[2.0], [0.0], [9.0], [2.0]])
    w = np.array([[1.0], [1.0], [np.nan], [3.0]])
    metric = dc_metric("mae")
    assert metric.compute_metric(y, predictions, w) == 0.5
    assert metric.compute_metric(y, predictions, w, use_sample_weights=True) == 0.25
    assert metric.compute_metric(y, predictions, w[:, 0]) == 0.5
    assert metric.compute_metric(y, predictions) == mae(y, predictions).value
    assert metric.compute_metric(y[:, 0], predictions[:, :, None], 1.0) == mae(y, predictions).value


def test_undefined_tasks_are_nan_in_the_list_and_named(caplog):
    y = np.array([[0.0, 0.0], [1.0, 0.0]])
    with caplog.at_level(logging.WARNING, logger="dc_graphsam"):
        value, per_task = dc_metric("roc_auc").compute_metric(y, y, np.ones((2, 2)), per_task_metrics=True)
    assert value == 1.0
    assert per_task[0] == 1.0
    assert np.isnan(per_task[1])
    assert "roc_auc: left out of the mean over tasks: task_1 (all 2 labels are 0)" in caplog.text


def test_bad_input_is_named():
    with pytest.raises(InvalidArgumentError, match="metric is 'auc'; accepted: 'roc_auc', 'prc_auc', 'rmse'"):
        dc_metric("auc")
    with pytest.raises(InvalidShapeError, match=r"y_pred has shape \(4, 1, 3\), expected \[molecules, 1\] or"):
        dc_metric("roc_auc").compute_metric(np.zeros((4, 1)), np.zeros((4, 1, 3)))
    with pytest.raises(InvalidShapeError, match=r"y_true has shape \(4, 2\), expected \[molecules, 3\]"):
        dc_metric("mae").compute_metric(np.zeros((4, 2)), np.zeros((4, 3)), n_tasks=3)
