"""torch's fused Adam and AdamW on a CPU: the same bits, in one stream that takes a method's moving average along.

Reading memory is what such a step costs: the weights, the gradient and two moments, and for a moving average the gradient
once more, which is spared here; torch's Python asks every parameter for its state, too. The state here is the base
optimizer's, tensor for tensor, looked up once and verified at every step. That both give the same bits is tried out once per
process (:func:`lanes`), and where they do not, or a group asks for anything else than plain Adam, the base optimizer steps by
itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, repeat
from operator import attrgetter, is_, is_not, itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer, optimizer

from dc_graphsam.optim.memory import streams
from dc_graphsam.optim.memory.beside import overlap
from dc_graphsam.optim.memory.block import Block
from dc_graphsam.optim.memory.vector import StoredVector

__all__ = ["AdamStep", "lanes"]

logger = logging.getLogger(__name__)

_STATE = ("step", "exp_avg", "exp_avg_sq")
_SWITCHES, _NUMBERS = ("amsgrad", "maximize", "capturable", "differentiable"), {float, int}
_gradient, _state = attrgetter("grad"), itemgetter(*_STATE)


def _original(cls: type[Optimizer]) -> Any:
    """``step`` as torch wrote it, below what its first instance puts around it."""
    return cls.step.__wrapped__ if getattr(cls.step, "hooked", False) else cls.step


_STEPS = {cls: _original(cls) for cls in (Adam, AdamW)}


class AdamStep:
    """The step of ``base``, where that is torch's Adam or AdamW with ``fused=True`` and all tensors are float32 on the CPU.

    Parameters
    ----------
    base : torch.optim.Optimizer
        Any optimizer; :meth:`__call__` says whether it could be done.
    """

    def __init__(self, base: Optimizer) -> None:
        self.base = base
        self._forget()

    def _forget(self) -> None:
        self._groups: list[_Group] = []
        self._parts: list[int] = []
        self._blocks: list[Block] = []  # the blocks of an average that have the tensors of the groups

    def __call__(self, average: StoredVector | None = None) -> bool:
        """Step, and carry out the average that is due in ``average``; whether it was done (else nothing was)."""
        if type(self.base) not in _STEPS or not self._as_torch_made_it():
            return False
        due = None if average is None else average.due
        blocks = [] if due is None else average.layout.blocks
        groups = self._current(blocks)
        if not groups or lanes() is None:
            return False
        if due is not None and not self._covers(groups, blocks, average):
            average.settle()
            due, blocks = None, []
        place = {block.group: i for i, block in enumerate(blocks)}
        for i, group in enumerate(groups):
            if not group.locate(due.located[place[i]] if i in place else None):
                return False
        squares = [0.0] * len(blocks)
        for i, group in enumerate(groups):
            if i in place:
                e = blocks[place[i]].addresses(average.name)
                squares[place[i]] = group.step(self.base.param_groups[i], e, due.weight)
            else:
                group.step(self.base.param_groups[i])
        if due is not None:
            average.settled(squares)
        return True

    def _covers(self, groups: Sequence[_Group], blocks: Sequence[Block], average: StoredVector) -> bool:
        """Whether each block has exactly the tensors of one group, so that its average can go along."""
        if self._knows(blocks):
            return True
        own = {i: group.identities for i, group in enumerate(groups)}
        located = zip(blocks, average.due.located, strict=True)
        plain = all(where is not None and block.addresses(average.name) is not None for block, where in located)
        alike = [list(map(id, block.params)) == own[block.group] for block in blocks]
        if not plain or not all(alike) or len(blocks) != sum(bool(group.params) for group in groups):
            return False
        self._blocks = list(blocks)
        return True

    def _knows(self, blocks: Sequence[Block]) -> bool:
        return bool(blocks) and len(blocks) == len(self._blocks) and all(map(is_, blocks, self._blocks))

    def _as_torch_made_it(self) -> bool:
        """Whether nobody has put anything around the base optimizer's step."""
        base, step = self.base, type(self.base).step
        hooked = getattr(step, "hooked", False) and step.__wrapped__ is _STEPS[type(base)] and "step" not in vars(base)
        hooks = base._optimizer_step_pre_hooks or base._optimizer_step_post_hooks
        hooks = hooks or optimizer._global_optimizer_pre_hooks or optimizer._global_optimizer_post_hooks
        scaled = getattr(base, "grad_scale", None) is not None or getattr(base, "found_inf", None) is not None
        return hooked and not hooks and not scaled

    def _current(self, blocks: Sequence[Block]) -> list[_Group]:
        """The tensors of all groups as they are now; none if it cannot be done for them.

        ``blocks`` are of the tensors that have gradients, if that is known.
        """
        base = self.base
        if not all(map(_plain_options, base.param_groups)):
            return []
        if not self._groups or not self._unchanged(blocks):
            self._forget()
            groups = [_Group.of(group["params"], base.state) for group in base.param_groups]
            parts = _parts(base.state)
            if None not in groups and parts:
                self._groups, self._parts = groups, parts
        return self._groups

    def _unchanged(self, blocks: Sequence[Block]) -> bool:
        """Whether parameters and state are the objects that they were, and the same parameters have gradients."""
        if not self._knows(blocks) or any(map(_Group.has_more, self._groups)):
            params = [group["params"] for group in self.base.param_groups]
            if len(params) != len(self._groups) or not all(map(_Group.holds, self._groups, params)):
                return False
        return _parts(self.base.state) == self._parts

    def __getstate__(self) -> dict[str, Any]:
        return {"base": self.base}  # a copy has tensors of its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.base = state["base"]
        self._forget()


def _parts(state: dict[Tensor, dict[str, Any]]) -> list[int] | None:
    """Identities of all moments and counts; ``None`` if some state has none."""
    try:
        return list(map(id, chain.from_iterable(map(_state, state.values()))))
    except KeyError:
        return None


def _plain_options(group: dict[str, Any]) -> bool:
    numbers = (group["lr"], *group["betas"], group["eps"], group["weight_decay"])
    plain = group["fused"] is True and not any(map(group.get, _SWITCHES))
    return plain and _NUMBERS.issuperset(map(type, numbers)) and group["betas"][0] > 0.5


class _Group:
    """Parameters of one group that have gradients, and their state."""

    def __init__(self, everyone: Sequence[Tensor], params: list[Tensor], states: list[dict[str, Tensor]]) -> None:
        self.params, self.identities = params, list(map(id, params))
        self._everyone = list(map(id, everyone))
        self._has_gradient = [p.grad is not None for p in everyone]
        self._others = [p for p in everyone if p.grad is None]
        self._steps, self._means, self._squares = list(zip(*map(_state, states), strict=True)) or ((), (), ())
        self._sizes = list(map(Tensor.numel, params))
        self._kept = [step.untyped_storage() for step in self._steps]  # of numbers; they stay as long as this
        self._pointers: dict[str, list[int]] = {}
        self._at: dict[str, streams.Addresses] = {}
        self._gradients: list[Tensor] = []

    @classmethod
    def of(cls, params: Sequence[Tensor], state: dict[Tensor, dict[str, Any]]) -> _Group | None:
        """``None`` if it cannot be done for them; a first step is torch's own, which makes the state."""
        own = [p for p in params if p.grad is not None]
        stateless = any(p not in state or any(name not in state[p] for name in _STATE) for p in own)
        if stateless or streams.located(own) is None:
            return None
        group = cls(params, own, [state[p] for p in own])
        shaped = all(p.shape == m.shape == v.shape for p, m, v in zip(own, group._means, group._squares, strict=True))
        counted = all(step.numel() == 1 for step in group._steps)
        everything = [*own, *group._means, *group._squares, *group._steps]
        if not shaped or not counted or streams.located(everything) is None or overlap(everything):
            return None
        return group

    def holds(self, params: Sequence[Tensor]) -> bool:
        """Whether these are still its parameters, and the same ones have gradients."""
        gradients = map(is_not, map(_gradient, params), repeat(None))
        return list(map(id, params)) == self._everyone and list(gradients) == self._has_gradient

    def has_more(self) -> bool:
        """Whether a parameter has a gradient that had none."""
        return any(p.grad is not None for p in self._others)

    def locate(self, gradients: streams.Addresses | None = None) -> bool:
        """Look where everything lies now: whether it can be read as lists of plain vectors. ``gradients`` if that is known."""
        if gradients is None:
            self._gradients = list(map(_gradient, self.params))
            gradients = streams.Addresses.of(self._gradients)
        self._at["g"] = gradients
        lists = {"p": self.params, "m": self._means, "v": self._squares}
        for name, tensors in lists.items():
            pointers = list(map(Tensor.data_ptr, tensors))
            if pointers != self._pointers.get(name):
                self._at[name], self._pointers[name] = streams.Addresses.of(tensors), pointers
                self._at["t"] = streams.Addresses.of(self._steps)  # what moves a moment moves the count beside it
        return None not in self._at.values()

    def step(self, options: dict[str, Any], e: streams.Addresses | None = None, weight: float = 0.0) -> float:
        """One step; returns Σ e²."""
        if not self.params:
            return 0.0
        at = self._at
        numbers = (options["lr"], *options["betas"], options["eps"], options["weight_decay"])
        moments = streams.Moments(at["m"], at["v"], at["t"])
        decoupled = options["decoupled_weight_decay"]
        square = streams.adam_lists(at["p"], at["g"], moments, numbers, decoupled, lanes(), e, weight)
        if square is None:
            raise MemoryError("there is no memory for Adam's rates, a few numbers per tensor")
        self._gradients = []
        torch.autograd.graph.increment_version(self.params)
        return square


@lru_cache(maxsize=1)
def lanes() -> int | None:
    """The lanes with which the kernel gives the bits of torch's own; ``None`` if there is no kernel, or it gives others."""
    found = next((n for n in (8, 16, 4) if _same_bits(n)), None)
    if found is None:
        logger.info("Adam's step is torch's own: there is no kernel that gives its bits")
    return found


def _same_bits(n: int) -> bool:
    """Three steps over tensors of many lengths, with every kind of weight decay."""
    generator = torch.Generator().manual_seed(0)
    for cls, decay in ((Adam, 0.0), (Adam, 0.01), (AdamW, 0.01)):
        theirs = [torch.randn(size, generator=generator) for size in (*range(1, 36), 5000)]
        ours = [p.clone() for p in theirs]
        state = [[torch.zeros_like(p) for p in ours] for _ in range(2)]
        steps = [torch.zeros(()) for _ in ours]
        judge = cls(theirs, lr=1e-3, weight_decay=decay, fused=True)
        moments = streams.Moments(*(streams.Addresses.of(part) for part in (*state, steps)))
        for _ in range(3):
            gradients = [torch.randn(p.shape, generator=generator) for p in ours]
            for p, g in zip(theirs, gradients, strict=True):
                p.grad = g
            judge.step()
            at = [streams.Addresses.of(part) for part in (ours, gradients)]
            done = streams.adam_lists(*at, moments, (1e-3, 0.9, 0.999, 1e-8, decay), cls is AdamW, n)
            if done is None or not all(map(torch.equal, theirs, ours)):
                return False
    return True
