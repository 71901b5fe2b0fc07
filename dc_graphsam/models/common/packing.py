"""Padded batches ⇄ packed rows: all atoms of a batch one after another, so that no work is spent on padding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dc_graphsam.exceptions import InvalidShapeError
from dc_graphsam.models.common.message_passing import BondGraph
from dc_graphsam.models.common.recurrent import PackedOrder
from dc_graphsam.models.kernels.gru import ReadoutOrder

__all__ = ["Packing"]


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
        return cls(mask, None if bool(mask.all()) else mask.flatten().nonzero().squeeze(1))

    @property
    def shape(self) -> torch.Size:
        """(B, N) of the padded batch."""
        return self.mask.shape

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

    def bond_graph(self, edge_index: Tensor) -> tuple[BondGraph, Tensor]:
        """Edges of the packed batch, and the flat positions [E'] in the padded [B·E] edge table they come from."""
        if edge_index.dim() != 3 or edge_index.shape[1] != 2 or edge_index.shape[0] != self.shape[0]:
            raise InvalidShapeError("edge_index", edge_index.shape, f"({self.shape[0]}, 2, E)")
        offsets = self.starts.unsqueeze(1)
        source, target = edge_index[:, 0], edge_index[:, 1]
        present = (source >= 0).flatten().nonzero().squeeze(1)
        source = (source + offsets).flatten().index_select(0, present)
        target = (target + offsets).flatten().index_select(0, present)
        return BondGraph(source, target, int(self.lengths.sum())), present


def _inverse(order: Tensor) -> Tensor:
    """Position of each number in a permutation, [n]."""
    return torch.empty_like(order).index_copy(0, order, torch.arange(len(order), device=order.device))
