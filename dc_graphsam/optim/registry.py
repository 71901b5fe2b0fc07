"""All optimizers by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch.optim import Optimizer

from dc_graphsam.exceptions import check_choice
from dc_graphsam.optim.methods.ae_sam import AESAM
from dc_graphsam.optim.methods.esam import ESAM
from dc_graphsam.optim.methods.graphsam import GraphSAM
from dc_graphsam.optim.methods.looksam import LookSAM
from dc_graphsam.optim.methods.momentum_sam import MomentumSAM
from dc_graphsam.optim.methods.rst import RST
from dc_graphsam.optim.methods.sam import ASAM, SAM
from dc_graphsam.optim.methods.sam_k import SAMk, SAMOne
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


OPTIMIZERS: Mapping[str, OptimizerInfo] = MappingProxyType(
    {
        info.name: info
        for info in (
            OptimizerInfo("none", None, "1", 0),
            OptimizerInfo("sam", SAM, "2", 1),
            OptimizerInfo("asam", ASAM, "2", 1),
            OptimizerInfo("sam-one", SAMOne, "1", 2),
            OptimizerInfo("sam-k", SAMk, "1 + 1/k", 2),
            OptimizerInfo("looksam", LookSAM, "1 + 1/k", 2),
            OptimizerInfo("ae-sam", AESAM, "1 + share of steps that fire", 1),
            OptimizerInfo("rst", RST, "1 + p", 1),
            OptimizerInfo("esam", ESAM, "2", 1),
            OptimizerInfo("graphsam", GraphSAM, "1 + 1/n with n steps per epoch", 2),
            OptimizerInfo("momentum-sam", MomentumSAM, "1", 1),
        )
    }
)


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
