"""From training arguments to a sharpness-aware optimizer around the Trainer's own."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from dc_graphsam.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from torch.optim import Optimizer

__all__ = ["method_defaults", "method_names", "trial_optimizer", "wrap_optimizer"]

# The Trainer has these itself.
_OURS = ("model", "max_grad_norm", "same_noise", "sync_perturbation")


def method_names() -> tuple[str, ...]:
    """Names of the methods, ``"none"`` among them."""
    from dc_graphsam.optim import OPTIMIZERS

    return tuple(OPTIMIZERS)


def method_defaults(name: str) -> dict[str, Any]:
    """Options of a method and their defaults, those of its base classes included.

    >>> method_defaults("graphsam")["beta"], method_defaults("none")
    (0.99, {})
    """
    from dc_graphsam.optim import OPTIMIZERS

    info = OPTIMIZERS[name]
    defaults: dict[str, Any] = {}
    for cls in info.cls.__mro__ if info.cls is not None else ():
        if "__init__" in vars(cls):
            for parameter in inspect.signature(cls.__init__).parameters.values():
                if parameter.name in info.options and parameter.name not in _OURS:
                    defaults.setdefault(parameter.name, parameter.default)
    return defaults


def trial_optimizer(name: str, options: dict[str, Any]) -> Any:
    """The method on one number, to check its options and to read what it makes of those left open."""
    import torch

    weight = torch.nn.Parameter(torch.zeros(1))
    return _build(name, [weight], torch.optim.SGD, {**options, "lr": 1.0}, total_steps=1, seed=0)


def wrap_optimizer(
    name: str, base: Optimizer, options: dict[str, Any], *, model: Any, total_steps: int, seed: int
) -> Any:
    """A method, around an optimizer that has been made.

    Parameters
    ----------
    name
        Of the method, as in :data:`dc_graphsam.optim.OPTIMIZERS`.
    base
        Plain optimizer whose parameter groups are taken over.
    options
        Those of the method that are not left to their defaults.
    model
        The model whose parameters they are; methods that look at parameter names read them from it.
    total_steps, seed
        Of the run, for methods that plan ahead or draw.

    Raises
    ------
    InvalidArgumentError
        If an option does not fit.
    """
    options = {**options, "model": model}
    if options.get("preset") == "released":
        options.setdefault("groups", "all")  # the Trainer makes two groups of what was one in the released code
    return _build(name, base.param_groups, lambda groups, **_: base, options, total_steps, seed)


def _build(name: str, params: Any, base_optimizer: Any, options: dict[str, Any], total_steps: int, seed: int) -> Any:
    from dc_graphsam.optim import build_optimizer

    if options.get("loss_weighting") == "elementwise":
        raise InvalidArgumentError("loss_weighting is 'elementwise'; accepted by the Trainer: 'none', 'loss'")
    if options.get("sample_share", 1) != 1:
        raise InvalidArgumentError(
            f"sample_share is {options['sample_share']!r}; accepted by the Trainer, whose models return one loss per batch: 1"
        )
    known = {"total_steps": max(total_steps, 1), "seed": seed}
    accepted = method_defaults(name)
    options = {**{key: value for key, value in known.items() if key in accepted}, **options}
    return build_optimizer(name, params, base_optimizer, **options)
