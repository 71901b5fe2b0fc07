"""The examples run."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Run the ``main`` of an example in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *words: str):
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main([*words, "--tiny"])

    return run


def test_train_bbbp(example, tmp_path):
    assert 0 <= example("train_bbbp")["test"]["roc_auc"] <= 1
    assert (tmp_path / "runs" / "bbbp" / "report.html").is_file()


def test_predict_smiles(example):
    rows = example("predict_smiles")
    assert [math.isfinite(row["pAct"]) for row in rows] == [True, True, False] and "parsed" in rows[2]["error"]


def test_optimizer_alone(example):
    losses = example("optimizer_alone")
    assert set(losses) == {"Adam", "GraphSAM"} and all(0 < loss < 1 for loss in losses.values())


def test_huggingface_trainer(example, tmp_path):
    assert math.isfinite(example("huggingface_trainer")["test_rmse"])
    assert (tmp_path / "runs" / "trainer" / "final" / "processor_config.json").is_file()


@pytest.mark.needs("deepchem")
def test_deepchem_quickstart(example, tmp_path):
    scores = example("deepchem_quickstart")
    assert 0 <= scores["roc_auc_score"] <= 1
    assert (tmp_path / "runs" / "deepchem" / "model" / "processor_config.json").is_file()


@pytest.mark.needs("deepchem")
def test_deepchem_graphsam_any_model(example):
    scores = example("deepchem_graphsam_any_model")
    assert "MultitaskRegressor" in scores
    assert all(math.isfinite(score) for methods in scores.values() for score in methods.values())


def test_every_example_is_tested_here():
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested
