"""Graph tables and streams train, through the Trainer as it is."""

from __future__ import annotations

import json
import logging
import pickle

import numpy as np
import pytest

from dc_graphsam.data import load_csv, load_graph_dataset, save_dataset
from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError

ELEMENTS = {"C": 5, "N": 6, "O": 7}


def chain(symbols: str, y: float) -> dict:
    """An unbranched molecule as OGB has it: categorical integers."""
    n = len(symbols)
    ends = [(i, i + 1) for i in range(n - 1)]
    edges = [edge for i, j in ends for edge in ((i, j), (j, i))]
    return {
        "node_feat": [[ELEMENTS[s], 2 if 0 < i < n - 1 else 1] for i, s in enumerate(symbols)],
        "edge_index": np.transpose(edges).tolist() if edges else [[], []],
        "edge_attr": [[0, 1]] * len(edges),
        "y": [[y]],
        "num_nodes": n,
    }


def symbols(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(["C", "N", "O"], p=[0.7, 0.15, 0.15], size=rng.integers(2, 12))) for _ in range(count)]


@pytest.fixture(scope="module")
def molhiv(tmp_path_factory):
    """Is there an oxygen? 240 molecules in three splits of JSON lines."""
    folder = tmp_path_factory.mktemp("hub") / "molhiv"
    folder.mkdir()
    for seed, (name, count) in enumerate({"train": 160, "valid": 40, "test": 40}.items()):
        rows = [chain(text, float("O" in text)) for text in symbols(count, seed)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def train(tmp_path):
    import torch

    from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction, GraphSAMTrainer, GraphSAMTrainingArguments

    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def run(data, train_dataset=None, **options):
        torch.manual_seed(0)
        config = CoMPTConfig.for_dataset(
            data, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, readout="mean"
        )
        settings = {"disable_tqdm": True, "use_cpu": True, "save_strategy": "no", "learning_rate": 5e-3, **options}
        args = GraphSAMTrainingArguments(str(tmp_path / "run"), per_device_train_batch_size=16, **settings)
        trainer = GraphSAMTrainer(
            CoMPTForPropertyPrediction(config),
            args,
            train_dataset=data["train"] if train_dataset is None else train_dataset,
            eval_dataset=data["validation"],
        )
        trainer.train()
        return trainer

    yield run
    torch.set_num_threads(threads)


@pytest.mark.parametrize("feature_set", ["table", "one-hot"])
def test_a_graph_table_without_smiles_trains(molhiv, train, tmp_path, feature_set):
    from dc_graphsam import CoMPTForPropertyPrediction, MoleculeProcessor
    from dc_graphsam.predict.molecules import predict_graphs, predict_smiles

    data = load_graph_dataset(molhiv, feature_set=feature_set, progress=False, cache_dir=tmp_path)
    trainer = train(data, num_train_epochs=8)
    config = trainer.model.config
    name = {"table": "table-2-2", "one-hot": "one-hot-8.3-1.2"}[feature_set]
    assert (config.feature_set, config.task_type) == (name, "classification")
    scores = trainer.evaluate(data["test"])
    assert scores["eval_roc_auc"] > 0.9, scores  # random order gives 0.5
    trainer.save_model(str(tmp_path / "model"))
    model = CoMPTForPropertyPrediction.from_pretrained(tmp_path / "model")
    rows = [data["test"][i] for i in range(40)]
    values, reasons = predict_graphs(model, rows)
    expected, _ = predict_graphs(trainer.model, rows)
    assert np.array_equal(values, expected) and set(reasons) == {None}
    with pytest.raises(FeatureSetError, match="cannot be computed from a SMILES"):
        predict_smiles(model, None, ["CCO"])
    with pytest.raises(FeatureSetError):
        MoleculeProcessor.for_model(model)


def test_a_stream_trains_like_the_table(molhiv, train):
    data = load_graph_dataset(molhiv, streaming=True, feature_set="one-hot-8.3-1.2")
    trainer = train(data, data["train"].shuffle(seed=1, buffer_size=64), max_steps=80, anchor_every=10)
    assert trainer.state.global_step == 80 and trainer.passes == 88
    assert trainer.evaluate(data["test"])["eval_roc_auc"] > 0.9
    predicted = trainer.predict(data["test"])
    assert predicted.predictions.shape == (40, 1) and np.isin(predicted.label_ids, (0, 1)).all()


def test_a_stream_gives_the_rows_of_the_table(molhiv, tmp_path):
    table = load_graph_dataset(molhiv, progress=False, cache_dir=tmp_path)
    stream = load_graph_dataset(molhiv, streaming=True)
    for part in ("train", "validation", "test"):
        for a, b in zip(stream[part], table[part], strict=True):
            for name in ("smiles", "labels", "num_nodes", "node_features", "edge_index", "edge_features", "distance"):
                assert a[name] is not None
                np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_streams_of_our_own_files_and_of_smiles(tmp_path, train, caplog):
    path = tmp_path / "chains.csv"
    texts = symbols(90, 5)
    lines = [f"{text},{len(text) + 0.5}" for text in texts] + ["C1CC,1.0"]
    path.write_text("smiles,size\n" + "\n".join(lines) + "\n")
    data = load_csv(path, progress=False, cache_dir=tmp_path)
    save_dataset(data, tmp_path / "repo")
    ours = load_graph_dataset(tmp_path / "repo", streaming=True)
    for a, b in zip(ours["train"], data["train"], strict=True):
        for name in ("smiles", "labels", "num_nodes", "node_features", "edge_index", "distance"):
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    with caplog.at_level(logging.WARNING):
        smiles = load_graph_dataset(path, streaming=True)
        rows = list(smiles["train"])
    assert len(rows) == 90 and "SMILES cannot be parsed" in caplog.text
    np.testing.assert_array_equal(rows[3]["node_features"], next(
        row for row in load_csv(path, progress=False, cache_dir=tmp_path, sizes=(1, 0, 0), split="random")["train"]
        if row["row"] == 3
    )["node_features"])  # fmt: skip
    trainer = train({"train": smiles["train"], "validation": data["validation"]}, max_steps=12)
    sizes = np.array([len(text) + 0.5 for text in texts])
    np.testing.assert_allclose(trainer.model.config.label_mean, [sizes.mean()], rtol=1e-6)
    np.testing.assert_allclose(trainer.model.config.label_std, [sizes.std()], rtol=1e-5)


def test_streams_say_what_they_cannot_do(molhiv, tmp_path):
    with pytest.raises(InvalidArgumentError, match="counts categories over the whole table"):
        load_graph_dataset(molhiv, streaming=True, feature_set="one-hot")
    with pytest.raises(InvalidArgumentError, match="keeps the splits it has"):
        load_graph_dataset(molhiv, streaming=True, split="random")
    rows = [chain("CO", float(i == 1100)) for i in range(1101)]
    rows[-1]["y"] = [[0.5]]
    (tmp_path / "late.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stream = load_graph_dataset(tmp_path / "late.jsonl", streaming=True)
    with pytest.raises(InvalidArgumentError, match="has the value 0.5.*task_type='regression'"):
        list(stream["train"])


def test_the_rows_of_a_stream_can_be_made_in_another_process(molhiv):
    stream = load_graph_dataset(molhiv, streaming=True)
    again = pickle.loads(pickle.dumps(stream["test"]))
    assert len(list(again)) == 40
