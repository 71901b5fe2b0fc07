"""Looking inside a run of the Trainer: probes of the gradients, and how sharp the place is that it has come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer, TrainerCallback

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.optim.perturbed.noise import SameNoise

if TYPE_CHECKING:
    from dc_graphsam.optim import SharpnessAwareOptimizer

__all__ = ["SharpnessProbe", "attach_probe", "measure_sharpness", "probed_values"]


class SharpnessProbe(TrainerCallback):
    """Measures the sharpness at the end of each epoch: ``GraphSAMTrainingArguments(inspect_sharpness=True)``.

    Parameters
    ----------
    measure
        Called without arguments; :meth:`dc_graphsam.hf.GraphSAMTrainer.measure_sharpness`.
    """

    def __init__(self, measure: Callable[[], Any]) -> None:
        self._measure = measure

    def on_epoch_end(self, args, state, control, **kwargs) -> None:
        asked = control.should_log  # a record of our own must not stand for the one that is due
        self._measure()
        control.should_log = asked


def attach_probe(sam: SharpnessAwareOptimizer | None, args: Any) -> None:
    """Give the optimizer what ``inspect_every`` asks for: a fresh probe, or none."""
    from dc_graphsam.optim import GradientProbe

    if sam is not None:
        sam.probe = GradientProbe(args.inspect_every, args.inspect_tensors) if args.inspect_every else None


def probed_values(sam: SharpnessAwareOptimizer | None, model: torch.nn.Module) -> dict[str, float]:
    """Means over the probes since the last call, for the log; this is where the device is waited for."""
    if sam is None or sam.probe is None:
        return {}
    known = {id(p): name for name, p in model.named_parameters()}
    params = [p for group in sam.param_groups for p in group["params"]]
    names = [known.get(id(p), str(i)) for i, p in enumerate(params)]
    return {name: float(f"{value:.7g}") for name, value in sam.probe.read(names).items()}


def measure_sharpness(
    trainer: Trainer, rho: float | None, dataset: Any, batch_size: int | None, eigenvalue: bool
) -> dict[str, float]:
    """See :meth:`GraphSAMTrainer.measure_sharpness`."""
    from dc_graphsam.hf.passes import find_sharpness_aware
    from dc_graphsam.optim import largest_hessian_eigenvalue, sharpness

    sam = find_sharpness_aware(trainer.optimizer)
    if sam is not None and sam.perturbed:
        raise InvalidArgumentError("the weights are perturbed; measure_sharpness is accepted outside a step")
    if dataset is None:
        dataset = trainer.train_dataset
    if dataset is None or not hasattr(dataset, "__len__"):
        raise InvalidArgumentError(
            "dataset is None and train_dataset has no length; accepted: a data set whose first rows can be taken"
        )
    model = trainer.model
    rows = _first_rows(dataset, batch_size or trainer.args.per_device_train_batch_size)
    noise = SameNoise([trainer.args.device])
    modes = [(module, module.training) for module in model.modules()]
    with noise.record():
        inputs = trainer._prepare_inputs(next(iter(trainer.get_eval_dataloader(rows))))
    model.eval()

    def loss() -> torch.Tensor:
        with trainer.compute_loss_context_manager():
            return trainer.compute_loss(model, inputs).float()

    if rho is None:  # that of the groups, which no schedule changes: values of different epochs can be compared
        rho = max((group["rho"] for group in sam.param_groups), default=0.0) if sam is not None else 0.0
    radius = rho or 0.05
    try:
        found = {"sharpness": sharpness(loss, model, radius), "sharpness_rho": radius}
        if eigenvalue:
            found["hessian_eigenvalue"] = largest_hessian_eigenvalue(loss, model, iterations=20, tolerance=1e-2)
    finally:
        for module, training in modes:
            module.training = training
        noise.rewind()
    return {name: float(f"{value:.7g}") for name, value in found.items()}


def _first_rows(dataset: Any, count: int) -> Any:
    count = min(count, len(dataset))
    if hasattr(dataset, "select"):  # datasets.Dataset
        return dataset.select(range(count))
    return torch.utils.data.Subset(dataset, range(count))
