"""The program without DeepChem and DGL, as it is on Python 3.12 and later.

Tests of chem, data, models, metrics, predict, processing and the Hugging Face door run a second time, with both packages hidden from import here and in all
processes that the tests start. ``make test-without`` runs all there are.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READ = "tests/unit/data/moleculenet/test_load.py"
FILES = (
    "tests/unit/chem/test_molgraph.py",
    "tests/unit/data/test_user_table.py",
    f"{READ}::test_deepchem_and_the_plain_table_agree[esol]",
    f"{READ}::test_a_second_start_needs_no_deepchem",
    f"{READ}::test_seeds_are_honoured",
    "tests/unit/models/common/test_message_passing.py",
    "tests/unit/predict/test_csv_stream.py",
    "tests/unit/hf/test_pipeline.py::test_one_smiles_a_list_and_a_generator",
    "tests/unit/hf/test_inspection.py",
    "tests/unit/metrics/test_for_deepchem.py",
    "tests/unit/processing",
)


@pytest.mark.timeout(700)
def test_rooms_below_the_deepchem_door():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "1",  # in a process of pytest-xdist, as make test-without runs
        "--without",
        "deepchem,dgl",
        *FILES,
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=650)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 80
    assert "deepchem is not installed" in run.stdout  # it was hidden
    assert "dgl is not installed" in run.stdout
