"""The participating tensors of one parameter group, device and dtype, as a few long vectors.

What the methods store (moving averages, weights) is one flat tensor per block with a view per parameter, so that the
bookkeeping is a handful of long streams. Gradients stay where they are: they are read as lists by fused multi-tensor
operations.

There are two ways to move the weights for the perturbed pass. *In place*: they are copied, θ is overwritten by θ + ε̂, and
copied back, seven streams over memory. *Beside* (on the CPU, where those streams are seen): long tensors point to θ + ε̂ in
memory of its own meanwhile (:mod:`dc_graphsam.optim.memory.beside`), three streams. Both give the same bits, and after the step
``p.data`` is where it was.

Scalars (norms) are Python floats for blocks on the CPU and 0-dimensional tensors on an accelerator, where reading one
would stall it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import repeat
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor

from dc_graphsam.optim.memory import streams
from dc_graphsam.optim.memory.beside import LONG, Beside, Run

__all__ = ["Block", "Scalar", "local", "offsets"]

Scalar = float | Tensor
_CHUNK = 2**20  # elements of a temporary in operations that need one
_CACHED = 2**17  # elements that a core's cache still holds when the next operation comes for them
_LINE = 16  # elements; 64 bytes of float32
_gradient = attrgetter("grad")
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
        self._addresses: dict[str, tuple[int, streams.Addresses | None]] = {}
        self._zeros: list[Tensor] | None = None
        self._pointers: list[int] | None = None
        self._runs: list[Run] = []
        self.slices = self._slices(sizes, _CHUNK)
        self.cached = [
            (part, slice(starts[part.start], starts[part.stop - 1] + sizes[part.stop - 1]))
            for part in self._slices(sizes, _CACHED)
        ]  # tensors, and where they are in a flat vector
        self.neighbours: Sequence[Tensor] = self.params  # all parameters of the optimizer
        self._beside: Beside | None = None  # None: the weights must not point elsewhere
        self._saved = False

    @staticmethod
    def _slices(sizes: Sequence[int], limit: int) -> list[slice]:
        """Runs of tensors of at most ``limit`` elements together (or a single larger tensor)."""
        slices, start, total = [], 0, 0
        for i, size in enumerate(sizes):
            if total and total + size > limit:
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
            pointers = list(map(Tensor.data_ptr, self.params))
            if pointers != self._pointers:
                self._pointers, self._runs = pointers, self._find_runs(pointers)
                self._beside = None  # lets go of the weights as they were
                if self.host:
                    saved = partial(self._vector, "saved")
                    self._beside = Beside.of(self.params, self._runs, self.neighbours, saved)

    def _find_runs(self, pointers: list[int]) -> list[Run]:
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
                flat = weights.new_empty(0)  # one tensor on the storage, where as_strided would make two
                weights = flat.set_(weights.untyped_storage(), weights.storage_offset(), (length,), (1,))
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

    # ---------------------------------------------------------------- copying and pickling
    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs, nothing that says where this one's memory lies; mid-step it holds the clean weights in "saved"."""
        vectors = {name: flat for name, (flat, _) in self.vectors.items()}
        away = self._beside is not None and self._beside.away
        if away:
            vectors["saved"] = self._beside.clean(self.flat("saved"), self._spans)
        elif not self._saved:
            vectors.pop("saved", None)
        own = ("group", "params", "indices", "neighbours")
        return {**{name: getattr(self, name) for name in own}, "vectors": vectors}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Block.__init__(self, state["group"], state["params"], state["indices"])
        self.neighbours, self._saved = state["neighbours"], "saved" in state["vectors"]
        for name, flat in state["vectors"].items():
            self.vectors[name] = flat, self._views_of(flat)

    def _views_of(self, flat: Tensor) -> list[Tensor]:
        return [flat[a : a + n].view(shape) for a, n, shape in self._spans]

    # ---------------------------------------------------------------- weights that move
    def may_move_beside(self) -> bool:
        """Whether nobody but the parameters themselves looks at their memory, and it is worth while."""
        return self._beside is not None and self._beside.alone()

    def move_beside(self, directions: list[Tensor], factor: float, name: str | None = None) -> None:
        """Point the parameters to θ + ``factor`` · v; ``name`` is the stored vector that the directions are views of."""
        located, flat = (None, None) if name is None else (self.addresses(name), self.flat(name))
        self._beside.move(directions, located, factor, flat)

    def move_in_place(self, weights: list[Tensor], directions: list[Tensor], factor: float) -> None:
        """θ ← θ + ``factor`` · v for some of the weights; all are saved."""
        self.save()
        torch._foreach_add_(weights, directions, alpha=factor)

    def save(self) -> None:
        """Copy the weights."""
        weights, saved = self.pairs("saved")
        torch._foreach_copy_(saved, weights)
        self._saved = True

    def restore(self) -> None:
        """The clean weights again: the same bits in the same storage."""
        if self._beside is not None:
            self._beside.restore()
        if self._saved:
            weights, saved = self.pairs("saved")
            torch._foreach_copy_(weights, saved)
            self._saved = False

    def gradients(self) -> list[Tensor]:
        """Gradients in ``p.grad``; a tensor without one (it took no part in the last pass) has a zero of its shape."""
        grads = list(map(_gradient, self.params))
        if any(map(is_, grads, repeat(None))):
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
            self.vectors[name] = flat, self._views_of(flat)
        return self.vectors[name]

    def addresses(self, name: str) -> streams.Addresses | None:
        """Where the stored vector ``name`` lies, tensor by tensor."""
        flat, views = self._vector(name)
        start, located = self._addresses.get(name, (None, None))
        if start != flat.data_ptr():  # sending it to another process moves it into shared memory
            start, located = flat.data_ptr(), streams.Addresses.of(views)
            self._addresses[name] = start, located
        return located

    def scratch(self, tensors: list[Tensor]) -> Tensor:
        """``tensors`` gathered into one flat tensor: the memory of the saved weights, which are not needed meanwhile."""
        if self.dtype == self.work_dtype:
            flat, views = self._vector("saved")
        else:
            flat = torch.zeros(self.numel, dtype=self.work_dtype, device=self.device)
            views = self._views_of(flat)
        torch._foreach_copy_(views, tensors)
        return flat

    # ---------------------------------------------------------------- norms
    def squared_norm(self, flat: Tensor) -> Scalar:
        """‖v‖² of a flat vector, over all shards."""
        return self.number(self.reduce(torch.dot(flat, flat)))

    def squared_norm_of(self, tensors: list[Tensor], located: streams.Addresses | None = None) -> Scalar:
        """‖v‖² of a list of tensors, over all shards; ``located`` says where they lie, if that is known."""
        if self.host and not self.sharded:
            known = streams.sum_of_squares(tensors if located is None else located)
            return self._squared_norm_on_host(tensors) if known is None else known
        norms = torch.stack(torch._foreach_norm(tensors, 2, dtype=self.work_dtype))
        return self.number(self.reduce(torch.dot(norms, norms)))

    def _squared_norm_on_host(self, tensors: list[Tensor]) -> float:
        """Products of long vectors, which are twice as fast as norms."""
        small, total = [], 0.0
        for tensor in tensors:
            if tensor.numel() >= LONG and tensor.dtype == self.work_dtype and tensor.is_contiguous():
                vector = tensor.detach().view(-1)
                total += torch.dot(vector, vector).item()
            else:
                small.append(tensor)
        if small:
            norms = torch.stack(torch._foreach_norm(small, 2, dtype=self.work_dtype))
            total += torch.dot(norms, norms).item()
        return total

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
