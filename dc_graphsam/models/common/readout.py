"""Read-outs: atom states of a molecule → one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.models.common.layers import bias_mish, mish
from dc_graphsam.models.common.packing import Packing, PaddedPacking
from dc_graphsam.models.common.plain import is_plain, is_plain_linear
from dc_graphsam.models.common.recurrent import BidirectionalGRU
from dc_graphsam.models.kernels.binding import usable
from dc_graphsam.models.kernels.gru import FusedReadout

__all__ = ["AttentionReadout", "GRUReadout", "SumReadout", "make_readout"]


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
        if not (want_states or self.released) and is_plain(self.gru, BidirectionalGRU) and is_plain_linear(self.linear):
            weights = self._weights()
            if usable(x, *weights):
                return FusedReadout.apply(x, *weights, packing.for_kernels), None
        atoms = packing
        if self.released:
            x, packing = self._padded(x, packing)
        start = packing.pad(bias_mish(x, self.bias), float("-inf")).max(dim=1).values  # [B, d]
        forward, backward = self.gru(x, start, packing.order)
        states = self._project(forward, backward)  # in the order of the recurrent layer
        lengths = atoms.lengths.unsqueeze(1).to(x.dtype)
        pooled = packing.order.sum(states, packing.shape[0]) / lengths
        ordered = packing.order.restore(states)
        if self.released:
            ordered = atoms.pack(packing.pad(ordered)[:, : atoms.shape[1]])
        return pooled, ordered

    def _project(self, forward: Tensor, backward: Tensor) -> Tensor:
        """mish(W_r[→h; ←h] + b_r)"""
        size, dtype = forward.shape[1], forward.dtype
        if not is_plain_linear(self.linear):
            return mish(self.linear(torch.cat((forward, backward), 1)).to(dtype))
        weight = self.linear.weight
        states = nn.functional.linear(forward, weight[:, :size]) + nn.functional.linear(backward, weight[:, size:])
        return bias_mish(states.to(dtype), self.linear.bias)

    def _weights(self) -> list[Tensor]:
        names = [
            name + end for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") for end in ("_l0", "_l0_reverse")
        ]
        return [self.bias, *(getattr(self.gru, name) for name in names), self.linear.weight, self.linear.bias]

    def _padded(self, x: Tensor, packing: Packing) -> tuple[Tensor, Packing]:
        batch, width = packing.shape
        rows = width if self.pad_to is None else self.pad_to
        if isinstance(packing, PaddedPacking):
            grid = packing.pad(x)  # padding by a negative number cuts off
            grid = grid if self.pad_to is None else nn.functional.pad(grid, (0, 0, 0, rows - width))
            return grid.flatten(0, 1), PaddedPacking(torch.ones_like(grid[..., 0], dtype=torch.bool), None)
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
        pooled = packing.sum(x)
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
        return packing.sum(x * packing.pack(scores)), x


def make_readout(kind: str, size: int, pad_to: int | None = None) -> nn.Module:
    """The read-out of that name."""
    return {
        "gru": lambda: GRUReadout(size),
        "gru-released": lambda: GRUReadout(size, released=True, pad_to=pad_to),
        "mean": lambda: SumReadout(mean=True),
        "sum": lambda: SumReadout(mean=False),
        "attention": lambda: AttentionReadout(size),
    }[kind]()
