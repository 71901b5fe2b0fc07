"""The Hugging Face way: data set, model, arguments, trainer; then save, load and predict.

    python examples/huggingface_trainer.py

Trains on the data set that comes with RDKit (1,017 molecules of one series, with measured activities).
``--tiny`` takes a small model and a few steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dc_graphsam import (
    CoMPTConfig,
    CoMPTForPropertyPrediction,
    GraphSAMTrainer,
    GraphSAMTrainingArguments,
    MoleculeProcessor,
    load_moleculenet,
)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="runs/trainer")
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args(arguments)

    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2} if given.tiny else {"hidden_size": 128}
    data = load_moleculenet("freewilson", split="random", seed=0)
    model = CoMPTForPropertyPrediction(CoMPTConfig.for_dataset(data, **size))
    args = GraphSAMTrainingArguments(
        given.output,
        sam="graphsam",
        rho=0.05,
        num_train_epochs=30,
        max_steps=4 if given.tiny else -1,
        per_device_train_batch_size=32,
    )
    processor = MoleculeProcessor()
    trainer = GraphSAMTrainer(
        model, args, train_dataset=data["train"], eval_dataset=data["validation"], processing_class=processor
    )
    trainer.train()
    metrics = trainer.evaluate(data["test"], metric_key_prefix="test")
    print({name: round(value, 3) for name, value in metrics.items() if name in ("test_rmse", "test_mae", "test_r2")})

    folder = Path(given.output, "final")
    trainer.save_model(str(folder))  # model, configuration and processor: all that a prediction needs
    loaded = CoMPTForPropertyPrediction.from_pretrained(folder).eval()
    batch = MoleculeProcessor.from_pretrained(folder)(["CCO", "c1ccccc1C(=O)O"])
    print(loaded(**batch).logits.detach().squeeze(1).tolist())
    return metrics


if __name__ == "__main__":
    main()
