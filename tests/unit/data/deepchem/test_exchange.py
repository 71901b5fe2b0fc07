"""DeepChem's data sets and those of the Hugging Face door, both ways."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from dc_graphsam.chem import featurize_many
from dc_graphsam.data import (
    MoleculeTable,
    dataset_from_deepchem,
    dataset_to_deepchem,
    import_deepchem,
    load_moleculenet,
    transformers_of,
)
from dc_graphsam.exceptions import InvalidArgumentError, MissingColumnError
from dc_graphsam.tasks import TaskSpec

SMILES = ["CCO", "c1ccccc1", "[Na+].[Cl-]", "C", "CC(=O)O", "N#CC", "C1CC1"]


@pytest.fixture(scope="module")
def dc():
    return import_deepchem()


@pytest.fixture(scope="module")
def X(dc):
    out = np.empty(len(SMILES), object)
    out[:] = [graph.to_deepchem() for graph in featurize_many(SMILES)]
    return out


@pytest.fixture
def numpy_dataset(dc, X):
    rng = np.random.default_rng(0)
    y = rng.standard_normal((7, 2))
    w = (rng.random((7, 2)) > 0.3) * rng.random((7, 2))
    return dc.data.NumpyDataset(X, np.where(w > 0, y, 0), w, np.array(SMILES, dtype=object))


def same_graph(a, b) -> bool:
    names = ("node_features", "edge_index", "edge_features", "node_pos_features", *a.kwargs)

    def same(u, v):
        if isinstance(u, np.ndarray):
            return u.dtype == v.dtype and u.shape == v.shape and np.array_equal(u, v)
        return type(u) is type(v) and u == v

    return a.kwargs.keys() == b.kwargs.keys() and all(same(getattr(a, n), getattr(b, n)) for n in names)


def assert_same(a, b) -> None:
    assert len(a) == len(b) and all(same_graph(x, y) for x, y in zip(a.X, b.X))
    for name in ("y", "w", "ids"):
        u, v = getattr(a, name), getattr(b, name)
        assert u.dtype.kind == v.dtype.kind and u.shape == v.shape and np.array_equal(u, v), name
        assert u.dtype.kind == "O" or u.dtype == v.dtype
    assert list(a.get_task_names()) == list(b.get_task_names())


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("shards", [None, 3])
def test_there_and_back_nothing_is_lost(dc, numpy_dataset, tmp_path, shards, in_memory):
    data = numpy_dataset
    if shards:
        data = dc.data.DiskDataset.from_numpy(data.X, data.y, data.w, data.ids, ["a", "b"], str(tmp_path / "in"))
        data.reshard(shards)
    table = dataset_from_deepchem(data, folder=tmp_path / "arrow")
    back = dataset_to_deepchem(table, tmp_path / "out", shard_size=2, in_memory=in_memory)
    assert_same(data, back)
    assert in_memory or back.get_number_shards() == 4
    if shards:
        assert TaskSpec.of(table).task_names == ("a", "b")


@pytest.mark.parametrize(
    "labels",
    [
        {"y": np.arange(7.0), "w": np.ones(7)},
        {"y": np.arange(7)[:, None], "w": np.ones((7, 1), np.float32), "ids": np.arange(7) * 10},
        {"y": np.arange(14.0).reshape(7, 2), "w": np.ones((7, 1))},
        {"y": np.arange(7, dtype=np.float32)[:, None], "ids": np.arange(7) / 2},
    ],
)
def test_shapes_and_types_of_labels_are_kept(dc, X, labels):
    data = dc.data.NumpyDataset(X, **labels)
    assert_same(data, dataset_to_deepchem(dataset_from_deepchem(data), in_memory=True))


def test_data_without_labels(dc, X, tmp_path):
    data = dc.data.DiskDataset.create_dataset([(X, None, None, np.array(SMILES, dtype=object))], str(tmp_path), [])
    table = dataset_from_deepchem(data)
    assert "labels" not in table.column_names and "y" not in table.column_names
    back = dataset_to_deepchem(table)
    assert back.get_shard(0)[1] is None and all(same_graph(a, b) for a, b in zip(data.X, back.X))


def test_graphs_of_other_featurizers(dc, numpy_dataset):
    smiles = ["CCO", "c1ccccc1C", "CC(=O)O"]
    for featurizer in (dc.feat.MolGraphConvFeaturizer(use_edges=True), dc.feat.MolGraphConvFeaturizer()):
        data = dc.data.NumpyDataset(featurizer.featurize(smiles), np.ones((3, 1)))
        table = dataset_from_deepchem(data)
        assert_same(data, dataset_to_deepchem(table, in_memory=True))
        assert TaskSpec.of(table).feature_set is None


def test_views_and_files_of_the_table_are_respected(dc, numpy_dataset, tmp_path):
    from datasets import concatenate_datasets, load_from_disk

    table = dataset_from_deepchem(numpy_dataset)
    back = dataset_to_deepchem(table.select([5, 0, 3]), in_memory=True)
    assert_same(numpy_dataset.select([5, 0, 3]), back)
    table.save_to_disk(tmp_path / "saved")
    assert_same(numpy_dataset, dataset_to_deepchem(load_from_disk(tmp_path / "saved"), in_memory=True))
    twice = dataset_to_deepchem(concatenate_datasets([table, table.shuffle(seed=1)]), in_memory=True)
    assert sorted(twice.ids) == sorted([*SMILES, *SMILES])


def test_labels_of_the_hugging_face_door(numpy_dataset):
    table = dataset_from_deepchem(numpy_dataset, name="mine")
    labels = np.stack(table["labels"][:])
    np.testing.assert_array_equal(np.isnan(labels), numpy_dataset.w == 0)
    np.testing.assert_array_equal(labels[numpy_dataset.w > 0], numpy_dataset.y[numpy_dataset.w > 0].astype(np.float32))
    spec = TaskSpec.of(table)
    assert (spec.dataset, spec.task_type, spec.metric, spec.feature_set) == (
        "mine",
        "regression",
        "rmse",
        "compt-own-slot",
    )
    row = MoleculeTable(table)[1]
    assert row["node_features"].size == 6 * 115 and row["distance"].size == 36


def test_the_kind_of_task_is_seen_or_said(dc, X):
    data = dc.data.NumpyDataset(X, np.array([[0.0], [1.0]] * 3 + [[1.0]]))
    assert TaskSpec.of(dataset_from_deepchem(data)).metric == "roc_auc"
    assert TaskSpec.of(dataset_from_deepchem(data, task_type="regression", metric="mae")).metric == "mae"


def test_numbers_of_classes(dc, X):
    y = np.arange(len(X))[:, None] % 3
    w = np.ones_like(y, float)
    w[0] = 0
    table = dataset_from_deepchem(dc.data.NumpyDataset(X, y, w), task_type="multiclass")
    spec = TaskSpec.of(table)
    assert (spec.class_names, spec.metric) == ((("0", "1", "2"),), "roc_auc_ovr")
    back = dataset_to_deepchem(table, in_memory=True)
    np.testing.assert_array_equal(back.w, w)
    np.testing.assert_array_equal(back.y[1:], y[1:])
    with pytest.raises(InvalidArgumentError, match="y holds other than the numbers of classes"):
        dataset_from_deepchem(dc.data.NumpyDataset(X, y - 0.5), task_type="multiclass")


def test_data_of_the_hugging_face_door_to_deepchem(dc):
    test = load_moleculenet("freewilson", progress=False)["test"]
    data = dataset_to_deepchem(test, shard_size=50)
    assert data.get_number_shards() == 3 and list(data.get_task_names()) == ["pAct"] and len(data) == 102
    np.testing.assert_allclose(data.y, np.stack(test["labels"][:]), rtol=1e-6)
    assert data.w.min() == 1 and data.ids[0] == test[0]["smiles"] == data.X[0].smiles
    graph = data.X[0].to_dgl_graph() if hasattr(data.X[0], "to_dgl_graph") else None
    assert graph is None or graph.num_nodes() == data.X[0].num_nodes
    train, _, _ = dc.splits.ScaffoldSplitter().train_valid_test_split(data)
    assert 0 < len(train) < 102


def test_molecules_that_failed_are_left_out_by_name(dc, numpy_dataset, caplog):
    X = numpy_dataset.X.copy()
    X[1] = X[4] = np.array([])
    data = dc.data.NumpyDataset(X, numpy_dataset.y, numpy_dataset.w, numpy_dataset.ids)
    with caplog.at_level(logging.WARNING):
        table = dataset_from_deepchem(data)
    assert "2 of 7 rows left out: could not be featurized (rows 1, 4)" in caplog.text
    assert table["row"][:].tolist() == [0, 2, 3, 5, 6] and list(table["ids"][:]) == [SMILES[i] for i in (0, 2, 3, 5, 6)]


def test_transformers_are_carried_over(dc, X, numpy_dataset, caplog):
    plain = dc.data.NumpyDataset(X, numpy_dataset.y, np.ones((7, 2)), numpy_dataset.ids)
    normalize = dc.trans.NormalizationTransformer(transform_y=True, dataset=plain)
    table = dataset_from_deepchem(normalize.transform(plain), transformers=[normalize])
    np.testing.assert_allclose(np.stack(table["labels"][:]), plain.y, atol=1e-6)  # label units again
    assert_same(normalize.transform(plain), dataset_to_deepchem(table, in_memory=True))
    (again,) = transformers_of(table)
    np.testing.assert_array_equal(again.untransform(plain.y), normalize.untransform(plain.y))

    classes = dc.data.NumpyDataset(X, (numpy_dataset.y > 0).astype(float), np.ones((7, 2)))
    balance = dc.trans.BalancingTransformer(classes)
    assert not caplog.records
    table = dataset_from_deepchem(balance.transform(classes), transformers=[balance])
    assert "w holds weights other than 0 and 1" in caplog.text
    np.testing.assert_array_equal(np.array(table.with_format(None)["w"][:]), balance.transform(classes).w)
    (again,) = transformers_of(table)
    np.testing.assert_array_equal(again.transform(classes).w, balance.transform(classes).w)


def test_other_transformers_are_refused_by_name(dc, numpy_dataset):
    for transformer in (
        dc.trans.LogTransformer(transform_y=True, dataset=numpy_dataset),
        dc.trans.MinMaxTransformer(transform_y=True, dataset=numpy_dataset),
    ):
        with pytest.raises(InvalidArgumentError, match=f"holds a {type(transformer).__name__}, which cannot"):
            dataset_from_deepchem(numpy_dataset, transformers=[transformer])
    of_x = dc.trans.NormalizationTransformer(transform_X=True, dataset=dc.data.NumpyDataset(np.ones((3, 2))))
    with pytest.raises(InvalidArgumentError, match="NormalizationTransformer of X"):
        dataset_from_deepchem(numpy_dataset, transformers=[of_x])


def test_no_more_than_a_shard_is_held(dc, X, tmp_path, monkeypatch):
    data = dc.data.DiskDataset.create_dataset(
        ((X, np.ones((7, 1)), np.ones((7, 1)), np.array(SMILES, dtype=object)) for _ in range(5)), str(tmp_path), ["a"]
    )
    for name in ("X", "y", "w"):
        monkeypatch.setattr(type(data), name, property(lambda self: pytest.fail("the whole data set was read")))
    table = dataset_from_deepchem(data)
    assert data._cached_shards is None or not any(data._cached_shards)  # nor kept by DeepChem
    assert data.memory_cache_size == 20 * 2**20
    assert len(table) == 35 and len(table.data.column("row").chunks) == 5
    shards = []
    monkeypatch.setattr(
        dc.data.DiskDataset,
        "create_dataset",
        staticmethod(lambda parts, *rest: shards.extend(len(p[0]) for p in parts)),
    )
    dataset_to_deepchem(table, shard_size=10)
    assert shards == [10, 10, 10, 5]


def test_what_cannot_be_exchanged(dc, X, numpy_dataset):
    def refused(message, **parts):
        arrays = {"X": X, "y": np.ones((7, 1)), "ids": None, **parts}
        with pytest.raises(InvalidArgumentError, match=message):
            dataset_from_deepchem(dc.data.NumpyDataset(**arrays))

    refused("X holds ndarray; accepted: GraphData", X=np.ones((7, 3)))
    refused("y is float64 with 3 axes", y=np.ones((7, 1, 2)), w=np.ones((7, 1)))
    refused("ids are int, str; accepted", ids=np.array([1, "a", 2, 3, 4, 5, 6], dtype=object))
    mixed = X.copy()
    mixed[2] = dc.feat.MolGraphConvFeaturizer().featurize("CCO")[0]
    refused("some graphs in X have .*accepted: all or none", X=mixed)
    other = X.copy()
    other[2] = featurize_many(["CCO"], "compt")[0].to_deepchem()
    refused("have feature_set 'compt-own-slot' and 'compt'", X=other)
    failed = X.copy()
    failed[:] = [np.array([])] * 7
    refused("no molecule that could be featurized", X=failed)
    with pytest.raises(InvalidArgumentError, match="ImageDataset; accepted: NumpyDataset or DiskDataset"):
        dataset_from_deepchem(dc.data.ImageDataset(np.ones((2, 4, 4)), np.ones(2)))
    from datasets import Dataset

    with pytest.raises(MissingColumnError, match="no column 'num_nodes'"):
        dataset_to_deepchem(Dataset.from_dict({"smiles": ["C"]}))
