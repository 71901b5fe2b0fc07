"""Metrics of several classes against scikit-learn, with labels missing."""

import warnings

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from dc_graphsam.exceptions import InvalidArgumentError, InvalidShapeError
from dc_graphsam.metrics import all_metrics, class_metric, compute_metrics_for, confusion_matrix, dc_metric
from dc_graphsam.metrics.classes import CLASS_METRICS, predicted_classes

RNG = np.random.default_rng(0)
COUNTS = (3, 4)
LABELS = np.stack([RNG.integers(0, count, 60).astype(float) for count in COUNTS], axis=1)
LABELS[RNG.random(LABELS.shape) < 0.2] = np.nan
SCORES = RNG.normal(size=(60, 7))


def parts():
    for t, (start, count) in enumerate(((0, 3), (3, 4))):
        rows = ~np.isnan(LABELS[:, t])
        yield LABELS[rows, t].astype(int), SCORES[rows, start : start + count]


EXPECTED = {
    "accuracy": lambda y, s: sk.accuracy_score(y, s.argmax(1)),
    "balanced_accuracy": lambda y, s: sk.balanced_accuracy_score(y, s.argmax(1)),
    "f1_macro": lambda y, s: sk.f1_score(y, s.argmax(1), average="macro"),
    "roc_auc_ovr": lambda y, s: sk.roc_auc_score(y, softmax(s, axis=1), multi_class="ovr"),
}


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_each_is_the_mean_over_tasks_of_scikit_learns(name):
    expected = [EXPECTED[name](y, s) for y, s in parts()]
    result = class_metric(name, LABELS, SCORES, COUNTS, ["a", "b"])
    assert result.value == pytest.approx(np.mean(expected), abs=1e-12)
    assert list(result.per_task.values()) == pytest.approx(expected, abs=1e-12)
    probabilities = np.concatenate([softmax(SCORES[:, :3], axis=1), softmax(SCORES[:, 3:], axis=1)], axis=1)
    assert class_metric(name, LABELS, probabilities, COUNTS).value == pytest.approx(result.value, abs=1e-12)


def test_all_at_once_and_for_the_trainer():
    from types import SimpleNamespace

    values, left_out = all_metrics("multiclass", LABELS, SCORES, ["a", "b"], class_counts=COUNTS)
    assert list(values)[:4] == ["roc_auc_ovr", "balanced_accuracy", "accuracy", "f1_macro"] and not left_out
    assert values["accuracy_b"] == class_metric("accuracy", LABELS, SCORES, COUNTS, ["a", "b"]).per_task["b"]
    compute = compute_metrics_for("multiclass", ["a", "b"], class_counts=COUNTS)
    assert compute(SimpleNamespace(predictions=(SCORES, None), label_ids=LABELS)) == values
    for call in (lambda: all_metrics("multiclass", LABELS, SCORES), lambda: compute_metrics_for("multiclass")):
        with pytest.raises(InvalidArgumentError, match="class_counts is None"):
            call()


def test_classes_that_do_not_occur_are_in_no_mean():
    labels, scores = [0, 0, 1], [[0.0, 1, 2], [3, 0, 0], [0, 3, 0]]  # one is called class 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert class_metric("balanced_accuracy", labels, scores, (3,)).value == 0.75
        assert class_metric("roc_auc_ovr", labels, scores, (3,)).value == pytest.approx(1.0)
        assert class_metric("f1_macro", labels, scores, (3,)).value == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_what_is_not_defined_is_named():
    labels = np.array([[0, np.nan], [0, np.nan]])
    result = class_metric("roc_auc_ovr", labels, np.zeros((2, 7)), COUNTS, ["a", "b"])
    assert np.isnan(result.value) and result.left_out == {"a": "all 2 labels are class 0", "b": "no label"}
    assert class_metric("accuracy", labels, np.zeros((2, 7)), COUNTS, ["a", "b"]).left_out == {"b": "no label"}
    assert np.isnan(class_metric("accuracy", [0.0], [[np.nan, 0]], (2,)).value)  # a model that failed is not left out


def test_wrong_labels_and_shapes():
    with pytest.raises(InvalidArgumentError, match="labels hold 3; accuracy accepts: 0 to 2"):
        class_metric("accuracy", [3.0], [[0.0, 0, 0]], (3,))
    with pytest.raises(InvalidShapeError, match=r"scores has shape \(1, 2\), expected \(1, 3\)"):
        class_metric("accuracy", [1.0], [[0.0, 0]], (3,))
    with pytest.raises(InvalidArgumentError, match="metric is 'accurate'.*Did you mean 'accuracy'"):
        class_metric("accurate", [1.0], [[0.0, 0]], (2,))


def test_confusion_matrix_and_predicted_classes():
    found = predicted_classes(SCORES, COUNTS)
    rows = ~np.isnan(LABELS[:, 1])
    expected = sk.confusion_matrix(LABELS[rows, 1], found[rows, 1], labels=range(4))
    np.testing.assert_array_equal(confusion_matrix(LABELS[:, 1], found[:, 1], 4), expected)
    assert predicted_classes([[np.nan, np.nan]], (2,)).tolist() == [[-1]]


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_in_deepchem(name):
    pytest.importorskip("deepchem")
    y, p = LABELS[:, :1], softmax(SCORES[:, :3], axis=1)
    w = (~np.isnan(y)).astype(float)
    expected = class_metric(name, y, p, (3,)).value
    metric = dc_metric(name)
    assert metric.mode == "classification"
    assert metric.compute_metric(np.nan_to_num(y), p, w) == pytest.approx(expected)
    both = np.stack([p, p], axis=1)  # [M, T, C]
    again = metric.compute_metric(np.tile(np.nan_to_num(y), 2), both, np.tile(w, 2), per_task_metrics=True)
    assert again == (pytest.approx(expected), [pytest.approx(expected)] * 2)
