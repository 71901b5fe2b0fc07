"""Shared parameter groups, and a state dict that holds everything a run needs to go on."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.optim.stepping.construction import check_groups

__all__ = ["StateMixin"]

_KEY = "sharpness"


class StateMixin:
    """Groups and per-parameter state are the base optimizer's own objects, also after loading a state dict.

    The state dict is the base optimizer's, with one more entry ``"sharpness"``: method, counters, stored vectors by
    parameter index and scalars, all tensors or plain types, so that ``torch.load(..., weights_only=True)`` reads it.
    """

    _numbers: tuple[str, ...] = ()  # attributes of the method that belong to its state

    # ---------------------------------------------------------------- shared with the base optimizer
    @property
    def param_groups(self) -> list[dict[str, Any]]:
        base = self.__dict__.get("base_optimizer")
        return self.__dict__["_groups"] if base is None else base.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        if "base_optimizer" in self.__dict__:
            self.base_optimizer.param_groups = groups
        else:
            self.__dict__["_groups"] = groups

    @property
    def state(self) -> Any:
        base = self.__dict__.get("base_optimizer")
        return self.__dict__["_own_state"] if base is None else base.state

    @state.setter
    def state(self, state: Any) -> None:
        if "base_optimizer" in self.__dict__:
            self.base_optimizer.state = state
        else:
            self.__dict__["_own_state"] = state

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, with options of its own, ``rho`` among them; it takes part from the next gradient on."""
        if "base_optimizer" not in self.__dict__:
            Optimizer.add_param_group(self, param_group)  # construction
            return
        self.base_optimizer.add_param_group(param_group)
        group = self.param_groups[-1]
        group.setdefault("rho", self.defaults["rho"])
        check_groups([group])
        self._first_lr.append(group.get("lr"))
        self._names = None

    # ---------------------------------------------------------------- state dict
    def state_dict(self) -> dict[str, Any]:
        """State of the base optimizer and of the method; tensors are references, as in any torch optimizer."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        state = dict(self.base_optimizer.state_dict())
        state[_KEY] = {
            "method": self.method,
            "base_optimizer": type(self.base_optimizer).__name__,
            "epoch": self.epoch,
            "steps": self.steps,
            "steps_in_epoch": self.steps_in_epoch,
            "members": [index for block in self._layout.blocks for index in block.indices],
            "numbers": {name: getattr(self, name) for name in self._numbers},
            "vectors": {name: vector.state() for name, vector in self._vectors.items()},
        }
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, state)
            state = state if changed is None else changed
        return state

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from ``state_dict``, in the middle of an epoch too.

        Raises
        ------
        InvalidArgumentError
            If it is the state of another method, or of another base optimizer.
        """
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        own = state_dict.get(_KEY)
        self._check_same_method(own)
        self.skip_step()
        self.base_optimizer.load_state_dict({key: value for key, value in state_dict.items() if key != _KEY})
        self.epoch, self.steps, self.steps_in_epoch = own["epoch"], own["steps"], own["steps_in_epoch"]
        for name, value in own["numbers"].items():
            setattr(self, name, value.item() if isinstance(value, Tensor) else value)
        stored = set(own["members"])
        params = chain.from_iterable(group["params"] for group in self.param_groups)
        members = {id(p) for index, p in enumerate(params) if index in stored}
        self._layout.rebuild(self.param_groups, self._live(), lambda p: id(p) in members)
        for name, vector in self._vectors.items():
            vector.load(own["vectors"][name])
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def _check_same_method(self, own: dict[str, Any] | None) -> None:
        if own is None:
            raise InvalidArgumentError(
                f"state_dict has no entry {_KEY!r}: it is the state of a plain optimizer; accepted: that of {self.method!r} "
                f"around {type(self.base_optimizer).__name__}"
            )
        for what, mine in (("method", self.method), ("base_optimizer", type(self.base_optimizer).__name__)):
            if own[what] != mine:
                raise InvalidArgumentError(
                    f"state_dict is of {what} {own[what]!r}; accepted: the state of {what} {mine!r}, which this optimizer is"
                )

    # ---------------------------------------------------------------- copying and pickling
    def __getstate__(self) -> dict[str, Any]:
        """Everything but what others hung on it (hooks, as in any torch optimizer, and a scheduler's ``step``) and identities."""
        state = {key: value for key, value in self.__dict__.items() if key != "step" and not key.endswith("_hooks")}
        return {**state, "_names": None, "_left": (None, 0)}  # a copied parameter has no gradient

    def __setstate__(self, state: dict[str, Any]) -> None:
        Optimizer.__setstate__(self, state)  # with no hooks
