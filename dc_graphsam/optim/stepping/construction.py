"""Checks at the entry of an optimizer, and the base optimizer it wraps."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

import torch
from torch.optim import Optimizer

from dc_graphsam.exceptions import InvalidArgumentError, check_range, check_whole

__all__ = ["MakesBase", "check_base", "check_epoch", "check_groups", "completed", "own_options"]

MakesBase = Callable[..., Optimizer]  # a class, or callable(params, **options)

_PLAIN_ONLY = (torch.optim.LBFGS, torch.optim.SparseAdam)


# What the docstring of every method says, written once.
_SHARED = {
    "params, base_optimizer, **options": "As for :class:`SharpnessAwareOptimizer`.",
    "rho : float": "Radius ρ.",
}
_RAISES = """Raises
------
InvalidArgumentError
    If an option is unknown or out of its range.
"""


def completed(doc: str) -> str:
    """A method's docstring, with the parameters that all methods have, and what they raise, unless it says so itself.

    >>> print(completed("Climbs.\\n\\nParameters\\n----------\\nk : int\\n    Steps.\\n\\nExamples\\n--------\\nNone"))
    Climbs.
    <BLANKLINE>
    Parameters
    ----------
    params, base_optimizer, **options
        As for :class:`SharpnessAwareOptimizer`.
    rho : float
        Radius ρ.
    k : int
        Steps.
    <BLANKLINE>
    Raises
    ------
    InvalidArgumentError
        If an option is unknown or out of its range.
    <BLANKLINE>
    Examples
    --------
    None
    <BLANKLINE>
    """
    doc, heading = inspect.cleandoc(doc) + "\n", "Parameters\n----------\n"
    head, _, examples = doc.partition("Examples\n--------\n")
    if heading not in head:
        head += f"{heading}\n"
    own = head.partition(heading)[2].splitlines()
    said = {word for line in own for word in line.partition(" : ")[0].split(", ") if not line.startswith(" ")}
    shared = [
        f"{name}\n    {text}\n"
        for name, text in _SHARED.items()
        if said.isdisjoint(name.split(" : ")[0].split(", ")[:1])
    ]
    head = head.replace(heading, heading + "".join(shared))
    if "Raises\n------\n" not in head:
        head += f"{_RAISES}\n"
    return f"{head}Examples\n--------\n{examples}" if examples else head


def check_epoch(epoch: Any) -> int:
    """Return ``epoch`` if it is a whole number >= 0."""
    return check_whole("epoch", epoch, 0)


def check_groups(groups: Iterable[dict[str, Any]]) -> None:
    """Check the radius of each parameter group, and warn of weights too coarse to be perturbed."""
    coarse = set()
    for group in groups:
        rho = check_range("rho", group["rho"], 0)
        if rho > 0:
            coarse |= {p.dtype for p in group["params"] if p.dtype in (torch.float16, torch.bfloat16)}
    if coarse:
        warnings.warn(
            f"some weights are {', '.join(sorted(map(str, coarse)))}: a perturbation of a typical rho is below half a unit "
            "in their last place and rounds away; keep the weights in float32 and use autocast",
            stacklevel=4,
        )


def own_options(cls: type) -> tuple[str, ...]:
    """Names of the options a class adds to those of its base optimizer."""
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if base is Optimizer:
            break
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            names.update((p.name, None) for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
    hidden = ("self", "params", "base_optimizer", *getattr(cls, "not_options", ()))
    return tuple(name for name in names if name not in hidden)


def check_base(cls: type, base_optimizer: Any, options: dict[str, Any]) -> Callable[..., Optimizer]:
    """Return ``base_optimizer`` if it makes an optimizer that takes ``options``.

    Raises
    ------
    InvalidArgumentError
        If it is an instance, cannot be called, needs a closure of its own, or does not know an option.
    """
    if isinstance(base_optimizer, Optimizer):
        kind = type(base_optimizer).__name__
        raise InvalidArgumentError(
            f"base_optimizer is an instance of {kind}; accepted: a class or a callable(params, **options), as in "
            f"{cls.__name__}(params, torch.optim.{kind}, lr=...)"
        )
    if not callable(base_optimizer):
        raise InvalidArgumentError(
            f"base_optimizer is {base_optimizer!r}; accepted: a class or a callable(params, **options) that returns a "
            "torch.optim.Optimizer"
        )
    if isinstance(base_optimizer, type) and issubclass(base_optimizer, _PLAIN_ONLY):
        raise InvalidArgumentError(
            f"base_optimizer is {base_optimizer.__name__}; accepted: one that steps on dense gradients without a closure"
        )
    try:
        parameters = inspect.signature(base_optimizer).parameters.values()
    except (TypeError, ValueError):  # compiled callables have no signature
        return base_optimizer
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return base_optimizer
    known = [p.name for p in parameters][1:]
    for name in options:
        if name not in known:
            own = own_options(cls)
            close = get_close_matches(name, [*own, *known], n=1)
            raise InvalidArgumentError(
                f"{name} is no argument of {cls.__name__} or its base optimizer; accepted: {', '.join([*own, *known])}"
                + (f". Did you mean {close[0]!r}?" if close else "")
            )
    return base_optimizer
