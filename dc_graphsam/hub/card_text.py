"""Sentences and table rows of a model card, from its facts."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from typing import Any

from dc_graphsam.chem import FEATURE_SETS, get_feature_set
from dc_graphsam.hub.card_data import summary
from dc_graphsam.wording import BASELINES, md, number

__all__ = []

_COMMONEST = "predict the commonest class"
_INSTALLED = ("torch", "transformers", "accelerate", "datasets", "deepchem", "dgl", "rdkit", "numpy")


def _entry(f: dict[str, Any]):
    from dc_graphsam.data import DATASETS

    return DATASETS.get(f["dataset"]["name"]) if f["built_in"] else None


def description(f: dict[str, Any]) -> str:
    entry = _entry(f)
    return f"{entry.description} ({entry.citation})" if entry is not None else ""


def outputs(f: dict[str, Any]) -> str:
    names = f["task"]["task_names"]
    shown = ", ".join(f"`{name}`" for name in names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    kind, classes = f["task"]["task_type"], f["task"].get("class_names")
    if kind == "multiclass":
        listed = "; ".join(", ".join(map(md, own)) for own in classes[:3]) + ("; …" if len(classes) > 3 else "")
        return f"the likeliest class, and the probability of each class ({listed}), for {shown}"
    if kind == "regression":
        return f"the value in label units for {shown}"
    means = f" ({'; '.join(md(own[1]) for own in classes[:6])})" if classes else ""
    return f"the probability of class 1{means} for {shown}"


def limits(f: dict[str, Any]) -> list[str]:
    split, counts = f["dataset"]["split"], f["dataset"]["counts"]
    out = [f"Trained on {counts['train']:,} molecules. Estimates say nothing about their own reliability."]
    if split == "scaffold":
        out.append(
            "Test molecules have other scaffolds than those learned from; on yet other chemistry expect more error."
        )
    elif split in ("random", "kfold"):
        out.append(
            f"The split is {split}: test molecules resemble those learned from. On new scaffolds expect more error than in the "
            "tables below."
        )
    elif split == "group":
        out.append("Test molecules belong to other groups than those learned from, see the recipe.")
    elif split == "time":
        out.append("Test molecules are newer than those learned from; on chemistry still newer expect more error.")
    if f["task"]["task_type"] != "regression":
        out.append("Probabilities are not calibrated.")
    if f["model"].get("position") == "index" or str(f["model"].get("readout", "")).startswith("gru"):
        out.append(
            "The model reads the order of the atoms: another SMILES of the same molecule gives a somewhat other number."
        )
    if f["model"].get("position") == "index" and f["model"].get("max_position_embeddings"):
        out.append(
            f"Molecules of more than {f['model']['max_position_embeddings']} atoms are refused, with the reason."
        )
    if f["model"].get("feature_set") in FEATURE_SETS and not get_feature_set(f["model"]["feature_set"]).has_chirality:
        out.append(
            f"The features ({f['model']['feature_set']}) do not tell R from S: both enantiomers of a molecule get one estimate."
        )
    out.append("Stereochemistry, salts and tautomers count only as far as the featurized graph shows them.")
    out.append("Not for decisions about health or safety.")
    return out


def method_row(method: dict[str, Any], metrics: Sequence[str]) -> str:
    runs = method["runs"]
    cells = [method["name"]]
    for metric in metrics:
        mean, spread, _ = summary(runs, metric)
        cells.append(number(mean) + (f" ± {number(spread, beside=mean)}" if spread is not None else ""))
    return " | ".join([*cells, str(len(runs)), ", ".join(str(run["seed"]) for run in runs)])


def comparison(f: dict[str, Any], title: str, greater_is_better: bool) -> str:
    """What the tables show about the method and Adam, on the seeds that both have."""
    methods = {method["name"]: {run["seed"]: run for run in method["runs"]} for method in f["methods"]}
    if f["method"] == "Adam" or "Adam" not in methods:
        return ""
    metric = f["task"]["metric"]
    own, adam = methods[f["method"]], methods["Adam"]
    both = [
        seed
        for seed in sorted(set(own) & set(adam))
        if None not in (own[seed]["test"].get(metric), adam[seed]["test"].get(metric))
    ]
    if not both:
        return f"{f['method']} and Adam have no seed in common."
    better = 0
    for seed in both:
        a, b = own[seed]["test"][metric], adam[seed]["test"][metric]
        better += (a > b) if greater_is_better else (a < b)
    difference = sum(own[s]["test"][metric] - adam[s]["test"][metric] for s in both) / len(both)
    seeds = f"{len(both)} common seed" + ("s" if len(both) > 1 else "")
    shown = number(abs(difference), beside=max(abs(adam[seed]["test"][metric]) for seed in both))
    return (
        f"Against Adam on the {seeds}: {title} {'+' if difference >= 0 else '−'}{shown} on average, "
        f"better on {better} of {len(both)}."
    )


def baseline_rows(f: dict[str, Any], metrics: Sequence[str]) -> list[str]:
    found = f["metrics"].get("baselines") or {}
    titles = {**BASELINES, "mean": _COMMONEST} if f["task"]["task_type"] == "multiclass" else BASELINES
    return [
        " | ".join([titles.get(name, md(name)), *(number(values.get(metric)) for metric in metrics)])
        for name, values in found.items()
    ]


def run_rows(f: dict[str, Any], metric: str) -> list[str]:
    rows = []
    for method in f["methods"]:
        for run in method["runs"]:
            here = " (this checkpoint)" if method["name"] == f["method"] and run["seed"] == f["seed"] else ""
            epoch = "–" if run["best_epoch"] is None else f"{run['best_epoch']:g}"
            values = [number(run.get(part, {}).get(metric)) for part in ("test", "validation")]
            rows.append(
                " | ".join([method["name"] + here, str(run["seed"]), *values, epoch, f"`{run['splits_sha256'][:16]}`"])
            )
    return rows


def task_rows(f: dict[str, Any], metrics: Sequence[str]) -> list[str]:
    names = f["task"]["task_names"]
    if len(names) == 1:
        return []
    test = f["metrics"]["test"]
    return [" | ".join([md(task), *(number(test.get(f"{metric}_{task}")) for metric in metrics)]) for task in names]


def recipe_rows(f: dict[str, Any]) -> list[tuple[str, str]]:
    about, counts = f["dataset"], f["dataset"]["counts"]
    rows = [
        (
            "data",
            md(about["name"]) + (f", SHA-256 of the file `{about['source_sha256']}`" if about["source_sha256"] else ""),
        ),
        ("rows left out", f"{about['dropped']:,}"),
        ("split", f"{about['split']}{_split_by(about)}, {', '.join(f'{n:,} {part}' for part, n in counts.items())}"),
        ("split indices", f"SHA-256 `{f['splits_sha256']}` (seed {f['seed']})"),
        ("model", _model(f)),
        ("optimizer", f["method"] if f["method"] == "Adam" else f"{f['method']} around {f['base']}"),
    ]
    if f["constants"]:
        rows.append(("its constants", ", ".join(f"{md(key)} {_plain(value)}" for key, value in f["constants"].items())))
    rows.append(("schedule", ", ".join(f"{md(key)} {_plain(value)}" for key, value in f["training"].items())))
    rows.append(("epoch kept", "–" if f["metrics"].get("best_epoch") is None else f"{f['metrics']['best_epoch']:g}"))
    rows.append(
        ("seeds", "; ".join(f"{m['name']}: {', '.join(str(run['seed']) for run in m['runs'])}" for m in f["methods"]))
    )
    own = next(m for m in f["methods"] if m["name"] == f["method"])
    seconds = next((run["seconds"] for run in own["runs"] if run["seed"] == f["seed"]), None)
    rows.append(("computed on", md(f["device"]) + (f", {seconds:,.0f} s" if seconds is not None else "")))
    rows.append(("versions", ", ".join(f"{name} {version}" for name, version in f["versions"].items())))
    return rows


def _split_by(about: dict[str, Any]) -> str:
    return f" {md(about['split_by'])}" if about.get("split_by") else ""


def _model(f: dict[str, Any]) -> str:
    model = f["model"]
    changed = ", ".join(f"{md(key)} {_plain(f['recipe'][key])}" for key in model["changed"])
    if model["released"]:
        return f"{model['name']}, settings of the published code for this data set" + (
            f", but {changed}" if changed else ""
        )
    return model["name"] + (f" ({changed})" if changed else "")


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return md(value) if isinstance(value, str) else json.dumps(value)


def install(f: dict[str, Any]) -> str:
    versions = f["versions"]
    words = [f"dc-graphsam=={versions['dc_graphsam']}"]
    words += [f"{name}=={versions[name].split('+')[0]}" for name in _INSTALLED if name in versions]
    return "pip install " + " ".join(words)


def data_note(f: dict[str, Any]) -> str:
    entry = _entry(f)
    if entry is None:
        return f"The table `{md(f['dataset']['source'])}` is not part of this repository; it must lie where the recipe says."
    if entry.loader is None:
        return ""
    return f"`{entry.file}` (DeepChem's copy) is downloaded on first use, or read from the folder that `DEEPCHEM_DATA_DIR` names."


def evaluate(f: dict[str, Any]) -> str:
    return f"{threads(f)}dc-graphsam evaluate --model {shlex.quote(f['source'])}"


def threads(f: dict[str, Any]) -> str:
    """The setting that gives as many threads as the run had, where it was computed on a CPU."""
    match = re.fullmatch(r"cpu, (\d+) threads?", str(f["device"]))
    return f"OMP_NUM_THREADS={match[1]} " if match else ""
