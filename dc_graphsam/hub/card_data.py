"""The facts of a model card, read from run folders and from nothing else."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dc_graphsam.exceptions import RunFolderError
from dc_graphsam.run_folder import RunFolder, finite
from dc_graphsam.runs.settings import read_run_yaml
from dc_graphsam.wording import GREATER_IS_BETTER, NAMES

__all__ = ["facts_of_runs", "method_name", "summary"]

FORMAT = 1
# Of run.json's "optimizer": the constants of the methods; the rest says how the run was driven.
_CONSTANTS = (
    "sam_preset",
    "rho",
    "rho_schedule",
    "beta",
    "gamma",
    "rho_update_epochs",
    "anchor",
    "anchor_every",
    "anchor_every_epochs",
    "loss_weighting",
    "sam_options",
)
# Of run.json's "training": what the schedule is made of.
_TRAINING = (
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "label_smoothing_factor",
    "bf16",
    "fp16",
    "metric_for_best_model",
    "load_best_model_at_end",
    "per_device_eval_batch_size",
)
_SCHEDULE = ("lr_schedule", "lr_warmup_epochs", "initial_learning_rate", "final_learning_rate")
_OF_THE_DATA = {"dataset", "metric", "task_type", "task_names", "class_names", "feature_set"}
# May differ between runs of one protocol: they follow from the split, or from the seed.
_OF_THE_SPLIT = ("label_mean", "label_std")


def facts_of_runs(runs: Sequence[str | Path], name: str, *, license: str, source: str) -> dict[str, Any]:
    """Everything a card says.

    Parameters
    ----------
    runs
        Finished run folders: first the one whose weights are published, then others of the same protocol with other
        seeds or other optimizers.
    name
        Of the model.
    license
        Identifier of a licence, for the weights.
    source
        What a reader loads the model by: a repository, a bundled name, or ``"."``, the folder of the card.

    Returns
    -------
    dict
        JSON types. Metrics are those of the ``metrics.json`` files, digit for digit.

    Raises
    ------
    RunFolderError
        A run is not finished or has no test metrics, or the runs do not follow one protocol; the message says in what
        they differ.
    """
    folders = [RunFolder(run) for run in runs]
    records = [_read(folder) for folder in folders]
    first = records[0]
    for folder, record in zip(folders[1:], records[1:], strict=True):
        _check_protocol(folders[0], first, folder, record)
    methods: dict[str, list[dict[str, Any]]] = {}
    for folder, record in zip(folders, records, strict=True):
        done = methods.setdefault(method_name(record["run"]), [])
        if any(other["seed"] == record["seed"] for other in done):
            raise RunFolderError(f"{folder} repeats a run that is there already: same method, seed {record['seed']}")
        done.append(_run_facts(record))
    run, task = first["run"], first["run"]["task"]
    about = run["dataset"]
    training = {key: run["training"][key] for key in _TRAINING if _counts(run["training"].get(key))}
    training |= {key: run["optimizer"][key] for key in _SCHEDULE if run["optimizer"].get(key) is not None}
    if run["optimizer"].get("lr_schedule") is None:
        training.pop("lr_warmup_epochs", None)
    else:
        training.pop("lr_scheduler_type", None), training.pop("warmup_steps", None)
    if training.get("max_steps", -1) <= 0:
        training.pop("max_steps", None)
    config, recipe = run["model"]["config"], read_run_yaml(folders[0] / "run.yaml")
    facts = {
        "format": FORMAT,
        "name": name,
        "source": source,
        "license": license,
        "model": {
            "name": run["model"]["name"],
            "parameters": run["model"]["parameters"],
            "released": run["model"]["released"],
            "changed": sorted(set(recipe) & set(config) - _OF_THE_DATA),
            **{
                key: config[key]
                for key in ("position", "readout", "max_position_embeddings", "feature_set")
                if key in config
            },
        },
        "task": task,
        "dataset": {
            key: about.get(key)
            for key in ("name", "source", "source_sha256", "split", "split_by", "counts", "dropped")
            if key != "split_by" or about.get(key)
        },
        "built_in": recipe.get("dataset") is not None,
        "method": method_name(run),
        "constants": _constants(run),
        "base": run["optimizer"]["base"],
        "training": training,
        "seed": first["seed"],
        "chosen": _choice(first["seed"], methods[method_name(run)], task["metric"]),
        "splits_sha256": about["splits_sha256"],
        "metrics": first["metrics"],
        "methods": [
            {"name": method, "runs": sorted(done, key=lambda run: run["seed"])} for method, done in methods.items()
        ],
        "versions": run["versions"],
        "device": run["device"],
        "recipe": recipe,
    }
    return finite(facts)


def _counts(value: Any) -> bool:
    return value is not None and value is not False and value != ""


def method_name(run: dict[str, Any]) -> str:
    """Name of the optimizer of a run as its authors write it."""
    name = run["optimizer"]["name"]
    if name != "none":
        return NAMES.get(name, name)
    base = str(run["optimizer"]["base"])
    if base.startswith(("adamw", "adam")):
        return "AdamW" if run["training"].get("weight_decay") else "Adam"  # the same without weight decay
    return base


def _constants(run: dict[str, Any]) -> dict[str, Any]:
    if run["optimizer"]["name"] == "none":
        return {}
    return {key: run["optimizer"][key] for key in _CONSTANTS if run["optimizer"].get(key) is not None}


def _read(folder: RunFolder) -> dict[str, Any]:
    metrics, run = folder.read_json("metrics.json"), folder.read_json("run.json")
    if not folder.is_finished:
        raise RunFolderError(f"{folder} is not a finished run{folder.what_it_is()}")
    if "test" not in metrics:
        raise RunFolderError(f"{folder} has no test metrics: a card needs a test split")
    try:
        seed = int(run["training"].get("seed", read_run_yaml(folder / "run.yaml").get("seed", 0)))
        run["dataset"]["splits_sha256"], run["task"]["metric"], run["optimizer"]["name"], run["versions"], run["device"]
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(f"{folder / 'run.json'} lacks {error}") from None
    return {"run": run, "metrics": metrics, "seed": seed}


def _run_facts(record: dict[str, Any]) -> dict[str, Any]:
    metrics, tasks = record["metrics"], record["run"]["task"]["task_names"]
    return {
        "seed": record["seed"],
        "splits_sha256": record["run"]["dataset"]["splits_sha256"],
        "best_epoch": metrics.get("best_epoch"),
        "seconds": record["run"].get("seconds"),
        "constants": _constants(record["run"]),
        **{part: _main_metrics(metrics[part], tasks) for part in ("validation", "test") if part in metrics},
    }


def _main_metrics(values: dict[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
    """Without those of single tasks."""
    return {key: value for key, value in values.items() if not any(key.endswith(f"_{task}") for task in tasks)}


def _choice(seed: int, runs: list[dict[str, Any]], metric: str) -> dict[str, Any] | None:
    """That the published run is the best of several by its validation metric, if it is."""
    found = {run["seed"]: run.get("validation", {}).get(metric) for run in runs}
    if len(found) < 2 or None in found.values():
        return None
    best = (max if metric in GREATER_IS_BETTER else min)(found.values())
    return {"by": f"validation {metric}", "runs": len(found)} if found[seed] == best else None


def _check_protocol(first: RunFolder, one: dict[str, Any], folder: RunFolder, other: dict[str, Any]) -> None:
    """Refuse to compare runs that differ in more than seed and optimizer."""
    a, b = one["run"], other["run"]
    pairs = [
        (f"{part}.{key}", a[part].get(key), b[part].get(key))
        for part, keys in (
            ("dataset", ("name", "source_sha256", "split", "split_by", "fold")),
            ("task", ("task_names", "task_type", "metric", "class_names")),
            ("model", ("name", "parameters", "released")),
            ("training", _TRAINING),
            ("optimizer", (*_SCHEDULE, "base")),
        )
        for key in keys
    ]
    config_a, config_b = a["model"]["config"], b["model"]["config"]
    pairs += [
        (f"model.config.{key}", config_a.get(key), config_b.get(key))
        for key in {*config_a, *config_b} - set(_OF_THE_SPLIT)
    ]
    if one["seed"] == other["seed"]:
        pairs.append(("splits_sha256", a["dataset"]["splits_sha256"], b["dataset"]["splits_sha256"]))
    if method_name(a) == method_name(b):
        pairs.append(("optimizer constants", _constants(a), _constants(b)))
    for key, value, wanted in ((key, y, x) for key, x, y in pairs):
        if value != wanted:
            raise RunFolderError(
                f"{folder} does not follow the protocol of {first}: {key} is {value!r}, there it is {wanted!r}"
            )


def summary(runs: Sequence[dict[str, Any]], metric: str, part: str = "test") -> tuple[float | None, float | None, int]:
    """Mean, sample standard deviation (``None`` for one run), and number of runs that have the metric.

    >>> summary([{"test": {"rmse": 0.5}}, {"test": {"rmse": 0.7}}], "rmse")
    (0.6, 0.14142135623730948, 2)
    """
    values = [run[part][metric] for run in runs if run.get(part, {}).get(metric) is not None]
    if not values:
        return None, None, 0
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values)
