"""Graph tables in their variety become the same graphs, and train."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from dc_graphsam.chem import featurize, get_feature_set
from dc_graphsam.data import dropped_rows, load_graph_dataset, split_indices
from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, MissingColumnError, MissingDataError
from dc_graphsam.tasks import TaskSpec

SMILES = [head + "C" * n + tail for n in range(1, 9) for head in ("", "O", "N") for tail in ("", "O", "c1ccccc1")]
SYMBOLS = {6: 5, 7: 6, 8: 7}
COLUMNS = ("labels", "num_nodes", "node_features", "edge_index", "edge_features", "distance")


def ogb_row(smiles: str, y) -> dict:
    """A row as of OGB/ogbg-molhiv: categorical integers, [N][3], [2][E], [E][2], [[y]]."""
    graph = featurize(smiles)
    numbers = graph.node_features[:, get_feature_set(graph.feature_set).node_slice("atomic_number")].argmax(1) + 1
    degree = np.bincount(graph.edge_index[1], minlength=graph.num_nodes)
    ring = graph.node_features[:, -1].astype(int)
    bond = graph.edge_features[:, :4].argmax(1)
    return {
        "node_feat": [[SYMBOLS[int(z)], int(d), int(r)] for z, d, r in zip(numbers, degree, ring, strict=True)],
        "edge_index": graph.edge_index.tolist(),
        "edge_attr": [[int(b), int(b == 3)] for b in bond],
        "y": [[y]],
        "num_nodes": graph.num_nodes,
    }


ROWS = [ogb_row(smiles, int("O" in smiles)) for smiles in SMILES]


def nothing(row):
    return row


def flat(row):
    """Everything in one list each; the label a list of one."""
    ravel = lambda name: np.ravel(row[name]).tolist()  # noqa: E731
    return {**row, **{name: ravel(name) for name in ("node_feat", "edge_index", "edge_attr", "y")}}


def nested(row):
    return {**row, **{name: [row[name]] for name in ("node_feat", "edge_index", "edge_attr", "num_nodes")}}


def edge_list(row):
    return {**row, "edge_index": np.transpose(row["edge_index"]).tolist(), "y": row["y"][0][0]}


def one_way(row):
    return {
        **row,
        "edge_index": [ends[0::2] for ends in row["edge_index"]],
        "edge_attr": row["edge_attr"][0::2],
    }


def other_order(row):
    """All bonds forth, then all back, and a loop."""
    order = [*range(0, len(row["edge_attr"]), 2), *range(1, len(row["edge_attr"]), 2)]
    return {
        **row,
        "edge_index": [[ends[i] for i in order] + [0] for ends in row["edge_index"]],
        "edge_attr": [row["edge_attr"][i] for i in order] + [[9, 9]],
    }


def uncounted(row):
    return {name: value for name, value in row.items() if name != "num_nodes"}


def other_names(row):
    names = {"node_feat": "x", "edge_attr": "edge_feat", "y": "label"}
    return {names.get(name, name): value for name, value in row.items()}


@pytest.fixture
def write(tmp_path):
    """Write rows as a folder of a split each."""

    def make(rows=ROWS, names=("train", "valid", "test"), kind="jsonl", folder="molhiv"):
        import pandas as pd

        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        cuts = np.linspace(0, len(rows), len(names) + 1).astype(int)
        for name, start, stop in zip(names, cuts, cuts[1:], strict=False):
            some = rows[start:stop]
            if kind == "jsonl":
                text = "".join(json.dumps(row) + "\n" for row in some)
                (path / f"{name}.jsonl").write_text(text, encoding="utf-8")
            else:
                pd.DataFrame(some).to_parquet(path / f"{name}.parquet")
        return path

    return make


def load(path, **options):
    return load_graph_dataset(path, **{"progress": False, "cache_dir": path.parent / "cache", **options})


def same(one, other, columns=COLUMNS):
    assert list(one) == list(other)
    for part in one:
        assert len(one[part]) == len(other[part])
        for a, b in zip(one[part], other[part], strict=True):
            for name in columns:
                np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_ogb_like_table(write, kind):
    data = load(write(kind=kind))
    assert {name: len(part) for name, part in data.items()} == {"train": 24, "validation": 24, "test": 24}
    spec = TaskSpec.of(data)
    assert (spec.feature_set, spec.task_type, spec.task_names) == ("table-3-2", "classification", ("y",))
    for row, given, smiles in zip(data["train"], ROWS, SMILES, strict=False):
        graph = featurize(smiles)
        np.testing.assert_array_equal(row["node_features"].reshape(-1, 3), given["node_feat"])
        np.testing.assert_array_equal(row["edge_index"].reshape(2, -1), graph.edge_index)
        np.testing.assert_array_equal(row["edge_features"].reshape(-1, 2), np.reshape(given["edge_attr"], (-1, 2)))
        np.testing.assert_array_equal(row["distance"].reshape(graph.distance.shape), graph.distance)
        assert row["labels"].tolist() == [int("O" in smiles)]
    assert split_indices(data)["validation"].tolist() == list(range(24, 48))


@pytest.mark.parametrize(
    "change", [flat, nested, edge_list, one_way, other_order, uncounted, other_names], ids=lambda f: f.__name__
)
def test_every_nesting_gives_the_same_graphs(write, change):
    expected = load(write(folder="plain"))
    same(load(write([change(row) for row in ROWS], folder=change.__name__)), expected)
    same(load(write([change(row) for row in ROWS], kind="parquet", folder=f"{change.__name__}-pq")), expected)


@pytest.mark.parametrize("drop", ["absent", "null"])
def test_without_edge_attr_a_bond_is_one_number(write, drop):
    rows = [{**row, "edge_attr": None} for row in ROWS]
    if drop == "absent":
        rows = [{name: value for name, value in row.items() if name != "edge_attr"} for row in ROWS]
    data = load(write(rows))
    assert TaskSpec.of(data).feature_set == "table-3-1"
    assert all((row["edge_features"] == 1).all() for row in data["train"])


@pytest.mark.parametrize("name", ["validation", "val", "valid"])
def test_names_of_splits(write, name):
    assert list(load(write(names=("test", "train", name)))) == ["train", "validation", "test"]


def test_a_table_of_one_split_is_divided(write):
    path = write(names=("train",))
    data = load(path)
    assert {name: len(part) for name, part in data.items()} == {"train": 57, "validation": 7, "test": 8}
    again = load(path / "train.jsonl", split="kfold", fold=1, n_folds=4)
    assert len(again["test"]) == 18


def test_rows_that_do_not_fit_are_left_out_and_listed(write, caplog):
    rows = [dict(row) for row in ROWS]
    rows[3] = {**rows[3], "num_nodes": 99}
    rows[4] = {**rows[4], "edge_index": [[0, 50], [50, 0]], "edge_attr": [[0, 0], [0, 0]]}
    rows[5] = {**rows[5], "y": [[None]]}
    rows[30] = {**rows[30], "edge_attr": [[0, 0], *rows[30]["edge_attr"][1:-1], [9, 9]]}
    with caplog.at_level(logging.WARNING):
        data = load(write(rows))
    reasons = {record.row: record.reason for record in dropped_rows(data)}
    assert set(reasons) == {3, 4, 5, 30}
    assert "for 99 nodes; the table has 3 per node" in reasons[3]
    assert "names nodes 0 to 50" in reasons[4] and reasons[5] == "no label"
    assert "two directions" in reasons[30]
    assert "4 of 72 rows left out" in caplog.text
    assert [len(part) for part in data.values()] == [21, 23, 24]


def test_one_hot_is_a_column_per_category(write):
    data = load(write(), feature_set="one-hot")
    name = TaskSpec.of(data).feature_set
    assert name == "one-hot-8.4.2-4.2"
    row = data["test"][5]
    assert (
        row["node_features"].size == 14 * row["num_nodes"]
        and row["edge_features"].size == 6 * row["edge_index"].size / 2
    )
    np.testing.assert_array_equal(
        row["node_features"].reshape(-1, 14)[:, :8].argmax(1), np.array(ROWS[53]["node_feat"])[:, 0]
    )
    same(load(write(folder="again"), feature_set=name), data)
    few = load(write(folder="few"), feature_set="one-hot-7.4.2-4.2")
    assert "number 0; the feature set has categories 0 to 6" in dropped_rows(few)[0].reason


def test_smiles_beside_the_graphs_can_be_featurized_instead(write):
    rows = [{**row, "smiles": smiles} for row, smiles in zip(ROWS, SMILES, strict=True)]
    rows[1] = {**rows[1], "smiles": "C1CC"}
    data = load(write(rows), feature_set="compt-own-slot")
    assert TaskSpec.of(data).feature_set == "compt-own-slot" and [len(part) for part in data.values()] == [23, 24, 24]
    np.testing.assert_array_equal(data["train"][1]["node_features"], featurize(SMILES[2]).node_features.reshape(-1))
    kept = load(write(rows))
    assert kept["train"][0]["smiles"] == SMILES[0] and TaskSpec.of(kept).feature_set == "table-3-2"
    scaffolds = load(write(rows), split="scaffold", sizes=(0.6, 0.4, 0))
    assert sum(map(len, scaffolds.values())) == 72


def test_smiles_table(write):
    rows = [
        {"id": i, "Drug": "x", "canonical_smiles": s, "active": "O" in s, "pIC50": i / 7} for i, s in enumerate(SMILES)
    ]
    path = write(rows, kind="parquet")
    data = load(path, task_columns="pIC50")
    assert TaskSpec.of(data).task_type == "regression" and list(data) == ["train", "validation", "test"]
    np.testing.assert_allclose(data["validation"][:]["labels"].ravel(), np.arange(24, 48) / 7, rtol=1e-6)
    both = load(path, task_columns=["active", "active"][:1])
    assert TaskSpec.of(both).task_type == "classification"
    with pytest.raises(InvalidArgumentError, match="several columns with numbers: id, active, pIC50"):
        load(path)


def test_several_tasks_and_types(write):
    rows = [{**row, "y": [[1.0, None, 0.5]]} for row in ROWS]
    spec = TaskSpec.of(load(write(rows), task_names=["a", "b", "c"]))
    assert (spec.task_names, spec.task_type, spec.metric) == (("a", "b", "c"), "regression", "rmse")
    assert TaskSpec.of(load(write(rows))).task_names == ("y_0", "y_1", "y_2")
    with pytest.raises(InvalidArgumentError, match="task 'y_2' of molhiv has the value 0.5"):
        load(write(rows), task_type="classification")


def test_messages_say_what_was_found(write, tmp_path):
    path = write()
    with pytest.raises(
        FeatureSetError, match="graph columns but no column of SMILES.*node_feat, edge_index.*'table' keeps"
    ):
        load(path, feature_set="compt")
    with pytest.raises(FeatureSetError, match="3 numbers per node and 2 per edge, feature set 'table-9-3' has 9 and 3"):
        load(path, feature_set="table-9-3")
    with pytest.raises(InvalidArgumentError, match="accepted: 'table', 'one-hot'"):
        load(path, feature_set="ogb")
    with pytest.raises(FeatureSetError, match=r"neither graph columns nor a column of SMILES \(columns: a, y\)"):
        load(write([{"a": 1, "y": 2}] * 6, folder="other"))
    with pytest.raises(MissingColumnError, match="no column 'p_np'.*node_feat"):
        load(path, task_columns="p_np")
    with pytest.raises(MissingDataError, match="no file or folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(InvalidArgumentError, match="no row can be used: 6 of 6"):
        load(write([{**ROWS[0], "y": [[None]]}] * 6, folder="blank"), task_type="regression")
    uneven = [{**row, "node_feat": [1] * (3 * row["num_nodes"] + 1)} for row in ROWS[3:9]]
    with pytest.raises(InvalidArgumentError, match="no 'node_feat' holds the same count of numbers"):
        load(write(uneven, folder="uneven"))
    (path / "val.jsonl").write_text(json.dumps(ROWS[0]))
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "script.py").write_text("raise SystemExit('ran')")
    with pytest.raises((InvalidArgumentError, MissingDataError)):
        load(tmp_path / "script")


def test_models_say_that_such_features_need_a_table():
    from dc_graphsam.hf import MoleculeProcessor

    with pytest.raises(FeatureSetError):
        MoleculeProcessor("table-3-2")
    with pytest.raises(FeatureSetError, match="come with a table of graphs and cannot be computed from a SMILES"):
        featurize("CCO", "table-3-2")


def test_a_row_that_changes_splits_is_seen(write):
    """The bytes of all files together stay the same, and so would a key made of them alone."""
    assert [len(part) for part in load(write(ROWS[:12])).values()] == [4, 4, 4]
    path = write(ROWS[:12])
    lines = [(path / f"{name}.jsonl").read_text().splitlines(True) for name in ("train", "valid")]
    (path / "train.jsonl").write_text("".join(lines[0][:-1]))
    (path / "valid.jsonl").write_text("".join(lines[0][-1:] + lines[1]))
    assert [len(part) for part in load(path).values()] == [3, 5, 4]


def test_splits_named_in_the_card(write):
    path = write(names=("a", "b", "c"))
    (path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        + "".join(
            f"  - split: {split}\n    path: {name}.jsonl\n"
            for split, name in zip(("train", "val", "test"), "abc", strict=True)
        )
        + "---\n# molhiv\n"
    )
    assert {name: len(part) for name, part in load(path).items()} == {"train": 24, "validation": 24, "test": 24}
