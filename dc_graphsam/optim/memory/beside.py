"""Weights that point beside their memory while the perturbed pass runs.

The long tensors of a block: θ + ε̂ is written into memory of its own and ``p.data`` points there for the pass, three streams
over memory and nothing to copy back. The short ones are copied, overwritten and copied back, which costs less than to point
them elsewhere and back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dc_graphsam.optim.memory import streams

__all__ = ["Beside", "add_lists", "overlap"]

LONG = 2**13  # elements from which a call of its own costs a tensor nothing

# How many tensors use a storage: torch has it for its own graph capture, under a name that it may change.
_use_count = getattr(torch._C, "_storage_Use_Count", None)

Run = tuple[int, int | None, Tensor]  # see Block


def overlap(tensors: Sequence[Tensor]) -> bool:
    """Whether two of them share an element."""
    spans = sorted((t.data_ptr(), t.data_ptr() + t.numel() * t.element_size()) for t in tensors)
    return any(end > start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))


def add_lists(weights: list[Tensor], directions: list[Tensor], factor: float, out: list[Tensor]) -> None:
    """``out = weights + factor · directions``: long tensors one by one, the many short ones together."""
    short = []
    for i, (weight, direction, target) in enumerate(zip(weights, directions, out, strict=True)):
        if weight.numel() >= LONG:
            torch.add(weight, direction, alpha=factor, out=target)
        else:
            short.append(i)
    if short:
        targets = [out[i] for i in short]
        torch._foreach_copy_(targets, [weights[i] for i in short])
        torch._foreach_add_(targets, [directions[i] for i in short], alpha=factor)


class Beside:
    """Moves the weights of a block, which lie where they lay when this was made.

    Parameters
    ----------
    params : sequence of Parameter
        All of the block.
    runs : sequence of tuple
        Stretches of them that are one vector (:meth:`Block.locate`); then all point beside, and are written as these vectors.
    users : dict
        How many tensors of ours use the storage at a pointer.
    saved : callable
        The flat vector that takes the moved weights, and its views, one per parameter.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        runs: Sequence[Run],
        users: Counter,
        saved: Callable[[], tuple[Tensor, list[Tensor]]],
    ) -> None:
        self.params, self.runs, self.saved = list(params), runs, saved
        long = [bool(runs) or p.numel() >= LONG for p in params]
        self.moved = [p for p, far in zip(params, long, strict=True) if far]
        self._moved = [i for i, far in enumerate(long) if far]
        self._short = [i for i, far in enumerate(long) if not far]
        self._homes = [p.data for p in self.params]
        self._storages = [p.untyped_storage() for p in self.moved]
        self._handles = [storage._cdata for storage in self._storages]
        # the parameters', ours, and the Python object of the storage
        own = Counter(home.untyped_storage().data_ptr() for home in self._homes)
        keys = [storage.data_ptr() for storage in self._storages]
        self._users = [users[key] + own[key] + 1 for key in keys]
        self._addresses: tuple[streams.Addresses | None, ...] | None = None
        self.away = self._written = False

    @classmethod
    def of(cls, params: Sequence[Tensor], runs: Sequence[Run], neighbours: Sequence[Tensor], saved) -> Beside | None:
        """``None`` if the weights must not point elsewhere, whoever looks at them, or none is long enough for that."""
        if _use_count is None or not (runs or any(p.numel() >= LONG for p in params)):
            return None
        if not all(type(p) in (torch.nn.Parameter, Tensor) and p.is_contiguous() for p in params):
            return None
        if any(p.untyped_storage().is_shared() for p in params):
            return None
        everyone = [p for p in neighbours if not hasattr(p, "placements") and p.layout is torch.strided]
        users = Counter(p.untyped_storage().data_ptr() for p in everyone)
        if overlap([p for p in everyone if users[p.untyped_storage().data_ptr()] > 1]):
            return None
        users.update(weights.untyped_storage().data_ptr() for _, _, weights in runs)
        return cls(params, runs, users, saved)

    def clean(self, saved: Tensor, spans: Sequence[tuple]) -> Tensor:
        """A vector with the clean weights of a step that is at θ + ε̂, laid out as ``saved``, which may hold the moved ones."""
        flat = saved.clone()
        moved = set(self._moved)
        for i, (start, size, _) in enumerate(spans):
            if i in moved:  # copies of the short ones are there
                flat[start : start + size].copy_(self._homes[i].detach().view(-1))
        return flat

    def alone(self) -> bool:
        """Whether nobody but the parameters themselves looks at the memory of those that would point elsewhere.

        A view that somebody holds (weights tied by ``data``, a flattened copy, a sharded or compiled module's own record) would
        not follow ``p.data``. It is asked for at every step, since a view can come at any time.
        """
        return _use_count is not None and list(map(_use_count, self._handles)) == self._users

    def move(
        self, directions: list[Tensor], located: streams.Addresses | None, factor: float, flat: Tensor | None
    ) -> None:
        """θ + ``factor`` · v; ``located`` says where the directions lie, ``flat`` is the vector of which they are views."""
        moved, views = self.saved()
        if not self._moved_in_one_stream(views, directions, located, factor):
            self._move(moved, views, directions, factor, flat)
        self.away = True
        for p, i in zip(self.moved, self._moved, strict=True):
            p.data = views[i]
        torch.autograd.graph.increment_version(self.params)  # as if written to: what was computed before is out of date

    def _moved_in_one_stream(self, views, directions, located, factor: float) -> bool:
        """Short weights are their own target: they are copied first."""
        if self._addresses is None:
            targets = list(views)
            for i in self._short:
                targets[i] = self._homes[i]
            shorts = [[where[i] for i in self._short] for where in (self._homes, views)]
            self._addresses = tuple(streams.Addresses.of(tensors) for tensors in (self._homes, targets, *shorts))
        home, target, short, copy = self._addresses
        located = streams.Addresses.of(directions) if located is None else located
        if home is None or target is None or located is None:
            return False
        if self._short and not streams.copy_lists(short, copy):
            return False
        self._written = bool(self._short)
        return bool(streams.add_lists(home, located, factor, target))

    def _move(self, moved, views, directions, factor: float, flat: Tensor | None) -> None:
        """The same by torch's operations, in as few pieces as the weights' memory allows."""
        if not self.runs:
            for i in self._moved:
                torch.add(self._homes[i], directions[i], alpha=factor, out=views[i])
            if self._short:
                homes, copies = ([where[i] for i in self._short] for where in (self._homes, views))
                torch._foreach_copy_(copies, homes)
                self._written = True
                torch._foreach_add_(homes, [directions[i] for i in self._short], alpha=factor)
        elif flat is None:
            add_lists(self._homes, directions, factor, views)
        else:
            for begin, index, weights in self.runs:
                end = begin + weights.numel()
                if index is None:
                    torch.add(weights, flat[begin:end], alpha=factor, out=moved[begin:end])
                else:
                    torch.add(self._homes[index], directions[index], alpha=factor, out=views[index])

    def restore(self) -> None:
        """The clean weights again: the same bits in the same storage. It may be called at any time, and twice."""
        if self._written:
            short, copy = self._addresses[2:]
            if not streams.copy_lists(copy, short):
                _, views = self.saved()
                torch._foreach_copy_([self._homes[i] for i in self._short], [views[i] for i in self._short])
        if self.away:
            for p, i in zip(self.moved, self._moved, strict=True):
                p.data = self._homes[i]
        if self.away or self._written:
            torch.autograd.graph.increment_version(self.params)
        self.away = self._written = False
