"""The participating parameters as a few long vectors.

Every participating tensor belongs to one :class:`Block` (one parameter group, device and dtype). What the methods store
(saved weights, moving averages) is one flat tensor per block with a view per parameter, so that the bookkeeping is a
handful of long streams. Weights and gradients stay where they are: they are read and written as lists by fused
multi-tensor operations, and ``p.data`` is never rebound.

Scalars (norms) are Python floats for blocks on the CPU and 0-dimensional tensors on an accelerator, where reading one
would stall it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["Block", "Layout", "Scalar"]

Scalar = float | Tensor
_CHUNK = 2**20  # elements of a temporary in operations that need one
_LINE = 16  # elements; 64 bytes of float32
_HALF = (torch.float16, torch.bfloat16)


def local(tensor: Tensor) -> Tensor:
    """The part of a sharded tensor (``DTensor``) that this process holds; any other tensor is returned as it is."""
    return tensor.to_local() if hasattr(tensor, "placements") else tensor


def offsets(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Where tensors of ``sizes`` elements begin in one vector, each on a full cache line, and the vector's length.

    >>> offsets([3, 16, 17])
    ([0, 16, 32], 64)
    """
    starts, total = [], 0
    for size in sizes:
        starts.append(total)
        total += -(-size // _LINE) * _LINE
    return starts, total


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


def reading_is_free(device: torch.device) -> bool:
    """Whether a number of ``device`` can be read without waiting for it."""
    return device.type == "cpu"


class Block:
    """Participating tensors of one parameter group, device and dtype, in order.

    Attributes
    ----------
    group : int
        Index of the parameter group.
    params : list of Parameter
        The tensors.
    indices : list of int
        Their positions among all parameters of the optimizer, the keys of the state dict.
    host : bool
        Whether scalars are Python floats.
    """

    def __init__(self, group: int, params: Sequence[Tensor], indices: Sequence[int]) -> None:
        self.group, self.params, self.indices = group, list(params), list(indices)
        self.sharded = hasattr(self.params[0], "placements")
        self._weights = None if self.sharded else self.params
        shapes = [local(p).shape for p in self.params]
        sizes = [math.prod(shape) for shape in shapes]
        starts, self.numel = offsets(sizes)
        self._spans = list(zip(starts, sizes, shapes, strict=True))
        self.device, self.dtype = self.params[0].device, self.params[0].dtype
        self.host = reading_is_free(self.device)
        self.work_dtype = torch.float32 if self.dtype in _HALF else self.dtype
        self.vectors: dict[str, tuple[Tensor, list[Tensor]]] = {}
        self._zeros: list[Tensor] | None = None
        self._pointers: list[int] | None = None
        self._runs: list[tuple[int, int | None, Tensor]] = []
        self.slices = self._slices(sizes)

    @staticmethod
    def _slices(sizes: Sequence[int]) -> list[slice]:
        """Runs of tensors of at most ``_CHUNK`` elements together (or a single larger tensor)."""
        slices, start, total = [], 0, 0
        for i, size in enumerate(sizes):
            if total and total + size > _CHUNK:
                slices.append(slice(start, i))
                start, total = i, 0
            total += size
        return [*slices, slice(start, len(sizes))]

    # ---------------------------------------------------------------- tensors
    @property
    def weights(self) -> list[Tensor]:
        """The weights, as the lists that fused operations take."""
        return self._weights or [local(p) for p in self.params]

    def pairs(self, name: str) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and the stored vector ``name``, side by side in as few pieces as the weights' memory allows."""
        if not self._runs:
            return self.weights, self.views(name)
        flat, views = self._vector(name)
        pieces = [flat[a : a + w.numel()] if index is None else views[index] for a, index, w in self._runs]
        return [weights for _, _, weights in self._runs], pieces

    def locate(self) -> None:
        """Look where the weights lie: once per step, before they are saved."""
        if not self.sharded:
            pointers = [p.data_ptr() for p in self.params]
            if pointers != self._pointers:
                self._pointers, self._runs = pointers, self._find_runs(pointers)

    def _find_runs(self, pointers: list[int]) -> list[tuple[int, int | None, Tensor]]:
        """Stretches of tensors that lie as far apart as in a stored vector (see :func:`flatten`), if there are any.

        Each has its start in a vector, the index of its tensor if it is only one, and the weights.
        """
        runs, first, params, item = [], 0, self.params, self.params[0].element_size()
        storages = [p.untyped_storage().data_ptr() if p.is_contiguous() else None for p in params]
        for i in range(1, len(params) + 1):
            begin = self._spans[first][0]
            same = i < len(params) and storages[i] is not None and storages[i] == storages[first]
            if same and pointers[i] - pointers[first] == (self._spans[i][0] - begin) * item:
                continue
            weights = params[first].detach()
            if i - first > 1:
                length = self._spans[i - 1][0] + self._spans[i - 1][1] - begin
                weights = weights.as_strided((length,), (1,))
                if not self._gaps_are_zero(weights, first, i):
                    return []
            runs.append((begin, None if i - first > 1 else first, weights))
            first = i
        return runs if len(runs) < len(params) else []

    def _gaps_are_zero(self, weights: Tensor, first: int, last: int) -> bool:
        gaps = torch.ones(weights.numel(), dtype=torch.bool)
        for start, size, _ in self._spans[first:last]:
            gaps[start - self._spans[first][0] :][:size] = False
        return not bool(weights[gaps.to(weights.device)].any())

    def gradients(self) -> list[Tensor]:
        """Gradients in ``p.grad``; a tensor without one (it took no part in the last pass) has a zero of its shape."""
        grads = [p.grad for p in self.params]
        if any(g is None for g in grads):
            zeros = self.zeros()
            return [zeros[i] if g is None else local(g) for i, g in enumerate(grads)]
        return [local(g) for g in grads] if self.sharded else grads

    def zeros(self) -> list[Tensor]:
        """A zero of each tensor's shape; one number in memory, not to be written to."""
        if self._zeros is None:
            zero = torch.zeros((), dtype=self.dtype, device=self.device)
            self._zeros = [zero.expand(shape) for _, _, shape in self._spans]
        return self._zeros

    def flat(self, name: str) -> Tensor:
        """The stored vector ``name``, 1-dimensional; made on first use, the gaps between tensors are 0."""
        return self._vector(name)[0]

    def views(self, name: str) -> list[Tensor]:
        """The stored vector ``name`` as one view per parameter."""
        return self._vector(name)[1]

    def _vector(self, name: str) -> tuple[Tensor, list[Tensor]]:
        if name not in self.vectors:
            dtype = self.dtype if name == "saved" else self.work_dtype  # the copy of the weights is bit for bit
            flat = torch.zeros(self.numel, dtype=dtype, device=self.device)
            self.vectors[name] = flat, [flat[a : a + n].view(shape) for a, n, shape in self._spans]
        return self.vectors[name]

    def scratch(self, tensors: list[Tensor]) -> Tensor:
        """``tensors`` gathered into one flat tensor: the memory of the saved weights, which are not needed meanwhile."""
        if self.dtype == self.work_dtype:
            flat, views = self._vector("saved")
        else:
            flat = torch.zeros(self.numel, dtype=self.work_dtype, device=self.device)
            views = [flat[a : a + n].view(shape) for a, n, shape in self._spans]
        torch._foreach_copy_(views, tensors)
        return flat

    # ---------------------------------------------------------------- norms
    def squared_norm(self, flat: Tensor) -> Scalar:
        """‖v‖² of a flat vector, over all shards."""
        return self.number(self.reduce(torch.dot(flat, flat)))

    def squared_norm_of(self, tensors: list[Tensor]) -> Scalar:
        """‖v‖² of a list of tensors, over all shards."""
        norms = torch.stack(torch._foreach_norm(tensors, 2, dtype=self.work_dtype))
        return self.number(self.reduce(torch.dot(norms, norms)))

    def tensor_norms(self, tensors: list[Tensor]) -> Tensor:
        """‖v⁽ᵐ⁾‖ of each tensor, over all shards; shape [number of tensors]."""
        norms = torch.stack(torch._foreach_norm(tensors, 2, dtype=self.work_dtype))
        return self.reduce(norms.square()).sqrt() if self.sharded else norms

    def reduce(self, values: Tensor) -> Tensor:
        """Sum over the processes among which the tensors of this block are sharded."""
        if self.sharded:
            mesh, placements = self.params[0].device_mesh, self.params[0].placements
            for dim, placement in enumerate(placements):
                if placement.is_shard():
                    torch.distributed.all_reduce(values, group=mesh.get_group(dim))
        return values

    def number(self, value: Tensor) -> Scalar:
        """A 0-dimensional tensor as a scalar: read where that costs nothing, left on the device elsewhere."""
        return value.item() if self.host else value


class Layout:
    """All blocks of an optimizer, kept in step with which tensors take part.

    A tensor takes part when it requires a gradient, its group's radius is not 0, and it has had a gradient: tensors that
    never receive one are neither perturbed nor stored.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._outside: list[Tensor] = []  # could take part, but have had no gradient so far
        self._key: tuple | None = None

    @property
    def host(self) -> bool:
        return all(block.host for block in self.blocks)

    @property
    def devices(self) -> set[torch.device]:
        return {block.device for block in self.blocks}

    def refresh(self, groups: Sequence[dict[str, Any]], live: Sequence[bool]) -> bool:
        """Let tensors in and out; values of stored vectors move along (new ones are 0). True if anything changed."""
        unchanged = self._key == _key(groups, live)
        unchanged = unchanged and not any(p.grad is not None and p.requires_grad for p in self._outside)
        if unchanged and all(p.requires_grad for block in self.blocks for p in block.params):
            return False
        inside = {id(p) for block in self.blocks for p in block.params}
        self.rebuild(groups, live, lambda p: id(p) in inside or p.grad is not None)
        return True

    def rebuild(self, groups: Sequence[dict[str, Any]], live: Sequence[bool], member: Callable[[Tensor], bool]) -> None:
        """Lay out the trainable tensors of live groups for which ``member`` holds, carrying stored values over."""
        previous = {id(p): (block, i) for block in self.blocks for i, p in enumerate(block.params)}
        names = {name for block in self.blocks for name in block.vectors if name != "saved"}
        self._key = _key(groups, live)
        self._outside, members, index = [], {}, 0
        for number, group in enumerate(groups):
            for p in group["params"]:
                if live[number]:
                    if p.requires_grad and member(p):
                        _check_dense(p)
                        sharding = (p.device_mesh, p.placements) if hasattr(p, "placements") else None
                        members.setdefault((number, p.device, p.dtype, sharding), []).append((p, index))
                    else:
                        self._outside.append(p)
                index += 1
        self.blocks = [Block(number, *zip(*pairs, strict=True)) for (number, *_), pairs in members.items()]
        for block in self.blocks:
            for name in names:
                block.flat(name).zero_()
                for i, p in enumerate(block.params):
                    if id(p) in previous:
                        old, j = previous[id(p)]
                        block.views(name)[i].copy_(old.views(name)[j])

    # ---------------------------------------------------------------- weights
    def save(self) -> None:
        """Copy the weights."""
        for block in self.blocks:
            block.locate()
            weights, saved = block.pairs("saved")
            torch._foreach_copy_(saved, weights)

    def restore(self) -> None:
        """Copy the saved weights back in place: the same bits in the same storage."""
        for block in self.blocks:
            weights, saved = block.pairs("saved")
            torch._foreach_copy_(weights, saved)

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
    return tuple(live), [id(p) for group in groups for p in group["params"]]


def _check_dense(p: Tensor) -> None:
    if p.grad is not None and p.grad.layout is not torch.strided:
        raise InvalidArgumentError(
            "a parameter has a sparse gradient; accepted: dense gradients (build its embedding with sparse=False)"
        )
    if p.is_complex():
        raise InvalidArgumentError(
            f"a parameter has dtype {p.dtype}; accepted: real parameters (see torch.view_as_real)"
        )
