from __future__ import annotations

import gzip
import logging
import subprocess
import sys

import numpy as np
import pytest

from dc_graphsam.data import import_deepchem, labels_from_deepchem, labels_to_deepchem
from dc_graphsam.data.moleculenet.deepchem_loader import read_with_deepchem
from dc_graphsam.data.moleculenet.registry import DATASETS
from dc_graphsam.exceptions import InvalidArgumentError, MissingColumnError


def test_weights_and_missing_labels():
    y, w = np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[1.0, 1.0], [0.0, 0.5]])
    labels = labels_from_deepchem(y, w)
    np.testing.assert_array_equal(labels, [[0, 1], [np.nan, 0]])
    again, weights = labels_to_deepchem(labels)
    np.testing.assert_array_equal(again, y)
    np.testing.assert_array_equal(weights, w > 0)
    np.testing.assert_array_equal(labels_from_deepchem([1.0, 2.0], [0.0, 1.0]), [[np.nan], [2]])
    np.testing.assert_array_equal(labels_from_deepchem(y, [[0.0], [1.0]]), [[np.nan, np.nan], [0, 0]])


def test_empty_cells_become_nan_and_rows_stay_in_place(tmp_path):
    entry = DATASETS["tox21"]
    rows = [["1", *[""] * 11, "TOX1", "CCO"], [*["0"] * 12, "TOX2", "not a molecule"], [*[""] * 11, "1", "TOX3", ""]]
    path = tmp_path / entry.file
    lines = [[*entry.task_names, "mol_id", "smiles"], *rows]
    path.write_bytes(gzip.compress("\n".join(map(",".join, lines)).encode()))
    table = read_with_deepchem(entry, path)
    assert table.smiles == ["CCO", "not a molecule", ""] and table.task_names == entry.task_names
    expected = np.full((3, 12), np.nan)
    expected[0, 0] = expected[2, 11] = 1
    expected[1] = 0
    np.testing.assert_array_equal(table.labels, expected)


def test_infinite_labels_are_noted(tmp_path):
    path = tmp_path / DATASETS["esol"].file
    path.write_text("smiles,measured log solubility in mols per litre\nC,1\nCC,inf\n")
    assert read_with_deepchem(DATASETS["esol"], path).problems == {1: "label is 'inf'"}


def test_files_of_another_form(tmp_path):
    path = tmp_path / "BBBP.csv"
    path.write_text("num,name,p_n,smiles\n1,a,1,C\n")
    with pytest.raises(
        MissingColumnError, match=r"BBBP.csv has no column 'p_np'. It has: num, name, p_n, smiles. Did you"
    ):
        read_with_deepchem(DATASETS["bbbp"], path)
    path.write_text("p_np,smiles\nyes,C\n")
    with pytest.raises(InvalidArgumentError, match=r"BBBP.csv cannot be read by deepchem.molnet.load_bbbp: "):
        read_with_deepchem(DATASETS["bbbp"], path)


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    path = tmp_path / "BBBP.csv"
    path.write_text("num,name,p_np,smiles\n1,a,1,C\n")
    import_deepchem()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    read_with_deepchem(DATASETS["bbbp"], path)
    assert list(scratch.iterdir()) == []


def test_importing_deepchem_is_silent_and_later_warnings_are_not(tmp_path):
    """In a process of its own: another test may have set levels for good, as a command line does. They are restored."""
    code = (
        "from dc_graphsam.data import import_deepchem; import logging, warnings; import_deepchem();"
        "logging.getLogger('deepchem.data').warning('a real warning'); warnings.warn('another one');"
        "print(logging.getLogger('deepchem').level)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert run.returncode == 0 and run.stdout.strip() == str(logging.NOTSET)
    assert run.stderr.splitlines()[0] == "a real warning"
    assert "UserWarning: another one" in run.stderr and len(run.stderr.splitlines()) <= 3
