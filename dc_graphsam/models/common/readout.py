"""Read-outs: atom states of a molecule → one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.models.common.layers import bias_mish
from dc_graphsam.models.common.packing import Packing
from dc_graphsam.models.common.recurrent import BidirectionalGRU
from dc_graphsam.models.kernels.binding import usable
from dc_graphsam.models.kernels.gru import FusedReadout

__all__ = ["AttentionReadout", "GRUReadout", "SumReadout", "make_readout"]


def sum_by(x: Tensor, group: Tensor, size: int) -> Tensor:
    """Sum of rows by group: [n, d] → [size, d]."""
    return x.new_zeros(size, x.shape[1]).index_add(0, group, x)


class GRUReadout(nn.Module):
    """Bidirectional GRU over the atoms in order, then the mean of its projected states (``transformer_graph.py:130-192``).

    h₀ = max over atoms of mish(x + c); m_t = mish(W_r[→h_t; ←h_t] + b_r); z = Σ_t m_t / (number of atoms).

    With ``released=True`` the sums and the maximum run over all padded rows, as in the released code, so that a prediction
    depends on the padded length; otherwise padding has no influence. Both agree for unpadded molecules.

    Parameters
    ----------
    size
        Width d.
    released
        Let padding take part.
    pad_to
        Rows each molecule is padded to when ``released``; ``None`` for the largest of the batch.
    """

    def __init__(self, size: int, released: bool = False, pad_to: int | None = None) -> None:
        super().__init__()
        self.gru = BidirectionalGRU(size)
        self.linear = nn.Linear(2 * size, size)
        self.bias = nn.Parameter(torch.empty(size).uniform_(-(size**-0.5), size**-0.5))
        self.released = released
        self.pad_to = pad_to

    def forward(self, x: Tensor, packing: Packing, want_states: bool = False) -> tuple[Tensor, Tensor | None]:
        """Vectors z [B, d] and, if wanted, states m [n, d] of the atoms, from atom states x [n, d]."""
        if not (want_states or self.released) and usable(x, self.bias):
            return FusedReadout.apply(x, self.bias, *self._weights(), packing.for_kernels), None
        atoms = packing
        if self.released:
            x, packing = self._padded(x, packing)
        start = packing.pad(bias_mish(x, self.bias), float("-inf")).max(dim=1).values  # [B, d]
        forward, backward = self.gru(x, start, packing.order)
        size = x.shape[1]
        weight = self.linear.weight
        states = nn.functional.linear(forward, weight[:, :size]) + nn.functional.linear(backward, weight[:, size:])
        states = bias_mish(states.to(x.dtype), self.linear.bias)  # packed order
        lengths = atoms.lengths.unsqueeze(1).to(x.dtype)
        pooled = sum_by(states, packing.order.sequence, packing.shape[0]) / lengths
        ordered = torch.empty_like(states).index_copy(0, packing.order.forward, states)
        if self.released:
            ordered = atoms.pack(packing.pad(ordered)[:, : atoms.shape[1]])
        return pooled, ordered

    def _weights(self) -> list[Tensor]:
        names = [
            name + end for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") for end in ("_l0", "_l0_reverse")
        ]
        return [*(getattr(self.gru, name) for name in names), self.linear.weight, self.linear.bias]

    def _padded(self, x: Tensor, packing: Packing) -> tuple[Tensor, Packing]:
        batch, width = packing.shape
        rows = width if self.pad_to is None else self.pad_to
        if rows < width and bool(packing.mask[:, rows:].any()):
            raise InvalidArgumentError(
                f"a molecule has {int(packing.lengths.max())} atoms; accepted: at most pad_to ({rows})"
            )
        grid = packing.pad(x)
        grid = grid[:, :rows] if rows < width else nn.functional.pad(grid, (0, 0, 0, rows - width))
        mask = torch.ones(batch, rows, dtype=torch.bool, device=x.device)
        return grid.flatten(0, 1), Packing.from_mask(mask)


class SumReadout(nn.Module):
    """Sum, or mean, of the atom states; permutation invariant."""

    def __init__(self, mean: bool) -> None:
        super().__init__()
        self.mean = mean

    def forward(self, x: Tensor, packing: Packing, want_states: bool = False) -> tuple[Tensor, Tensor]:
        pooled = sum_by(x, packing.molecule, packing.shape[0])
        if self.mean:
            pooled = pooled / packing.lengths.unsqueeze(1).to(x.dtype)
        return pooled, x


class AttentionReadout(nn.Module):
    """z = Σ_i softmax_i(w·x_i) x_i over the atoms of a molecule; permutation invariant."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.score = nn.Linear(size, 1)

    def forward(self, x: Tensor, packing: Packing, want_states: bool = False) -> tuple[Tensor, Tensor]:
        scores = packing.pad(self.score(x).to(x.dtype), float("-inf")).softmax(dim=1)  # [B, N, 1]
        return sum_by(x * packing.pack(scores), packing.molecule, packing.shape[0]), x


def make_readout(kind: str, size: int, pad_to: int | None = None) -> nn.Module:
    """The read-out of that name."""
    return {
        "gru": lambda: GRUReadout(size),
        "gru-released": lambda: GRUReadout(size, released=True, pad_to=pad_to),
        "mean": lambda: SumReadout(mean=True),
        "sum": lambda: SumReadout(mean=False),
        "attention": lambda: AttentionReadout(size),
    }[kind]()
