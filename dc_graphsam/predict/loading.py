"""The model of a run folder, ready to predict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dc_graphsam.catalogue import NETWORKS
from dc_graphsam.exceptions import DCGraphSAMError, InvalidArgumentError, RunFolderError, check_choice
from dc_graphsam.run_folder import RunFolder

__all__ = ["LoadedRun", "load_run", "quiet_transformers", "to_device"]


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
    if kind not in NETWORKS:
        accepted = ", ".join(map(repr, NETWORKS))
        raise RunFolderError(f"{folder} holds a model of type {kind!r}; this program reads {accepted}")
    if not folder.has("model.safetensors"):
        raise RunFolderError(f"{folder} has no model.safetensors{folder.what_it_is()}")
    import dc_graphsam.models

    model = _from_pretrained(folder, getattr(dc_graphsam.models, NETWORKS[kind].classes[2]))
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
    from dc_graphsam.processing import MoleculeProcessor

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
