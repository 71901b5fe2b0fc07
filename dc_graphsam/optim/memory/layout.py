"""The participating parameters as blocks: which tensors take part, and what is stored for them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.optim.memory.block import Block, Scalar, local, offsets

__all__ = ["Layout", "flatten"]

_requires_grad = attrgetter("requires_grad")


@torch.no_grad()
def flatten(params: Iterable[Tensor]) -> None:
    """Move parameters, in order, into one stretch of memory per device and dtype; their values stay.

    Only those that require a gradient and have their memory for themselves: views of something stay where they are.
    """
    params = [p for p in params if not hasattr(p, "placements") and p.layout is torch.strided]
    shared = Counter(p.untyped_storage().data_ptr() for p in params)
    buckets: dict[tuple, list[Tensor]] = {}
    for p in params:
        storage = p.untyped_storage()
        own = shared[storage.data_ptr()] == 1 and storage.nbytes() == p.numel() * p.element_size()
        if p.requires_grad and own:
            buckets.setdefault((p.device, p.dtype), []).append(p)
    for (device, dtype), bucket in buckets.items():
        starts, total = offsets([p.numel() for p in bucket])
        flat = torch.zeros(total, dtype=dtype, device=device)
        for p, start in zip(bucket, starts, strict=True):
            view = flat[start : start + p.numel()].view(p.shape)
            p.data = view.copy_(p)


class Layout:
    """All blocks of an optimizer, kept in step with which tensors take part.

    A tensor takes part when it requires a gradient, its group's radius is not 0, and it has had a gradient: tensors that
    never receive one are neither perturbed nor stored.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.displaced = False  # whether the weights may be others than the clean ones
        self.outside: list[Tensor] = []  # could take part, but have had no gradient so far
        self._key: tuple | None = None

    def __getstate__(self) -> dict[str, Any]:
        live = None if self._key is None else self._key[0]
        return {"blocks": self.blocks, "displaced": self.displaced, "outside": self.outside, "live": live}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.blocks, self.displaced, self.outside = state["blocks"], state["displaced"], state["outside"]
        known = bool(self.blocks) and state["live"] is not None
        self._key = (state["live"], list(map(id, self.blocks[0].neighbours))) if known else None

    @property
    def host(self) -> bool:
        return all(block.host for block in self.blocks)

    @property
    def devices(self) -> set[torch.device]:
        return {block.device for block in self.blocks}

    def refresh(self, groups: Sequence[dict[str, Any]], live: Sequence[bool]) -> bool:
        """Let tensors in and out; values of stored vectors move along (new ones are 0). True if anything changed."""
        unchanged = self._key == _key(groups, live)
        unchanged = unchanged and not any(p.grad is not None and p.requires_grad for p in self.outside)
        if unchanged and all(all(map(_requires_grad, block.params)) for block in self.blocks):
            return False
        inside = {id(p) for block in self.blocks for p in block.params}
        self.rebuild(groups, live, lambda p: id(p) in inside or p.grad is not None)
        return True

    def rebuild(self, groups: Sequence[dict[str, Any]], live: Sequence[bool], member: Callable[[Tensor], bool]) -> None:
        """Lay out the trainable tensors of live groups for which ``member`` holds, carrying stored values over."""
        previous = {id(p): (block, i) for block in self.blocks for i, p in enumerate(block.params)}
        names = {name for block in self.blocks for name in block.vectors if name != "saved"}
        self._key = _key(groups, live)
        self.outside, members, index = [], {}, 0
        for number, group in enumerate(groups):
            for p in group["params"]:
                if live[number]:
                    if p.requires_grad and member(p):
                        _check_dense(p)
                        sharding = (p.device_mesh, p.placements) if hasattr(p, "placements") else None
                        members.setdefault((number, p.device, p.dtype, sharding), []).append((p, index))
                    else:
                        self.outside.append(p)
                index += 1
        self.blocks = [Block(number, *zip(*pairs, strict=True)) for (number, *_), pairs in members.items()]
        everyone = [p for group in groups for p in group["params"]]
        for block in self.blocks:
            block.neighbours = everyone
            for name in names:
                block.flat(name).zero_()
                for i, p in enumerate(block.params):
                    if id(p) in previous:
                        old, j = previous[id(p)]
                        block.views(name)[i].copy_(old.views(name)[j])

    # ---------------------------------------------------------------- weights
    def leave(self) -> None:
        """The weights are about to change for a pass."""
        self.displaced = True
        for block in self.blocks:
            block.locate()

    def save(self) -> None:
        """Copy the weights, which are about to be changed in place."""
        self.leave()
        for block in self.blocks:
            block.save()

    def restore(self) -> None:
        """Bring the clean weights back: the same bits in the same storage."""
        for block in self.blocks:
            block.restore()
        self.displaced = False

    # ---------------------------------------------------------------- scalars
    def total(self, values: Iterable[Scalar]) -> Scalar:
        """Sum of one scalar per block, on the device of the first."""
        values = list(values)
        tensors = [v for v in values if isinstance(v, Tensor)]
        if not tensors:
            return math.fsum(values)
        return sum(v.to(tensors[0].device) if isinstance(v, Tensor) else v for v in values)

    def load(self, name: str, values: dict[int, Tensor]) -> None:
        """Put values by parameter index into the vector ``name``."""
        for block in self.blocks:
            for i, index in enumerate(block.indices):
                if index in values:
                    block.views(name)[i].copy_(local(values[index]))

    def dump(self, name: str) -> dict[int, Tensor]:
        """The vector ``name`` by parameter index: views, nothing is copied."""
        return {
            index: view for block in self.blocks for index, view in zip(block.indices, block.views(name), strict=True)
        }


def _key(groups: Sequence[dict[str, Any]], live: Sequence[bool]) -> tuple:
    return tuple(live), list(map(id, chain.from_iterable(group["params"] for group in groups)))


def _check_dense(p: Tensor) -> None:
    if p.grad is not None and p.grad.layout is not torch.strided:
        raise InvalidArgumentError(
            "a parameter has a sparse gradient; accepted: dense gradients (build its embedding with sparse=False)"
        )
    if p.is_complex():
        raise InvalidArgumentError(
            f"a parameter has dtype {p.dtype}; accepted: real parameters (see torch.view_as_real)"
        )
