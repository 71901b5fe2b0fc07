"""A training run in a folder, begun or continued."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.run_folder import RunFolder
from dc_graphsam.runs.results import RunResult
from dc_graphsam.runs.settings import RunSettings, read_run_yaml

__all__ = ["resume_settings", "train_run"]

logger = logging.getLogger(__name__)

# May differ between an interrupted run and its continuation: where things lie, and how fast they are read.
_RELOCATABLE = (
    *("data", "data_dir", "splits_file", "test_data", "validation_data"),
    *("dataloader_num_workers", "dataloader_prefetch_factor", "use_cpu"),
)


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

    Called in several processes (``torchrun``, ``accelerate launch``), all of them train, each on its part of every batch; the
    first one alone prepares the data, writes and calls ``notify``, and all return the same.

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
    from dc_graphsam.runs.ranks import process_count
    from dc_graphsam.runs.training import Training

    started = time.perf_counter()
    notify = notify or logger.info
    folder = RunFolder(output)
    if process_count() == 1:  # of several, the first does it when all have come together
        folder.prepare(overwrite=overwrite, resume=resume)
    return Training(settings, folder, progress, notify, resume).run(keep_checkpoints, started, overwrite)
