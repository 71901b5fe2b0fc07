"""Defaults of the hyper-parameter search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dc_graphsam.hf.training_args import GraphSAMTrainingArguments

__all__ = ["DefaultSpace", "ObjectiveOf"]

# Ranges that the GraphSAM paper searches (A.4).
SPACE = {
    "rho": (0.05, 0.01, 0.005, 0.001),
    "beta": (0.9, 0.99, 0.999),
    "gamma": (0.5, 0.2, 0.1),
    "rho_update_epochs": (1, 3, 5),
}


class DefaultSpace:
    """Search space over those of ρ, β, γ, λ that play a part, for Optuna; over the learning rate where none does.

    Parameters
    ----------
    args
        Name the method.
    """

    def __init__(self, args: GraphSAMTrainingArguments) -> None:
        self.space = {name: values for name, values in SPACE.items() if getattr(args, name) is not None}
        if not self.space:
            self.space = {"learning_rate": (1e-4, 3e-4, 1e-3, 3e-3)}

    def __call__(self, trial: Any) -> dict[str, Any]:
        return {name: trial.suggest_categorical(name, values) for name, values in self.space.items()}


class ObjectiveOf:
    """The value of one metric, as what a search optimises.

    Parameters
    ----------
    metric
        Its name, with or without ``eval_``.

    Examples
    --------
    >>> ObjectiveOf("rmse")({"eval_loss": 1.0, "eval_rmse": 0.5})
    0.5
    """

    def __init__(self, metric: str) -> None:
        self.key = metric if metric.startswith("eval_") else f"eval_{metric}"

    def __call__(self, metrics: dict[str, float]) -> float:
        return metrics[self.key]
