"""The README: short, its Python blocks run, its numbers are those of the result files, its commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.needs("deepchem")
def test_python_blocks_run_one_after_another(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 3
    code = "\n".join(blocks)
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "cannot be parsed" in result.stdout
    assert (tmp_path / "runs/python/final/model.safetensors").exists()


def test_it_is_read_in_five_minutes():
    assert len(README.splitlines()) < 140
    assert all(f"**{door}.**" in README for door in ("Hugging Face", "DeepChem", "Prediction"))
    assert "## What works where" in README


def test_numbers_are_those_of_the_result_files():
    result = subprocess.run([sys.executable, "benchmarks/tables.py", "--check"], cwd=ROOT)
    assert result.returncode == 0, "run: python benchmarks/tables.py"


def test_commands_exist():
    commands = set(re.findall(r"^dc-graphsam (\w+)", README, flags=re.MULTILINE))
    assert {"train", "predict", "evaluate", "datasets"} <= commands
    for command in commands:
        subprocess.run(
            [sys.executable, "-m", "dc_graphsam.cli.main", command, "--help"], check=True, capture_output=True
        )


def test_the_two_commands_are_targets_of_the_makefile():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    assert "make demo\nmake test" in README
    assert "make test" in (ROOT / ".ci/run").read_text()
