"""The program without DeepChem and DGL, as it is on Python 3.12 and later.

Files from every room below the DeepChem door run a second time, with both packages hidden from import here and in all
processes that the tests start. ``make test-without`` runs all there are.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = (
    "tests/unit/chem/test_molgraph.py",
    "tests/unit/data/test_user_table.py",
    "tests/unit/data/moleculenet/test_load.py",
    "tests/unit/models/common/test_message_passing.py",
    "tests/unit/predict/test_csv_stream.py",
    "tests/unit/hf/test_pipeline.py",
    "tests/unit/metrics/test_for_deepchem.py",
    "tests/unit/processing",
)
LONG = "tests/unit/data/moleculenet/test_load.py::test_real_files"  # its reader: see test_table_loader.py


@pytest.mark.timeout(700)
def test_rooms_below_the_deepchem_door():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist",
        "--deselect",
        LONG,
        "--without",
        "deepchem,dgl",
        *FILES,
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=650)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 80
    assert "deepchem is not installed" in run.stdout  # it was hidden
    assert "dgl is not installed" in run.stdout
