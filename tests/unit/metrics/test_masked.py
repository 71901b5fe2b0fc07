"""Masked metrics against scikit-learn, and their invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from dc_graphsam.exceptions import InvalidArgumentError, InvalidShapeError
from dc_graphsam.metrics import METRICS_OF, all_metrics, get_metric, mae, prc_auc, r2, rmse, roc_auc

SKLEARN = {
    "roc_auc": sk.roc_auc_score,
    "prc_auc": sk.average_precision_score,
    "rmse": sk.root_mean_squared_error,
    "mae": sk.mean_absolute_error,
    "r2": sk.r2_score,
}
CLASSIFICATION, REGRESSION = METRICS_OF["classification"], METRICS_OF["regression"]
seeds = st.integers(0, 2**32 - 1)


def table(seed, metric, n_tasks=3, missing=0.3):
    """Labels [M, T] with gaps, at least two of each class in every task, and scores with ties."""
    rng = np.random.default_rng(seed)
    n_rows = int(rng.integers(8, 40))
    labels = rng.integers(0, 2, (n_rows, n_tasks)).astype(float)
    if metric in REGRESSION:
        labels = rng.normal(size=(n_rows, n_tasks))
    labels[rng.random(labels.shape) < missing] = np.nan
    labels[:4] = np.array([0.0, 1.0, 0.0, 1.0])[:, None]
    scores = np.round(rng.normal(size=labels.shape), 1)
    return labels, scores


@pytest.mark.parametrize("metric", SKLEARN)
def test_equals_sklearn_on_full_labels(metric):
    labels, scores = table(1, metric, n_tasks=1, missing=0)
    assert float(get_metric(metric)(labels, scores)) == SKLEARN[metric](labels[:, 0], scores[:, 0])
    assert float(get_metric(metric)(labels[:, 0], scores[:, 0])) == SKLEARN[metric](labels[:, 0], scores[:, 0])


@pytest.mark.parametrize("metric", SKLEARN)
@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_missing_labels_equal_dropping_them_and_tasks_are_averaged(metric, seed):
    labels, scores = table(seed, metric)
    result = get_metric(metric)(labels, scores, ["a", "b", "c"])
    expected = {}
    for t, task in enumerate("abc"):
        kept = ~np.isnan(labels[:, t])
        expected[task] = SKLEARN[metric](labels[kept, t], scores[kept, t])
    assert result.per_task == pytest.approx(expected, abs=1e-12)
    assert result.value == pytest.approx(np.mean(list(expected.values())), abs=1e-12)
    assert result.left_out == {}


@pytest.mark.parametrize("metric", SKLEARN)
@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_order_of_molecules_does_not_matter(metric, seed):
    labels, scores = table(seed, metric)
    order = np.random.default_rng(seed).permutation(len(labels))
    assert float(get_metric(metric)(labels[order], scores[order])) == pytest.approx(
        float(get_metric(metric)(labels, scores)), abs=1e-12
    )


@pytest.mark.parametrize("metric", CLASSIFICATION)
@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_increasing_functions_of_scores_change_nothing(metric, seed):
    labels, scores = table(seed, metric)
    value = float(get_metric(metric)(labels, scores))
    for transformed in (1 / (1 + np.exp(-scores)), 3 * scores - 7, np.arctan(scores) ** 3):
        assert float(get_metric(metric)(labels, transformed)) == pytest.approx(value, abs=1e-12)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_reversed_scores_give_one_minus_roc_auc(seed):
    labels, scores = table(seed, "roc_auc")
    assert float(roc_auc(labels, -scores)) == pytest.approx(1 - float(roc_auc(labels, scores)), abs=1e-12)


@given(seed=seeds, factor=st.floats(0.1, 50), shift=st.floats(-50, 50))
@settings(max_examples=20, deadline=None)
def test_errors_scale_with_the_unit_and_r2_does_not(seed, factor, shift):
    labels, scores = table(seed, "rmse")
    other = factor * labels + shift, factor * scores + shift
    assert float(rmse(*other)) == pytest.approx(factor * float(rmse(labels, scores)), rel=1e-9)
    assert float(mae(*other)) == pytest.approx(factor * float(mae(labels, scores)), rel=1e-9)
    assert float(r2(*other)) == pytest.approx(float(r2(labels, scores)), rel=1e-6, abs=1e-8)


def test_weight_zero_is_missing_and_integer_weights_are_repetitions():
    labels, scores = table(3, "rmse", missing=0)
    weight = np.random.default_rng(0).integers(0, 3, labels.shape).astype(float)
    for metric in REGRESSION:
        function = get_metric(metric)
        masked = np.where(weight == 0, np.nan, labels)
        assert float(function(labels, scores, sample_weight=(weight > 0))) == float(function(masked, scores))
        per_task = function(labels, scores, sample_weight=weight).per_task.values()
        repeated = [
            float(
                function(
                    np.repeat(labels[:, t], weight[:, t].astype(int)), np.repeat(scores[:, t], weight[:, t].astype(int))
                )
            )
            for t in range(labels.shape[1])
        ]
        assert list(per_task) == pytest.approx(repeated)
    holes = np.where(weight == 0, np.nan, 1.0)
    assert float(rmse(labels, scores, sample_weight=holes)) == float(
        rmse(np.where(weight == 0, np.nan, labels), scores)
    )


def test_tasks_with_one_class_or_no_label_are_left_out_and_named():
    nan = np.nan
    labels = np.array([[1, 1, nan, nan], [0, 1, nan, 0], [1, nan, nan, nan]])
    for function in (roc_auc, prc_auc):
        result = function(labels, np.array([[2.0] * 4, [1.0] * 4, [3.0] * 4]), ["both", "ones", "none", "single"])
        assert result.per_task == {"both": 1.0}
        assert result.value == 1.0
        assert result.left_out == {"ones": "all 2 labels are 1", "none": "no label", "single": "the only label is 0"}


def test_regression_leaves_out_tasks_without_labels_and_r2_those_without_spread():
    nan = np.nan
    labels = np.array([[1.0, nan, 3.0, nan], [2.0, nan, 3.0, 5.0]])
    predictions = np.zeros((2, 4))
    names = ["a", "b", "c", "d"]
    assert rmse(labels, predictions, names).left_out == {"b": "no label"}
    assert mae(labels, predictions, names).value == pytest.approx((1.5 + 3 + 5) / 3)
    assert r2(labels, predictions, names).left_out == {
        "b": "no label",
        "c": "all 2 labels are equal",
        "d": "only one label",
    }


def test_nothing_measured_is_nan_not_a_number():
    result = roc_auc(np.full((3, 2), np.nan), np.zeros((3, 2)))
    assert math.isnan(result.value)
    assert set(result.left_out) == {"task_0", "task_1"}


def test_failed_predictions_are_not_left_out():
    labels = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, np.nan]])
    scores = np.array([[0.1, 0.1], [np.nan, 0.9], [0.8, np.nan]])
    result = roc_auc(labels, scores, ["broken", "whole"])
    assert math.isnan(result.value)
    assert math.isnan(result.per_task["broken"])
    assert result.per_task["whole"] == 1.0  # its NaN score stands where nothing was measured


def test_trapezoid_is_deepchems_prc_auc():
    labels, scores = table(5, "prc_auc", n_tasks=1, missing=0)
    precision, recall, _ = sk.precision_recall_curve(labels[:, 0], scores[:, 0])
    assert prc_auc(labels, scores, interpolation="trapezoid").value == sk.auc(recall, precision)
    with pytest.raises(InvalidArgumentError, match="interpolation is 'linear'; accepted: 'step', 'trapezoid'"):
        prc_auc(labels, scores, interpolation="linear")


def test_constant_scores_have_chance_level():
    labels = np.array([1.0, 0, 0, 0, 0])
    assert roc_auc(labels, np.ones(5)).value == 0.5
    assert prc_auc(labels, np.ones(5)).value == 0.2


def test_all_metrics_names_tasks_up_to_twenty():
    labels, scores = table(7, "roc_auc", n_tasks=2)
    values, left_out = all_metrics("classification", labels, scores, ["x", "y"])
    assert list(values) == ["roc_auc", "prc_auc", "roc_auc_x", "roc_auc_y", "prc_auc_x", "prc_auc_y"]
    assert left_out == {}
    assert list(all_metrics("classification", labels[:, :1], scores[:, :1])[0]) == ["roc_auc", "prc_auc"]
    many = np.tile(labels, (1, 11)), np.tile(scores, (1, 11))
    assert list(all_metrics("classification", *many)[0]) == ["roc_auc", "prc_auc"]
    assert len(all_metrics("classification", *many, per_task=True)[0]) == 2 + 2 * 22


def test_all_metrics_says_once_what_is_left_out():
    labels = np.array([[1.0, np.nan, 3.0], [2.0, np.nan, 3.0]])
    values, left_out = all_metrics("regression", labels, np.zeros((2, 3)), ["a", "b", "c"])
    assert left_out == {"b": "no label", "c (r2)": "all 2 labels are equal"}
    assert "rmse_b" not in values
    assert "rmse_c" in values


def test_bad_input_is_named():
    with pytest.raises(InvalidShapeError, match=r"scores has shape \(3, 2\), expected that of labels, \(3, 1\)"):
        roc_auc(np.zeros(3), np.zeros((3, 2)))
    with pytest.raises(InvalidShapeError, match=r"labels has shape \(1, 2, 3\), expected \[molecules, tasks\]"):
        rmse(np.zeros((1, 2, 3)), np.zeros((1, 2, 3)))
    with pytest.raises(InvalidArgumentError, match="labels hold 2; roc_auc accepts: 0, 1, or NaN"):
        roc_auc([0, 1, 2], [0, 1, 2])
    with pytest.raises(InvalidArgumentError, match="labels hold inf; mae accepts: finite numbers"):
        mae([0, np.inf], [0, 1])
    with pytest.raises(InvalidArgumentError, match="labels is not a table of numbers"):
        mae(["CCO"], [1])
    with pytest.raises(
        InvalidArgumentError, match="task_names has 2 names, 1 of them different; accepted: 2 different"
    ):
        mae(np.zeros((3, 2)), np.zeros((3, 2)), ["a", "a"])
    with pytest.raises(InvalidShapeError, match=r"sample_weight has shape \(2, 1\), expected \(3, 1\)"):
        mae(np.zeros(3), np.zeros(3), sample_weight=[1, 1])
    with pytest.raises(InvalidArgumentError, match="sample_weight has a negative"):
        mae(np.zeros(3), np.zeros(3), sample_weight=[1, 1, -1])
    with pytest.raises(InvalidArgumentError, match=r"metric is 'rocauc'.*Did you mean 'roc_auc'"):
        get_metric("rocauc")
    with pytest.raises(InvalidArgumentError, match="task_type is 'binary'; accepted: 'regression', 'classification'"):
        all_metrics("binary", [0.0], [0.0])
