"""Several classes through the Trainer."""

import numpy as np
import pytest

from dc_graphsam.data import label_matrix, load_csv
from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.hf import GraphSAMTrainer

CHAINS = ["C" * n for n in range(1, 17)]
SMILES = [chain + end for chain in CHAINS for end in ("", "O", "N")]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("classes") / "toy.csv"
    kinds = {"O": "alcohol", "N": "amine"}
    lines = [
        f"{text},{kinds.get(text[-1], 'alkane')},{'' if i % 4 == 0 else len(text) % 2}" for i, text in enumerate(SMILES)
    ]
    path.write_text("smiles,kind,odd\n" + "\n".join(lines) + "\n")
    return load_csv(path, None, ["kind", "odd"], "multiclass", progress=False, sizes=(0.6, 0.2, 0.2))


def test_it_learns_is_measured_and_gathers(data, make_compt, make_args):
    model = make_compt(data, dropout=0.0, hidden_size=32)
    assert model.config.class_names == [["alcohol", "alkane", "amine"], ["0", "1"]]
    args = make_args(num_train_epochs=15, learning_rate=5e-3, eval_strategy="epoch")
    trainer = GraphSAMTrainer(model, args, train_dataset=data["train"], eval_dataset=data["validation"])
    assert (trainer.args.metric_for_best_model, trainer.args.greater_is_better) == ("roc_auc_ovr", True)
    trainer.train()
    log = [record for record in trainer.state.log_history if "eval_loss" in record]
    assert {
        "eval_roc_auc_ovr",
        "eval_balanced_accuracy",
        "eval_accuracy",
        "eval_f1_macro",
        "eval_accuracy_kind",
    } <= set(log[0])
    assert log[-1]["eval_loss"] < log[0]["eval_loss"]
    assert log[-1]["eval_accuracy_kind"] > 0.6  # a third by chance
    output = trainer.predict(data["test"])
    assert output.predictions.shape == (len(data["test"]), 5)
    np.testing.assert_array_equal(output.label_ids, label_matrix(data["test"]))


def test_another_order_of_the_classes_is_refused(data, make_compt, make_args):
    model = make_compt(data, class_names=[["alkane", "alcohol", "amine"], ["0", "1"]])
    with pytest.raises(
        InvalidArgumentError, match="has the classes alcohol, alkane, amine in 'kind', the model has alkane"
    ):
        GraphSAMTrainer(model, make_args(), train_dataset=data["train"])


def test_two_classes_the_other_way_round_are_refused(tmp_path, make_compt, make_args):
    path = tmp_path / "hits.csv"
    path.write_text("smiles,hit\n" + "".join(f"{text},{('yes', 'no')[i % 2]}\n" for i, text in enumerate(SMILES)))
    data = load_csv(path, progress=False)
    GraphSAMTrainer(make_compt(data), make_args(), train_dataset=data["train"])
    model = make_compt(load_csv(path, progress=False, positive="no"))
    with pytest.raises(InvalidArgumentError, match="has the classes no, yes in 'hit', the model has yes, no"):
        GraphSAMTrainer(model, make_args(), train_dataset=data["train"])
