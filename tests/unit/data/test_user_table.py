from __future__ import annotations

import gzip

import numpy as np
import pytest

from dc_graphsam.data import describe, dropped_rows, label_matrix, load_csv
from dc_graphsam.exceptions import InvalidArgumentError, MissingColumnError, MissingDataError
from dc_graphsam.tasks import TaskSpec

ALL = {"sizes": (1, 0, 0), "progress": False}  # everything in train, ascending


def rows_of(data):
    return data["train"]["row"][:].tolist()


def test_columns_and_types(alkanes):
    data = load_csv(alkanes, progress=False)
    assert {part: len(rows) for part, rows in data.items()} == {"train": 32, "validation": 4, "test": 4}
    row = data["train"][0]
    n = int(row["num_nodes"])
    assert row["smiles"] == "C" * n and row["row"] == n - 1 and row["labels"].tolist() == [n]
    assert row["node_features"].shape == (n * 115,) and row["distance"].shape == (n * n,)
    assert row["edge_index"].shape == (4 * (n - 1),) and row["edge_features"].shape == (2 * (n - 1) * 14,)
    kinds = {
        name: str(kind.type) for name, kind in zip(data["train"].column_names, data["train"].data.schema, strict=True)
    }
    lists = ("labels", "node_features", "edge_features", "edge_index", "distance")
    assert {name: kinds[name] for name in ("smiles", "row", "num_nodes")} == {
        "smiles": "string",
        "row": "int64",
        "num_nodes": "int32",
    }
    assert [kinds[name].split(": ")[1].rstrip(">") for name in lists] == ["float", "float", "float", "int32", "uint8"]


def test_the_record_of_tasks_travels(alkanes):
    data = load_csv(alkanes, progress=False)
    spec = TaskSpec("alkanes", ("carbons",), "regression", "rmse", "compt-own-slot")
    parts = [*data.values(), data["train"].select([3, 1]), *data["train"].train_test_split(0.5, seed=0).values()]
    assert {TaskSpec.of(part) for part in [data, *parts]} == {spec}
    assert TaskSpec.of(load_csv(alkanes, metric="mae", feature_set="compt", progress=False)) == TaskSpec(
        "alkanes", ("carbons",), "regression", "mae", "compt"
    )


def test_bad_rows_never_move_the_labels_of_others(table, caplog):
    lines = ["C,0", "C1CC,1", "CC,2", ",3", "CCC,inf", "not a molecule,5", "CCCC,", "C.C,7", "c1ccccc1,high", "N,9"]
    path = table("smiles,y\n" + "\n".join(lines) + "\n")
    data = load_csv(path, **ALL)
    assert rows_of(data) == label_matrix(data["train"])[:, 0].tolist() == [0, 2, 7, 9]
    reasons = {record.row: (record.smiles, record.reason) for record in dropped_rows(data)}
    assert reasons == {
        1: ("C1CC", "SMILES cannot be parsed: unclosed ring"),
        3: ("", "SMILES is empty"),
        4: ("CCC", "label is 'inf'"),
        5: ("not a molecule", reasons[5][1]),
        6: ("CCCC", "no label"),
        8: ("c1ccccc1", "label is 'high'"),
    }
    assert reasons[5][1].startswith("SMILES cannot be parsed: ")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        "my: 6 of 10 rows left out (rows 1, 5: SMILES cannot be parsed; row 3: SMILES is empty; row 4: label is 'inf'; "
        "row 6: no label; 1 more for other reasons; first row is 0)"
    ]
    assert dropped_rows(data["train"].select([0])) == dropped_rows(load_csv(path, **ALL))  # also from the cache
    assert describe(data) == "my: 4 molecules, 1 regression task, split 4/0/0, 6 left out"


def test_one_unusable_label_of_several_spoils_the_row(table):
    data = load_csv(table("smiles,a,b\nC,1.5,2.5\nCC,-inf,1\nCCC,,3\n"), task_columns=["a", "b"], **ALL)
    np.testing.assert_array_equal(label_matrix(data["train"]), np.float32([[1.5, 2.5], [np.nan, 3]]))
    assert [record.reason for record in dropped_rows(data)] == ["label of 'a' is '-inf'"]


def test_a_task_without_labels_keeps_its_column(table, caplog):
    data = load_csv(table("smiles,a,b\nC,1.5,\nCC,2,NA\n"), task_columns=["a", "b"], **ALL)
    assert np.isnan(label_matrix(data["train"])).tolist() == [[False, True], [False, True]]
    assert "my: no label of 'b' in train: nothing can be learnt of it" in caplog.text


def test_a_task_without_labels_in_train(table, caplog):
    path = table("smiles,a,b\nC,1.5,\nCC,2,\nCCC,3,4\n")
    load_csv(path, task_columns=["a", "b"], splits={"train": [0, 1], "test": [2]}, progress=False)
    assert "no label of 'b' in train" in caplog.text


def test_nothing_can_be_used(table):
    with pytest.raises(
        InvalidArgumentError, match=r"my: no row can be used: 2 of 2 rows left out \(row 0: no label; row 1"
    ):
        load_csv(table("smiles,y\nC,\nC(,1\n"), task_columns="y", **ALL)


def test_long_rows_are_left_out(table):
    data = load_csv(table("smiles,y\nC,1.5\nCC,2,5\nCCC,3\n"), **ALL)
    assert rows_of(data) == [0, 2]
    assert dropped_rows(data)[0].reason == "row has 3 fields, the header has 2"


@pytest.mark.parametrize(
    "data, name",
    [
        (b'\xef\xbb\xbf"SMILES","pIC50"\r\n"CCO","5.25"\r\n"CC","6"\r\n', "my.csv"),
        (b"SMILES;pIC50\nCCO;5,25\nCC;6\n", "my.csv"),
        (b"SMILES\tpIC50\nCCO\t5.25\nCC\t6\n", "my.tsv"),
        (gzip.compress(b"SMILES,pIC50\nCCO,5.25\nCC,6\n", mtime=0), "my.csv.gz"),
    ],
)
def test_tables_of_many_programs(table, data, name):
    data = load_csv(table(data, name), **ALL)
    assert list(data["train"]["smiles"]) == ["CCO", "CC"]
    assert label_matrix(data["train"]).tolist() == [[5.25], [6]]
    assert TaskSpec.of(data).task_names == ("pIC50",) and TaskSpec.of(data).dataset == "my"


def test_missing_columns(table):
    path = table("id,smiles,pic50,assay\n1,C,5.5,x\n")
    with pytest.raises(
        MissingColumnError, match=r"has no column 'pIC50'. It has: id, smiles, pic50, assay. Did you mean 'pic50'?"
    ):
        load_csv(path, task_columns="pIC50")
    with pytest.raises(MissingColumnError, match=r"has no column 'structure'. It has: id"):
        load_csv(path, smiles_column="structure")
    with pytest.raises(MissingColumnError, match=r"has no column 'smiles'. It has: id, y"):
        load_csv(table("id,y\n1,2\n", "other.csv"))


def test_task_columns_are_not_guessed_among_many(table):
    path = table("mass,smiles,pic50,name\n1,C,5.5,a\n2,CC,6.5,b\n")
    with pytest.raises(InvalidArgumentError, match="several columns with numbers: mass, pic50; name the column"):
        load_csv(path)
    assert TaskSpec.of(load_csv(path, task_columns="pic50", **ALL)).task_names == ("pic50",)
    with pytest.raises(InvalidArgumentError, match="no other column with numbers"):
        load_csv(table("smiles,name\nC,a\n", "other.csv"))


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"task_columns": []}, r"task_columns is \[\]; accepted"),
        ({"task_columns": ["y", "y"]}, "each once"),
        ({"task_columns": "smiles"}, "which holds the SMILES"),
        ({"task_type": "ranking"}, "task_type is 'ranking'; accepted"),
        ({"metric": "auc"}, "metric is 'auc'; accepted: 'roc_auc'"),
        ({"feature_set": "compt2"}, "'compt2'"),
        ({"split": "scaffolds"}, "Did you mean 'scaffold'?"),
        ({"max_atoms": 0}, "max_atoms is 0; accepted"),
        ({"num_workers": -1}, "num_workers is -1; accepted"),
    ],
)
def test_bad_arguments(table, arguments, words):
    with pytest.raises(InvalidArgumentError, match=words):
        load_csv(table("smiles,y\nC,1.5\n"), **arguments)


def test_no_file(tmp_path):
    with pytest.raises(MissingDataError, match=r"there is no file .*none\.csv"):
        load_csv(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "values, task_type",
    [
        ("0 1 1 0", "classification"),
        ("1.0 0 NA 1", "classification"),
        ("true false true false", "classification"),
        ("0 1 2 1", "regression"),
        ("-1 1 1 -1", "classification"),
        ("0.5 1 1 0", "regression"),
    ],
)
def test_task_type_follows_from_the_values(table, values, task_type):
    path = table("smiles,y\n" + "".join(f"{'C' * n},{value}\n" for n, value in enumerate(values.split(), 1)))
    spec = TaskSpec.of(load_csv(path, **ALL))
    assert (spec.task_type, spec.metric) == (task_type, "rmse" if task_type == "regression" else "roc_auc")
    assert TaskSpec.of(load_csv(path, task_type="regression", **ALL)).task_type == "regression"


def test_task_types_that_do_not_fit(table):
    path = table("smiles,a,b\nC,1,2\nCC,0,1\n")
    with pytest.raises(InvalidArgumentError, match=r"only some columns of .* hold 0 and 1 \(a\); pass task_type"):
        load_csv(path, task_columns=["a", "b"])
    with pytest.raises(
        InvalidArgumentError, match=r"column 'b' of .* has the value 2; a classification task has 0 and 1"
    ):
        load_csv(path, task_columns=["a", "b"], task_type="classification")


def test_max_atoms(alkanes):
    data = load_csv(alkanes, max_atoms=30, **ALL)
    assert len(data["train"]) == 30 and len(dropped_rows(data)) == 10
    assert {record.reason for record in dropped_rows(data)} == {"molecule has more than 30 atoms"}
    assert len(load_csv(alkanes, **ALL)["train"]) == 40


def test_a_second_start_does_not_featurize(alkanes, monkeypatch):
    first = load_csv(alkanes, progress=False)
    monkeypatch.setattr("dc_graphsam.chem.parallel.iter_featurized", None)
    monkeypatch.setattr("dc_graphsam.data.user_table.read_table", None)
    again = load_csv(alkanes, seed=1, progress=False)
    assert first["train"].cache_files == again["train"].cache_files
    with pytest.raises(TypeError):  # other features are another table
        load_csv(alkanes, feature_set="compt", progress=False)


def test_changed_content_is_seen(alkanes):
    load_csv(alkanes, **ALL)
    alkanes.write_text(alkanes.read_text().replace("C,1\n", "C,7\n", 1))
    assert label_matrix(load_csv(alkanes, **ALL)["train"])[0, 0] == 7


def test_unusual_molecules(table):
    path = table("smiles,y\n[Na+],1.5\n[Na+].[Cl-],2.5\n" + "C" * 500 + ",3\n*,4\n")
    data = load_csv(path, **ALL)
    assert data["train"]["num_nodes"][:].tolist() == [1, 2, 500, 1]
    assert data["train"][0]["edge_index"].size == 0 and data["train"][1]["distance"].tolist() == [0, 255, 255, 0]
    assert data["train"][2]["distance"].max() == 254


def test_many_molecules_in_many_arrow_batches(table, monkeypatch):
    monkeypatch.setattr("dc_graphsam.data.featurized._VALUES_PER_BATCH", 1 << 14)
    path = table("smiles,y\n" + "".join(f"{'C' * (1 + n % 30)}O,{n}\n" for n in range(300)))
    train = load_csv(path, **ALL)["train"]
    assert train.data.column("row").num_chunks > 10
    assert train["row"][:].tolist() == label_matrix(train)[:, 0].tolist() == list(range(300))
    assert [int(row["num_nodes"]) for row in train] == [2 + n % 30 for n in range(300)]
