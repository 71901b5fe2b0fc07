"""Copies of a ``TorchModel``: by ``copy.deepcopy``, pickle and joblib, and in other processes."""

from __future__ import annotations

import tempfile
from typing import Any

__all__ = ["Copies"]


class Copies:
    """Goes before ``TorchModel`` among the base classes.

    A copy has weights, optimizer and learning-rate schedule of its own and goes on as the original would. Where the original
    writes into a temporary folder, which DeepChem deletes with the model, the copy has one of its own, which is empty; a folder
    that was given by name is that of both. What belongs to a ``fit`` under way stays behind.
    """

    def __getstate__(self) -> dict[str, Any]:
        fitting = ("_steps", "_single_batch", "_summary_writer")
        state = {name: value for name, value in vars(self).items() if name not in fitting}
        if self.model_dir_is_temp:
            state["model_dir"] = None  # whatever happens on the way, the copy deletes nothing of the original's
        if hasattr(
            self._loss_fn, "criterion"
        ):  # made by DeepChem of a recipe; it holds a function that cannot be pickled
            state["_loss_fn"] = type(self._loss_fn), self._loss_fn.loss
        if self._built:  # so do schedules
            state["_lr_schedule"] = _numbers_of(self._lr_schedule)
        state["_optimizer_for_vars"] = {
            key: (optimizer, _numbers_of(schedule)) for key, (optimizer, schedule) in self._optimizer_for_vars.items()
        }
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        folder = tempfile.mkdtemp() if state["model_dir"] is None else state["model_dir"]
        self.__dict__.update(state, model_dir=folder)
        if isinstance(self._loss_fn, tuple):
            kind, recipe = self._loss_fn
            self._loss_fn = kind(self, recipe)
        if self._built:
            self._lr_schedule = self._schedule_again(self._pytorch_optimizer, self._lr_schedule)
            self._keep_schedule()
        for key, (optimizer, schedule) in self._optimizer_for_vars.items():
            self._optimizer_for_vars[key] = optimizer, self._schedule_again(optimizer, schedule)
        if self.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._summary_writer = SummaryWriter(self.model_dir)

    def _schedule_again(self, optimizer: Any, numbers: dict[str, Any] | None) -> Any:
        """The schedule of the recipe, gone as far as ``numbers`` say, or None if there was none."""
        if numbers is None:
            return None
        options = [
            {name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups
        ]
        schedule = self.optimizer.learning_rate._create_pytorch_schedule(optimizer)
        schedule.load_state_dict(numbers)
        for group, own in zip(optimizer.param_groups, options, strict=True):
            group.update(own)  # making a schedule sets the first rate
        return schedule


def _numbers_of(schedule: Any) -> dict[str, Any] | None:
    return None if schedule is None else schedule.state_dict()
