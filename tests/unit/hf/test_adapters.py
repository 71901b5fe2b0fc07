"""GraphSAMTrainer trains, saves and loads a model of peft."""

from __future__ import annotations

import copy

import pytest
import torch

from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction, GraphSAMTrainer, GraphSAMTrainingArguments
from dc_graphsam.chem import featurize
from dc_graphsam.data.collate import MoleculeCollator

peft = pytest.importorskip("peft", reason="peft is not installed")
SMILES = ("CCO", "c1ccccc1C(=O)O", "CC", "C", "[Na+].[Cl-]", "CCN", "CCCC", "OCCO")


def collate(rows):
    batch = MoleculeCollator()([featurize(SMILES[row]) for row in rows])
    return {**batch, "labels": torch.tensor([[float(row)] for row in rows])}


def test_a_peft_model_trains_saves_and_loads(tmp_path):
    torch.manual_seed(0)
    base = CoMPTForPropertyPrediction(CoMPTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=4))
    untouched = copy.deepcopy(base)
    model = peft.get_peft_model(base, peft.LoraConfig(target_modules="all-linear", r=4))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    args = GraphSAMTrainingArguments(
        str(tmp_path / "run"),
        num_train_epochs=3,
        per_device_train_batch_size=4,
        save_strategy="epoch",
        eval_strategy="epoch",
        load_best_model_at_end=True,
        learning_rate=1e-2,
        use_cpu=True,
        report_to=[],
    )
    rows = list(range(len(SMILES)))
    trainer = GraphSAMTrainer(model, args, train_dataset=rows, eval_dataset=rows, data_collator=collate)
    first = trainer.evaluate()["eval_rmse"]
    trainer.train()
    assert trainer.evaluate()["eval_rmse"] < first
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name
    trainer.save_model(str(tmp_path / "adapter"))
    loaded = peft.PeftModel.from_pretrained(untouched, str(tmp_path / "adapter")).eval()
    batch = collate(rows)
    torch.testing.assert_close(loaded(**batch).logits, model.eval()(**batch).logits, atol=1e-6, rtol=1e-6)
