"""How a training run ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dc_graphsam.runs.settings import RunSettings

__all__ = ["RunInterrupted", "RunResult"]


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
