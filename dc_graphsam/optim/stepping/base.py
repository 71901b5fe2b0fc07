"""The common step of all sharpness-aware optimizers.

A method is a subclass with a few hooks: whether it wants the gradient at the clean weights, which direction it climbs
along, what it stores, and which direction it hands to the base optimizer. Everything else is written once, here::

    if method wants it:  g = ∇L(θ)                     pass A
    ε̂ = perturbation(g or stored state, ρ)             ascend
    θ ← θ + ε̂;  ω = ∇L(θ);  θ restored bit for bit     pass B, restore
    stored state ← ω;  d = direction(g, ω)             observe
    clip d if asked;  base optimizer steps on d        step
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dc_graphsam.exceptions import InvalidArgumentError, check_choice, check_range
from dc_graphsam.optim.looking.diagnostics import GradientProbe
from dc_graphsam.optim.memory.adam import AdamStep
from dc_graphsam.optim.memory.block import Scalar, local
from dc_graphsam.optim.memory.layout import Layout, flatten
from dc_graphsam.optim.memory.vector import StoredVector
from dc_graphsam.optim.perturbed.perturbation import Direction, Shape
from dc_graphsam.optim.rho.schedules import RhoSchedule
from dc_graphsam.optim.stepping.construction import MakesBase, check_base, check_groups, completed
from dc_graphsam.optim.stepping.state import StateMixin
from dc_graphsam.optim.stepping.step import StepMixin, StepRecord

__all__ = ["LOSS_WEIGHTINGS", "SharpnessAwareOptimizer"]

LOSS_WEIGHTINGS = ("none", "loss", "elementwise")


class SharpnessAwareOptimizer(StepMixin, StateMixin, Optimizer):
    """Base of all sharpness-aware optimizers: one step at perturbed weights, around any base optimizer.

    There are three ways to drive it.

    1. With a closure that clears the gradients, runs forward and backward and returns the loss:
       ``loss = optimizer.step(closure)`` is the whole step. It returns the loss at the clean weights where the method
       computes it, else the one at the perturbed weights; ``optimizer.last`` has both. Frameworks that hand a closure to
       ``step``, such as Lightning's automatic optimization, need nothing else. With a gradient scaler drive the phases.
    2. A trainer that owns its loop calls the phases::

           if optimizer.wants_clean_gradient:
               ...                      # pass A: forward, backward
           optimizer.ascend()           # θ + ε̂, gradients cleared
           ...                          # pass B: forward, backward
           optimizer.restore()          # θ again, bit for bit
           optimizer.observe()          # optional, before clipping
           optimizer.step()             # the base optimizer's step; skip_step() instead after an overflow

       Either pass may be several micro-batches.
    3. A foreign loop without a closure that calls ``optimizer.train()`` before each forward pass, and
       ``optimizer.eval()`` before evaluation, drives the methods that need one gradient per step (GraphSAM with
       ``anchor="in-stream"``, MomentumSAM, ...). Weights are clean between ``step()`` and the next ``train()``.

    A :class:`GradientProbe` assigned to ``probe`` looks at the gradients of some steps; it changes none.

    Weights outside a step are always the clean θ, the same bits in the same memory. During the pass at θ + ε̂ a parameter on the
    CPU may point to other memory, if nobody holds a view of it; views taken in that pass are of no use after it.

    Parameter groups are the very list of the base optimizer, so that learning-rate schedulers act on both; the radius
    ``rho`` lives in the groups, 0 leaves a group alone. With ``rho=0`` in all groups the step is the base optimizer's, bit
    for bit, and nothing is copied.

    Parameters
    ----------
    params : iterable
        Parameters, (name, parameter) pairs or groups, as any torch optimizer takes them; a group may have its own ``rho``.
    base_optimizer : type or callable
        What makes the descent step: a class, or ``callable(params, **options)``. Not an instance.
    rho : float
        Initial radius ρ >= 0 of the perturbation.
    rho_schedule, gamma, rho_update_epochs, rho_min, lr_min, lr_max
        See :class:`RhoSchedule`.
    adaptive : bool
        Elementwise adaptive perturbation, scaled by T = |θ| + ``eta``.
    eta : float
        See ``adaptive``.
    scope : {"all", "weights"}
        Which parameters ``adaptive`` scales: all, or those with "weight" in their name (from named ``params`` or
        ``model``; where names are unknown, those with two axes or more).
    clip_radius : float, optional
        Largest norm of one tensor's perturbation. Not in the equations; the released code has it.
    radius_schedule : str, optional
        Schedule of ``clip_radius``; that of ρ by default.
    groups : {"all", "first"}
        Which parameter groups are perturbed.
    loss_weighting : {"none", "loss", "elementwise"}
        ``"loss"`` multiplies the updating gradient by the loss, so that it is the gradient of L²/2. With
        ``"elementwise"`` the closure returns the unreduced loss of the measured elements without calling backward; pass A
        then is the gradient of its mean, pass B that of half its sum of squares.
    max_grad_norm : float, optional
        Largest global norm of the direction handed to the base optimizer.
    same_noise : bool
        Whether pass B repeats the random numbers of pass A (with a closure).
    sync_perturbation : bool
        ``False`` runs pass A without gradient averaging between processes (with a closure and a ``model`` that has
        ``no_sync``): every process then perturbs by its own gradient.
    model : torch.nn.Module, optional
        With it, running statistics of batch norm are updated by one pass of a step only (with a closure), and ``scope``
        knows the names.
    **base_options
        Options of the base optimizer, such as ``lr``.

    Raises
    ------
    InvalidArgumentError
        If an option is unknown or out of its range.
    """

    method: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "method" in vars(cls) and cls.__doc__:
            cls.__doc__ = completed(cls.__doc__)

    def __init__(
        self,
        params: Any,
        base_optimizer: MakesBase = torch.optim.Adam,
        *,
        rho: float = 0.05,
        rho_schedule: str = "constant",
        gamma: float = 0.5,
        rho_update_epochs: int = 1,
        rho_min: float | None = None,
        lr_min: float = 0.0,
        lr_max: float | None = None,
        adaptive: bool = False,
        eta: float = 0.0,
        scope: str = "all",
        clip_radius: float | None = None,
        radius_schedule: str | None = None,
        groups: str = "all",
        loss_weighting: str = "none",
        max_grad_norm: float | None = None,
        same_noise: bool = True,
        sync_perturbation: bool = True,
        model: nn.Module | None = None,
        **base_options: Any,
    ) -> None:
        check_range("rho", rho, 0)
        check_range("eta", eta, 0)
        check_choice("scope", scope, ("all", "weights"))
        check_choice("groups", groups, ("all", "first"))
        if clip_radius is not None and clip_radius != math.inf:
            check_range("clip_radius", clip_radius, 0, bounds="()")
        if max_grad_norm is not None:
            check_range("max_grad_norm", max_grad_norm, 0, bounds="()")
        self.rho_schedule = RhoSchedule(rho_schedule, gamma, rho_update_epochs, rho_min, lr_min, lr_max)
        self.radius_schedule = replace(self.rho_schedule, name=radius_schedule or rho_schedule, rho_min=0.0)
        self.clip_radius = None if clip_radius == math.inf else clip_radius
        self.loss_weighting = check_choice("loss_weighting", loss_weighting, LOSS_WEIGHTINGS)
        self.max_grad_norm, self.groups = max_grad_norm, groups
        self.same_noise, self.sync_perturbation, self.model = same_noise, sync_perturbation, model
        base_optimizer = check_base(type(self), base_optimizer, base_options)
        super().__init__(params, {"rho": rho})
        base = base_optimizer(self.param_groups, **base_options)
        for group in base.param_groups:
            group.setdefault("rho", rho)
        check_groups(base.param_groups)
        self.base_optimizer = base
        self._adam = AdamStep(base)
        self.defaults = {**base.defaults, "rho": rho}
        self._first_lr = [group.get("lr") for group in base.param_groups]
        self._shape = Shape(adaptive, eta, self._is_weight if scope == "weights" else None)
        self._names: dict[int, str] | None = None
        self._layout = Layout()
        self._vectors: dict[str, StoredVector] = {}
        self.epoch: int | None = None
        self.steps = self.steps_in_epoch = 0
        self.last = StepRecord()
        self.probe: GradientProbe | None = None
        self._hold = False
        self._left: tuple[Tensor | None, int] = (None, 0)  # a gradient that the last step has seen
        self._reset()

    # ---------------------------------------------------------------- hooks of the methods
    def _wants_clean(self) -> bool:
        """Whether this step begins with a pass at the clean weights."""
        return True

    def _ascent(self, clean: bool) -> Direction | None:
        """What to climb along, None for no perturbation; ``clean`` says that p.grad holds the clean gradient."""
        return None

    def _observe(self, scale: float, norm: Scalar | None) -> Scalar | None:
        """Update the stored state from ω in p.grad (``scale`` times too large); return ‖ω‖ if it was measured."""
        return None

    def _direct(self, scale: float) -> None:
        """Turn ω in p.grad into the direction d."""

    def _due(self) -> StoredVector | None:
        """A moving average that the base optimizer's step may take along, as it reads ω anyway."""

    def _commit(self) -> None:
        """The step has been made: move counters of the method on."""

    def _abort(self) -> None:
        """The step is not made: it will be asked for again."""

    def _sign(self, group: dict[str, Any]) -> float:
        """Which way the loss gets worse along a gradient."""
        return -1.0 if group.get("maximize") else 1.0

    def _needs_epoch(self) -> bool:
        """Whether nothing can be done before ``set_epoch``."""
        return self.rho_schedule.uses_epoch or (self.clip_radius is not None and self.radius_schedule.uses_epoch)

    def _schedule_epoch(self) -> int:
        return self.epoch or 0

    # ---------------------------------------------------------------- radius
    def current_rho(self) -> list[float]:
        """Radius ρ of each parameter group at this step."""
        epoch, schedule = self._schedule_epoch(), self.rho_schedule
        if schedule.name != "linear-lr":
            return [
                schedule(group["rho"], epoch) if live else 0.0
                for group, live in zip(self.param_groups, self._live(), strict=True)
            ]
        rates = [
            group.get("max_lr", group.get("initial_lr", lr))
            for group, lr in zip(self.param_groups, self._first_lr, strict=True)
        ]
        return [
            schedule(group["rho"], epoch, group.get("lr"), lr_max) if live else 0.0
            for group, live, lr_max in zip(self.param_groups, self._live(), rates, strict=True)
        ]

    def _live(self) -> list[bool]:
        return [group["rho"] > 0 and (i == 0 or self.groups == "all") for i, group in enumerate(self.param_groups)]

    def _off(self, rhos: list[float] | None = None) -> bool:
        """Whether every radius is 0 and stays so: the step is the base optimizer's. ``rhos`` if they are known."""
        if self._ascended:
            return self._switched_off
        if any(self.current_rho() if rhos is None else rhos):
            return False
        return not self.rho_schedule.may_rise or not any(self._live())

    def _radii(self) -> list[float] | None:
        if self.clip_radius is None:
            return None
        return [self.radius_schedule(self.clip_radius, self._schedule_epoch())] * len(self.param_groups)

    def _is_weight(self, p: Tensor) -> bool:
        if self._names is None:
            named = [pair for group in self.param_groups for pair in zip(group.get("param_names", ()), group["params"])]
            named += [] if self.model is None else list(self.model.named_parameters())
            self._names = {id(tensor): name for name, tensor in reversed(named)}
        name = self._names.get(id(p))
        return "weight" in name if name is not None else p.dim() > 1

    # ---------------------------------------------------------------- small things
    def flatten_parameters(self) -> None:
        """Move the trainable parameters of each group into one stretch of memory, so that copying them is one long stream.

        Optional; worth it where many small tensors make the bookkeeping of a step show (on a CPU). ``p.data`` is rebound,
        once: call it right after construction, before anything takes hold of the storages (DistributedDataParallel,
        ``torch.compile``, ``share_memory_``). Values, shapes and gradients stay as they are. Moving the model to another
        device afterwards undoes it, which costs speed and nothing else. ``save_pretrained``, ``torch.save`` and
        ``safetensors.torch.save_file`` write such parameters like any others; ``safetensors.torch.save_model`` refuses them.

        Examples
        --------
        >>> from dc_graphsam.optim import GraphSAM
        >>> layer = torch.nn.Linear(3, 2)
        >>> before = layer.weight.detach().clone()
        >>> GraphSAM(layer.parameters(), lr=0.1).flatten_parameters()
        >>> torch.equal(layer.weight, before), layer.bias.data_ptr() - layer.weight.data_ptr()  # bytes
        (True, 64)
        """
        for group in self.param_groups:
            flatten(group["params"])

    def _gradients(self) -> list[Tensor]:
        return [local(p.grad) for group in self.param_groups for p in group["params"] if p.grad is not None]

    def _clear_gradients(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def _refresh_layout(self) -> None:
        """Let tensors in that have a gradient for the first time, and out that require none any more."""
        if self._layout.refresh(self.param_groups, self._live()):
            for vector in self._vectors.values():
                vector.changed()

    def _stored_vector(self, name: str) -> StoredVector:
        vector = self._vectors[name] = StoredVector(self._layout, name)
        return vector

    def _block_gradients(self) -> list[list[Tensor]]:
        return [block.gradients() for block in self._layout.blocks]

    def _check_ready(self) -> None:
        if self.epoch is None and self._needs_epoch():
            raise InvalidArgumentError(
                f"epoch is None: set_epoch was never called, and {type(self).__name__} {self._epoch_reason()}; accepted: "
                f"optimizer.set_epoch(e) with e = 0, 1, ... before the first step of each epoch{self._epoch_remedy()}"
            )

    def _epoch_reason(self) -> str:
        return f"has rho_schedule={self.rho_schedule.name!r}"

    def _epoch_remedy(self) -> str:
        return ", or rho_schedule='constant'"

    def _how_to_drive(self) -> str:
        return (
            f"closure is None, and the gradient was not taken where this step of {type(self).__name__} needs it; accepted: "
            "step(closure), or the phases wants_clean_gradient, ascend(), restore(), step(), or, for methods with one "
            "gradient per step such as GraphSAM(anchor='in-stream'), train() before each forward pass"
        )
