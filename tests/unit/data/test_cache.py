from __future__ import annotations

import json
import subprocess
import sys

import pytest

from dc_graphsam.data.cache import cache_root, get_or_build, read_record, table_key
from dc_graphsam.exceptions import InvalidArgumentError


def builder(calls, content=b"table"):
    def build(folder):
        calls.append(folder)
        (folder / "data.arrow").write_bytes(content)
        return {"rows": 1}

    return build


def test_built_once(tmp_path):
    calls = []
    first = get_or_build("name", "key", builder(calls), tmp_path)
    assert get_or_build("name", "key", builder(calls), tmp_path) == first
    assert len(calls) == 1 and read_record(first)["rows"] == 1
    assert get_or_build("name", "other", builder(calls), tmp_path) != first
    assert not list(tmp_path.glob(".unfinished*"))


@pytest.mark.parametrize("damage", ["cut", "gone", "no record", "half a record", "older layout"])
def test_broken_tables_are_built_again(tmp_path, caplog, damage):
    folder = get_or_build("name", "key", builder([]), tmp_path)
    record = folder / "record.json"
    if damage == "cut":
        (folder / "data.arrow").write_bytes(b"tab")
    elif damage == "gone":
        (folder / "data.arrow").unlink()
    elif damage == "no record":
        record.unlink()
    elif damage == "half a record":
        record.write_text(record.read_text()[:10])
    else:
        record.write_text(json.dumps({**json.loads(record.read_text()), "layout": 0}))
    assert read_record(folder) is None
    calls = []
    assert get_or_build("name", "key", builder(calls), tmp_path) == folder
    assert len(calls) == 1 and (folder / "data.arrow").read_bytes() == b"table"
    assert "is broken and is built again" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_build_leaves_nothing(tmp_path, error):
    def build(folder):
        (folder / "data.arrow").write_bytes(b"half")
        raise error

    with pytest.raises(error):
        get_or_build("name", "key", build, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_processes_share_the_work(tmp_path):
    code = f"""
import os, time
from pathlib import Path
from dc_graphsam.data.cache import get_or_build
def build(folder):
    Path({str(tmp_path)!r}, f"built by {{os.getpid()}}").touch()
    time.sleep(0.3)
    (folder / "data.arrow").write_bytes(b"table")
    return {{"rows": 1}}
print(get_or_build("name", "key", build, {str(tmp_path / "cache")!r}))
"""
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    folders = {process.communicate(timeout=60)[0] for process in processes}
    assert len(folders) == 1 and all(process.returncode == 0 for process in processes)
    assert len(list(tmp_path.glob("built by *"))) == 1


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgumentError, match=r"the cache folder .* cannot be written .* set DC_GRAPHSAM_CACHE"):
        get_or_build("name", "key", builder([]), tmp_path / "file" / "cache")


def test_names_of_any_kind(tmp_path):
    folder = get_or_build("../a name/ünïcode" + "x" * 300, "key", builder([]), tmp_path)
    assert folder.parent == tmp_path


def test_root(monkeypatch, tmp_path):
    monkeypatch.setenv("DC_GRAPHSAM_CACHE", str(tmp_path / "a"))
    assert cache_root() == tmp_path / "a"
    assert cache_root(tmp_path / "b") == tmp_path / "b"
    monkeypatch.delenv("DC_GRAPHSAM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "dc_graphsam"


@pytest.mark.parametrize("first", [True, False])
def test_the_process_that_writes_the_cache_does_not_decide_the_features(first, tmp_path):
    """RDKit's switch for the perception of stereochemistry is not in the key, for it does not change the features."""
    import numpy as np
    from rdkit import Chem

    from dc_graphsam.chem import featurize
    from dc_graphsam.data import load_csv

    rows = [f"C/C=C{mark}{'C' * n},{n}.5" for n in range(1, 6) for mark in ("/", "\\")]
    (tmp_path / "alkenes.csv").write_text("smiles,y\n" + "\n".join(rows) + "\n")
    before = Chem.GetUseLegacyStereoPerception()
    built = []
    try:
        for switch in (first, not first):
            Chem.SetUseLegacyStereoPerception(switch)
            data = load_csv(tmp_path / "alkenes.csv", progress=False, num_workers=1, cache_dir=tmp_path / "cache")
            built.append({row["smiles"]: row["edge_features"] for part in data.values() for row in part})
    finally:
        Chem.SetUseLegacyStereoPerception(before)
    assert len(list((tmp_path / "cache").glob("*/data.arrow"))) == 1
    for smiles, features in built[1].items():
        np.testing.assert_array_equal(features, built[0][smiles])
        np.testing.assert_array_equal(features, featurize(smiles).edge_features.reshape(-1))


def test_keys_differ_with_everything_they_are_made_of():
    base = {"raw": "a", "feature_set": "compt", "max_atoms": None}
    keys = {
        table_key(**base),
        table_key(**{**base, "raw": "b"}),
        table_key(**{**base, "feature_set": "compt-own-slot"}),
    }
    assert len(keys | {table_key(**{**base, "max_atoms": 99})}) == 4
    assert table_key(**base) == table_key(**base)
