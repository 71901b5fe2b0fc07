"""Built-in data sets: the embedded one, small files of our own, and the real files where they are."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys

import numpy as np
import pytest

from dc_graphsam.data import (
    DATASETS,
    describe,
    dropped_rows,
    label_matrix,
    load_csv,
    load_moleculenet,
    split_hash,
    split_indices,
)
from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.tasks import TaskSpec


def all_labels(data):
    return np.concatenate([label_matrix(part) for part in data.values()])


def test_embedded():
    data = load_moleculenet("freewilson", progress=False)
    assert describe(data) == "freewilson: 1,017 molecules, 1 regression task, split 813/102/102, 0 left out"
    assert TaskSpec.of(data) == TaskSpec("freewilson", ("pAct",), "regression", "rmse", "compt-own-slot")
    assert data["train"].info.dataset_name == "freewilson" and "CHEMBL2321810" in data["train"].info.citation


@pytest.mark.parametrize("split", [{"split": "random"}, {"split": "scaffold"}, {"split": "kfold", "fold": 0}])
def test_seeds_are_honoured(split):
    def hash_of(seed):
        return split_hash(split_indices(load_moleculenet("freewilson", seed=seed, progress=False, **split)))

    assert hash_of(0) == hash_of(0) and len({hash_of(seed) for seed in range(3)}) == 3


def test_folds_cover_everyone():
    folds = [
        split_indices(load_moleculenet("freewilson", "kfold", fold=k, n_folds=4, progress=False)) for k in range(4)
    ]
    np.testing.assert_array_equal(np.sort(np.concatenate([fold["test"] for fold in folds])), np.arange(1017))


def test_bad_arguments_are_found_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setattr("dc_graphsam.data.moleculenet.load.read_raw", None)
    for arguments in ({"split": "kfold"}, {"seed": -1}, {"feature_set": "x"}, {"sizes": (1, 1, 1)}, {"max_atoms": -1}):
        with pytest.raises(InvalidArgumentError):
            load_moleculenet("freewilson", **arguments)


def test_small_bbbp(tmp_path):
    lines = [f"{n},name,{n % 2},{'C' * (n + 1)}" for n in range(20)]
    lines[3] = "3,name,1,C1CC"
    lines[5] = "5,name,,CCO"
    (tmp_path / "BBBP.csv").write_text("num,name,p_np,smiles\n" + "\n".join(lines) + "\n")
    data = load_moleculenet("bbbp", data_dir=tmp_path, progress=False)
    assert [(record.row, record.reason) for record in dropped_rows(data)] == [
        (3, "SMILES cannot be parsed: unclosed ring"),
        (5, "no label"),
    ]
    for part in data.values():
        assert label_matrix(part)[:, 0].tolist() == [row % 2 for row in part["row"]]
        assert [len(smiles) - 1 for smiles in part["smiles"]] == list(part["row"])


def test_qm8_as_a_plain_table(tmp_path):
    tasks = DATASETS["qm8"].task_names
    rows = [f"[H]C([H])([H])[H],{','.join(str(0.1 * t) for t in range(12))}"] * 10
    (tmp_path / "qm8.csv").write_text(f"smiles,{','.join(tasks)}\n" + "\n".join(rows) + "\n")
    data = load_moleculenet("qm8", data_dir=tmp_path, progress=False)
    np.testing.assert_allclose(all_labels(data), np.tile(0.1 * np.arange(12), (10, 1)), rtol=1e-6)
    assert TaskSpec.of(data).metric == "mae"


def second_start(arguments, tmp_path):
    """Load in a fresh process, with the cache of this one; return what it imported, and the seconds of loading."""
    code = (
        "import sys, time, datasets\n"
        "from dc_graphsam.data import load_moleculenet\n"
        "from dc_graphsam.chem import parallel\n"
        "parallel.iter_featurized = None\n"
        "start = time.perf_counter()\n"
        f"data = load_moleculenet({arguments})\n"
        "print(time.perf_counter() - start, 'deepchem' in sys.modules, 'dgl' in sys.modules, len(data['train']))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path, env=os.environ
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_a_second_start_needs_no_deepchem(tmp_path):
    (tmp_path / "BBBP.csv").write_text(
        "num,name,p_np,smiles\n" + "\n".join(f"1,x,{n % 2},{'C' * n}" for n in range(1, 11))
    )
    load_moleculenet("bbbp", data_dir=tmp_path, progress=False)
    assert second_start(f"'bbbp', data_dir={str(tmp_path)!r}", tmp_path)[1:] == ["False", "False", "8"]


REAL = {  # rows of the file, molecules
    "bbbp": (2050, 2039),
    "tox21": (7831, 7823),
    "sider": (1427, 1427),
    "clintox": (1484, 1480),
    "bace": (1513, 1513),
    "esol": (1128, 1128),
    "lipophilicity": (4200, 4200),
    "freesolv": (642, 642),
    "qm7": (6830, 6830),
    "qm8": (21786, 21786),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(moleculenet_dir, name):
    entry = DATASETS[name]
    data = load_moleculenet(name, data_dir=moleculenet_dir, progress=False)
    rows, molecules = REAL[name]
    assert entry.rows == rows and sum(map(len, data.values())) == molecules
    assert len(dropped_rows(data)) == rows - molecules
    assert TaskSpec.of(data) == TaskSpec(name, entry.task_names, entry.task_type, entry.metric, "compt-own-slot")
    labels = all_labels(data)
    assert labels.shape == (molecules, len(entry.task_names))
    assert np.isnan(labels).any() == (name == "tox21")
    if entry.task_type == "classification":
        assert set(np.unique(labels[~np.isnan(labels)])) == {0, 1}


@pytest.mark.parametrize("name", ["bbbp", "tox21", "esol", "bace"])
def test_deepchem_and_the_plain_table_agree(moleculenet_dir, name):
    """Two readers of one file: rows, SMILES and missing labels come out equal."""
    entry = DATASETS[name]
    data = load_moleculenet(name, data_dir=moleculenet_dir, progress=False)
    plain = load_csv(moleculenet_dir / entry.file, entry.smiles_column, entry.task_names, progress=False)
    for part in data:
        np.testing.assert_array_equal(label_matrix(data[part]), label_matrix(plain[part]))
        assert list(data[part]["smiles"]) == list(plain[part]["smiles"])
        assert list(data[part]["row"]) == list(plain[part]["row"])
    assert dropped_rows(data) == dropped_rows(plain)


def test_real_bbbp_rows(moleculenet_dir, caplog):
    data = load_moleculenet("bbbp", "scaffold", data_dir=moleculenet_dir, progress=False)
    assert [record.row for record in dropped_rows(data)] == [59, 61, 391, 614, 642, 645, 646, 647, 648, 649, 685]
    assert caplog.messages == [
        "bbbp: 11 of 2,050 rows left out (rows 59, 61, 391, 614, 642 and 6 more: SMILES cannot be parsed; "
        "first row is 0)"
    ]
    assert [len(part) for part in data.values()] == [1631, 204, 204]
    seconds = second_start(f"'bbbp', 'scaffold', data_dir={str(moleculenet_dir)!r}", moleculenet_dir.parent)[0]
    assert float(seconds) < 1


def test_muv_slice(moleculenet_dir, tmp_path):
    with gzip.open(moleculenet_dir / "muv.csv.gz", "rt") as file:
        head = "".join(file.readline() for _ in range(501))
    (tmp_path / "muv.csv.gz").write_bytes(gzip.compress(head.encode()))
    data = load_moleculenet("muv", data_dir=tmp_path, progress=False)
    labels = all_labels(data)
    assert labels.shape == (500, 17) and 0.7 < np.isnan(labels).mean() < 0.9
    assert not np.isnan(labels).all(axis=1).any()
