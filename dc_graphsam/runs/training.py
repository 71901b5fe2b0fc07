"""The steps of a training run, in the order in which they happen."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dc_graphsam.catalogue import NETWORKS
from dc_graphsam.exceptions import DCGraphSAMError, InvalidArgumentError, check_choice, check_range
from dc_graphsam.predict.loading import quiet_transformers
from dc_graphsam.run_folder import RunFolder
from dc_graphsam.runs.data import check_parts, describe_dataset, load_data, metric_is_defined, resolve_split
from dc_graphsam.runs.predictions import write_predictions
from dc_graphsam.runs.ranks import Ranks, process_count
from dc_graphsam.runs.record import plain_name, record_of_run
from dc_graphsam.runs.results import RunInterrupted, RunResult
from dc_graphsam.runs.scoring import evaluate_model
from dc_graphsam.runs.settings import DEFAULTS, RELEASED, RunSettings
from dc_graphsam.tasks import TaskSpec

__all__ = ["Training"]

LOGS_PER_EPOCH = 10
_RANGES = (
    ("per_device_train_batch_size", 1, "[]"),
    ("per_device_eval_batch_size", 1, "[]"),
    ("gradient_accumulation_steps", 1, "[]"),
    ("num_train_epochs", 0, "(]"),
    ("learning_rate", 0, "[]"),
    ("weight_decay", 0, "[]"),
)
_NO_MEMBER = re.compile(r"'?(?P<value>\S+?)'? is not a valid \w+, please select one of \[(?P<members>.*)\]", re.DOTALL)


class Training:
    """One run: data, model, training, test, files.

    Parameters
    ----------
    settings
        What to do.
    folder
        Where to write, already prepared.
    progress, notify, resume
        As of :func:`~dc_graphsam.runs.evaluate.train_run`.
    """

    def __init__(
        self,
        settings: RunSettings,
        folder: RunFolder,
        progress: bool,
        notify: Callable[[str], None],
        resume: bool = False,
    ) -> None:
        self.folder = folder
        self.resume = resume
        self.progress = progress
        self.notify = notify
        self.asked = settings
        self.settings = resolve_split(settings)
        self.started = datetime.now(timezone.utc).isoformat(timespec="seconds")

    def run(self, keep_checkpoints: bool, since: float, overwrite: bool = False) -> RunResult:
        """All of it; ``since`` is when the run began, in seconds of ``time.perf_counter``.

        Of several processes all train, and all else is done by the first.
        """
        formed = _group_is_formed()
        with quiet_transformers():
            self.check_arguments()  # which forms the group of processes, if there are several
            self.ranks = ranks = Ranks()
            if ranks.count > 1:
                self._come_together(overwrite)
            elif process_count() > 1:  # a launcher whose processes know nothing of each other
                self._prepare(overwrite)
            ranks.first(self.load_data)
            if not ranks.is_first:
                self.load_data()  # out of the cache now
            trainer = self.make_trainer()
            ranks.first(lambda: self.write_plan(trainer))
            try:
                self.train(trainer)
                metrics = ranks.first(lambda: self._finish(trainer, keep_checkpoints, since))
            except KeyboardInterrupt:
                if self.folder.is_finished or not ranks.is_first:
                    raise
                raise self._interrupted(trainer.args) from None
        if not formed:
            ranks.leave()
        return RunResult(self.folder.path, self.settings, metrics, time.perf_counter() - since)

    def _come_together(self, overwrite: bool) -> None:
        """All processes in the folder of the first, which alone has a voice."""
        path = self.ranks.first(lambda: self._prepare(overwrite))
        self.folder = RunFolder(path)
        if not self.ranks.is_first:
            self.notify, self.progress = _say_nothing, False

    def _prepare(self, overwrite: bool) -> str:
        self.folder.prepare(overwrite=overwrite, resume=self.resume)
        return str(self.folder)

    def _finish(self, trainer, keep_checkpoints: bool, since: float) -> dict[str, Any]:
        metrics = self.test(trainer)
        self.write_results(trainer, metrics, time.perf_counter() - since)
        if not keep_checkpoints:
            self.folder.remove_checkpoints()
        return metrics

    def load_data(self) -> None:
        """Everything that can be wrong with the data shows here; nothing is written yet."""
        from dc_graphsam.data import describe, dropped_rows

        self._check_processes()
        stored = self.folder / "splits.json"
        splits = stored if self.resume and stored.is_file() else None
        self.data = load_data(self.settings, splits=splits, progress=self.progress)
        check_parts(self.data)
        self.spec = TaskSpec.of(self.data)
        self.dropped = dropped_rows(self.data)
        about = describe_dataset(self.settings, self.data, len(self.dropped))
        where = f": {self.folder / 'dropped.csv'}" if self.dropped else ""
        how = about["split"] if about["fold"] is None else f"{about['split']} fold {about['fold']}"
        how += f" {about['split_by']}" if about.get("split_by") else ""
        self.notify(f"[2/3] data           {describe(self.data)} ({how}, seed {about['seed']}){where}")
        self.about_data = about

    def _check_processes(self) -> None:
        """An epoch of a checkpoint has as many steps as the processes leave it."""
        if self.resume and self.folder.has("run.json"):
            before = self.folder.read_json("run.json").get("processes", 1)
            if before != self.ranks.count:
                raise InvalidArgumentError(
                    f"the interrupted run in {self.folder} had {_processes(before)}, now there {_processes(self.ranks.count, True)}; "
                    f"resume it as it was started: "
                    + (f"torchrun --nproc_per_node {before} …" if before > 1 else "dc-graphsam without torchrun")
                )

    def make_trainer(self):
        """Model, arguments and trainer; everything that can be refused is refused here."""
        from transformers import set_seed
        from transformers.trainer_callback import PrinterCallback, ProgressCallback

        from dc_graphsam.hf import GraphSAMTrainer, MoleculeProcessor
        from dc_graphsam.models import AutoModelForPropertyPrediction
        from dc_graphsam.runs.progress import RunProgress

        set_seed(self.settings.seed)
        self.config = self._config()
        model = AutoModelForPropertyPrediction.from_config(self.config)
        self.processor = MoleculeProcessor(self.config.feature_set)
        self.parameters = sum(p.numel() for p in model.parameters())
        arguments = self._arguments()
        trainer = GraphSAMTrainer(
            model,
            arguments,
            train_dataset=self.data["train"],
            eval_dataset=self.data["validation"],
            processing_class=self.processor,
        )
        for callback in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(callback)
        self.bar = RunProgress(self.notify, self.spec.metric, len(self.data["train"]), self.progress)
        trainer.add_callback(self.bar)
        return trainer

    def _config(self):
        import dc_graphsam.models

        config_class = getattr(dc_graphsam.models, NETWORKS[self.settings.model].classes[0])
        options = dict(self.settings.model_options)
        try:
            return config_class.for_dataset(self.data, released=self.settings.released, **options)
        except DCGraphSAMError:
            raise
        except (ValueError, TypeError) as error:  # a type that the configuration refuses
            raise InvalidArgumentError(f"model options: {_first_line(error)}") from None

    def _options(self) -> dict[str, Any]:
        """Training arguments as they were asked for, checked as far as that needs no data."""
        released = RELEASED if self.settings.released else {}
        options = {**DEFAULTS, **released, **self.settings.training_options}
        for name, low, bounds in _RANGES:
            if name in options:
                check_range(name, options[name], low, bounds=bounds)
        return options

    def _training_arguments(self, options: dict[str, Any]):
        from dc_graphsam.hf import GraphSAMTrainingArguments

        try:
            return GraphSAMTrainingArguments(
                output_dir=str(self.folder), sam=self.settings.optimizer, seed=self.settings.seed, **options
            )
        except DCGraphSAMError:
            raise
        except (ValueError, TypeError, ImportError, RuntimeError) as error:
            _explain_enumeration(error, options)
            raise InvalidArgumentError(f"training arguments: {_first_line(error)}") from None

    def check_arguments(self) -> None:
        """Refuse what is wrong whatever the data are, before minutes go into reading them."""
        self._training_arguments({"load_best_model_at_end": False, **self._options()}).method_options()

    def _arguments(self):
        options = self._options()
        keeps_best = metric_is_defined(self.data, "validation")
        if not keeps_best:
            self.notify(f"warning: {self.spec.metric} is not defined on the validation split: the last epoch is kept")
        per_step = options["per_device_train_batch_size"] * options.get("gradient_accumulation_steps", 1)
        per_step *= self.ranks.count
        steps = max(len(self.data["train"]) // per_step, 1)
        return self._training_arguments(
            {
                "load_best_model_at_end": keeps_best and options["eval_strategy"] == options["save_strategy"],
                "metric_for_best_model": self.spec.metric,
                "greater_is_better": self.spec.greater_is_better,
                "logging_steps": max(steps // LOGS_PER_EPOCH, 1),
                "disable_tqdm": True,  # RunProgress has a bar of its own
                **options,
            }
        )

    def write_plan(self, trainer) -> None:
        """What is needed to continue after an interruption, and to know what this folder is."""
        from dc_graphsam.data import save_splits

        portable = self.settings.portable()
        if not self.resume:
            self.folder.clear()
        self.folder.write_yaml("run.yaml", portable.flat(), "dc-graphsam train --config run.yaml repeats this run")
        self.folder.write_json("run.json", self._record(trainer, None))
        self.folder.write_csv(
            "dropped.csv", ("row", "smiles", "reason"), [(d.row, d.smiles, d.reason) for d in self.dropped]
        )
        if not (self.folder / "splits.json").is_file():
            facts = {
                name: self.about_data[name]
                for name in ("name", "source", "split", "split_by", "seed", "fold")
                if name in self.about_data
            }
            save_splits(self.data, self.folder / "splits.json", **facts)
        arguments = trainer.args
        sam = self.settings.optimizer
        radius = arguments.method_options().get("rho")
        method = (
            sam + (f" (rho {radius:g})" if radius is not None else "") if sam != "none" else plain_name(arguments.optim)
        )
        epochs = (
            f"{arguments.num_train_epochs:g} epochs" if arguments.max_steps <= 0 else f"{arguments.max_steps:,} steps"
        )
        size = f"{self.parameters / 1e6:.2f} M parameters"
        self.notify(f"[3/3] training       {self.settings.model} ({size}) · {method} · {epochs}")

    def train(self, trainer) -> None:
        checkpoints = self.folder.checkpoints() if self.resume else []
        start = self.ranks.first(lambda: str(checkpoints[-1]) if checkpoints else None)
        if self.resume:
            done = Path(start).name if start else "the beginning: there is no checkpoint yet"
            self.notify(f"resuming from {done}")
        try:
            trainer.train(resume_from_checkpoint=start)
        finally:
            self.bar.close()

    def _interrupted(self, arguments) -> RunInterrupted:
        checkpoints = self.folder.checkpoints()
        each_epoch = plain_name(arguments.eval_strategy) == "epoch" and not arguments.eval_delay
        while checkpoints and each_epoch and not _was_evaluated(_state(checkpoints[-1])):
            shutil.rmtree(
                checkpoints.pop()
            )  # Ctrl-C hit the evaluation at the end of an epoch, which must not be skipped
        last = checkpoints[-1] if checkpoints else None
        words = ["dc-graphsam", "train", "--output", str(self.folder), "--resume"]
        for name in ("data", "data_dir", "test_data", "validation_data"):  # not written down where absolute
            value = getattr(self.asked, name)
            if value is not None and getattr(self.settings.portable(), name) != value:
                words += [f"--{name.replace('_', '-')}", str(value)]
        return RunInterrupted(self.folder.path, last, _state(last)["epoch"] if last else 0, shlex.join(words))

    def test(self, trainer) -> dict[str, Any]:
        """Metrics of the best epoch's weights, and of the baselines; predictions of the test split."""
        model = trainer.model
        batch_size = trainer.args.per_device_eval_batch_size
        metrics: dict[str, Any] = {"metric": self.spec.metric, "best_epoch": best_epoch(trainer.state)}
        metrics["validation"], _ = evaluate_model(model, self.data["validation"], batch_size)
        if "test" in self.data and len(self.data["test"]):
            metrics["test"], values = evaluate_model(model, self.data["test"], batch_size)
            write_predictions(self.folder, self.data["test"], self.spec, values)
            if self.settings.baselines:
                from dc_graphsam.runs.baselines import fit_baselines

                found = fit_baselines(self.data, self.settings.seed)
                metrics["baselines"] = {
                    name: {key: value for key, value in values.items() if key != "predictions"}
                    for name, values in found.items()
                }
        return metrics

    def _record(self, trainer, seconds: float | None) -> dict[str, Any]:
        return record_of_run(
            self.settings,
            self.folder,
            trainer.args,
            self.spec,
            self.config,
            self.about_data,
            parameters=self.parameters,
            processes=self.ranks.count,
            started=self.started,
            seconds=seconds,
        )

    def write_results(self, trainer, metrics: dict[str, Any], seconds: float) -> None:
        model = trainer.model.cpu()
        model.save_pretrained(str(self.folder))
        self.processor.save_pretrained(str(self.folder))
        shutil.copymode(self.folder / "config.json", self.folder / "model.safetensors")  # safetensors makes it private
        self.folder.write_lines("history.jsonl", trainer.state.log_history)
        self.folder.write_json("run.json", self._record(trainer, seconds))
        self.folder.write_json("metrics.json", metrics)  # last: a folder that has it is finished
        if self.settings.report:
            from dc_graphsam.report.page import write_report

            write_report(self.folder.path)


def _group_is_formed() -> bool:
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def _say_nothing(line: str) -> None:
    """What the other processes have to tell."""


def _processes(count: int, now: bool = False) -> str:
    text = f"{count} process" if count == 1 else f"{count} processes"
    return f"{'is' if count == 1 else 'are'} {text}" if now else text


def _state(checkpoint: Path) -> dict[str, Any]:
    return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))


def _was_evaluated(state: dict[str, Any]) -> bool:
    """Whether the state of a checkpoint holds the validation of its epoch, if it is at the end of one."""
    return state["epoch"] != int(state["epoch"]) or any(
        "eval_loss" in record and record["step"] == state["global_step"] for record in state["log_history"]
    )


def best_epoch(state) -> float | None:
    """Epoch whose weights are kept: the best one, or the last if no best was looked for."""
    if state.best_global_step:
        for record in state.log_history:
            if record.get("step") == state.best_global_step and "epoch" in record:
                return round(record["epoch"], 4)
    return round(state.epoch, 4) if state.epoch is not None else None


def _explain_enumeration(error: BaseException, options: dict[str, Any]) -> None:
    """Name the argument where ``transformers`` only names the value that is in none of its lists."""
    match = _NO_MEMBER.match(str(error))
    if match:
        for name, value in options.items():
            if value == match["value"]:
                check_choice(name, value, re.findall(r"'([^']+)'", match["members"]))


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__
