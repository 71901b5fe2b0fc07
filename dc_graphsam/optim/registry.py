"""All optimizers by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

import torch
from torch.optim import Optimizer

from dc_graphsam.catalogue import METHODS, Method
from dc_graphsam.exceptions import check_choice
from dc_graphsam.optim.stepping.base import SharpnessAwareOptimizer
from dc_graphsam.optim.stepping.construction import check_base, own_options

__all__ = ["OPTIMIZERS", "OptimizerInfo", "build_optimizer"]


@dataclass(frozen=True)
class OptimizerInfo:
    """One entry of ``OPTIMIZERS``.

    Attributes
    ----------
    name : str
        Name in ``build_optimizer``.
    cls : type, optional
        The class; None for ``"none"``, the base optimizer alone.
    passes : str
        Forward-backward passes per step.
    extra_copies : int
        Copies of the trainable weights held beyond the base optimizer's state.
    """

    name: str
    cls: type[SharpnessAwareOptimizer] | None
    passes: str
    extra_copies: int

    @property
    def own_options(self) -> tuple[str, ...]:
        """Options of this method alone, the radius among them."""
        if self.cls is None:
            return ()
        shared = inspect.signature(SharpnessAwareOptimizer.__init__).parameters
        return tuple(name for name in self.options if name == "rho" or name not in shared)

    @property
    def options(self) -> tuple[str, ...]:
        """All options the method adds to those of its base optimizer."""
        return () if self.cls is None else own_options(self.cls)


def _info(method: Method) -> OptimizerInfo:
    module = import_module(f"dc_graphsam.optim.methods.{method.module}") if method.module else None
    cls = getattr(module, method.cls) if module else None
    return OptimizerInfo(method.name, cls, method.passes, method.extra_copies)


OPTIMIZERS: Mapping[str, OptimizerInfo] = MappingProxyType({name: _info(method) for name, method in METHODS.items()})


def build_optimizer(
    name: str, params: Any, base_optimizer: Callable[..., Optimizer] = torch.optim.Adam, **options: Any
) -> Optimizer:
    """Make an optimizer by name.

    Parameters
    ----------
    name : str
        A key of ``OPTIMIZERS``: ``"none"`` is the base optimizer alone.
    params : iterable
        Parameters or groups.
    base_optimizer : type or callable
        What makes the descent step.
    **options
        Options of the method (``OPTIMIZERS[name].options``) and of the base optimizer.

    Returns
    -------
    torch.optim.Optimizer

    Raises
    ------
    InvalidArgumentError
        If the name or an option is unknown.

    Examples
    --------
    >>> build_optimizer("looksam", [torch.nn.Parameter(torch.ones(2))], torch.optim.SGD, lr=0.1, k=5).k
    5
    >>> OPTIMIZERS["rst"].own_options
    ('rho', 'p', 'p_end', 'total_steps', 'kappa', 'seed', 'preset')
    """
    info = OPTIMIZERS[check_choice("name", name, OPTIMIZERS)]
    if info.cls is None:
        return check_base(Optimizer, base_optimizer, options)(params, **options)
    return info.cls(params, base_optimizer, **options)
