"""Test accuracy of CoMPT with GraphSAM and with Adam, same schedule, same splits, several seeds.

    python benchmarks/accuracy.py [--datasets bbbp esol] [--methods adam graphsam] [--seeds 0 1 2] [--epochs 30]

Released settings of each data set (d 256, batch 32, learning rate 1e-4 → 1e-3 in two epochs, then exponentially to 1e-4), random
split 80/10/10 by the seed, the epoch with the best validation metric. A run whose result file exists is not repeated.
Writes results/accuracy/<dataset>-<method>-seed<seed>.json, and results/accuracy.json with mean and spread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import common

FOLDER = common.RESULTS / "accuracy"
# name here → arguments of GraphSAMTrainingArguments
METHODS = {
    "adam": {"sam": "none"},
    "sam": {"sam": "sam"},
    "graphsam": {"sam": "graphsam"},
    "graphsam-released": {"sam": "graphsam", "sam_preset": "released"},
}


def run(dataset: str, method: str, seed: int, epochs: int) -> dict:
    """Train once, return what the result file holds."""
    from transformers import set_seed

    from dc_graphsam import (
        CoMPTConfig,
        CoMPTForPropertyPrediction,
        GraphSAMTrainer,
        GraphSAMTrainingArguments,
        load_moleculenet,
    )
    from dc_graphsam.data import split_hash, split_indices

    data = load_moleculenet(dataset, split="random", seed=seed, data_dir=common.SHARED / "moleculenet", progress=False)
    set_seed(seed)
    model = CoMPTForPropertyPrediction(CoMPTConfig.for_dataset(data, released=True))
    with tempfile.TemporaryDirectory() as folder:
        arguments = GraphSAMTrainingArguments(
            folder,
            seed=seed,
            num_train_epochs=epochs,
            learning_rate=1e-3,
            lr_schedule="released",
            max_grad_norm=0,
            eval_strategy="epoch",
            load_best_model_at_end=True,
            save_total_limit=1,
            disable_tqdm=True,
            report_to="none",
            **METHODS[method],
        )
        trainer = GraphSAMTrainer(model, arguments, train_dataset=data["train"], eval_dataset=data["validation"])
        trainer.train()
        test = trainer.evaluate(data["test"], metric_key_prefix="test")
        validation = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    metric = model.config.metric
    best = (max if metric == "roc_auc" else min)(validation, key=lambda entry: entry[f"eval_{metric}"])
    return {
        "dataset": dataset,
        "method": method,
        "seed": seed,
        "metric": metric,
        "test": round(test[f"test_{metric}"], 5),
        "validation": round(best[f"eval_{metric}"], 5),
        "best_epoch": best["epoch"],
        "epochs": epochs,
        "molecules": {name: len(part) for name, part in data.items()},
        "split_sha256": split_hash(split_indices(data)),
        "arguments": METHODS[method],
    }


def collect() -> dict:
    """Mean and spread over the seeds of every finished cell."""
    cells: dict[str, dict[str, list[dict]]] = {}
    for path in sorted(FOLDER.glob("*.json")):
        result = json.loads(path.read_text())
        cells.setdefault(result["dataset"], {}).setdefault(result["method"], []).append(result)
    table = {}
    for dataset, methods in cells.items():
        for method, results in methods.items():
            values = [result["test"] for result in results]
            table.setdefault(dataset, {})[method] = {
                "metric": results[0]["metric"],
                "mean": round(statistics.mean(values), 4),
                "standard_deviation": round(statistics.stdev(values), 4) if len(values) > 1 else None,
                "runs": len(values),
                "seeds": [result["seed"] for result in results],
                "epochs": results[0]["epochs"],
            }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["bbbp", "esol"])
    parser.add_argument("--methods", nargs="+", default=["adam", "graphsam"], choices=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for dataset in options.datasets:
            for method in options.methods:
                path = FOLDER / f"{dataset}-{method}-seed{seed}.json"
                if not path.exists():
                    path.write_text(json.dumps(run(dataset, method, seed, options.epochs), indent=2) + "\n")
                result = json.loads(path.read_text())
                print(f"{path.stem:28s} test {result['metric']} {result['test']:.4f}", flush=True)
    table = collect()
    common.write("accuracy", {"what": __doc__.splitlines()[0], "machine": common.machine(), "results": table})
    for dataset, methods in table.items():
        for method, row in methods.items():
            spread = "" if row["standard_deviation"] is None else f" ± {row['standard_deviation']:.3f}"
            print(f"{dataset:14s} {method:18s} {row['metric']} {row['mean']:.3f}{spread}  ({row['runs']} runs)")


if __name__ == "__main__":
    main()
