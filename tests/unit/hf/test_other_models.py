"""Models that have nothing to do with molecules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
)

from dc_graphsam.hf import GraphSAMTrainer
from dc_graphsam.hf.passes import find_sharpness_aware


def bert():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def vit():
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=8, patch_size=4,
        hidden_dropout_prob=0.1, num_labels=2,
    )  # fmt: skip
    return ViTForImageClassification(config)


def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2))


def texts(n=24):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 50, (n, 12), generator=generator)
    return [
        {"input_ids": row, "attention_mask": torch.ones(12, dtype=torch.long), "labels": int(row[0] > 25)}
        for row in ids
    ]


def images(n=24):
    pixels = torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return [{"pixel_values": image, "labels": int(image.mean() > 0)} for image in pixels]


def streams(n=24):
    """Of different lengths, padded with ignored labels."""
    generator = torch.Generator().manual_seed(1)
    rows = []
    for i in range(n):
        ids = torch.randint(1, 50, (12,), generator=generator)
        labels = ids.clone()
        labels[4 + i % 8 :] = -100
        rows.append({"input_ids": ids, "labels": labels})
    return rows


CASES = {"bert": (bert, texts), "vit": (vit, images), "gpt2": (gpt2, streams)}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sam", ["graphsam", "sam"])
def test_every_parameter_with_a_gradient_changes(make_args, case, sam):
    make, rows = CASES[case]
    model = make()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer = GraphSAMTrainer(model, make_args(sam=sam, learning_rate=1e-3), train_dataset=rows(), eval_dataset=rows())
    trainer.train()
    same = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    assert all(".key.bias" in name or "pooler" in name for name in same)  # key biases cancel in the softmax
    assert trainer.state.log_history[0]["perturbation_norm"] == pytest.approx(0.05, rel=1e-3)
    assert np.isfinite(trainer.evaluate()["eval_loss"])


@pytest.mark.parametrize("case", CASES)
def test_nothing_molecular_is_filled_in(make_args, case):
    make, rows = CASES[case]
    trainer = GraphSAMTrainer(make(), make_args(eval_strategy="epoch"), train_dataset=rows(), eval_dataset=rows())
    assert trainer.compute_metrics is None
    assert trainer.processing_class is None
    assert trainer.args.metric_for_best_model is None
    assert trainer.data_collator.__name__ == "default_data_collator"
    assert type(trainer.get_train_dataloader().batch_sampler.sampler).__name__ in (
        "RandomSampler",
        "SeedableRandomSampler",
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("options", [{"sam": "none"}, {"sam": "graphsam", "rho": 0.0}, {"sam": "sam", "rho": 0.0}])
def test_it_is_the_parent_without_a_perturbation(make_args, tmp_path, same_bits, case, options):
    make, rows = CASES[case]
    args = make_args(gradient_accumulation_steps=2, **options)
    trainer = GraphSAMTrainer(make(), args, train_dataset=rows())
    trainer.train()
    plain = TrainingArguments(
        str(tmp_path / "plain"), num_train_epochs=2, per_device_train_batch_size=8, gradient_accumulation_steps=2,
        learning_rate=args.learning_rate, warmup_steps=args.warmup_steps, save_strategy="no", use_cpu=True, seed=3,
        disable_tqdm=True,
    )  # fmt: skip
    stock = Trainer(make(), plain, train_dataset=rows())
    stock.train()
    assert same_bits(stock.model, trainer.model)


def test_accumulation_counts_tokens_as_the_parent_does(make_args, largest_difference):
    """Causal models divide by the tokens of the whole step; the clean pass must, too."""
    rows = [dict(row.items()) for row in streams()]
    options = {"sam": "sam", "train_sampling_strategy": "sequential", "optim": "sgd", "learning_rate": 0.1, "rho": 0.2}
    make = lambda: gpt2().double().eval()  # noqa: E731
    models = []
    for batch, steps in ((12, 1), (3, 4)):
        model = make()
        model.train = lambda mode=True, model=model: model  # no dropout
        args = make_args(per_device_train_batch_size=batch, gradient_accumulation_steps=steps, **options)
        trainer = GraphSAMTrainer(model, args, train_dataset=rows)
        trainer.train()
        models.append(trainer.model)
    assert largest_difference(*models) < 1e-9


def test_texts_of_unlike_length_keep_the_parents_grouping(make_args):
    from transformers.trainer_pt_utils import LengthGroupedSampler

    from dc_graphsam.hf.sampling import SizeGroupedSampler, find_sampler

    args = make_args(train_sampling_strategy="group_by_length", length_column_name="length")
    loader = GraphSAMTrainer(bert(), args, train_dataset=texts()).get_train_dataloader()
    assert find_sampler(loader, LengthGroupedSampler) is not None
    rows = [{**row, "length": i} for i, row in enumerate(texts())]
    loader = GraphSAMTrainer(bert(), args, train_dataset=rows).get_train_dataloader()
    assert find_sampler(loader, SizeGroupedSampler) is not None


def test_saved_model_loads_as_any_other(make_args, tmp_path, same_bits):
    trainer = GraphSAMTrainer(bert(), make_args(save_strategy="epoch"), train_dataset=texts())
    trainer.train()
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / "checkpoint-6")
    assert same_bits(loaded, trainer.model)


@pytest.mark.parametrize("sam", ["graphsam", "sam"])
def test_bfloat16(make_args, sam):
    trainer = GraphSAMTrainer(bert(), make_args(sam=sam, bf16=True), train_dataset=texts())
    trainer.train()
    assert trainer.accelerator.mixed_precision == "bf16"
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    assert trainer.state.log_history[0]["perturbation_norm"] == pytest.approx(0.05, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("sam", ["graphsam", "sam"])
def test_compiled(make_args, largest_difference, sam):
    """The compiled graph sees perturbed and restored weights without being compiled again."""
    import torch._dynamo

    plain = GraphSAMTrainer(vit(), make_args(sam=sam, max_steps=4), train_dataset=images())
    plain.train()
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    args = make_args(sam=sam, max_steps=4, torch_compile=True, torch_compile_backend="aot_eager")
    compiled = GraphSAMTrainer(vit(), args, train_dataset=images())
    compiled.train()
    assert largest_difference(plain.model, compiled.model) < 1e-5
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2
    assert find_sharpness_aware(compiled.optimizer).steps == 4


def test_activation_checkpointing(make_args, largest_difference):
    """The forward pass that is repeated in the backward pass runs at the perturbed weights, too."""
    models = []
    for on in (False, True):
        trainer = GraphSAMTrainer(vit(), make_args(sam="sam", activation_checkpointing=on), train_dataset=images())
        trainer.train()
        models.append(trainer.model)
    assert largest_difference(*models) < 1e-6
