"""``report.html`` of a run folder: one file that can be mailed, with everything needed to judge and repeat the run.

What is read is written by ``dc-graphsam train``; only ``run.json`` is required, whatever else is absent is left out:

``run.json``
    ``format`` (1), ``command`` (str), ``dataset`` {``name``, ``source``, ``split``, ``seed``, ``fold``, ``counts``
    {split: rows}, ``dropped`` (rows), ``splits_sha256``}, ``task`` (fields of :class:`~dc_graphsam.TaskSpec`),
    ``model`` {``name``, ``parameters`` (int), ``config``}, ``optimizer`` {``name``, ``base``, ``rho``, …}, ``training``
    (all arguments), ``versions`` {package: version}, ``device`` (str), ``seconds`` (float), ``started`` (ISO 8601).
``metrics.json``
    ``test`` and ``validation`` {metric: value}, ``baselines`` {``mean``, ``forest``, ``boosting``: {metric: value}},
    ``metric`` (the one models are selected by), ``best_epoch`` (float, the epoch
    whose weights were kept). Several tasks: ``<metric>_<task>`` beside
    ``<metric>``. NaN and null mean: not defined.
``history.jsonl``
    One record of the Trainer's ``log_history`` per line. In training: ``epoch``, ``step``, ``loss``, ``loss_clean``,
    ``loss_perturbed``, ``rho``, ``perturbation_norm``, ``gradient_cosine`` (of successive gradients), ``grad_norm``,
    ``learning_rate``, ``passes_per_second``, and what probes of the gradients measured (the keys of
    :class:`dc_graphsam.optim.GradientProbe`, with ``/<tensor>`` those of one tensor, ``sharpness``,
    ``hessian_eigenvalue``); in evaluation: ``epoch``, ``eval_loss``, ``eval_<metric>``. All optional
    but ``epoch``.
``splits.json``
    ``rows`` {``train``, ``validation``, ``test``: lists of 0-based rows of the source} and ``sha256``.
``predictions_test.csv``
    ``row``, ``smiles``, then for each task ``<task>`` (probability, or value in label units) and ``<task>_label``;
    an empty cell is a label that was not measured, or a molecule that could not be predicted. Several classes:
    ``<task>`` and ``<task>_label`` are names of classes, and ``<task>=<class>`` is the probability of each.
``dropped.csv``
    ``row``, ``smiles``, ``reason``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from dc_graphsam.metrics.classes import class_metric
from dc_graphsam.metrics.masked import METRICS_OF, get_metric
from dc_graphsam.report.classes import confusion_plots, worst_of_classes
from dc_graphsam.report.data import RunRecord
from dc_graphsam.report.inside import inside_pictures
from dc_graphsam.wording import BASELINES, GREATER_IS_BETTER, NAMES, TITLES

__all__ = ["write_report"]

N_WORST = 10


def write_report(run_folder: str | Path) -> Path:
    """Write ``report.html`` into a run folder, from the files in it alone.

    Parameters
    ----------
    run_folder
        A folder that ``dc-graphsam train`` wrote; its files are described at the top of this module.

    Returns
    -------
    pathlib.Path
        The report: one HTML file without scripts and without anything to fetch.

    Raises
    ------
    RunFolderError
        There is no such folder, ``run.json`` is missing, or a file in it cannot be read.
    MissingColumnError
        ``predictions_test.csv`` lacks a task of ``run.json``.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> task = {"dataset": "toy", "task_names": ["logS"], "task_type": "regression", "metric": "rmse"}
    >>> _ = (folder / "run.json").write_text(json.dumps({"task": task, "model": {"name": "compt"}}))
    >>> write_report(folder).name
    'report.html'
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    run = RunRecord.read(run_folder)
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    path = run.folder / "report.html"
    path.write_text(templates.get_template("report.html.jinja").render(_context(run)), encoding="utf-8")
    return path


def _context(run: RunRecord) -> dict[str, Any]:
    """Everything the template shows, ready to print."""
    model = run.run.get("model") or {}
    optimizer = run.run.get("optimizer") or {}
    results = _per_task(run) if run.smiles else {}
    name = " + ".join(part for part in (_name(model) or "model", _name(optimizer)) if part)
    return {
        "name": name,
        "spec": run.spec,
        "started": str(run.run.get("started") or "")[:16].replace("T", " "),
        "facts": _facts(run, model, optimizer),
        "results": _results(run, name),
        "tasks": _task_table(run, results),
        "test_pictures": _test_pictures(run, results),
        "training_pictures": _training_pictures(run),
        "inside_pictures": inside_pictures(run.history),
        "worst": _worst(run),
        "dropped": _dropped(run),
        "n_dropped": len(run.dropped) or (run.run.get("dataset") or {}).get("dropped") or 0,
        "command": run.run.get("command"),
        "versions": run.run.get("versions") or {},
        "device": run.run.get("device"),
        "settings": [
            (title, {key: _plain(value) for key, value in sorted(fields.items())})
            for title, fields in (
                ("Model", model.get("config") or {}),
                ("Optimizer", optimizer),
                ("Training", run.run.get("training") or {}),
            )
            if fields
        ],
        "classification": run.spec.task_type == "classification",
        "error_words": {
            "classification": "largest difference between label and predicted probability",
            "multiclass": "lowest probability of their own class (in brackets)",
        }.get(run.spec.task_type, "largest error"),
    }


def _name(part: dict) -> str:
    """Name of a model or method as its authors write it; empty for training without one."""
    name = str(part.get("name") or "")
    return "" if name == "none" else NAMES.get(name, name)


def _facts(run: RunRecord, model: dict, optimizer: dict) -> list[tuple[str, str]]:
    """Pairs of term and description: what was trained on what."""
    dataset = run.run.get("dataset") or {}
    spec = run.spec
    kind = spec.task_type if len(spec.task_names) == 1 else f"{len(spec.task_names)} tasks, {spec.task_type}"
    facts = [("Data set", f"{dataset.get('name') or spec.dataset} ({kind})")]
    if dataset.get("source") and dataset["source"] != dataset.get("name"):
        facts.append(("Source", str(dataset["source"])))
    split_rows = run.splits.get("rows") or {}
    counts = dataset.get("counts") or {
        s: len(split_rows[s]) for s in ("train", "validation", "test") if s in split_rows
    }
    if counts:
        facts.append(("Molecules", ", ".join(f"{n:,} {split}" for split, n in counts.items())))
    n_dropped = len(run.dropped) or dataset.get("dropped")
    if n_dropped is not None:
        facts.append(("Left out", f"{n_dropped:,} rows" if n_dropped != 1 else "1 row"))
    if dataset.get("split"):
        seeds = "".join(f", {key} {dataset[key]}" for key in ("seed", "fold") if dataset.get(key) is not None)
        by = f" {dataset['split_by']}" if dataset.get("split_by") else ""
        facts.append(("Split", f"{dataset['split']}{by}{seeds}"))
    sha = dataset.get("splits_sha256") or run.splits.get("sha256")
    if sha:
        facts.append(("Split SHA-256", f"{str(sha)[:16]}…" if len(str(sha)) > 16 else str(sha)))
    if isinstance(model.get("parameters"), int):
        facts.append(("Parameters", f"{model['parameters']:,}"))
    facts.extend(_optimizer_fact(optimizer))
    epochs = max((r["epoch"] for r in run.history if isinstance(r.get("epoch"), (int, float))), default=None)
    if epochs is not None:
        took = f" in {_duration(run.run['seconds'])}" if _finite(run.run.get("seconds")) else ""
        kept = run.metrics.get("best_epoch")
        facts.append(("Epochs", f"{epochs:.4g}{took}" + (f"; weights of epoch {kept:.4g}" if _finite(kept) else "")))
    return facts


def _optimizer_fact(optimizer: dict) -> list[tuple[str, str]]:
    base, name = str(optimizer.get("base") or ""), _name(optimizer)
    if not name:
        return [("Optimizer", base)] if base else []
    given = ("rho", "beta", "gamma", "rho_update_epochs", "anchor_every_epochs", "rho_schedule")
    given = given if optimizer["name"] == "graphsam" else given[:1]
    shown = ", ".join(f"{key} {_plain(optimizer[key])}" for key in given if optimizer.get(key) is not None)
    return [("Optimizer", name + (f" on {base}" if base else "") + (f" ({shown})" if shown else ""))]


def _results(run: RunRecord, name: str) -> dict[str, Any] | None:
    """Table of the test metrics, baselines first, and a sentence that says which is better."""
    test = run.metrics.get("test") or {}
    columns = [metric for metric in METRICS_OF[run.spec.task_type] if metric in test]
    if not columns:
        return None
    first = {"classification": "predict the class share", "multiclass": "predict the commonest class"}.get(
        run.spec.task_type, "predict the mean"
    )
    titles = {**BASELINES, "mean": first}
    baselines = run.metrics.get("baselines") or {}
    table = [(titles.get(key, key), values, False) for key, values in baselines.items()] + [(name, test, True)]
    best = {}
    for metric in columns:
        values = [values.get(metric) for _, values, _ in table]
        finite = [v for v in values if _finite(v)]
        best[metric] = (max if metric in GREATER_IS_BETTER else min)(finite) if len(finite) > 1 else None
    metric = run.metrics.get("metric") or run.spec.metric
    note = ""
    rivals = [(title, values[metric]) for title, values, own in table if not own and _finite(values.get(metric))]
    if rivals and _finite(test.get(metric)):
        up = metric in GREATER_IS_BETTER
        title, rival = (max if up else min)(rivals, key=lambda pair: pair[1])
        if rival == test[metric] or (rival > test[metric]) == up:
            note = f"On this test set the network is not better than the baseline “{title}”."
    return {
        "columns": [(TITLES[c], "↑" if c in GREATER_IS_BETTER else "↓") for c in columns],
        "rows": [
            (title, [(_show(v.get(c), c), _finite(v.get(c)) and v.get(c) == best[c]) for c in columns], own)
            for title, v, own in table
        ],
        "note": note,
        "n_test": len(run.smiles),
    }


def _per_task(run: RunRecord) -> dict[str, Any]:
    """Metric → masked result on the molecules of the test set that have a prediction."""
    labels, spec = run.known_labels, run.spec
    if spec.class_counts is not None:
        return {
            m: class_metric(m, labels, run.predictions, spec.class_counts, spec.task_names)
            for m in METRICS_OF[spec.task_type]
        }
    return {m: get_metric(m)(labels, run.predictions, run.spec.task_names) for m in METRICS_OF[run.spec.task_type]}


def _task_table(run: RunRecord, results: dict[str, Any]) -> dict[str, Any] | None:
    """One row per task, if there are several."""
    if len(run.spec.task_names) == 1 or not run.smiles:
        return None
    classes = run.spec.task_type == "classification"
    baselines = run.metrics.get("baselines") or {}
    forest = baselines.get("forest") or baselines.get("random_forest") or {}
    rows = []
    for t, task in enumerate(run.spec.task_names):
        y = run.labels[:, t][np.isfinite(run.labels[:, t])]
        cells = [f"{y.size:,}"] + ([f"{int(y.sum()):,}"] if classes else [])
        rival = forest.get(f"{run.spec.metric}_{task}")
        cells += [_show(result.per_task.get(task), metric) for metric, result in results.items()]
        rows.append(
            (task, [*cells, _show(rival, run.spec.metric)], next(iter(results.values())).left_out.get(task, ""))
        )
    head = ["labels"] + (["positive"] if classes else []) + [TITLES[m] for m in results]
    has_rival = any(f"{run.spec.metric}_{task}" in forest for task in run.spec.task_names)
    if has_rival:
        head.append(f"random forest {TITLES[run.spec.metric]}")
    return {"head": head, "rows": [(task, cells[: len(head)], why) for task, cells, why in rows]}


def _test_pictures(run: RunRecord, results: dict[str, Any]) -> list:
    from dc_graphsam.report import figures

    if not run.smiles:
        return []
    if run.spec.task_type == "multiclass":
        return [picture for _, picture in confusion_plots(run)]
    names, labels = run.spec.task_names, run.known_labels
    if run.spec.task_type == "classification":
        pictures = [
            figures.roc_plot(names, labels, run.predictions, results["roc_auc"].per_task),
            figures.precision_recall_plot(names, labels, run.predictions, results["prc_auc"].per_task),
        ]
    else:
        pictures = [figures.parity_plot(names, labels, run.predictions)]
        if len(names) == 1:
            pictures.append(figures.error_histogram(labels[:, 0], run.predictions[:, 0]))
    return [picture for picture in pictures if picture]


def _training_pictures(run: RunRecord) -> list:
    from dc_graphsam.report.figures import line_chart

    def has(key):
        return any(key in record for record in run.history)

    perturbed = has("loss_clean") or has("loss_perturbed")
    lines = [("loss_clean", "clean"), ("loss_perturbed", "perturbed")] if perturbed else [("loss", "training")]
    metric = run.metrics.get("metric") or run.spec.metric
    title = TITLES.get(metric, metric)
    best = run.metrics.get("best_epoch")
    best = best if _finite(best) else None
    charts = [
        line_chart(run.history, [*lines, ("eval_loss", "validation")], "Loss", "loss"),
        line_chart(run.history, [(f"eval_{metric}", title)], f"{title} on the validation set", title, best=best),
        line_chart(run.history, [("rho", "rho")], "Perturbation radius", "rho", log=True),
        line_chart(run.history, [("perturbation_norm", "norm")], "Perturbation norm", "norm"),
        line_chart(run.history, [("gradient_cosine", "cosine")], "Cosine of successive gradients", "cosine"),
    ]
    return [chart for chart in charts if chart]


def _worst(run: RunRecord) -> list[dict[str, Any]]:
    """The molecules furthest from their label: the worst task of each, in units of that task's spread."""
    from dc_graphsam.report.figures import draw_molecule

    if run.spec.task_type == "multiclass":
        return worst_of_classes(run, N_WORST)
    error = np.abs(run.predictions - run.labels)
    if not np.isfinite(error).any():
        return []
    scaled, values = error, run.spec.task_type == "regression"
    if values and error.shape[1] > 1:
        with np.errstate(invalid="ignore", divide="ignore"):
            scaled = error / np.array(
                [np.nanstd(column) if np.isfinite(column).any() else 1.0 for column in run.labels.T]
            )
    scaled = np.where(np.isfinite(scaled), scaled, -1.0)
    task = scaled.argmax(axis=1)
    worst = scaled[np.arange(len(task)), task]
    order = [i for i in np.argsort(-worst, kind="stable")[:N_WORST] if worst[i] > 0]
    return [
        {
            "row": run.rows[i],
            "smiles": run.smiles[i],
            "task": run.spec.task_names[task[i]] if len(run.spec.task_names) > 1 else "",
            "label": _show(run.labels[i, task[i]]) if values else f"{run.labels[i, task[i]]:g}",
            "prediction": _show(run.predictions[i, task[i]], "" if values else "probability"),
            "uri": draw_molecule(run.smiles[i]),
        }
        for i in order
    ]


def _dropped(run: RunRecord) -> list[dict[str, Any]]:
    """Rows left out, grouped by reason, the commonest first."""
    groups: dict[str, list[dict[str, str]]] = {}
    for record in run.dropped:
        groups.setdefault(record.get("reason") or "no reason given", []).append(record)
    return [
        {"reason": reason, "n": len(records), "first": records[:5], "more": max(0, len(records) - 5)}
        for reason, records in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _show(value: Any, kind: str = "") -> str:
    """Three decimals for metrics and probabilities up to 1, else, and where these say nothing, three digits; a dash for what
    is not defined.

    >>> [_show(v) for v in (0.71, -12.345, 1234.5, float("nan"), -0.0)], _show(0.00123, "r2")
    (['0.710', '−12.3', '1,234', '–', '0.000'], '0.001')
    >>> _show(3.21e-5), _show(3.21e-5, "probability"), _show(3.21e-14)
    ('3.21e−05', '3.21e−05', '3.21e−14')
    """
    if not _finite(value):
        return "–"
    if value == 0:
        text = "0.000"
    elif kind in (*GREATER_IS_BETTER, "probability") and round(value, 3):
        text = f"{value:.3f}"
    else:
        text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}" if abs(value) >= 1e-4 else f"{value:.2e}"
    return text.replace("-", "−")


def _plain(value: Any) -> str:
    """A setting as it would be typed."""
    if isinstance(value, (dict, list, tuple, bool)) or value is None:
        text = json.dumps(value)
        return text if len(text) <= 200 else text[:199] + "…"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    """
    >>> _duration(72.4), _duration(7261)
    ('1 min 12 s', '2 h 1 min')
    """
    seconds = round(seconds)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
