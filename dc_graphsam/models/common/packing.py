"""Padded batches ⇄ packed rows: all atoms of a batch one after another, so that no work is spent on padding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.autograd import forward_ad

from dc_graphsam.exceptions import InvalidShapeError
from dc_graphsam.models.common.message_passing import BondGraph
from dc_graphsam.models.common.recurrent import PackedOrder, PaddedOrder, sum_by
from dc_graphsam.models.kernels.binding import in_the_open
from dc_graphsam.models.kernels.gru import ReadoutOrder

__all__ = ["Packing", "PaddedPacking"]


@dataclass
class Packing:
    """Where the atoms of a padded batch stand when packed, molecule by molecule.

    Attributes
    ----------
    mask
        bool [B, N], true for atoms.
    rows
        int64 [n], position of each packed atom in the flattened [B·N] grid; ``None`` when nothing is padded.
    """

    mask: Tensor
    rows: Tensor | None

    @classmethod
    def from_mask(cls, mask: Tensor) -> Packing:
        mask = mask.bool()
        if _must_be_fixed(mask):
            return PaddedPacking(mask, None)
        return Packing(mask, None if bool(mask.all()) else mask.flatten().nonzero().squeeze(1))

    @property
    def shape(self) -> torch.Size:
        """(B, N) of the padded batch."""
        return self.mask.shape

    @cached_property
    def absent(self) -> Tensor | None:
        """bool [B, N], true for padding; ``None`` when nothing is padded."""
        return None if self.rows is None else ~self.mask

    @cached_property
    def lengths(self) -> Tensor:
        """Atoms of each molecule, int64 [B]."""
        return self.mask.sum(1)

    @cached_property
    def starts(self) -> Tensor:
        """First packed atom of each molecule, int64 [B]."""
        return self.lengths.cumsum(0) - self.lengths

    @cached_property
    def molecule(self) -> Tensor:
        """Molecule of each packed atom, int64 [n]."""
        return torch.repeat_interleave(self.lengths)

    @cached_property
    def order(self) -> PackedOrder:
        """Time-major order for recurrent layers."""
        return PackedOrder.from_lengths(self.lengths)

    @cached_property
    def for_kernels(self) -> ReadoutOrder:
        """The same for the fused read-out."""
        order, lengths = self.order, self.lengths
        return ReadoutOrder(
            start=torch.cat((self.starts, lengths.sum().unsqueeze(0))),
            place=_inverse(order.by_length),
            forward=order.forward,
            backward=order.backward,
            row_forward=_inverse(order.forward),
            row_backward=_inverse(order.backward),
            backward_of_forward=order.backward_of_forward,
            forward_of_backward=_inverse(order.backward_of_forward),
            molecule=order.sequence,
            share=1 / lengths.float(),
            step_sizes=order.step_sizes,
        )

    def pack(self, x: Tensor) -> Tensor:
        """[B, N, …] → [n, …]."""
        flat = x.flatten(0, 1)
        return flat if self.rows is None else flat.index_select(0, self.rows)

    def pad(self, x: Tensor, value: float = 0.0) -> Tensor:
        """[n, …] → [B, N, …], padding filled with ``value``."""
        batch, width = self.shape
        if self.rows is None:
            return x.view(batch, width, *x.shape[1:])
        grid = x.new_full((batch * width, *x.shape[1:]), value)
        return grid.index_copy(0, self.rows, x).view(batch, width, *x.shape[1:])

    def sum(self, x: Tensor) -> Tensor:
        """Sum over the atoms of each molecule: [n, d] → [B, d]."""
        return sum_by(x, self.molecule, self.shape[0])

    def bond_graph(self, edge_index: Tensor) -> tuple[BondGraph, Tensor]:
        """Edges of the packed batch, and the flat positions [E'] in the padded [B·E] edge table they come from."""
        self._check_edges(edge_index)
        offsets = self.starts.unsqueeze(1)
        source, target = edge_index[:, 0], edge_index[:, 1]
        present = (source >= 0).flatten().nonzero().squeeze(1)
        source = (source + offsets).flatten().index_select(0, present)
        target = (target + offsets).flatten().index_select(0, present)
        return BondGraph(source, target, int(self.lengths.sum())), present

    def edge_rows(self, edge_features: Tensor, present: Tensor) -> Tensor:
        """Features [E', F] of the edges of :meth:`bond_graph`, from the padded table [B, E, F]."""
        return edge_features.flatten(0, 1).index_select(0, present)

    def _check_edges(self, edge_index: Tensor) -> None:
        if edge_index.dim() != 3 or edge_index.shape[1] != 2 or edge_index.shape[0] != self.shape[0]:
            raise InvalidShapeError("edge_index", edge_index.shape, f"({self.shape[0]}, 2, E)")


class PaddedPacking(Packing):
    """Padding is carried along and masked wherever atoms meet: no shape depends on a value, and no value is looked at.

    The same results, for more work. It is what can be traced, exported, and mapped by ``torch.func``.
    """

    @cached_property
    def absent(self) -> Tensor:
        return ~self.mask

    @cached_property
    def starts(self) -> Tensor:
        batch, width = self.shape
        return torch.arange(batch, device=self.mask.device) * width

    @cached_property
    def molecule(self) -> Tensor:
        batch, width = self.shape
        return torch.arange(batch, device=self.mask.device).unsqueeze(1).expand(batch, width).reshape(-1)

    @cached_property
    def order(self) -> PaddedOrder:
        return PaddedOrder(self.mask)

    def pad(self, x: Tensor, value: float = 0.0) -> Tensor:
        batch, width = self.shape
        grid = x.reshape(batch, width, *x.shape[1:])
        return torch.where(self.mask.reshape(batch, width, *[1] * (x.dim() - 1)), grid, value)

    def sum(self, x: Tensor) -> Tensor:
        return self.pad(x).sum(1)

    def bond_graph(self, edge_index: Tensor) -> tuple[BondGraph, Tensor]:
        """All edges of the table; those that are padding run from the first atom of their molecule to itself."""
        self._check_edges(edge_index)
        real = ((edge_index[:, 0] >= 0) & (edge_index[:, 1] >= 0)).reshape(-1)
        ends = (edge_index.clamp(min=0) + self.starts[:, None, None]).transpose(0, 1).reshape(2, -1)
        batch, width = self.shape
        return BondGraph(ends[0], ends[1], batch * width, real), real

    def edge_rows(self, edge_features: Tensor, present: Tensor) -> Tensor:
        return torch.where(present.unsqueeze(1), edge_features.flatten(0, 1), 0)


def _must_be_fixed(mask: Tensor) -> bool:
    """Whether shapes may not depend on the values of tensors now, or there are no values."""
    if torch.compiler.is_compiling():
        return torch.compiler.is_exporting()  # a compiled model may break its graph at the packing
    if type(mask) is not Tensor or mask.device.type == "meta":
        return True
    if in_the_open():
        return False
    if torch._C._len_torch_dispatch_stack() == 0:
        return True  # tracing, a transform, or forward-mode differentiation
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    return get_proxy_mode() is not None or torch.jit.is_tracing() or _is_transformed()


def _is_transformed() -> bool:
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def _inverse(order: Tensor) -> Tensor:
    """Position of each number in a permutation, [n]."""
    return torch.empty_like(order).index_copy(0, order, torch.arange(len(order), device=order.device))
