"""``run.json``: what was done, with what, on what."""

from __future__ import annotations

import platform
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dc_graphsam.run_folder import RunFolder
from dc_graphsam.runs.settings import RunSettings, portable_path
from dc_graphsam.tasks import TaskSpec

__all__ = ["plain_name", "record_of_run"]

FORMAT = 1
_PACKAGES = ("dc_graphsam", "torch", "transformers", "accelerate", "datasets", "deepchem", "dgl", "rdkit", "numpy")
_NOT_WRITTEN = ("output_dir", "run_name", "hub_token", "hub_model_id", "resume_from_checkpoint", "disable_tqdm")


def record_of_run(
    settings: RunSettings,
    folder: RunFolder,
    arguments: Any,
    spec: TaskSpec,
    config: Any,
    about_data: dict[str, Any],
    *,
    parameters: int,
    processes: int,
    started: str,
    seconds: float | None,
) -> dict[str, Any]:
    """Content of ``run.json``; :mod:`dc_graphsam.report.page` says what its fields are.

    Parameters
    ----------
    settings, folder
        Of the run.
    arguments
        Its :class:`~dc_graphsam.hf.GraphSAMTrainingArguments`.
    spec, config
        Tasks, and configuration of the model.
    about_data
        What :func:`~dc_graphsam.runs.data.describe_dataset` says.
    parameters
        Of the model.
    processes
        That trained it.
    started, seconds
        When, and how long; ``None`` as long as it goes on.
    """
    own = {f.name for f in fields(arguments)} - _inherited_fields()
    changed = {f.name: getattr(arguments, f.name) for f in fields(arguments) if f.name not in _NOT_WRITTEN}
    changed = {name: value for name, value in changed.items() if name not in own and _is_plain(value)}
    portable = settings.portable()
    return {
        "format": FORMAT,
        "command": portable.command("--output", str(portable_path(folder.path))),
        "dataset": about_data,
        "task": spec.record(),
        "model": {
            "name": settings.model,
            "parameters": parameters,
            "released": settings.released,
            "config": config.to_diff_dict(),
        },
        "optimizer": {
            "name": settings.optimizer,
            "base": plain_name(arguments.optim),
            **{name: getattr(arguments, name) for name in sorted(own)},
            **arguments.method_options(),
        },
        "training": changed,
        "versions": {
            "python": platform.python_version(),
            **{name: v for name in _PACKAGES if (v := _version(name))},
        },
        "device": _device(arguments),
        **({"processes": processes} if processes > 1 else {}),
        "seconds": seconds,
        "started": started,
    }


def _inherited_fields() -> set[str]:
    from transformers import TrainingArguments

    return {f.name for f in fields(TrainingArguments)}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool, dict, list))


def plain_name(value: Any) -> str:
    """Of a member of an enumeration its value, of a text itself."""
    return str(getattr(value, "value", value))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device(arguments) -> str:
    import torch

    if arguments.device.type == "cuda":
        return torch.cuda.get_device_name(arguments.device)
    return f"{arguments.device.type}, {torch.get_num_threads()} threads"
