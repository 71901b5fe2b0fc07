"""Train the models of hub_cards/ and write their cards from the run folders.

    python benchmarks/hub_cards.py [--cards bbbp tox21 …] [--seeds 0 1 2] [--methods graphsam adam] [--data-dir FOLDER]
    python benchmarks/hub_cards.py --bundled

CoMPT at the settings of the published code for each data set (``dc-graphsam train --released``), random split 80/10/10 by the
seed, the epoch with the best validation metric; every method with the same splits, model, schedule and epochs. A finished run
is not repeated, an interrupted one goes on from its checkpoint. The card's weights are those of the seed with the best
validation metric. At the end, mean and spread over the seeds of every card go to results/accuracy.json. ``--bundled`` trains
the small checkpoint that comes with the package instead.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common

CARDS = ("bbbp", "tox21", "sider", "clintox", "esol", "lipophilicity")
METHODS = {"graphsam": "graphsam", "adam": "none"}
ROOT = Path(__file__).resolve().parents[1]
BUNDLED = "compt-esol-small"
BUNDLED_RECIPE: dict[str, Any] = {
    "dataset": "esol",
    "split": "random",
    "seed": 0,
    "optimizer": "graphsam",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_train_epochs": 30.0,
    "learning_rate": 2e-3,
    "lr_scheduler_type": "cosine",
}
LARGEST_BUNDLED = 2 << 20  # bytes, all files together


def recipe(dataset: str, method: str, seed: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Flat settings of one run."""
    return {
        "dataset": dataset,
        "split": "random",
        "seed": seed,
        "released": True,
        "optimizer": METHODS[method],
        **changes,
    }


def train(flat: dict[str, Any], folder: Path, data_dir: str | None) -> Path:
    """Train, continue, or find finished."""
    from dc_graphsam.hf import RunSettings, train_run
    from dc_graphsam.run_folder import RunFolder
    from dc_graphsam.runs.settings import read_run_yaml
    from dc_graphsam.runs.train import resume_settings

    there = RunFolder(folder)
    extra = {"data_dir": data_dir} if data_dir else {}
    if there.is_finished:
        done = read_run_yaml(folder / "run.yaml")
        other = [name for name, value in flat.items() if done.get(name, value) != value]
        if other:
            raise SystemExit(f"{folder} was trained with another {other[0]}; remove it, or name another --runs folder")
        print(f"{folder}: finished", flush=True)
        return folder
    if there.checkpoints():
        train_run(resume_settings(folder, {**flat, **extra}), folder, resume=True, notify=_say)
    else:
        train_run(RunSettings.from_flat({**flat, **extra}), folder, overwrite=there.is_run, notify=_say)
    return folder


def _say(line: str) -> None:
    print(line, flush=True)


def best_first(runs: list[Path]) -> list[Path]:
    """The run with the best validation metric first."""
    from dc_graphsam.run_folder import RunFolder

    def quality(run: Path) -> float:
        metrics = RunFolder(run).read_json("metrics.json")
        value = metrics["validation"][metrics["metric"]]
        return value if metrics["metric"] in ("roc_auc", "prc_auc") else -value

    return sorted(runs, key=quality, reverse=True)


def write_card(name: str, runs: dict[str, list[Path]], folder: Path) -> None:
    """Card, recipe, pictures, and the files that the numbers come from."""
    from dc_graphsam.hub.publish import prepare_publication

    main, *others = [method for method in METHODS if method in runs]
    ordered = [*best_first(runs[main]), *(run for method in others for run in runs[method])]
    found = prepare_publication(ordered[0], others=ordered[1:], name=name, source=f"runs/{name}")
    if folder.exists():
        shutil.rmtree(folder)
    kept = ("README.md", "recipe.yaml", ".eval_results/", "figures/")
    for path, data in found.files.items():
        if path.startswith(kept):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
    for run in ordered:
        results = folder / "results" / run.name
        results.mkdir(parents=True)
        for file in ("run.json", "run.yaml", "metrics.json"):
            shutil.copyfile(run / file, results / file)
    for method in found.card.facts["methods"]:
        metric = found.card.facts["task"]["metric"]
        mean, spread, count = found.card.mean_of(method["name"], metric)
        more = "" if spread is None else f" ± {spread:.4f}"
        print(f"{name:32s} {method['name']:10s} test {metric} {mean:.4f}{more}  ({count} runs)", flush=True)


def accuracy(cards: Path) -> dict[str, Any]:
    """Test metric of every card's runs, from the files beside it: mean and standard deviation over the seeds."""
    table: dict[str, Any] = {}
    for folder in sorted(path for path in cards.glob("compt-*") if (path / "results").is_dir()):
        cells: dict[str, list[dict[str, Any]]] = {}
        for run in sorted((folder / "results").iterdir()):
            record, found = (json.loads((run / file).read_text()) for file in ("run.json", "metrics.json"))
            value = found["test"][found["metric"]]
            epochs = record["training"]["num_train_epochs"]
            row = {"seed": record["dataset"]["seed"], "metric": found["metric"], "value": value, "epochs": int(epochs)}
            cells.setdefault(run.name.rpartition("-seed")[0], []).append(row)
        for method, rows in cells.items():
            values = [row["value"] for row in rows]
            table.setdefault(folder.name.split("-")[1], {})[method] = {
                "metric": rows[0]["metric"],
                "mean": round(statistics.mean(values), 4),
                "standard_deviation": round(statistics.stdev(values), 4) if len(values) > 1 else None,
                "runs": len(values),
                "seeds": [row["seed"] for row in rows],
                "epochs": rows[0]["epochs"],
            }
    return table


def write_bundled(run: Path, folder: Path) -> None:
    """The files of a published run, as package data."""
    from dc_graphsam.hub.publish import prepare_publication

    found = prepare_publication(run, name=BUNDLED, source=BUNDLED)
    size = sum(map(len, found.files.values()))
    if size > LARGEST_BUNDLED:
        raise SystemExit(f"the bundled model has {size:,} bytes, {LARGEST_BUNDLED:,} are allowed")
    if folder.exists():
        shutil.rmtree(folder)
    found.write(folder)
    print(f"{folder}: {len(found.files)} files, {size:,} bytes", flush=True)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cards", nargs="+", default=list(CARDS), choices=CARDS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--runs", type=Path, default=Path("runs") / "hub_cards", help="folder of the run folders")
    parser.add_argument("--output", type=Path, default=ROOT / "hub_cards", help="folder of the cards")
    parser.add_argument("--data-dir", default=str(common.SHARED / "moleculenet"))
    parser.add_argument("--bundled", action="store_true", help="train the checkpoint of the package instead")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="other settings, to try the program")
    options = parser.parse_args(words)
    import yaml

    changes = {name: yaml.safe_load(value) for name, _, value in (word.partition("=") for word in options.set)}
    data_dir = options.data_dir if Path(options.data_dir).is_dir() else None
    if options.bundled:
        run = train({**BUNDLED_RECIPE, **changes}, options.runs / BUNDLED, data_dir)
        output = ROOT / "dc_graphsam" / "hf" / "bundled" if options.output == ROOT / "hub_cards" else options.output
        write_bundled(run, output / BUNDLED)
        return
    for dataset in options.cards:
        runs: dict[str, list[Path]] = {}
        for seed in options.seeds:
            for method in options.methods:
                folder = options.runs / dataset / f"{method}-seed{seed}"
                runs.setdefault(method, []).append(train(recipe(dataset, method, seed, changes), folder, data_dir))
        name = f"compt-{dataset}-{next(method for method in METHODS if method in runs)}"
        write_card(name, runs, options.output / name)
    if options.output == ROOT / "hub_cards":
        what = "Test metric of CoMPT at the released settings, random split by the seed, mean over the seeds"
        common.write("accuracy", {"what": what, "machine": common.machine(), "results": accuracy(options.output)})


if __name__ == "__main__":
    main()
