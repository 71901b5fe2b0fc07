"""A training run in a folder: train it, load it, evaluate it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from dc_graphsam.exceptions import DCGraphSAMError, InvalidArgumentError, MissingDataError, RunFolderError, check_choice
from dc_graphsam.hf.run_folder import RunFolder
from dc_graphsam.hf.run_settings import DEFAULTS, RunSettings, read_run_yaml
from dc_graphsam.tasks import TaskSpec

__all__ = ["LoadedRun", "RunInterrupted", "RunResult", "evaluate_run", "load_run", "resume_settings", "train_run"]

FORMAT = 1
_PACKAGES = (
    "dc_graphsam",
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "deepchem",
    "dgl",
    "rdkit",
    "numpy",
    "scikit-learn",
)
# May differ between an interrupted run and its continuation: where things lie, and how fast they are read.
_RELOCATABLE = ("data", "data_dir", "splits_file", "dataloader_num_workers", "dataloader_prefetch_factor", "use_cpu")
_NOT_WRITTEN = ("output_dir", "logging_dir", "run_name", "hub_token", "hub_model_id", "resume_from_checkpoint")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes
    ----------
    folder
        Where it is.
    settings
        What was done.
    metrics
        Content of ``metrics.json``.
    seconds
        Of this call.
    """

    folder: Path
    settings: RunSettings
    metrics: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class LoadedRun:
    """A model with what belongs to it.

    Attributes
    ----------
    folder
        Where it comes from.
    model
        In evaluation mode, on the CPU.
    processor
        The :class:`~dc_graphsam.hf.MoleculeProcessor` of the model.
    """

    folder: RunFolder
    model: Any
    processor: Any


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C in :func:`train_run`.

    Attributes
    ----------
    folder
        The run folder.
    checkpoint
        The last whole checkpoint, or ``None``.
    epoch
        Epochs that are in it.
    command
        Command line that continues the run.
    """

    def __init__(self, folder: Path, checkpoint: Path | None, epoch: float, command: str) -> None:
        self.folder, self.checkpoint, self.epoch, self.command = folder, checkpoint, epoch, command
        kept = f"{checkpoint} holds {epoch:g} epochs and can be used" if checkpoint else "there is no checkpoint yet"
        super().__init__(f"stopped: {kept}; continue with\n  {command}")


def resume_settings(output: str | Path, given: dict[str, Any]) -> RunSettings:
    """Settings of an interrupted run, after checking that what is asked for now is the same.

    Parameters
    ----------
    output
        The run folder.
    given
        Flat settings named again. Paths may differ, for they are not written down in full.

    Raises
    ------
    RunFolderError
        If there is no interrupted run.
    InvalidArgumentError
        If a setting differs.
    """
    folder = RunFolder(output)
    folder.prepare(resume=True)
    stored = read_run_yaml(folder / "run.yaml")
    known = {f.name: f.default for f in fields(RunSettings)}
    wanted = RunSettings.from_flat({**stored, **given}).flat()
    for name in given:
        before, now = stored.get(name, known.get(name)), wanted.get(name, known.get(name))
        if name not in _RELOCATABLE and before != now:
            raise InvalidArgumentError(
                f"{name} is {now!r} but the interrupted run in {folder} has {before!r}; "
                f"resume it without, or start anew"
            )
    return RunSettings.from_flat({**stored, **given})


def train_run(
    settings: RunSettings,
    output: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    keep_checkpoints: bool = False,
    progress: bool = False,
    notify: Callable[[str], None] | None = None,
) -> RunResult:
    """Train a model, test it, and write all that belongs to it into a folder.

    Written are ``config.json``, ``model.safetensors`` and ``processor_config.json`` (libraries' own formats, weights of
    the epoch with the best validation metric), ``run.json`` (what was done), ``run.yaml`` (the same as options of the
    command line), ``splits.json`` (rows of each part), ``metrics.json``, ``history.jsonl`` (the trainer's log),
    ``predictions_test.csv``, ``dropped.csv`` and ``report.html``. Checkpoints are removed at the end.

    Parameters
    ----------
    settings
        What to do. To resume, those of :func:`resume_settings`.
    output
        Folder to write; must be empty or absent.
    overwrite
        Whether a run that is there may be replaced.
    resume
        Whether to continue an interrupted run; the end is the same as without the interruption.
    keep_checkpoints
        Whether to keep the last and the best checkpoint.
    progress
        Whether to show progress bars.
    notify
        Takes a line at the beginning of each phase.

    Returns
    -------
    RunResult

    Raises
    ------
    DCGraphSAMError
        If the settings, the data or the folder cannot be used.
    RunInterrupted
        On Ctrl-C during the training; a ``KeyboardInterrupt``.

    Examples
    --------
    >>> result = train_run(RunSettings(dataset="bbbp", released=True), "runs/bbbp")  # doctest: +SKIP
    >>> result.metrics["test"]["roc_auc"]                                            # doctest: +SKIP
    0.94
    """
    from dc_graphsam.hf.run_training import Training

    started = time.perf_counter()
    notify = notify or logger.info
    folder = RunFolder(output)
    folder.prepare(overwrite=overwrite, resume=resume)
    return Training(settings, folder, progress, notify, resume).run(keep_checkpoints, started)


def load_run(path: str | Path) -> LoadedRun:
    """Load the model of a run folder.

    Parameters
    ----------
    path
        The folder.

    Returns
    -------
    LoadedRun

    Raises
    ------
    RunFolderError
        If it is no run of this package, is not finished, or its files do not belong together.
    """
    folder = RunFolder(path)
    config = folder.read_json("config.json")
    kind = config.get("model_type")
    if kind != "compt":
        raise RunFolderError(f"{folder} holds a model of type {kind!r}; this program reads 'compt'")
    if not folder.has("model.safetensors"):
        raise RunFolderError(f"{folder} has no model.safetensors{folder.what_it_is()}")
    from dc_graphsam.models import CoMPTForPropertyPrediction

    model = _from_pretrained(folder, CoMPTForPropertyPrediction)
    return LoadedRun(folder, model.eval(), _load_processor(folder, model.config))


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep ``transformers`` from drawing bars for what takes milliseconds here, and from reports that we sum up."""
    from transformers.utils import logging as their_logging

    shown, level = their_logging.is_progress_bar_enabled(), their_logging.get_verbosity()
    their_logging.disable_progress_bar()
    their_logging.set_verbosity_error()
    try:
        yield
    finally:
        their_logging.set_verbosity(level)
        if shown:
            their_logging.enable_progress_bar()


def _from_pretrained(folder: RunFolder, model_class):
    from safetensors import SafetensorError

    try:
        with quiet_transformers():
            # ignore_mismatched_sizes: our own class refuses them, and says which
            return model_class.from_pretrained(str(folder.path), local_files_only=True, ignore_mismatched_sizes=True)
    except (DCGraphSAMError, RuntimeError, OSError, TypeError, KeyError, SafetensorError) as error:
        raise RunFolderError(f"{folder} cannot be loaded: {' '.join(str(error).split())[:300]}") from None


def _load_processor(folder: RunFolder, config):
    from dc_graphsam.hf import MoleculeProcessor

    stored = folder.read_json("processor_config.json").get("feature_set", config.feature_set)
    if not config.accepts_feature_set(stored):
        raise RunFolderError(
            f"{folder}: its processor makes the features {stored!r}, its model reads {config.feature_set!r}; "
            f"the files come from different runs"
        )
    return MoleculeProcessor.from_pretrained(str(folder.path))


def to_device(model, device: str = "auto"):
    """Move a model to ``"cpu"``, ``"cuda"``, or the better one that is there (``"auto"``)."""
    import torch

    check_choice("device", device, ("auto", "cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidArgumentError("device is 'cuda', but there is no CUDA device here; accepted: auto, cpu")
    return model.to("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def evaluate_run(
    path: str | Path,
    *,
    dataset: str | None = None,
    data: str | Path | None = None,
    smiles_column: str | None = None,
    split: str | None = None,
    data_dir: str | Path | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Metrics of a trained model.

    Parameters
    ----------
    path
        Run folder.
    dataset, data
        Labelled data that the run has not seen; all of its rows count. Without them, the run's own.
    smiles_column, data_dir
        As in :class:`~dc_graphsam.hf.run_settings.RunSettings`.
    split
        ``"train"``, ``"validation"`` or ``"test"`` of the run's own data (``data`` then says where they lie now), or
        ``"all"``. By default ``"test"`` of the own data, ``"all"`` of others.
    batch_size
        Molecules per batch; by default as in training, which gives the numbers of ``metrics.json`` again.
    progress
        Whether to show progress bars while data are read.

    Returns
    -------
    dict
        ``data``, ``split``, ``molecules``, ``dropped`` and ``metrics``.
    """
    from dc_graphsam.data import dropped_rows
    from dc_graphsam.hf.run_data import load_all_rows, load_data

    split = split or ("test" if dataset is None and data is None else "all")
    check_choice("split", split, ("train", "validation", "test", "all"))
    if dataset is not None and data is not None:
        raise InvalidArgumentError("dataset and data are both given; name one")
    run = load_run(path)
    own = RunSettings.from_flat(read_run_yaml(run.folder / "run.yaml")) if run.folder.has("run.yaml") else None
    is_own = split != "all" or (dataset is None and data is None)
    if is_own:
        if own is None:
            raise RunFolderError(
                f"{run.folder} does not say which data it was trained on; name them with --dataset or --data"
            )
        if (dataset is not None and dataset != own.dataset) or (data is not None and own.data is None):
            raise InvalidArgumentError(f"split is {split!r}, a part of the run's own data, which are {own.name!r}")
        moved = {"data": str(data)} if data is not None else {}
        moved.update({"data_dir": str(data_dir)} if data_dir is not None else {})
        own = replace(own, **moved)
        if own.data is not None and not Path(own.data).exists():
            raise MissingDataError(
                f"the data of the run, {own.data}, is not here; say where it is: --data FILE --split {split}"
            )
        parts = load_data(own, splits=run.folder / "splits.json", progress=progress)
        if split == "all":
            from datasets import concatenate_datasets

            rows = concatenate_datasets(list(parts.values()))
            dropped = len(dropped_rows(parts))
        else:
            rows, dropped = parts[split], len(dropped_rows(parts))
        name = own.name
    else:
        rows = load_all_rows(
            run.model.config,
            dataset=dataset,
            data=data,
            smiles_column=smiles_column,
            data_dir=data_dir,
            progress=progress,
        )
        dropped, name = len(dropped_rows(rows)), dataset or Path(data).name
    if batch_size is None:
        batch_size = stored_batch_size(run.folder)
    metrics, _ = evaluate_model(run.model, rows, batch_size)
    return {"data": name, "split": split, "molecules": len(rows), "dropped": dropped, "metrics": metrics}


def stored_batch_size(folder: RunFolder) -> int:
    """Batch size that the metrics of a run were computed with."""
    default = DEFAULTS["per_device_eval_batch_size"]
    if not folder.has("run.json"):
        return default
    return int(folder.read_json("run.json").get("training", {}).get("per_device_eval_batch_size", default))


def evaluate_model(model, rows, batch_size: int) -> tuple[dict[str, float], np.ndarray]:
    """Metrics of all tasks, and predictions [n, T] as of ``predict_graphs``, for a split of labelled data."""
    from dc_graphsam.data import MoleculeTable, label_matrix
    from dc_graphsam.hf.predict_molecules import predict_graphs
    from dc_graphsam.metrics import all_metrics

    config, spec = model.config, TaskSpec.of(rows)
    table = MoleculeTable(rows)
    values, reasons = predict_graphs(
        model, [table[i] for i in range(len(table))], batch_size, logits=True, feature_set=spec.feature_set
    )
    known = np.array([reason is None for reason in reasons], bool)
    if not known.all():
        logger.warning(
            "%d of %d molecules have no prediction and are left out (%s)",
            (~known).sum(),
            len(known),
            next(reason for reason in reasons if reason is not None),
        )
    labels = label_matrix(rows)
    metrics, left_out = all_metrics(config.task_type, labels[known], values[known], config.task_names)
    if left_out:
        shown = ", ".join(f"{task} ({why})" for task, why in list(left_out.items())[:5])
        more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
        logger.warning("left out of the mean over tasks: %s%s", shown, more)
    if config.task_type == "classification":
        values = 1 / (1 + np.exp(-values.astype(np.float64)))
    return metrics, values
