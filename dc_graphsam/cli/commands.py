"""What each command does with its options: one call into :mod:`dc_graphsam.hf`, and the words around it."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from dc_graphsam.catalogue import METHODS, NETWORKS
from dc_graphsam.cli.console import metric_table, result, say, text_table, use_console
from dc_graphsam.cli.options import RUN_FIELDS
from dc_graphsam.cli.settings import merge, read_config, read_words
from dc_graphsam.cli.values import UsageError
from dc_graphsam.wording import BASELINES

__all__ = ["datasets", "demo", "evaluate", "export", "predict", "publish", "train"]

_CONTROL = tuple(field.name for field in RUN_FIELDS.values() if field.group == "control")
DEMO: dict[str, Any] = {
    "dataset": "freewilson",
    "split": "random",
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_train_epochs": 60,
    "learning_rate": 1e-3,
    "output": "runs/demo",
}


def train(arguments: Namespace, words: list[str], debug: bool) -> int:
    given = read_words(words)
    config = read_config(arguments.config) if arguments.config else {}
    return _train(merge(config, given), given if not config else merge(config, given), debug)


def demo(arguments: Namespace, words: list[str], debug: bool) -> int:
    given = read_words(words)
    settings = {**DEMO, **given}
    if "dataset" in given or "data" in given:
        raise UsageError("demo has its own data; for others use dc-graphsam train")
    if not settings.get("resume"):
        from dc_graphsam.run_folder import RunFolder

        settings["overwrite"] = RunFolder(settings["output"]).is_run  # its own folder, and no other
    return _train(settings, given, debug)


def _train(settings: dict[str, Any], given: dict[str, Any], debug: bool) -> int:
    control = {name: settings.pop(name) for name in _CONTROL if name in settings}
    resume, output = control.pop("resume", False), control.pop("output", None)
    if resume and output is None:
        raise UsageError("--resume needs --output: the folder of the interrupted run")
    if not resume and settings.get("dataset") is None and settings.get("data") is None:
        raise UsageError("train needs --dataset NAME (see dc-graphsam datasets) or --data FILE")
    if not resume and settings.get("dataset") is not None and settings.get("data") is not None:
        raise UsageError("--dataset and --data are both given; name one")
    _check_dataset(settings.get("dataset"))
    if settings.get("data") is not None and not Path(settings["data"]).exists():
        from dc_graphsam.data.structure_files import refuse_structures

        refuse_structures(settings["data"])
        raise UsageError(f"there is no file {settings['data']}")

    use_console(debug)
    from dc_graphsam.run_folder import RunFolder
    from dc_graphsam.runs.settings import RunSettings
    from dc_graphsam.runs.train import resume_settings, train_run

    if resume:
        plan = resume_settings(output, {k: v for k, v in given.items() if k not in _CONTROL})
    else:
        if output is not None:
            RunFolder(output).prepare(overwrite=control.get("overwrite", False))
        plan = RunSettings.from_flat(settings)
    output = output or _free_folder(plan.name)
    done = train_run(plan, output, resume=resume, progress=sys.stderr.isatty(), notify=say, **control)
    _show(done)
    return 0


def _check_dataset(name: str | None) -> None:
    if name is not None:
        from dc_graphsam.data import get_dataset_entry

        get_dataset_entry(name)


def _free_folder(name: str) -> str:
    number, path = 1, Path("runs", name)
    while path.exists():
        number += 1
        path = Path("runs", f"{name}-{number}")
    return str(path)


def _show(done) -> None:
    """The table of experience: baselines first, the model last, then where things are."""
    metrics, settings = done.metrics, done.settings
    name = NETWORKS[settings.model].title
    method = METHODS[settings.optimizer].title
    from dc_graphsam.metrics.classes import CLASS_METRICS

    titles = dict(BASELINES)
    if metrics["metric"] in CLASS_METRICS:
        titles["mean"] = "predict the commonest class"
    rows = {titles.get(key, key): values for key, values in metrics.get("baselines", {}).items()}
    part = "test" if "test" in metrics else "validation"
    rows[f"{name} + {method}" if method else f"{name} (no sharpness-aware method)"] = metrics[part]
    model = shlex.quote(str(done.folder))
    report = f" report  {done.folder / 'report.html'}\n" if settings.report else ""
    result(
        f"\n{metric_table(f'{part} set', rows)}\n\n"
        f"{report}"
        f" model   {done.folder}  (epoch {metrics['best_epoch']:g} of the training, {done.seconds:.0f} s)\n"
        f" next    dc-graphsam predict --model {model} --input my.csv --output predicted.csv"
    )


def evaluate(arguments: Namespace, _: list[str], debug: bool) -> int:
    use_console(debug)
    from dc_graphsam.hub.publish import fetch_run
    from dc_graphsam.runs.evaluate import evaluate_run

    _check_dataset(arguments.dataset)
    found = evaluate_run(
        fetch_run(arguments.model),
        dataset=arguments.dataset,
        data=arguments.data,
        smiles_column=arguments.smiles_column,
        split=arguments.split,
        data_dir=arguments.data_dir,
        positive=arguments.positive,
        validation_data=arguments.validation_data,
        test_data=arguments.test_data,
        batch_size=arguments.batch_size,
        rewrite=arguments.rewrite,
        progress=sys.stderr.isatty(),
    )
    if arguments.json:
        from dc_graphsam.run_folder import finite

        result(json.dumps(finite(found), indent=1))
        return 0
    part = "" if found["split"] == "all" else f", {found['split']} split"
    title = f"{found['data']}{part}: {found['molecules']:,} molecules"
    result(metric_table(title, {str(arguments.model): found["metrics"]}))
    if "rewriting" in found:
        result(f"\n{found['rewriting']['sentence']}")
    return 0


def predict(arguments: Namespace, _: list[str], debug: bool) -> int:
    use_console(debug)
    from dc_graphsam.predict.table import check_paths, predict_csv

    check_paths(arguments.input, arguments.output, arguments.overwrite)
    from dc_graphsam.hub.publish import fetch_run
    from dc_graphsam.predict.loading import load_run, to_device

    run = load_run(fetch_run(arguments.model))
    done = predict_csv(
        to_device(run.model, arguments.device),
        arguments.input,
        arguments.output,
        processor=run.processor,
        smiles_column=arguments.smiles_column,
        batch_size=arguments.batch_size,
        num_workers=arguments.num_workers,
        overwrite=arguments.overwrite,
        progress=sys.stderr.isatty(),
    )
    nothing = 0 < done.rows == done.invalid
    if done.invalid:
        reasons = [f"{count:,} × {reason}" for reason, count in list(done.reasons.items())[:3]]
        why = "; ".join(reasons) or "see the file"
        if nothing:
            say(f"warning: NOT ONE of {done.rows:,} rows could be predicted ({why})")
        else:
            say(f"warning: {done.invalid:,} of {done.rows:,} rows have no prediction ({why})")
    if not done.rows:
        say(f"warning: {arguments.input} has no rows: there was nothing to predict")
    if done.noted:
        kinds = "; ".join(f"{count:,} × {kind}" for kind, count in list(done.notes.items())[:3]) or "see the file"
        say(f"note: {done.noted:,} of {done.rows:,} rows have a note ({kinds})")
    speed = (done.rows - done.resumed) / max(done.seconds, 1e-9)
    before = f", {done.resumed:,} of them before" if done.resumed else ""
    names = ", ".join(done.columns[:4]) + (", …" if len(done.columns) > 4 else "")
    result(f"{done.rows:,} rows{before} → {arguments.output}  (columns {names}; {speed:,.0f} molecules/s)")
    return 1 if nothing else 0


def export(arguments: Namespace, _: list[str], debug: bool) -> int:
    use_console(debug)
    from dc_graphsam.hub.publish import fetch_run
    from dc_graphsam.predict.export import export_model
    from dc_graphsam.predict.loading import load_run

    run = load_run(fetch_run(arguments.model))
    done = export_model(
        run.model, arguments.output, arguments.format, opset=arguments.opset, overwrite=arguments.overwrite
    )
    kind = done.format if done.opset is None else f"{done.format}, opset {done.opset}"
    sizes = ", ".join(f"{molecules} × {atoms}" for molecules, atoms in done.batches)
    result(
        f"{done.path}  ({kind}, {done.path.stat().st_size:,} bytes)\n"
        f"largest difference from the model: {done.difference:.1e}, on batches of {sizes} (molecules × atoms); largest logit "
        f"{done.scale:.3g}"
    )
    return 0


def publish(arguments: Namespace, _: list[str], debug: bool) -> int:
    use_console(debug)
    from dc_graphsam.hub.publish import prepare_publication
    from dc_graphsam.repository.push import push_files

    found = prepare_publication(arguments.run, arguments.repo, others=arguments.others, license=arguments.license)
    lines = [[path, f"{size:,}", digest[:16]] for path, size, digest in found.listing()]
    if arguments.write is not None:
        found.write(arguments.write)
        result(text_table(("file", "bytes", "SHA-256"), lines, left=(0, 2)))
        say(f"written to {arguments.write}; nothing was pushed")
        return 0
    if arguments.dry_run:
        result(text_table(("file", "bytes", "SHA-256"), lines, left=(0, 2)))
        say(
            f"{len(lines)} files, {sum(map(len, found.files.values())):,} bytes for {arguments.repo}; nothing was pushed"
        )
        return 0
    message = arguments.message or f"{found.card.facts['name']}: model, card and recipe"
    done = push_files(found.files, arguments.repo, message, private=arguments.private or None)
    result(str(done.commit_url))
    return 0


def datasets(arguments: Namespace, _: list[str], debug: bool) -> int:
    if arguments.check is not None or arguments.data is not None:
        return _check_data(arguments, debug)
    for name in ("target", "smiles_column", "task_type", "positive"):
        if getattr(arguments, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} belongs to --data FILE")
    from dc_graphsam.data import DATASETS, datasets_table
    from dc_graphsam.data.moleculenet.sources import find_raw_files
    from dc_graphsam.exceptions import MissingDataError

    rows = datasets_table()
    for row in rows:
        try:
            find_raw_files(DATASETS[row["name"]], arguments.data_dir, download=False)
            row["here"] = True
        except MissingDataError:
            row["here"] = False
    if arguments.json:
        result(json.dumps(rows, indent=1))
        return 0
    columns = ("name", "rows", "tasks", "type", "metric", "split", "file")
    lines = [
        [
            row["name"],
            f"{row['rows']:,}",
            str(row["tasks"]),
            row["task_type"],
            row["metric"],
            row["split"],
            f"{row['file']}{'' if row['here'] else ' (not here: downloaded on first use)'}",
        ]
        for row in rows
    ]
    result(text_table(columns, lines, left=(0, 3, 4, 5, 6)))
    result("\n dc-graphsam train --dataset NAME; --data-dir or DEEPCHEM_DATA_DIR names the folder of the files")
    return 0


def _check_data(arguments: Namespace, debug: bool) -> int:
    if arguments.check is not None and arguments.data is not None:
        raise UsageError("--check and --data are both given; name one")
    _check_dataset(arguments.check)
    if arguments.data is not None and not Path(arguments.data).exists():
        raise UsageError(f"there is no file {arguments.data}")
    use_console(debug)
    from dc_graphsam.check import check_dataset
    from dc_graphsam.data import read_labelled

    name, table = read_labelled(
        arguments.check,
        arguments.data,
        data_dir=arguments.data_dir,
        smiles_column=arguments.smiles_column,
        task_columns=arguments.target,
        task_type=arguments.task_type,
        positive=arguments.positive,
    )
    found = check_dataset(
        table.smiles, table.labels, table.task_names, table.task_type, name=name, problems=table.problems
    )
    if arguments.json:
        from dc_graphsam.run_folder import finite

        result(json.dumps(finite(found.record()), indent=1))
    else:
        result("\n".join(found.lines()))
    return 0
