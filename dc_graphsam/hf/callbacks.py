"""What the Trainer's events mean for a sharpness-aware run."""

from __future__ import annotations

import time
from typing import Any, Protocol

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

__all__ = ["CountsPasses", "SharpnessCallback"]


class CountsPasses(Protocol):
    """What :class:`SharpnessCallback` needs of a trainer."""

    passes: int

    def begin_training(self, passes: int) -> None: ...

    def begin_epoch(self, epoch: int) -> None: ...

    def end_step(self) -> None: ...


class SharpnessCallback(TrainerCallback, ExportableState):
    """Tells optimizer and sampler which epoch begins, counts passes, and measures their rate.

    :class:`~dc_graphsam.hf.GraphSAMTrainer` adds it. Time spent in evaluating, logging and saving does not count.

    Parameters
    ----------
    trainer
        The trainer it belongs to; ``None`` only where its state is passed on.
    """

    def __init__(self, trainer: CountsPasses | None = None) -> None:
        self._trainer = trainer
        self._epoch: int | None = None
        self._passes_at_log = 0
        self._seconds = 0.0
        self._mark = 0.0

    def attach(self, trainer: CountsPasses) -> None:
        """Belong to ``trainer``."""
        self._trainer = trainer

    def state(self) -> dict[str, Any]:
        """For ``trainer_state.json``: the count goes on after a resume."""
        return {"args": {}, "attributes": {"passes": self._trainer.passes if self._trainer is not None else 0}}

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        stored = state.stateful_callbacks.get(type(self).__name__, {}) if state.global_step else {}
        self._trainer.begin_training(passes=int(stored.get("attributes", {}).get("passes", 0)))
        self._epoch = None
        self._passes_at_log = self._trainer.passes
        self._seconds = 0.0

    def on_epoch_begin(self, args, state, control, **kwargs) -> None:
        # A resumed run begins within an epoch or at the end of one; from then on epochs are counted, since one that a
        # callback cuts short leaves a fraction in state.epoch.
        self._epoch = int(state.epoch or 0) if self._epoch is None else self._epoch + 1
        self._trainer.begin_epoch(self._epoch)
        self._mark = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        self._trainer.end_step()
        self.measure()

    def on_evaluate(self, args, state, control, **kwargs) -> None:
        self._mark = time.perf_counter()

    def on_save(self, args, state, control, **kwargs) -> None:
        self._mark = time.perf_counter()

    def on_log(self, args, state, control, **kwargs) -> None:
        self._mark = time.perf_counter()

    def measure(self) -> None:
        """Add the time since the last event."""
        now = time.perf_counter()
        self._seconds += now - self._mark
        self._mark = now

    def pass_rate(self) -> float | None:
        """Passes per second since the last call."""
        self.measure()
        passes, seconds = self._trainer.passes - self._passes_at_log, self._seconds
        self._passes_at_log, self._seconds = self._trainer.passes, 0.0
        return passes / seconds if passes and seconds > 0 else None
