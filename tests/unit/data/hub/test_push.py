"""What is pushed comes back, through clients that know nothing of this package."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dc_graphsam.data import load_csv, load_graph_dataset, save_dataset
from dc_graphsam.exceptions import InvalidArgumentError, MissingColumnError
from dc_graphsam.tasks import TaskSpec

COLUMNS = ("smiles", "labels", "row", "num_nodes", "node_features", "edge_index", "edge_features", "distance")


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("push") / "acids.csv"
    rows = [f"{'C' * n}{end},{n / 3},{'' if n % 3 else n % 2}" for n in range(1, 21) for end in ("", "O", "C(=O)O")]
    rows[7] = "C1CC,1,1"
    path.write_text("smiles,logS,toxic\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(csv):
    return load_csv(
        csv, task_columns=["logS", "toxic"], task_type="regression", progress=False, cache_dir=csv.parent / "cache"
    )


def same(one, other, columns=COLUMNS):
    assert list(one) == list(other)
    for part in one:
        assert len(one[part]) == len(other[part])
        for a, b in zip(one[part], other[part], strict=True):
            for name in columns:
                np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_saved_and_loaded_data_are_equal(data, csv, tmp_path):
    files = save_dataset(data, tmp_path / "repo", name="ann/acids", license="cc0-1.0")
    assert [path.name for path in files] == [
        "train-00000-of-00001.parquet",
        "validation-00000-of-00001.parquet",
        "test-00000-of-00001.parquet",
        "dc_graphsam.json",
        "README.md",
    ]
    back = load_graph_dataset(tmp_path / "repo", progress=False, cache_dir=tmp_path)
    same(back, data)
    assert TaskSpec.of(back) == TaskSpec.of(data)
    again = save_dataset(back, tmp_path / "again", name="ann/acids", license="cc0-1.0")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]  # nothing to upload
    whole = load_graph_dataset(tmp_path / "repo", split="kfold", fold=0, progress=False, cache_dir=tmp_path)
    direct = load_csv(
        csv, task_columns=["logS", "toxic"], task_type="regression", split="kfold", fold=0, progress=False,
        cache_dir=csv.parent / "cache",
    )  # fmt: skip
    same(whole, direct)


def test_a_stream_can_be_saved(data, tmp_path):
    save_dataset(data, tmp_path / "repo")
    stream = load_graph_dataset(tmp_path / "repo", streaming=True)
    save_dataset(stream, tmp_path / "again")
    back = load_graph_dataset(tmp_path / "again", progress=False, cache_dir=tmp_path)
    same(back, data, [name for name in COLUMNS if name != "row"])
    assert [row for part in back.values() for row in part[:]["row"]] == list(range(sum(map(len, data.values()))))


def test_columns_are_those_of_hub_tables(data, tmp_path):
    import pyarrow.parquet as pq

    save_dataset(data, tmp_path)
    table = pq.read_table(tmp_path / "data" / "train-00000-of-00001.parquet")
    assert table.column_names == ["smiles", "node_feat", "edge_index", "edge_attr", "y", "num_nodes", "row"]
    row = table.slice(0, 1).to_pylist()[0]
    assert np.shape(row["node_feat"]) == (row["num_nodes"], 115) and np.shape(row["edge_index"])[0] == 2
    assert len(row["y"]) == 2 and None in {value for row in table.column("y").to_pylist() for value in row}


def test_the_numbers_of_the_card_are_counted(data, tmp_path):
    save_dataset(data, tmp_path, name="ann/acids", license="cc0-1.0")
    card = (tmp_path / "README.md").read_text()
    from huggingface_hub import DatasetCard

    facts = DatasetCard(card).data.to_dict()
    assert facts["license"] == "cc0-1.0" and facts["task_categories"] == ["graph-ml"]
    assert {entry["split"] for entry in facts["configs"][0]["data_files"]} == {"train", "validation", "test"}
    train = data["train"][:]
    assert f"| train | {len(data['train'])} | {np.mean(train['num_nodes']):.1f} | {max(train['num_nodes'])} |" in card
    measured = int((~np.isnan(train["labels"][:, 1])).sum())
    assert f"| toxic | {measured} | {np.nanmean(train['labels'][:, 1]):.4g} ±" in card
    assert str(tmp_path) not in card and 'load_graph_dataset("ann/acids")' in card


def test_saving_needs_features_and_tasks(tmp_path):
    from datasets import Dataset

    with pytest.raises(InvalidArgumentError, match="does not say what its labels are"):
        save_dataset(Dataset.from_dict({"smiles": ["C"]}), tmp_path)
    table = TaskSpec("toy", ("y",), "regression", "rmse", "compt").attach(
        Dataset.from_dict({"smiles": ["C"], "y": [1.0]})
    )
    with pytest.raises(MissingColumnError, match="no column 'labels'"):
        save_dataset(table, tmp_path)


def test_a_changed_table_or_a_newer_format_is_refused(data, tmp_path):
    save_dataset(data, tmp_path)
    record = tmp_path / "dc_graphsam.json"
    fields = json.loads(record.read_text())
    record.write_text(json.dumps({**fields, "feature_set": "compt"}))
    with pytest.raises(InvalidArgumentError.__base__, match="115 features per node and 14 per edge"):
        load_graph_dataset(tmp_path, progress=False, cache_dir=tmp_path)
    record.write_text(json.dumps({**fields, "format_version": 99}))
    with pytest.raises(InvalidArgumentError, match="format version 99"):
        load_graph_dataset(tmp_path, progress=False, cache_dir=tmp_path)


PUSH = """
import sys
from dc_graphsam import load_csv, load_graph_dataset, push_dataset
data = load_csv({csv!r}, task_columns=["logS", "toxic"], task_type="regression", progress=False)
first = push_dataset(data, "ann/acids", private=True)
push_dataset(data, "ann/acids", private=True)
push_dataset(load_graph_dataset({table!r}, progress=False), "ann/acids", revision="graphs")
result = first
"""
PULL = """
import datasets, numpy as np
from dc_graphsam import load_graph_dataset, load_csv
back = load_graph_dataset("ann/acids", progress=False)
data = load_csv({csv!r}, task_columns=["logS", "toxic"], task_type="regression", progress=False)
equal = all(
    np.array_equal(a[name], b[name], equal_nan=name == "labels")
    for part in data for a, b in zip(back[part], data[part], strict=True) for name in {columns!r}
)
stream = load_graph_dataset("ann/acids", streaming=True)
streamed = [row["smiles"] for row in stream["train"]] == [row["smiles"] for row in data["train"]]
other = load_graph_dataset("ann/acids", revision="graphs", progress=False)
plain = datasets.load_dataset("ann/acids")
result = [equal, streamed, list(back), plain["test"].column_names, other["train"].info.description]
"""
LOAD = """
from dc_graphsam import load_graph_dataset
load_graph_dataset({name!r}, progress=False)
"""


def test_round_trip_through_the_hub(hub_tools, hub, csv, tmp_path):
    table = tmp_path / "toy.jsonl"
    row = {"node_feat": [[1], [2]], "edge_index": [[0, 1], [1, 0]], "edge_attr": [[3], [3]], "num_nodes": 2}
    table.write_text("".join(json.dumps({**row, "y": [i / 2]}) + "\n" for i in range(12)))
    environment = {"DC_GRAPHSAM_CACHE": str(tmp_path / "cache")}
    with hub_tools.HubClient(hub, tmp_path / "ann", "hf_ann", **environment) as ann:
        first = ann.run(PUSH.format(csv=str(csv), table=str(table)))
        assert "/commit/" in first
        commits = [entry["title"] for entry in hub.repo("ann/acids", "datasets").log]
        assert (
            commits.count("Upload data set") == 2
        )  # one for main, one for the branch: the second push changed nothing
    files = set(hub.files("ann/acids", kind="datasets"))
    assert files >= {"README.md", "dc_graphsam.json", "data/train-00000-of-00001.parquet"}
    fresh = {"DC_GRAPHSAM_CACHE": str(tmp_path / "fresh")}
    with hub_tools.HubClient(hub, tmp_path / "again", "hf_ann", **fresh) as ann:
        equal, streamed, parts, columns, description = ann.run(PULL.format(csv=str(csv), columns=COLUMNS))
        assert equal and streamed and parts == ["train", "validation", "test"]
        assert {"smiles", "node_feat", "y"} <= set(columns)
        assert json.loads(description)["dc_graphsam"]["feature_set"] == "table-1-1"
    with hub_tools.HubClient(hub, tmp_path / "again", "hf_ann", HF_HUB_OFFLINE="1", **fresh) as ann:
        ann.run(LOAD.format(name="ann/acids"))
        with pytest.raises(hub_tools.ClientError, match="ann/none cannot be loaded"):
            ann.run(LOAD.format(name="ann/none"))
    with hub_tools.HubClient(hub, tmp_path / "eve", "hf_wrong", **fresh) as eve:
        with pytest.raises(hub_tools.ClientError, match="ann/acids cannot be loaded") as refused:
            eve.run(LOAD.format(name="ann/acids"))
        assert refused.value.kind == "MissingDataError"
        with pytest.raises(hub_tools.ClientError, match="cannot be loaded"):
            eve.run(LOAD.format(name="ann/none"))


def test_names_of_classes_come_back(tmp_path):
    path = tmp_path / "grades.csv"
    path.write_text(
        "smiles,grade,hit\n" + "".join(f"{'C' * n},{'abc'[n % 3]},{('no', 'yes')[n % 2]}\n" for n in range(1, 25))
    )
    data = load_csv(path, task_columns=["grade", "hit"], task_type="multiclass", progress=False)
    save_dataset(data, tmp_path / "repo", name="ann/grades")
    back = load_graph_dataset(tmp_path / "repo", progress=False)
    same(back, data)
    assert TaskSpec.of(back) == TaskSpec.of(data) and TaskSpec.of(back).class_names == (("a", "b", "c"), ("no", "yes"))
    card = (tmp_path / "repo" / "README.md").read_text()
    assert "Several classes (grade: 0 = a, 1 = b, 2 = c; hit: 0 = no, 1 = yes)." in card
    two = load_csv(path, task_columns="hit", progress=False)
    save_dataset(two, tmp_path / "two", name="ann/hits")
    assert TaskSpec.of(load_graph_dataset(tmp_path / "two", progress=False)) == TaskSpec.of(two)


def test_classes_without_names_are_refused(tmp_path):
    path = tmp_path / "values.csv"
    path.write_text("smiles,grade\n" + "".join(f"{'C' * n},{n % 3}\n" for n in range(1, 25)))
    save_dataset(load_csv(path, progress=False), tmp_path / "repo", name="ann/values")
    with pytest.raises(InvalidArgumentError, match="task_type is 'multiclass' and .* does not name its classes"):
        load_graph_dataset(tmp_path / "repo", task_type="multiclass", progress=False)
