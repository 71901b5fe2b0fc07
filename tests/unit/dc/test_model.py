"""``CoMPTModel`` as a ``TorchModel``."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
import torch

from dc_graphsam.dc import CoMPTModel, GraphSAMOptimizer, GraphTransformerFeaturizer
from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, InvalidShapeError
from dc_graphsam.models import CoMPTConfig


def replaced(dc, data, **parts):
    arrays = {"X": data.X, "y": data.y, "w": data.w, "ids": data.ids, **parts}
    return dc.data.NumpyDataset(**arrays)


# ---------------------------------------------------------------- DeepChem's own checks of a TorchModel
def test_overfit_regression(dc, regression, make):
    model = make(2, learning_rate=0.01, hidden_size=32)
    model.fit(regression, nb_epoch=100)
    metric = dc.metrics.Metric(dc.metrics.mean_absolute_error, mode="regression")
    assert model.evaluate(regression, [metric])["mean_absolute_error"] < 0.15


def test_overfit_classification(dc, classification, make):
    model = make(1, "classification", optimizer=GraphSAMOptimizer(learning_rate=0.01, rho=0.05))
    model.fit(classification, nb_epoch=40)
    metric = dc.metrics.Metric(dc.metrics.roc_auc_score, np.mean)
    assert model.evaluate(classification, [metric], [])["mean-roc_auc_score"] > 0.95
    assert model.passes == 40 * (3 + 1)


def test_reload_gives_the_same_predictions(dc, regression, make):
    model = make(2)
    model.fit(regression, nb_epoch=3)
    other = make(2, model_dir=model.model_dir)
    assert not np.array_equal(other.predict(regression), model.predict(regression))
    other.restore()
    np.testing.assert_array_equal(other.predict(regression), model.predict(regression))


def test_a_second_fit_continues(dc, regression, make):
    once, twice = make(2, optimizer=GraphSAMOptimizer()), make(2, optimizer=GraphSAMOptimizer())
    once.fit(regression, nb_epoch=4, deterministic=True)
    twice.fit(regression, nb_epoch=2, deterministic=True)
    twice.fit(regression, nb_epoch=2, deterministic=True)
    assert twice.get_global_step() == once.get_global_step() == 12 and twice.passes == once.passes == 16
    for a, b in zip(once.model.parameters(), twice.model.parameters()):
        assert torch.equal(a, b)


def test_hyperparameter_search(dc, regression, tmp_path):
    params = {
        "n_tasks": [2],
        "hidden_size": [8, 16],
        "num_hidden_layers": [1],
        "num_attention_heads": [2],
        "optimizer": [GraphSAMOptimizer(rho=0.05), GraphSAMOptimizer(rho=0.1)],
    }
    search = dc.hyper.GridHyperparamOpt(CoMPTModel)
    metric = dc.metrics.Metric(dc.metrics.mean_absolute_error)
    best, chosen, scores = search.hyperparam_search(
        params, regression, regression, metric, nb_epoch=1, use_max=False, logdir=str(tmp_path)
    )
    assert len(scores) == 4 and best.config.hidden_size == chosen["hidden_size"]
    assert min(scores.values()) == pytest.approx(best.evaluate(regression, [metric])["mean_absolute_error"], abs=1e-6)


def test_validation_callback_keeps_the_best_and_training_mode(dc, regression, make, tmp_path):
    model = make(2, dropout=0.1)
    metric = dc.metrics.Metric(dc.metrics.mean_absolute_error)
    with open(tmp_path / "scores.txt", "w") as file:
        callback = dc.models.ValidationCallback(
            regression, 2, [metric], output_file=file, save_dir=str(tmp_path / "best")
        )
        modes = []
        model.fit(regression, nb_epoch=4, callbacks=[callback, lambda m, step: modes.append(m.model.training)])
    assert len((tmp_path / "scores.txt").read_text().splitlines()) == 6 and modes == [True] * 12
    model.restore(model_dir=str(tmp_path / "best"))
    score = model.evaluate(regression, [metric])["mean_absolute_error"]
    assert score == pytest.approx(callback.get_best_score(), abs=1e-6)


def test_single_batches_belong_to_one_epoch(regression, make):
    model = make(2, optimizer=GraphSAMOptimizer())
    for i in (0, 4, 8):
        part = slice(i, i + 4)
        loss = model.fit_on_batch(regression.X[part], regression.y[part], regression.w[part], checkpoint=i == 8)
        assert np.isfinite(loss)
    assert model.get_global_step() == 3 and model.passes == 4 and model.get_checkpoints()
    head = list(model.network.classifier.parameters())
    before = copy.deepcopy(model.model.state_dict())
    model.fit(regression, nb_epoch=1, variables=head)
    changed = {name for name, value in model.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"network.classifier.weight", "network.classifier.bias"} and model.passes == 4 + 4


# ---------------------------------------------------------------- weights, missing labels, molecules that failed
def test_a_weight_of_0_is_a_missing_label(dc, regression, make):
    w = np.ones_like(regression.y)
    w[3], w[5, 1] = 0, 0
    wrong = regression.y.copy()
    wrong[w == 0] = 1e6
    trained = []
    for y in (regression.y, wrong):
        model = make(2)
        model.fit(replaced(dc, regression, y=y, w=w), nb_epoch=2, deterministic=True)
        trained.append(model.predict(regression))
    np.testing.assert_array_equal(*trained)
    weighted = make(2)
    weighted.fit(
        replaced(dc, regression, w=np.where(w > 0, 1 + np.arange(24).reshape(12, 2), 0)), nb_epoch=2, deterministic=True
    )
    assert np.abs(weighted.predict(regression) - trained[0]).max() > 1e-4


@pytest.mark.parametrize("deterministic", [True, False])
def test_molecules_that_failed_are_left_out_and_predicted_as_nan(dc, regression, make, deterministic):
    keep = np.array([i for i in range(12) if i not in (0, 5, 6, 7)])
    X = regression.X.copy()
    for i in (0, 5, 6, 7):
        X[i] = np.array([])
    model, other = make(2), make(2)
    batches = [([X[i : i + 4]], [regression.y[i : i + 4]], [regression.w[i : i + 4]]) for i in (0, 4, 8)]
    model.fit_generator(iter(batches))
    other.fit_generator(([X[k]], [regression.y[k]], [regression.w[k]]) for k in ([1, 2, 3], [4], [8, 9, 10, 11]))
    predicted = model.predict(replaced(dc, regression, X=X))
    np.testing.assert_array_equal(predicted[keep], other.predict(regression.select(keep)))
    assert np.isnan(predicted[[0, 5, 6, 7]]).all() and not np.isnan(predicted[keep]).any()
    model.fit(replaced(dc, regression, X=X), nb_epoch=1, deterministic=deterministic)
    assert np.isfinite(model.predict(regression)).all()
    with pytest.raises(InvalidArgumentError, match="none of the 2 molecules"):
        model.fit_generator(iter([([X[5:7]], [regression.y[5:7]], [regression.w[5:7]])]))


# ---------------------------------------------------------------- predictions
def test_shapes_of_predictions(dc, graphs, make):
    data = dc.data.NumpyDataset(graphs)
    assert make(2).predict(data).shape == (12, 2)
    one, several = make(1, "classification").predict(data), make(3, "classification").predict(data)
    assert one.shape == (12, 2) and several.shape == (12, 3, 2)
    np.testing.assert_allclose(several.sum(-1), 1, atol=1e-6)
    assert make(2, "classification", 4).predict(data).shape == (12, 2, 4)


def test_predictions_keep_the_order_and_do_not_depend_on_the_batch(dc, regression, make):
    model = make(2, batch_size=5)
    whole = model.predict(regression)
    for i in (0, 6, 11):
        np.testing.assert_allclose(model.predict_on_batch(regression.X[i : i + 1]), whole[i : i + 1], atol=1e-6)
    np.testing.assert_allclose(model.predict_on_batch(list(regression.X)), whole, atol=1e-6)
    generator = model.default_generator(regression, mode="predict", pad_batches=False)
    np.testing.assert_allclose(model.predict_on_generator(generator), whole, atol=1e-6)
    disk = dc.data.DiskDataset.from_numpy(regression.X, regression.y, regression.w, regression.ids)
    disk.reshard(5)
    np.testing.assert_allclose(model.predict(disk), whole, atol=1e-6)


def test_transformers_are_undone(dc, regression, make):
    normalize = dc.trans.NormalizationTransformer(transform_y=True, dataset=regression)
    model = make(2)
    raw = model.predict(regression)
    expected = raw * normalize.y_stds + normalize.y_means
    np.testing.assert_allclose(model.predict(regression, [normalize]), expected, rtol=1e-6)
    np.testing.assert_allclose(
        model.predict(regression.select([0]), [normalize]), expected[:1], rtol=1e-5
    )  # one row, two tasks


def test_embeddings_are_what_the_last_layer_reads(dc, regression, make):
    model = make(2)
    embedding = model.predict_embedding(regression)
    assert embedding.shape == (12, 16)
    head = model.network.classifier
    logits = torch.as_tensor(embedding) @ head.weight.T + head.bias
    np.testing.assert_allclose(logits.detach().numpy(), model.predict(regression), atol=1e-5)


def test_uncertainty(dc, regression, make):
    model = make(2, dropout=0.3)
    plain = model.predict(regression)
    mean, std = model.predict_uncertainty(regression, masks=20)
    assert mean.shape == std.shape == (12, 2) and (std > 0).all() and np.abs(mean - plain).max() > 0
    np.testing.assert_array_equal(model.predict(regression), plain)  # dropout is off again
    mean, std = model.predict_uncertainty_on_batch(regression.X[:3], masks=2)
    assert mean.shape == (3, 2)
    with pytest.raises(InvalidArgumentError, match="dropout is 0.*dropout=0.1"):
        make(2).predict_uncertainty(regression)


@pytest.mark.parametrize(("mode", "shape"), [("regression", (2,)), ("classification", (2, 2))])
def test_saliency_is_the_slope(graphs, make, mode, shape):
    model = make(2, mode)
    slopes = model.compute_saliency(graphs[3])
    assert slopes.shape == (*shape, 4, 115) and model.compute_atom_saliency(graphs[3]).shape == (*shape, 4)
    moved, step = copy.deepcopy(graphs[3]), 1e-2
    moved.node_features[1, 5] += step
    both = model.predict_on_batch(np.array([graphs[3], moved], dtype=object)).astype(np.float64)
    np.testing.assert_allclose(slopes[..., 1, 5], (both[1] - both[0]) / step, rtol=0.05, atol=1e-4)
    assert all(p.grad is None for p in model.model.parameters())


# ---------------------------------------------------------------- arguments
def test_arguments_of_a_torch_model_and_fields_of_the_configuration(tmp_path, make):
    rate = 0.25
    model = make(3, "classification", learning_rate=rate, log_frequency=7, dropout=0.2, readout="mean", loss="bce")
    assert (model.learning_rate, model.log_frequency, model.batch_size, str(model.device)) == (rate, 7, 4, "cpu")
    assert model.optimizer.learning_rate == rate and model.config.dropout == 0.2 and model.config.readout == "mean"
    assert model.get_task_type() == "classification" and model.get_num_tasks() == 3
    config = CoMPTConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, task_names=["a", "b"])
    assert CoMPTModel(config=config).n_tasks == 2 and CoMPTModel(2, config=config).config is config
    released = CoMPTModel.released("bbbp", hidden_size=16, batch_size=8)
    assert (
        released.mode == "classification" and released.config.unknown_bond == "as-aromatic" and released.batch_size == 8
    )


def test_names_of_tasks_come_with_the_data(dc, regression, make):
    disk = dc.data.DiskDataset.from_numpy(
        regression.X, regression.y, regression.w, regression.ids, tasks=["mass", "bonds"]
    )
    model, named, numbered = make(2), make(2, task_names=["a", "b"]), make(2)
    for m, data in ((model, disk), (named, disk), (numbered, regression)):
        m.fit(data, nb_epoch=1)
    assert model.config.task_names == ["mass", "bonds"] and model.config.id2label == {0: "mass", 1: "bonds"}
    assert named.config.task_names == ["a", "b"] and numbered.config.task_names == ["task_0", "task_1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_sise": 8}, "CoMPTModel has no argument 'hidden_sise'. Did you mean 'hidden_size'"),
        ({"learning_rat": 8}, "Did you mean 'learning_rate'"),
        ({"mode": "ranking"}, "mode is 'ranking'"),
        ({"n_tasks": 0}, "n_tasks is 0"),
        ({"n_classes": 3}, "n_classes is 3 with mode='regression'"),
        ({"n_tasks": 2, "task_names": ["a"]}, "n_tasks is 2 but there are 1 task names: a"),
        ({"config": CoMPTConfig(), "dropout": 0.1}, "config is given beside dropout"),
        ({"config": CoMPTConfig(), "mode": "classification"}, "task_type='regression'"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        CoMPTModel(**arguments)


def test_wrong_data(dc, graphs, regression, make):
    model = make(2)
    with pytest.raises(InvalidArgumentError, match="X holds the text 'CCO'.*GraphTransformerFeaturizer"):
        model.predict_on_batch(["CCO"])
    with pytest.raises(InvalidArgumentError, match="X holds ndarray; accepted: GraphData"):
        model.predict_on_batch(np.ones((2, 5)))
    other = dc.feat.MolGraphConvFeaturizer().featurize(["CCO"])
    with pytest.raises(FeatureSetError, match="30 features per atom, this model reads 115"):
        model.predict_on_batch(other)
    narrow = GraphTransformerFeaturizer("compt").featurize(["CCO"])
    with pytest.raises(FeatureSetError, match="with GraphTransformerFeaturizer\\('compt-own-slot'\\)"):
        model.predict_on_batch(narrow)
    with pytest.raises(InvalidShapeError, match="y has shape"):
        make(3).fit(regression, nb_epoch=1)
    with pytest.raises(InvalidArgumentError, match="y is None"):
        model.fit_generator(iter([([graphs], [None], [None])]))


def test_graphs_made_by_hand_are_completed(dc, graphs, make):
    bare = dc.feat.GraphData(graphs[2].node_features, graphs[2].edge_index, graphs[2].edge_features)
    model = make(2)
    np.testing.assert_array_equal(model.predict_on_batch([bare]), model.predict_on_batch([graphs[2]]))


def test_several_classes_are_learnt(dc, graphs, make):
    y = np.array([[min(graph.num_nodes // 3, 2)] for graph in graphs])
    model = make(1, "classification", 3, learning_rate=0.01)
    model.fit(dc.data.NumpyDataset(graphs, y), nb_epoch=50)
    assert (model.predict_on_batch(graphs).argmax(-1) == y[:, 0]).mean() > 0.8


@pytest.mark.parametrize("n_tasks", [1, 2])
def test_several_classes_open_through_both_doors(dc, graphs, make, tmp_path, n_tasks):
    from dc_graphsam import pipeline
    from dc_graphsam.dc import CoMPTModel

    y = np.array([[min(graph.num_nodes // 3, 2)] * n_tasks for graph in graphs])
    model = make(n_tasks, "classification", 3)
    model.fit(dc.data.NumpyDataset(graphs, y), nb_epoch=1)
    expected = model.predict_on_batch(graphs)
    assert expected.shape == ((len(graphs), 3) if n_tasks == 1 else (len(graphs), 2, 3))
    model.save_pretrained(tmp_path)
    again = CoMPTModel.from_pretrained(tmp_path, device="cpu")
    assert (again.n_tasks, again.n_classes, again.mode) == (n_tasks, 3, "classification")
    np.testing.assert_allclose(again.predict_on_batch(graphs), expected, atol=1e-6)
    predict = pipeline(model=str(tmp_path), device="cpu")
    assert predict.model.config.class_names == [["0", "1", "2"]] * n_tasks
    rows = predict([graph.smiles for graph in graphs])
    first = model.network.config.task_names[0]
    found = np.array([[row[f"{first}={label}"] for label in range(3)] for row in rows])
    np.testing.assert_allclose(found, expected.reshape(len(graphs), n_tasks, 3)[:, 0], atol=1e-6)
    assert [row[first] for row in rows] == [str(k) for k in found.argmax(1)]


def test_classes_that_differ_in_number_are_refused_by_deepchems_door():
    from dc_graphsam import CoMPTConfig
    from dc_graphsam.dc import CoMPTModel

    names = [["low", "high"], ["a", "b", "c"]]
    config = CoMPTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, task_names=["x", "y"], task_type="multiclass",
        class_names=names,
    )  # fmt: skip
    with pytest.raises(InvalidArgumentError, match="the tasks have 2, 3 classes"):
        CoMPTModel(config=config)


def test_fitting_says_nothing_unless_something_is_wrong(regression, make, caplog, recwarn):
    with caplog.at_level(logging.WARNING):
        make(2, optimizer=GraphSAMOptimizer()).fit(regression, nb_epoch=1)
    assert not caplog.records and not [str(w.message) for w in recwarn]


def test_tensorboard(regression, make):
    pytest.importorskip("tensorboard")
    from pathlib import Path

    model = make(2, tensorboard=True, log_frequency=1)
    model.fit(regression, nb_epoch=1)
    assert list(Path(model.model_dir).glob("events*"))
