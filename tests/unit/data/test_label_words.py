"""Labels in words, −1 and 1, grades: what they become, and what is asked about."""

import numpy as np
import pytest

from dc_graphsam.data import dropped_rows, label_matrix, load_csv
from dc_graphsam.data.label_words import KNOWN_PAIRS, read_labels
from dc_graphsam.data.tables import TextTable
from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.tasks import TaskSpec

ALL = {"sizes": (1, 0, 0), "progress": False}


@pytest.fixture
def load(tmp_path):
    """Load a table whose column ``y`` (or several) holds the given fields, one molecule each."""

    def make(fields, header="y", find=False, **options):
        path = tmp_path / "my.csv"
        lines = [f"{'C' * n},{text}" for n, text in enumerate(fields, 1)]
        path.write_text(f"smiles,{header}\n" + "\n".join(lines) + "\n", encoding="utf-8")
        columns = {} if find else {"task_columns": header.split(",")}
        data = load_csv(path, **{**ALL, **columns, **options})
        return data, TaskSpec.of(data), label_matrix(data["train"])[:, 0].tolist()

    return make


@pytest.mark.parametrize("zero, one", KNOWN_PAIRS)
def test_known_pairs_are_told_apart_in_any_case(load, caplog, zero, one):
    data, spec, labels = load([one.upper(), zero, "", zero.title(), one])
    assert (spec.task_type, labels) == ("classification", [1, 0, 0, 1])
    assert [record.reason for record in dropped_rows(data)] == ["no label"]
    assert "is 1 (2)" in caplog.text and "is 0 (2)" in caplog.text


def test_the_message_says_which_became_1_from_the_cache_too(load, caplog):
    for _ in range(2):
        caplog.clear()
        _, spec, _ = load(["Active", "Inactive", "Active"])
        assert "'y' is taken as two classes: 'Active' is 1 (2), 'Inactive' is 0 (1)" in caplog.text
    assert spec.class_names == (("Inactive", "Active"),)


def test_the_positive_class_is_asked_for(load):
    with pytest.raises(
        InvalidArgumentError, match="'blue' and 'red'; say which of them is class 1: positive='blue' or positive='red'"
    ):
        load(["red", "blue", "red"])
    for positive in ("red", "RED", ["red"]):
        assert load(["red", "blue", "red"], positive=positive)[2] == [1, 0, 1]
    assert load(["red", "blue", "red"], positive="blue")[2] == [0, 1, 0]


def test_positive_wins_over_known_pairs_and_numbers(load):
    assert load(["Active", "Inactive"], positive="Inactive")[2] == [0, 1]
    assert load(["1", "2", "1"], positive="1")[2] == [1, 0, 1]
    assert load(["0", "1", "1"], positive="0")[2] == [1, 0, 0]


@pytest.mark.parametrize(
    "fields, positive, message",
    [
        (["a", "b"], "c", r"positive is 'c', which is nowhere in the labels .* 'a' \(1\), 'b' \(1\)"),
        (["a", "b", "c"], "a", r"positive='a' leaves 2 others"),
        (["a", "b"], ["a", "b"], "positive names both classes"),
    ],
)
def test_positive_that_does_not_fit(load, fields, positive, message):
    with pytest.raises(InvalidArgumentError, match=message):
        load(fields, positive=positive)
    with pytest.raises(InvalidArgumentError, match="a positive class belongs to a classification"):
        load(["a", "b"], positive="a", task_type="multiclass")


@pytest.mark.parametrize("zero, one", [("-1", "1"), ("1", "2"), ("0", "2"), ("-1.0", "+1"), ("10", "20")])
def test_two_whole_numbers_are_two_classes(load, caplog, zero, one):
    fields = [one, zero, zero, one]
    _, spec, labels = load(fields)
    assert (spec.task_type, spec.metric, labels) == ("classification", "roc_auc", [1, 0, 0, 1])
    assert "taken as two classes" in caplog.text and "task_type='regression'" in caplog.text
    _, spec, labels = load(fields, task_type="regression")
    assert spec.task_type == "regression" and labels == [float(text) for text in fields]
    assert load(fields, task_type="classification")[2] == [1, 0, 0, 1]


def test_values_stay_values(load):
    assert load(["1", "2"])[1].task_type == "regression"  # two rows are no classes
    assert load(["0.5", "1.5", "0.5"])[1].task_type == "regression"
    assert load(["0", "1", "1"])[1].class_names is None  # as ever


def test_few_whole_numbers_are_a_regression_and_said_to_be(load, caplog):
    fields = ["0", "1", "2"] * 4
    assert load(fields)[1].task_type == "regression"
    assert "holds 3 different whole numbers (0, 1, 2), taken as values of a regression" in caplog.text
    assert "task_type='multiclass'" in caplog.text
    _, spec, labels = load(fields, task_type="multiclass")
    assert spec.class_names == (("0", "1", "2"),) and labels == [0, 1, 2] * 4
    with pytest.raises(InvalidArgumentError, match="has 3 different values.*task_type='multiclass'"):
        load(fields, task_type="classification")


def test_three_words_are_offered_by_name(load):
    fields = ["low", "High", "medium", "high", "", "low"]
    with pytest.raises(
        InvalidArgumentError,
        match=r"holds 3 classes: 'High' \(2\), 'low' \(2\), 'medium' \(1\); pass task_type='multiclass'",
    ):
        load(fields)
    _, spec, labels = load(fields, task_type="multiclass")
    assert spec.class_names == (("High", "low", "medium"),) and labels == [1, 0, 2, 0, 1]
    assert (spec.metric, spec.greater_is_better, spec.class_counts) == ("roc_auc_ovr", True, (3,))
    assert TaskSpec.from_json(spec.to_json()) == spec


def test_numbers_are_ordered_as_numbers(load):
    assert load(["10", "9", "10.0", "-1"] * 2, task_type="multiclass")[1].class_names == (("-1", "9", "10"),)


def test_free_text_is_no_label(load):
    with pytest.raises(InvalidArgumentError, match="holds 120 different texts, such as 'note 0'"):
        load([f"note {n}" for n in range(120)])


def test_several_columns_each_by_its_own_words(load):
    data, spec, _ = load(["yes,toxic", "no,nontoxic", "yes,"], "a,b")
    assert spec.class_names == (("no", "yes"), ("nontoxic", "toxic"))
    np.testing.assert_array_equal(label_matrix(data["train"]), [[1, 1], [0, 0], [1, np.nan]])


def test_words_beside_values(load):
    with pytest.raises(InvalidArgumentError, match="'a' holds words and 'b' values; train them apart"):
        load(["yes,1.5", "no,2.5", "yes,0.1"], "a,b")


def test_the_only_column_with_two_known_words_is_found(load):
    assert load(["x1,Active", "x2,Inactive", "x3,Active"], "id,call", find=True)[1].task_names == ("call",)
    assert load(["1.5,Active", "2.5,Inactive", "3.1,Active"], "pIC50,call", find=True)[1].task_names == ("pIC50",)
    assert load(["x,red", "y,blue", "z,red"], "id,call", find=True, positive="red")[2] == [1, 0, 1]
    fields = ["low", "high", "medium"] * 3
    assert load(fields, find=True, task_type="multiclass")[1].class_counts == (3,)


def test_classes_of_a_trained_model_are_kept(load):
    data, _, labels = load(["b", "c", "z", "B"], task_type="multiclass", class_names=[["a", "b", "c"]])
    assert labels == [1, 2, 1]
    assert [record.reason for record in dropped_rows(data)] == ["label is 'z'"]
    names = [["Inactive", "Active"]]
    assert load(["active", "Inactive"], task_type="classification", class_names=names)[2] == [1, 0]
    assert load(["1", "0", "1"], task_type="classification", class_names=names)[2] == [1, 0, 1]
    with pytest.raises(InvalidArgumentError, match="the classes are 'Inactive', 'Active'"):
        load(["red", "blue"], task_type="classification", class_names=names)


def test_0_and_1_are_not_the_classes_1_and_2(load):
    """A 1 is class 0 of 1 and 2, whether or not a 0 is beside it."""
    data, _, labels = load(["1", "0", "1"], task_type="classification", class_names=[["1", "2"]])
    assert labels == [0, 0]
    assert [record.reason for record in dropped_rows(data)] == ["label is '0'"]
    assert load(["1", "0"], task_type="classification", class_names=[["-1", "1"]])[2] == [1, 0]


def test_long_numbers_of_classes_are_told_apart(load):
    _, spec, labels = load(["1000001", "1000002", "1000001", "1000002"])
    assert labels == [0, 1, 0, 1] and spec.class_names == (("1000001", "1000002"),)
    _, spec, labels = load(["1000001", "1000003", "1000002"], task_type="multiclass")
    assert labels == [0, 2, 1] and spec.class_names == (("1000001", "1000002", "1000003"),)


def test_a_regression_has_numbers(load):
    with pytest.raises(InvalidArgumentError, match="a regression has numbers"):
        load(["yes", "no"], task_type="regression")


@pytest.mark.parametrize(
    "names, message",
    [(None, "class_names is None"), ([["a"]], "two names or more"), ([["a", "a"]], "all different"), ([], "one per task"),
     (["ab"], "a list of names for each task")],
)  # fmt: skip
def test_class_names_that_do_not_fit(names, message):
    with pytest.raises(InvalidArgumentError, match=message):
        TaskSpec("d", ("y",), "multiclass", "accuracy", None, names)


def test_two_columns_that_may_be_labels_are_asked_about(load):
    with pytest.raises(InvalidArgumentError, match="several columns with classes: a, b; name the column"):
        load(["p,red", "q,blue", "p,red", "q,red"], "a,b", find=True)


@pytest.mark.parametrize(
    "cells",
    [
        ["53.9%", "12%", "7.5%"],
        ["1,655", "1,135", "12,001"],
        ["1.31 ± 0.1", "2.0 ± 0.3", "5 ± 1"],
        ["5 nM", "7 nM", "9 nM"],
    ],
)
def test_numbers_with_something_beside_them_are_no_classes(cells):
    with pytest.raises(InvalidArgumentError, match="holds numbers that are not written as such.*write plain numbers"):
        read_labels(TextTable("my.csv", {"y": cells}), ["y"])
