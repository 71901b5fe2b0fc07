"""Two readers of one file: ours and DeepChem's give equal rows, SMILES, labels and missing labels."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from dc_graphsam.data import label_matrix, load_moleculenet
from dc_graphsam.data.moleculenet import sources
from dc_graphsam.data.moleculenet.registry import DATASETS
from dc_graphsam.data.moleculenet.table_loader import read_as_deepchem_does
from dc_graphsam.exceptions import InvalidArgumentError, MissingColumnError, MissingDataError, MissingPackageError

THERE = sorted(set(DATASETS) - {"hiv"})  # the file of which is not among those of the tests


def both(name, path):
    """What our reader and DeepChem's read."""
    from dc_graphsam.data.moleculenet.deepchem_loader import read_with_deepchem

    return read_as_deepchem_does(DATASETS[name], path), read_with_deepchem(DATASETS[name], path)


def same(ours, theirs):
    assert ours.smiles == theirs.smiles and ours.task_names == theirs.task_names
    assert ours.labels.dtype == theirs.labels.dtype and ours.labels.shape == theirs.labels.shape
    np.testing.assert_array_equal(_bits(ours.labels), _bits(theirs.labels))
    np.testing.assert_array_equal(np.isnan(ours.labels), np.isnan(theirs.labels))
    assert ours.problems == theirs.problems and ours.task_type == theirs.task_type


def _bits(labels):
    return labels.view(np.int64) * ~np.isnan(labels)


@pytest.mark.needs("deepchem")
@pytest.mark.parametrize("name", THERE)
def test_real_files(moleculenet_dir, name):
    """To the last bit. Three sets have no loader in use, and one reader for all Pythons: that one must not need DeepChem."""
    entry = DATASETS[name]
    if entry.loader is None:
        files = sources.find_raw_files(entry, moleculenet_dir, download=False)
        table = sources.read_raw(entry, files)
        assert len(table.smiles) == entry.rows
        return
    ours, theirs = both(name, moleculenet_dir / entry.file)
    assert len(ours.smiles) == entry.rows
    same(ours, theirs)
    assert np.isnan(ours.labels).any() == (name in ("tox21", "muv"))


ROWS = {
    "gaps": ["1,C", ",CC", "0,CCC", "NA,CCCC", "nan,N", "NULL,O", "1.5,"],
    "words": ["True,C", "False,CC"],
    "words and gaps": ["True,C", ",CC", "False,CCC"],
    "infinite": ["inf,C", "-inf,CC", "1e300,CCC", "1e-3,C"],
    "all missing": [",C", ",CC"],
    "long numbers": ["0.1234567890123456789,C", "-5.000000000000000001,CC", "1e-320,CCC", "123456789012345678901234,C"],
    "blank lines": ["1,C", "", "2,CC", ""],
    "quotes": ['"1","C"', ' 2,"C(=O)O"'],
    "smiles that mean missing": ["1,NA", "2,nan", "3,None", "4,null"],
    "many": [f"{n / 7},{'C' * (n % 30 + 1)}" if n % 11 else f",{'C' * (n % 30 + 1)}" for n in range(20_000)],
}


@pytest.mark.needs("deepchem")
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", ["esol", "bbbp"])
def test_odd_files(tmp_path, name, rows):
    entry = DATASETS[name]
    path = tmp_path / entry.file
    path.write_text(f"{entry.task_names[0]},smiles\n" + "\n".join(ROWS[rows]) + "\n")
    same(*both(name, path))


@pytest.mark.needs("deepchem")
def test_compressed(tmp_path):
    entry = DATASETS["clintox"]
    path = tmp_path / entry.file
    path.write_bytes(gzip.compress(b"smiles,FDA_APPROVED,CT_TOX\nC,1,0\nCC,,1\nCCC,0,\n"))
    same(*both("clintox", path))


@pytest.mark.needs("deepchem")
@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("num,name,p_n,smiles\n1,a,1,C\n", MissingColumnError),
        ("p_np,smiles\nyes,C\n", InvalidArgumentError),
        ("p_np,smiles\n1,C\n1,C,2,3\n", InvalidArgumentError),
        ("", InvalidArgumentError),
        (None, MissingDataError),
    ],
    ids=["column", "word", "fields", "empty", "folder"],
)
def test_what_cannot_be_read_is_the_same_kind_of_error(tmp_path, content, error):
    from dc_graphsam.data.moleculenet.deepchem_loader import read_with_deepchem

    path = tmp_path / "BBBP.csv"
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)
    said = []
    for read in (read_with_deepchem, read_as_deepchem_does):
        with pytest.raises(error) as caught:
            read(DATASETS["bbbp"], path)
        said.append(str(caught.value))
    assert said[1].replace("pandas:", "deepchem.molnet.load_bbbp:") == said[0]


def test_it_is_what_load_moleculenet_reads_without_deepchem(tmp_path, monkeypatch):
    def absent(needed_by):
        raise MissingPackageError("deepchem", needed_by, "-")

    monkeypatch.setattr("dc_graphsam.data.moleculenet.deepchem_loader.import_deepchem", absent)
    lines = "".join(f"{n},x,{n % 2 if n != 4 else ''},{'C' * n}\n" for n in range(1, 15))
    (tmp_path / "BBBP.csv").write_text("num,name,p_np,smiles\n" + lines)
    data = load_moleculenet("bbbp", data_dir=tmp_path, progress=False)
    assert sorted(row for part in data.values() for row in part["row"]) == [n for n in range(14) if n != 3]
    for part in data.values():
        assert label_matrix(part)[:, 0].tolist() == [(row + 1) % 2 for row in part["row"]]
