from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dc_graphsam.data import load_csv, load_splits, save_splits, split_hash, split_indices
from dc_graphsam.data.partition import partition
from dc_graphsam.exceptions import InvalidArgumentError, MissingDataError


def same(a, b):
    return {part: rows.tolist() for part, rows in a.items()} == {part: rows.tolist() for part, rows in b.items()}


@pytest.mark.parametrize("split", [{"split": "random", "seed": 3}, {"split": "kfold", "fold": 2}])
def test_a_saved_split_comes_back(alkanes, tmp_path, split):
    data = load_csv(alkanes, progress=False, **split)
    path = save_splits(data, tmp_path / "splits.json", **split)
    again = load_csv(alkanes, progress=False, splits=path)
    assert same(split_indices(again), split_indices(data))
    for part in data:
        assert list(data[part]["smiles"]) == list(again[part]["smiles"])
    assert same(split_indices(load_csv(alkanes, progress=False, splits=tmp_path)), split_indices(data))  # a run folder
    assert same(split_indices(load_csv(alkanes, progress=False, splits=load_splits(path))), split_indices(data))
    assert json.loads(path.read_text())["split"] == split["split"]


def test_rows_are_those_of_the_file(table):
    data = load_csv(table("smiles,y\nC(,0\n" + "".join(f"{'C' * n},{n}\n" for n in range(1, 13))), progress=False)
    rows = np.sort(np.concatenate(list(split_indices(data).values())))
    assert rows.tolist() == list(range(1, 13))
    for part in data.values():
        assert [len(smiles) for smiles in part["smiles"]] == part["row"][:].tolist()


def test_hash_knows_parts_and_rows():
    base = {"train": [0, 1], "test": [2]}
    assert split_hash(base) == split_hash({"test": np.array([2]), "train": np.array([1, 0])})
    assert split_hash(base) != split_hash({"train": [0, 2], "test": [1]})
    assert split_hash(base) != split_hash({"train": [0, 1], "validation": [2]})


def test_splits_that_do_not_fit(alkanes, tmp_path, table):
    path = save_splits({"train": [0, 1], "test": [40]}, tmp_path / "a.json")
    with pytest.raises(InvalidArgumentError, match=r"a\.json puts row 40 into test, which is not in this table"):
        load_csv(alkanes, progress=False, splits=path)
    with pytest.raises(InvalidArgumentError, match="splits has a row of test twice"):
        load_csv(alkanes, progress=False, splits={"train": [0, 1], "test": [1]})
    bad = table("smiles,y\nC,0\nC(,1\nCC,2\n")
    with pytest.raises(InvalidArgumentError, match="puts row 1 into train, which is not in this table or was left out"):
        load_csv(bad, progress=False, splits={"train": [0, 1], "test": [2]})


def test_files_that_hold_no_splits(alkanes, tmp_path):
    with pytest.raises(MissingDataError, match=r"there is no file .* with splits"):
        load_csv(alkanes, progress=False, splits=tmp_path / "none.json")
    path = tmp_path / "splits.json"
    for text in ("", "[]", '{"rows": {}}', '{"rows": 1, "sha256": ""}'):
        path.write_text(text)
        with pytest.raises(InvalidArgumentError, match="holds no splits; accepted: a file written by save_splits"):
            load_splits(path)
    save_splits({"train": [0, 1], "test": [2]}, path)
    path.write_text(path.read_text().replace("[0, 1]", "[0, 3]"))
    with pytest.raises(InvalidArgumentError, match="was changed"):
        load_splits(path)


def test_another_version_of_the_file_is_named(alkanes, tmp_path, caplog):
    path = save_splits(load_csv(alkanes, progress=False), tmp_path / "splits.json")
    load_csv(alkanes, progress=False, splits=path)
    assert "another version" not in caplog.text
    alkanes.write_text(alkanes.read_text() + "CO,1\n")
    load_csv(alkanes, progress=False, splits=path)
    assert "was made for another version of this data file" in caplog.text


def test_scaffolds_are_computed_once(table, monkeypatch):
    rings = [f"C1{'C' * n}1" for n in range(2, 42)]
    path = table("smiles,y\n" + "".join(f"{smiles},1.5\nO{smiles},2.5\n" for smiles in rings))
    first = load_csv(path, split="scaffold", seed=1, progress=False)
    monkeypatch.setattr("dc_graphsam.data.partition.scaffold_groups", None)
    assert same(split_indices(load_csv(path, split="scaffold", seed=1, progress=False)), split_indices(first))
    other = load_csv(path, split="scaffold", seed=2, progress=False)
    assert not same(split_indices(other), split_indices(first))
    for rows in split_indices(other).values():  # rows 2k and 2k + 1 share a ring
        assert set(rows // 2 * 2) | set(rows // 2 * 2 + 1) == set(rows)


def test_a_broken_scaffold_file_is_written_again(alkanes, caplog):
    data = load_csv(alkanes, progress=False)
    beside = Path(data["train"].cache_files[0]["filename"]).with_name("scaffolds.npy")
    beside.write_bytes(b"nothing")
    with pytest.raises(InvalidArgumentError, match="1 scaffolds leave nothing"):
        partition(data["train"], "scaffold")
    assert "is broken" in caplog.text and beside.stat().st_size > 40 * 4
