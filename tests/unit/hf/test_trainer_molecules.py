"""What the Trainer fills in for molecules."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from datasets import Dataset

from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction
from dc_graphsam.data import MoleculeCollator, MoleculeTable
from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, MissingColumnError
from dc_graphsam.hf import GraphSAMTrainer, MoleculeProcessor
from dc_graphsam.hf.sampling import SizeGroupedSampler, SizeSortedSampler, find_sampler
from dc_graphsam.tasks import TaskSpec


def make_trainer(data, model, make_args, **options):
    kwargs = options.pop("kwargs", {})
    defaults = {"train_dataset": data["train"], "eval_dataset": data["validation"]}
    return GraphSAMTrainer(model, make_args(**options), **{**defaults, **kwargs})


def test_all_that_was_left_open(regression_data, make_compt, make_args):
    trainer = make_trainer(regression_data, make_compt(regression_data), make_args, eval_strategy="epoch")
    assert isinstance(trainer.data_collator, MoleculeCollator)
    assert trainer.data_collator.feature_set == "compt-own-slot"
    assert trainer.processing_class == MoleculeProcessor("compt-own-slot")
    assert trainer.callback_handler.processing_class is trainer.processing_class
    assert trainer.label_names == ["labels"]
    assert (trainer.args.metric_for_best_model, trainer.args.greater_is_better) == ("rmse", False)
    trainer.train()
    record = next(r for r in trainer.state.log_history if "eval_loss" in r)
    assert {"eval_rmse", "eval_mae", "eval_r2", "eval_rmse_size"} <= set(record)
    assert trainer.state.best_metric == min(r["eval_rmse"] for r in trainer.state.log_history if "eval_rmse" in r)


def test_metric_of_a_classification(classification_data, make_compt, make_args):
    trainer = make_trainer(classification_data, make_compt(classification_data), make_args)
    assert (trainer.args.metric_for_best_model, trainer.args.greater_is_better) == ("roc_auc", True)
    assert set(trainer.evaluate()) >= {"eval_roc_auc", "eval_prc_auc", "eval_loss"}


def test_each_can_be_replaced(regression_data, make_compt, make_args):
    def collator(rows):
        return MoleculeCollator(pad_to=40)(rows)

    seen = []
    trainer = make_trainer(
        regression_data, make_compt(regression_data), make_args, metric_for_best_model="mine", greater_is_better=True,
        train_sampling_strategy="random", eval_strategy="epoch",
        kwargs={
            "data_collator": collator, "compute_metrics": lambda p: seen.append(p.predictions.shape) or {"mine": 1.0},
            "processing_class": MoleculeProcessor("compt"),
        },
    )  # fmt: skip
    trainer.train()
    assert trainer.data_collator is collator
    assert trainer.processing_class.feature_set == "compt"
    assert trainer.state.best_metric == 1.0
    assert seen[0] == (len(regression_data["validation"]), 2)


def test_best_model_is_loaded_and_training_stops_early(regression_data, make_compt, make_args):
    from transformers import EarlyStoppingCallback

    trainer = make_trainer(
        regression_data, make_compt(regression_data), make_args, eval_strategy="epoch", save_strategy="epoch",
        load_best_model_at_end=True, num_train_epochs=30, learning_rate=0.05, save_total_limit=1,
        kwargs={"callbacks": [EarlyStoppingCallback(2)]},
    )  # fmt: skip
    trainer.train()
    assert trainer.state.epoch < 30
    assert trainer.evaluate()["eval_rmse"] == pytest.approx(trainer.state.best_metric, rel=1e-6)


def test_save_strategy_best(regression_data, make_compt, make_args):
    trainer = make_trainer(
        regression_data, make_compt(regression_data), make_args, eval_strategy="epoch", save_strategy="best"
    )
    trainer.train()
    assert trainer.state.best_model_checkpoint.endswith(f"checkpoint-{trainer.state.best_global_step}")


# ---- Order


def test_predictions_come_in_the_order_of_the_data(regression_data, make_compt, make_args):
    model = make_compt(regression_data)
    trainer = make_trainer(regression_data, model, make_args, per_device_eval_batch_size=4)
    data = regression_data["train"]
    output = trainer.predict(data)
    labels = np.array(data["labels"][:], dtype=np.float32)
    np.testing.assert_array_equal(output.label_ids, labels)
    with torch.inference_mode():
        for i in (0, 5, 17):
            batch = MoleculeCollator()([data.with_format("numpy")[i]])
            batch.pop("labels")
            np.testing.assert_allclose(output.predictions[i], model.eval()(**batch).logits[0], rtol=1e-5, atol=1e-5)
    sequential = make_trainer(regression_data, model, make_args, train_sampling_strategy="sequential").predict(data)
    np.testing.assert_allclose(output.predictions, sequential.predictions, rtol=1e-5, atol=1e-5)
    assert output.metrics["test_rmse"] == pytest.approx(sequential.metrics["test_rmse"], rel=1e-5)


def test_metrics_see_the_order_of_the_data(regression_data, make_compt, make_args):
    seen = []

    def metrics(prediction):
        seen.append((prediction.label_ids, prediction.inputs))
        return {}

    data = regression_data["validation"]
    trainer = make_trainer(
        regression_data, make_compt(regression_data), make_args, per_device_eval_batch_size=3,
        include_for_metrics=["inputs"], kwargs={"compute_metrics": metrics},
    )  # fmt: skip
    trainer.evaluate()
    np.testing.assert_array_equal(seen[0][0], np.array(data["labels"][:], dtype=np.float32))
    assert trainer.compute_metrics is metrics


def test_batches_are_grouped_in_training_and_sorted_in_evaluation(regression_data, make_compt, make_args):
    trainer = make_trainer(regression_data, make_compt(regression_data), make_args)
    assert find_sampler(trainer.get_train_dataloader(), SizeGroupedSampler) is not None
    assert find_sampler(trainer.get_eval_dataloader(), SizeSortedSampler) is not None
    sizes = [batch["node_mask"].shape[1] for batch in trainer.get_eval_dataloader()]
    assert sizes == sorted(sizes, reverse=True)
    for strategy in ("random", "sequential"):
        trainer = make_trainer(
            regression_data, make_compt(regression_data), make_args, train_sampling_strategy=strategy
        )
        assert find_sampler(trainer.get_train_dataloader(), SizeGroupedSampler) is None
        assert find_sampler(trainer.get_eval_dataloader(), SizeSortedSampler) is None


@pytest.mark.parametrize("options", [{"batch_eval_metrics": True}, {"eval_do_concat_batches": False}])
def test_where_order_cannot_be_restored_nothing_is_sorted(regression_data, make_compt, make_args, options):
    trainer = make_trainer(regression_data, make_compt(regression_data), make_args, **options)
    assert find_sampler(trainer.get_eval_dataloader(), SizeSortedSampler) is None
    trainer.evaluate()


def test_data_seed_fixes_the_order(regression_data, make_compt, make_args):
    def order(**options):
        trainer = make_trainer(regression_data, make_compt(regression_data), make_args, **options)
        return [batch["labels"][:, 0].tolist() for batch in trainer.get_train_dataloader()]

    assert order(seed=1, data_seed=7) == order(seed=2, data_seed=7) == order(seed=7)
    assert order(seed=1) != order(seed=2)


def test_rows_go_through_the_fast_view(regression_data, make_compt, make_args):
    trainer = make_trainer(regression_data, make_compt(regression_data), make_args)
    assert isinstance(trainer.get_train_dataloader().dataset, MoleculeTable)
    assert isinstance(trainer.train_dataset, Dataset)  # what the user gave
    table = MoleculeTable(regression_data["train"])
    trainer = make_trainer(
        regression_data,
        make_compt(regression_data),
        make_args,
        kwargs={"train_dataset": table},
        remove_unused_columns=False,
    )
    assert find_sampler(trainer.get_train_dataloader(), SizeGroupedSampler) is not None
    trainer.train()


def test_a_list_of_rows_is_fine(regression_data, make_compt, make_args):
    rows = [regression_data["train"].with_format("numpy")[i] for i in range(20)]
    trainer = make_trainer(
        regression_data, make_compt(regression_data), make_args, kwargs={"train_dataset": rows, "eval_dataset": rows}
    )
    trainer.train()
    assert find_sampler(trainer.get_train_dataloader(), SizeGroupedSampler) is not None
    assert trainer.predict(rows).predictions.shape == (20, 2)


# ---- Labels


def test_label_statistics_come_from_the_training_split(regression_data, make_args, tmp_path):
    config = CoMPTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        task_names=["size", "oxygens"],
        task_type="regression",
    )
    assert config.label_mean is None
    model = CoMPTForPropertyPrediction(config)
    trainer = make_trainer(regression_data, model, make_args, save_strategy="epoch")
    trainer.train()
    labels = np.array(regression_data["train"]["labels"][:], dtype=float)
    np.testing.assert_allclose(model.config.label_mean, np.nanmean(labels, axis=0), rtol=1e-6)
    np.testing.assert_allclose(model.config.label_std, np.nanstd(labels, axis=0), rtol=1e-6)
    loaded = CoMPTForPropertyPrediction.from_pretrained(tmp_path / "run" / "checkpoint-8")
    assert loaded.config.label_mean == model.config.label_mean


def test_given_statistics_stay(regression_data, make_compt, make_args):
    model = make_compt(regression_data, label_mean=[1.0, 2.0], label_std=[3.0, 4.0])
    make_trainer(regression_data, model, make_args, max_steps=1).train()
    assert (model.config.label_mean, model.config.label_std) == ([1.0, 2.0], [3.0, 4.0])


def test_checkpoint_holds_model_and_processor_and_predicts_the_same(regression_data, make_compt, make_args, tmp_path):
    trainer = make_trainer(regression_data, make_compt(regression_data), make_args, save_strategy="epoch")
    trainer.train()
    expected = trainer.predict(regression_data["test"]).predictions
    folder = tmp_path / "run" / f"checkpoint-{trainer.state.global_step}"
    assert MoleculeProcessor.from_pretrained(folder) == trainer.processing_class
    loaded = CoMPTForPropertyPrediction.from_pretrained(folder)
    again = make_trainer(regression_data, loaded, make_args).predict(regression_data["test"]).predictions
    np.testing.assert_array_equal(expected, again)


# ---- Refused


def test_other_features_are_refused(regression_data, make_compt, make_args):
    model = make_compt(regression_data)
    other = TaskSpec.of(regression_data).replace(feature_set="compt")
    data = regression_data["train"].select(range(10))
    data.info.description = other.to_json()
    message = r"^train_dataset \(toy\) has features 'compt', the model reads 'compt-own-slot'; load the data with feature_set="
    with pytest.raises(FeatureSetError, match=message):
        GraphSAMTrainer(model, make_args(), train_dataset=data)
    with pytest.raises(FeatureSetError, match="eval_dataset"):
        GraphSAMTrainer(model, make_args(), train_dataset=regression_data["train"], eval_dataset=data)
    trainer = make_trainer(regression_data, model, make_args)
    with pytest.raises(FeatureSetError, match="the data set"):
        trainer.predict(data)


def test_features_that_the_model_can_fold_are_accepted(regression_data, make_compt, make_args):
    trainer = make_trainer(
        regression_data, make_compt(regression_data, unknown_bond="as-aromatic"), make_args, max_steps=1
    )
    assert trainer.data_collator.feature_set is None
    trainer.train()


def test_other_tasks_are_refused(regression_data, classification_data, make_compt, make_args):
    model = make_compt(regression_data)
    with pytest.raises(
        InvalidArgumentError, match=r"train_dataset \(toy\) has 1 tasks \(has_oxygen\), the model predicts 2 \(size,"
    ):
        GraphSAMTrainer(model, make_args(), train_dataset=classification_data["train"])
    model = make_compt(classification_data, task_type="regression", metric="rmse", loss="mse")
    with pytest.raises(InvalidArgumentError, match="is a classification table, the model is for regression"):
        GraphSAMTrainer(model, make_args(), train_dataset=classification_data["train"])


def test_tasks_in_another_order_are_refused(regression_data, make_compt, make_args):
    model = make_compt(regression_data, task_names=["oxygens", "size"])
    with pytest.raises(
        InvalidArgumentError, match=r"has the tasks in the order size, oxygens, the model predicts oxygens, size"
    ):
        GraphSAMTrainer(model, make_args(), train_dataset=regression_data["train"])
    model = make_compt(regression_data, task_names=["task_0", "task_1"])  # names of the released settings
    GraphSAMTrainer(model, make_args(), train_dataset=regression_data["train"])


def test_molecules_beyond_the_position_table_are_refused(regression_data, make_compt, make_args):
    model = make_compt(regression_data, max_position_embeddings=5)
    with pytest.raises(
        InvalidArgumentError, match=r"train_dataset has a molecule of \d+ atoms, the position table .* holds 5"
    ):
        GraphSAMTrainer(model, make_args(), train_dataset=regression_data["train"])
    model = make_compt(regression_data, max_position_embeddings=5, position_overflow="last")
    make_trainer(regression_data, model, make_args, max_steps=1).train()


def test_a_table_of_smiles_is_refused(regression_data, make_compt, make_args):
    table = Dataset.from_dict({"smiles": ["C", "CC"], "labels": [[1.0, 2.0], [3.0, 4.0]]})
    with pytest.raises(
        MissingColumnError, match=r"train_dataset \(featurize it with load_csv .*has no column 'node_features'"
    ):
        GraphSAMTrainer(make_compt(regression_data), make_args(), train_dataset=table)


def test_messages_are_one_line(regression_data, classification_data, make_compt, make_args):
    with pytest.raises(InvalidArgumentError) as error:
        GraphSAMTrainer(make_compt(regression_data), make_args(), train_dataset=classification_data["train"])
    assert "\n" not in str(error.value)


def test_no_warnings_in_an_ordinary_run(regression_data, make_compt, make_args, caplog, recwarn):
    with caplog.at_level(logging.WARNING):
        make_trainer(
            regression_data, make_compt(regression_data), make_args, eval_strategy="epoch", save_strategy="epoch"
        ).train()
    assert [record.getMessage() for record in caplog.records] == []
    assert [str(w.message) for w in recwarn if issubclass(w.category, UserWarning)] == []
