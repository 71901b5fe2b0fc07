"""Files of one table that say different things of the types of its columns."""

from __future__ import annotations

import gzip
import json
import pickle

import numpy as np
import pytest

from dc_graphsam.data import dropped_rows, load_graph_dataset
from dc_graphsam.exceptions import InvalidArgumentError

SMILES = [f"{head}{'C' * n}" for n in range(1, 6) for head in ("C", "N", "O")]


def csv_of(labels, start=0):
    return "smiles,value\n" + "".join(f"{SMILES[(start + i) % 15]},{label}\n" for i, label in enumerate(labels))


def labels_of(data, part="train"):
    return np.array([row["labels"] for row in data[part]]).reshape(-1)


@pytest.fixture
def load(tmp_path):
    def load(path, streaming, **options):
        options |= (
            {"streaming": True} if streaming else {"progress": False, "cache_dir": tmp_path / "cache", "num_workers": 1}
        )
        return load_graph_dataset(path, **options)

    return load


@pytest.mark.parametrize("streaming", [False, True])
def test_whole_numbers_and_later_something_else(streaming, load, tmp_path, caplog):
    """The reader takes 10,000 rows at a time."""
    late = ["", "2.5", ">5", "NA"]
    (tmp_path / "long.csv").write_text(csv_of([*map(str, [i % 7 for i in range(10_000)]), *late]))
    data = load(tmp_path / "long.csv", streaming)
    if streaming:
        found = labels_of({"train": data["train"].skip(9_990)})
    else:
        data = load(tmp_path / "long.csv", streaming, split="random", sizes=(1.0, 0.0, 0.0))
        found = labels_of({"train": data["train"].select(range(9_990, len(data["train"])))})
        reasons = {row.row: row.reason for row in dropped_rows(data)}
        assert reasons == {10_000: "no label", 10_002: "label is '>5'", 10_003: "no label"}
    assert found.tolist() == [*(float(i % 7) for i in range(9_990, 10_000)), 2.5]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv-free folder of splits"])
def test_a_folder_whose_files_differ(kind, streaming, load, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    files = {"a": csv_of(["1", "2", "3"]), "b": csv_of(["1.5", "", ">7", "4"], 3)}
    for name, text in files.items():
        if kind == "csv.gz":
            (folder / f"train-{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
        else:
            where = f"train-{name}.csv" if kind == "csv" else {"a": "train.csv", "b": "test.csv"}[name]
            (folder / where).write_text(text)
    if kind.endswith("splits"):
        data = load(folder, streaming)
        assert (labels_of(data).tolist(), labels_of(data, "test").tolist()) == ([1, 2, 3], [1.5, 4])
    else:
        options = {} if streaming else {"split": "random", "sizes": (1.0, 0.0, 0.0)}
        assert labels_of(load(folder, streaming, **options)).tolist() == [1, 2, 3, 1.5, 4]


def parquet(path, labels, kind, start=0):
    import pyarrow as pa
    import pyarrow.parquet as pq

    smiles = [SMILES[start + i] for i in range(len(labels))]
    pq.write_table(pa.table({"smiles": smiles, "value": pa.array(labels, kind)}), path)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_parquet_files_of_different_types(order, streaming, load, tmp_path):
    import pyarrow as pa

    folder = tmp_path / "folder"
    folder.mkdir()
    kinds = [([1, 2], pa.int64()), ([2.5, None], pa.float64()), (["3", ">7"], pa.string())]
    for place, k in enumerate(order):
        parquet(folder / f"train-{place}.parquet", *kinds[k], start=2 * place)
    options = {} if streaming else {"split": "random", "sizes": (1.0, 0.0, 0.0)}
    assert sorted(labels_of(load(folder, streaming, **options)).tolist()) == [1, 2, 2.5, 3]


@pytest.mark.parametrize("streaming", [False, True])
def test_json_lines_of_different_types(streaming, load, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, labels in {"a": [1, 2], "b": [2.5, None, 4]}.items():
        rows = [json.dumps({"smiles": SMILES[i], "value": label}) for i, label in enumerate(labels)]
        (folder / f"train-{name}.jsonl").write_text("\n".join(rows) + "\n")
    options = {} if streaming else {"split": "random", "sizes": (1.0, 0.0, 0.0)}
    assert labels_of(load(folder, streaming, **options)).tolist() == [1, 2, 2.5, 4]


@pytest.mark.parametrize("streaming", [False, True])
def test_lists_of_labels(streaming, load, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, labels in {"a": [[1, 0], [2, 1]], "b": [[2.5, None], [4, 0.5]]}.items():
        rows = [json.dumps({"smiles": SMILES[i], "y": label}) for i, label in enumerate(labels)]
        (folder / f"train-{name}.jsonl").write_text("\n".join(rows) + "\n")
    options = {} if streaming else {"split": "random", "sizes": (1.0, 0.0, 0.0)}
    data = load(folder, streaming, task_type="regression", **options)
    np.testing.assert_array_equal(labels_of(data), [1, 0, 2, 1, 2.5, np.nan, 4, 0.5])


@pytest.mark.parametrize("streaming", [False, True])
def test_what_remains_names_file_row_and_column(streaming, load, tmp_path):
    def refused(folder, message):
        with pytest.raises(InvalidArgumentError, match=message):
            list(load(folder, streaming)["train"])

    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "train-1.csv").write_text(csv_of(["1", "2"]))
    (tmp_path / "a" / "train-2.csv").write_text("smiles,other\nCC,1\n")
    refused(tmp_path / "a", r"train-2.csv has no column 'value', which other files of the table have")
    (tmp_path / "b" / "train-2.csv").write_text(csv_of(["1", "2,3,4"]))
    refused(tmp_path / "b", r"train-2.csv cannot be read, after row 0: .*Expected 2 fields in line 3, saw 4")
    (tmp_path / "d").mkdir()
    rows = [{"smiles": "CC", "value": 1}, {"smiles": "CCC", "value": ">5"}]
    (tmp_path / "d" / "train-1.jsonl").write_text(json.dumps(rows[0]) + "\n")
    (tmp_path / "d" / "train-2.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused(tmp_path / "d", r"train-2.jsonl cannot be read, row 1, column 'value' holds '>5'")


def test_a_stream_still_goes_to_the_workers_of_a_data_loader(load, tmp_path):
    import torch

    (tmp_path / "train.csv").write_text(csv_of(["1", "2", "3.5", "4"]))
    stream = load(tmp_path / "train.csv", True)["train"]
    assert [row["labels"].tolist() for row in pickle.loads(pickle.dumps(stream))] == [[1], [2], [3.5], [4]]
    rows = list(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1))
    assert [float(row["labels"][0]) for row in rows] == [1, 2, 3.5, 4]
