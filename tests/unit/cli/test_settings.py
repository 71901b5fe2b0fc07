"""Command line and file → what a run is to do."""

from __future__ import annotations

import pytest

from dc_graphsam.cli.fields import Field
from dc_graphsam.cli.settings import merge, read_config, read_words
from dc_graphsam.cli.values import UsageError, from_config, from_words
from dc_graphsam.exceptions import MissingDataError


def field(kinds: str, **more) -> Field:
    return Field("thing", "training", frozenset(kinds.split()), **more)


def test_every_kind_of_option():
    words = [
        "--dataset",
        "bbbp",
        "--hidden-size",
        "64",
        "--rho=0.1",
        "--lr",
        "1e-4",
        "--epochs",
        "5",
        "--bf16",
        "--no-baselines",
        "--seed",
        "3",
        "--report-to",
        "none",
        "--max-steps",
        "-1",
        "--optimizer",
        "adam",
        "--edge-update",
        "false",
        "--warmup-steps",
        "0.1",
    ]
    assert read_words(
        [*words, "--lr-scheduler-kwargs", '{"num_cycles": 2}', "--include-for-metrics", "loss", "inputs"]
    ) == {
        "dataset": "bbbp",
        "hidden_size": 64,
        "rho": 0.1,
        "learning_rate": 1e-4,
        "num_train_epochs": 5.0,
        "bf16": True,
        "baselines": False,
        "seed": 3,
        "report_to": "none",
        "max_steps": -1,
        "optimizer": "adam",
        "edge_update": False,
        "warmup_steps": 0.1,
        "lr_scheduler_kwargs": {"num_cycles": 2},
        "include_for_metrics": ["loss", "inputs"],
    }


def test_targets_add_up():
    assert read_words(["--data", "my.csv", "--target", "a", "--target", "b", "c"])["target"] == ["a", "b", "c"]
    assert read_words(["--target", "a b, c"])["target"] == ["a b, c"]


def test_debug_is_a_switch_and_with_a_value_a_field():
    assert read_words(["--debug"]) == {}
    assert read_words(["--debug", "underflow_overflow"]) == {"debug": "underflow_overflow"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--hiden-size 64", "no option '--hiden-size'. Did you mean '--hidden-size'?"),
        ("--lerning-rate 1", "Did you mean '--learning-rate'?"),
        ("--no-hidden-size", "no option '--no-hidden-size'"),
        ("--qqqqqq 1", "no option '--qqqqqq'. See dc-graphsam train --help-all"),
        ("--hidden-size big", "--hidden-size is 'big'; accepted: a whole number"),
        ("--hidden-size 1.5", "--hidden-size is '1.5'; accepted: a whole number"),
        ("--rho much", "--rho is 'much'; accepted: a number or none"),
        ("--lr fast", "--lr is 'fast'; accepted: a number"),
        ("--bf16 maybe", "--bf16 is 'maybe'; accepted: true or false"),
        ("--no-bf16 true", "--no-bf16 takes no value, got 'true'"),
        ("--hidden-size", "--hidden-size needs a value: a whole number"),
        ("--hidden-size 64 128", "--hidden-size takes one value, got 2: 64 128"),
        ("--hidden-size 64 --hidden-size 32", "--hidden-size is given twice"),
        ("--lr 1 --learning-rate 2", "--learning-rate is given twice"),
        ("--split scafold", "--split is 'scafold'; accepted: random, scaffold, kfold. Did you mean 'scaffold'?"),
        ("--optimizer grafsam", "Did you mean 'graphsam'?"),
        ("--model grover", "--model is 'grover'; accepted: compt"),
        ("--label-mean 1", "--label-mean cannot be set: it is learnt on the training split"),
        ("--liger-kernel-config {a}", "accepted: a JSON object"),
        ("bbbp", "does not understand 'bbbp'. Did you mean --dataset bbbp?"),
        ("-d bbbp", "does not understand '-d'"),
        ("--dataset bbbp -d 1", "does not understand '-d'"),
        ("--fold one", "--fold is 'one'; accepted: a whole number or none"),
    ],
)
def test_mistakes_on_the_command_line(words, message):
    with pytest.raises(UsageError) as caught:
        read_words(words.split())
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kinds", "text", "value"),
    [
        ("int none", "none", None),
        ("str none", "none", "none"),
        ("str none", "null", None),
        ("bool str", "no", "no"),
        ("bool str", "true", True),
        ("bool none", "off", False),
        ("float", "inf", float("inf")),
        ("int float none", "3", 3),
        ("dict str none", '{"a": 1}', {"a": 1}),
        ("dict str none", "fsdp.json", "fsdp.json"),
        ("list", "a,b", ["a,b"]),
        ("list", '["a", "b"]', ["a", "b"]),
        ("any", "x", "x"),
    ],
)
def test_text_of_each_kind(kinds, text, value):
    assert from_words(field(kinds), [text]) == value


@pytest.mark.parametrize(
    ("kinds", "given", "value"),
    [
        ("float", 1, 1.0),
        ("float", "1e-4", 1e-4),
        ("int", 3, 3),
        ("bool", True, True),
        ("str none", None, None),
        ("dict none", {"a": 1}, {"a": 1}),
        ("list none", ["a"], ["a"]),
        ("list", "a", ["a"]),
    ],
)
def test_values_of_each_kind(kinds, given, value):
    result = from_config(field(kinds), given)
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    ("kinds", "given"),
    [("int", True), ("int", 1.5), ("bool", 1), ("float", None), ("str", 3), ("list", 3), ("dict", [])],
)
def test_values_of_the_wrong_kind(kinds, given):
    with pytest.raises(UsageError, match=r"thing is .*; accepted: "):
        from_config(field(kinds), given)


def write(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_file_has_the_names_of_the_command_line(tmp_path):
    text = "dataset: bbbp\nhidden-size: 64\nlr: 1e-4\nepochs: 3\nbf16: false\nsam_options: {k: 8}\ntarget: [a, b]\n"
    assert read_config(write(tmp_path, text)) == {
        "dataset": "bbbp",
        "hidden_size": 64,
        "learning_rate": 1e-4,
        "num_train_epochs": 3.0,
        "bf16": False,
        "sam_options": {"k": 8},
        "target": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hidden_sise: 64", "unknown key 'hidden_sise'. Did you mean 'hidden_size'?"),
        ("hidden_size: big", "run.yaml: hidden_size is 'big'; accepted: a whole number"),
        ("lr: 1\nlearning_rate: 2", "sets learning_rate twice"),
        ("a: [", "is not valid YAML at line"),
        ("- a", "should hold lines such as 'dataset: bbbp', got list"),
        ("", "should hold lines such as"),
        ("label_std: [1]", "label_std in"),
        ("split: scafold", "Did you mean 'scaffold'?"),
    ],
)
def test_mistakes_in_the_file(tmp_path, text, message):
    with pytest.raises(UsageError) as caught:
        read_config(write(tmp_path, text))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(MissingDataError, match=r"there is no file .*no\.yaml"):
        read_config(tmp_path / "no.yaml")
    with pytest.raises(UsageError, match="is a folder; --config wants a YAML file"):
        read_config(tmp_path)


def test_the_command_line_wins():
    config = {"dataset": "bbbp", "rho": 0.1, "seed": 1}
    assert merge(config, {"rho": 0.2}) == {"dataset": "bbbp", "rho": 0.2, "seed": 1}
    assert merge(config, {"data": "my.csv"}) == {"data": "my.csv", "rho": 0.1, "seed": 1}
    config = {"data": "my.csv", "target": ["a"], "rho": 0.1}
    assert merge(config, {"data": "moved/my.csv"}) == {"data": "moved/my.csv", "target": ["a"], "rho": 0.1}
    assert merge(config, {"dataset": "bbbp"}) == {"dataset": "bbbp", "rho": 0.1}
