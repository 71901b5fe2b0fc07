from __future__ import annotations

import pickle

import numpy as np
import pytest

from dc_graphsam.data import MoleculeTable, label_matrix, load_csv
from dc_graphsam.data.view import column_values
from dc_graphsam.exceptions import MissingColumnError
from dc_graphsam.tasks import TaskSpec


@pytest.fixture
def data(alkanes, monkeypatch):
    monkeypatch.setattr("dc_graphsam.data.featurized._VALUES_PER_BATCH", 1 << 13)  # several Arrow batches
    return load_csv(alkanes, progress=False)


def assert_same_rows(view, dataset):
    assert len(view) == len(dataset)
    for seen, expected in zip(view, dataset, strict=True):
        for name in view.column_names:
            np.testing.assert_array_equal(seen[name], expected[name])


def test_rows_are_those_of_the_dataset(data):
    train = data["train"]
    assert train.data.column("row").num_chunks > 3
    assert_same_rows(MoleculeTable(train), train)
    assert_same_rows(MoleculeTable(train, ["smiles", "row", "labels"]), train)


def test_views_of_views(data):
    train = data["train"]
    for view in (
        train.shuffle(seed=0),
        train.select([5, 3, 3]),
        train.select(range(4, 9)),
        train.filter(lambda row: row["row"] > 9),
    ):
        assert_same_rows(MoleculeTable(view), view)
        assert column_values(view, "row").tolist() == view["row"][:].tolist()


def test_nothing_is_copied(data):
    table = MoleculeTable(data["train"])
    first, again = table[0], table[0]
    assert np.shares_memory(first["node_features"], again["node_features"])
    assert not first["node_features"].flags.writeable


def test_lengths_and_labels(data):
    table = MoleculeTable(data["train"])
    assert table.num_nodes.tolist() == [int(row["num_nodes"]) for row in data["train"]]
    assert label_matrix(data["train"])[:, 0].tolist() == table.num_nodes.tolist()
    assert TaskSpec.of(table) == TaskSpec.of(data) == table.task_spec


def test_indices(data):
    table = MoleculeTable(data["train"])
    assert table[-1]["num_nodes"] == table[len(table) - 1]["num_nodes"]
    assert [row["num_nodes"] for row in table.__getitems__([2, 0])] == [table.num_nodes[2], table.num_nodes[0]]
    with pytest.raises(IndexError, match="index 32 is out of range for 32 molecules"):
        table[32]


def test_a_worker_gets_the_file_name_only(data):
    table = MoleculeTable(data["train"])
    message = pickle.dumps(table)
    assert len(message) < 20_000
    assert_same_rows(pickle.loads(message), data["train"])


def test_an_empty_part(alkanes):
    part = load_csv(alkanes, sizes=(1, 0, 0), progress=False)["test"]
    assert len(MoleculeTable(part)) == 0 and label_matrix(part).size == 0 and list(MoleculeTable(part)) == []


def test_missing_columns(data):
    with pytest.raises(MissingColumnError, match=r"the data set has no column 'distance'. It has: smiles"):
        MoleculeTable(data["train"].remove_columns("distance"))
    assert "labels" not in MoleculeTable(data["train"].remove_columns("labels")).column_names
