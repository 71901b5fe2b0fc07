"""What is read from the sources is what the classes have."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from dc_graphsam.cli.fields import model_fields, training_fields
from dc_graphsam.cli.options import ALIASES, MODELS, OPTIMIZERS, RUN_FIELDS, SET_BY_RUN


def test_all_fields_of_the_training_arguments_are_known():
    from dc_graphsam.hf import GraphSAMTrainingArguments

    real = {f.name: f for f in dataclasses.fields(GraphSAMTrainingArguments) if f.init}
    assert set(training_fields()) >= set(real)
    for name, kind in (("learning_rate", "float"), ("bf16", "bool"), ("rho", "float"), ("lr_scheduler_kwargs", "dict")):
        assert kind in training_fields()[name].kinds
    assert {"list", "str"} <= training_fields()["report_to"].kinds
    assert training_fields()["bf16"].is_flag and not training_fields()["debug"].is_flag


def test_all_fields_of_the_model_are_known():
    from dc_graphsam.models import CoMPTConfig

    own = set(vars(CoMPTConfig)["__annotations__"])
    assert set(model_fields()) == own
    assert model_fields()["hidden_size"].kinds == {"int"}
    assert "multiple of num_attention_heads" in model_fields()["hidden_size"].help


def test_no_name_means_two_things():
    run_wins = {"task_type", "metric", "feature_set", "seed", "dataset", "task_names"}
    shared = set(RUN_FIELDS) & (set(model_fields()) | set(training_fields()))
    assert shared <= run_wins
    assert not set(model_fields()) & set(training_fields())
    assert set(ALIASES.values()) <= {*RUN_FIELDS, *model_fields(), *training_fields()}
    assert set(SET_BY_RUN) <= {*model_fields(), *training_fields()}


def test_names_repeated_here_are_those_of_the_package():
    from dc_graphsam.catalogue import NETWORKS
    from dc_graphsam.data.splits import SPLITS
    from dc_graphsam.hf.optimizers import method_names
    from dc_graphsam.tasks import METRICS, TASK_TYPES

    assert tuple(NETWORKS) == MODELS
    assert RUN_FIELDS["metric"].choices == METRICS and RUN_FIELDS["task_type"].choices == TASK_TYPES
    assert RUN_FIELDS["split"].choices == SPLITS
    assert set(method_names()) <= set(OPTIMIZERS)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help-all"], ["train", "--hiden-size", "3"], ["predict"]])
def test_help_and_mistakes_need_no_heavy_import(words):
    code = (
        "import sys\nfrom dc_graphsam.cli.main import main\n"
        f"main({words!r})\n"
        "heavy = {'torch', 'transformers', 'deepchem', 'datasets', 'dgl', 'rdkit', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
