"""Progress of a training run: a bar on a terminal, a few lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from transformers import TrainerCallback

__all__ = ["RunProgress"]

_LINES = 10  # over a whole training, where there is no bar


class RunProgress(TrainerCallback):
    """Show how far a training is, how fast, and how good.

    Parameters
    ----------
    notify
        Takes lines of text, where there is no bar.
    metric
        Name of the validation metric to show.
    molecules
        Size of the training split.
    bar
        Whether to show a bar.
    """

    def __init__(self, notify: Callable[[str], None], metric: str, molecules: int, bar: bool) -> None:
        self.notify = notify
        self.metric = metric
        self.molecules = molecules
        self.shows_bar = bar
        self.bar = None
        self.notes: dict[str, str] = {}
        self._started = 0.0
        self._first_step = 0

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self._started, self._first_step = time.perf_counter(), state.global_step
        self._per_step = self.molecules * state.num_train_epochs / max(state.max_steps, 1)
        if self.shows_bar:
            from dc_graphsam.progress import progress_bar

            form = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
            self.bar = progress_bar(
                total=state.max_steps, initial=state.global_step, bar_format=form, dynamic_ncols=True
            )

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(
                ", ".join([f"{self._speed(state):,.0f} mol/s", *self.notes.values()]), refresh=False
            )
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        logs = logs or {}
        if "loss" in logs:
            self.notes["loss"] = f"loss {logs['loss']:.3g}"
        value = logs.get(f"eval_{self.metric}")
        if value is None:
            return
        self.notes["valid"] = f"valid {self.metric} {value:.4g}"
        epoch, epochs = round(state.epoch), state.num_train_epochs
        if not self.shows_bar and (epoch == epochs or epoch % max(epochs // _LINES, 1) == 0):
            self.notify(
                f" epoch {epoch}/{epochs}  {'  '.join(self.notes.values())}  {self._speed(state):,.0f} molecules/s"
            )

    def _speed(self, state) -> float:
        seconds = time.perf_counter() - self._started
        return (state.global_step - self._first_step) * self._per_step / max(seconds, 1e-9)

    def on_train_end(self, args, state, control, **kwargs) -> None:
        self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
