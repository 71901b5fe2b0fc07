"""Schedules of the perturbation radius ρ: closed forms of the epoch (or of the learning rate), nothing is stored."""

from __future__ import annotations

from dataclasses import dataclass

from dc_graphsam.exceptions import InvalidArgumentError, check_choice, check_range

__all__ = ["RHO_SCHEDULES", "RhoSchedule"]

RHO_SCHEDULES = ("constant", "paper", "paper-smooth", "released", "floor", "linear-lr")
_FLOOR = 0.001  # CoMPT-main/sam.py:219, commented out there


@dataclass(frozen=True)
class RhoSchedule:
    r"""Radius ρ at an epoch :math:`e`, from the initial radius :math:`\rho_0`.

    =================  ====================================================================================
    name               ρ at epoch e
    =================  ====================================================================================
    ``constant``       :math:`\rho_0`
    ``paper``          :math:`\max(\rho_{min},\ \rho_0\,\gamma^{\lfloor e/\lambda\rfloor})`
    ``paper-smooth``   :math:`\max(\rho_{min},\ \rho_0\,\gamma^{e/\lambda})`
    ``floor``          ``paper`` with :math:`\rho_{min} = 0.001` where no other floor is given
    ``released``       :math:`\rho_0\,\gamma^{m(m+1)/2}` with :math:`m = \lfloor e/\lambda\rfloor`
    ``linear-lr``      :math:`\rho_{min} + (\rho_0-\rho_{min})(\eta-\eta_{min})/(\eta_{max}-\eta_{min})`
    =================  ====================================================================================

    ``paper`` is equation 4 with lines 6-7 of Algorithm 1 of "Efficient Sharpness-Aware Minimization for Molecular Graph
    Transformer Models" (ICLR 2024), ``paper-smooth`` equation 4 read literally, ``released`` the code published with it,
    which multiplies the current radius instead of the initial one (``CoMPT-main/sam.py:220-221,231-233``). ``linear-lr``
    follows the learning rate η of the parameter group. A radius of 0 stays 0 under every schedule.

    Parameters
    ----------
    name : str
        One of ``RHO_SCHEDULES``.
    gamma : float
        Factor γ > 0 of one update.
    rho_update_epochs : int
        Epochs λ >= 1 between two updates.
    rho_min : float, optional
        Floor of the radius, 0 by default (0.001 for ``floor``).
    lr_min, lr_max : float, optional
        Ends of the learning rate for ``linear-lr``; ``lr_max`` defaults to the group's ``max_lr`` or ``initial_lr`` (which
        torch's schedulers write), else to its learning rate at construction.

    Raises
    ------
    InvalidArgumentError
        If an argument is out of its range.

    Examples
    --------
    >>> [RhoSchedule("paper")(0.05, epoch) for epoch in range(4)]
    [0.05, 0.025, 0.0125, 0.00625]
    >>> [RhoSchedule("released")(0.05, epoch) for epoch in range(4)]
    [0.05, 0.025, 0.00625, 0.00078125]
    >>> RhoSchedule("linear-lr")(0.05, lr=0.5e-3, lr_max=1e-3)
    0.025
    """

    name: str = "constant"
    gamma: float = 0.5
    rho_update_epochs: int = 1
    rho_min: float | None = None
    lr_min: float = 0.0
    lr_max: float | None = None

    def __post_init__(self) -> None:
        check_choice("rho_schedule", self.name, RHO_SCHEDULES)
        check_range("gamma", self.gamma, 0, bounds="()")
        if not isinstance(self.rho_update_epochs, int):
            raise InvalidArgumentError(
                f"rho_update_epochs is {self.rho_update_epochs!r}; accepted: a whole number >= 1"
            )
        check_range("rho_update_epochs", self.rho_update_epochs, 1)
        check_range("lr_min", self.lr_min, 0)
        if self.lr_max is not None:
            check_range("lr_max", self.lr_max, self.lr_min, bounds="()")
        if self.rho_min is None:
            object.__setattr__(self, "rho_min", _FLOOR if self.name == "floor" else 0.0)
        check_range("rho_min", self.rho_min, 0)

    @property
    def uses_epoch(self) -> bool:
        """Whether the radius depends on the epoch."""
        return self.name not in ("constant", "linear-lr")

    @property
    def may_rise(self) -> bool:
        """Whether a radius that has become 0 can become positive again."""
        return self.name == "linear-lr" or (self.uses_epoch and self.gamma > 1)

    def __call__(self, rho: float, epoch: int = 0, lr: float | None = None, lr_max: float | None = None) -> float:
        """Radius at ``epoch`` (0-based), or at the learning rate ``lr``, for the initial radius ``rho``."""
        if rho == 0 or self.name == "constant":
            return float(rho)
        if self.name == "linear-lr":
            return self._linear(rho, lr, self.lr_max if self.lr_max is not None else lr_max)
        updates = epoch // self.rho_update_epochs
        if self.name == "released":
            return self._decayed(rho, updates * (updates + 1) // 2)
        if self.name == "paper-smooth":
            updates = epoch / self.rho_update_epochs
        return max(self.rho_min, self._decayed(rho, updates))

    def _decayed(self, rho: float, power: float) -> float:
        try:
            return float(rho * self.gamma**power)
        except OverflowError:  # gamma > 1 after very many updates
            raise InvalidArgumentError(
                f"gamma is {self.gamma!r}, with which rho exceeds every float after {power} updates; accepted: at most 1 "
                "for long runs"
            ) from None

    def _linear(self, rho: float, lr: float | None, lr_max: float | None) -> float:
        if lr is None or lr_max is None:
            raise InvalidArgumentError(
                "lr is None; rho_schedule='linear-lr' needs a base optimizer with a learning rate"
            )
        if lr_max <= self.lr_min:
            raise InvalidArgumentError(f"lr_max is {lr_max!r}; accepted: more than lr_min ({self.lr_min!r})")
        return max(0.0, self.rho_min + (rho - self.rho_min) * (float(lr) - self.lr_min) / (lr_max - self.lr_min))
