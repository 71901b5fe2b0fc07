"""Position encodings: by atom order, by random walks, by the graph Laplacian, or none."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.models.common.message_passing import BondGraph
from dc_graphsam.models.common.packing import Packing, PaddedPacking
from dc_graphsam.models.common.plain import weight_dtype

__all__ = ["IndexPosition", "LaplacianPosition", "RandomWalkPosition", "make_position"]

WALK_STEPS = 16
EIGENVECTORS = 8


class IndexPosition(nn.Module):
    """Learned vector per atom index, counted from 1; row 0 belongs to padding (``transformer_graph.py:92-102``).

    Parameters
    ----------
    rows
        Atoms the table has room for.
    size
        Width d.
    overflow
        ``"error"``, or ``"last"``: atoms past the table use its last row.
    """

    def __init__(self, rows: int, size: int, overflow: str) -> None:
        super().__init__()
        self.table = nn.Embedding(rows + 1, size, padding_idx=0)
        self.rows = rows
        self.overflow = overflow

    def forward(self, packing: Packing, graph: BondGraph, position_ids: Tensor | None = None) -> Tensor:
        """Vectors [n, d]; ``position_ids`` [B, N] (from 1) replaces the order of the atoms in the batch."""
        if position_ids is None:
            ids = torch.arange(1, packing.shape[1] + 1, device=packing.mask.device).expand(packing.shape)
        else:
            ids = position_ids
        if isinstance(packing, PaddedPacking):
            ids = torch.where(packing.mask, ids, 0)  # an atom past the table stops the look-up, not this function
            return self.table(packing.pack(ids.clamp(max=self.rows) if self.overflow == "last" else ids))
        ids = packing.pack(ids)
        if self.overflow == "last":
            ids = ids.clamp(max=self.rows)
        elif (position_ids is not None or packing.shape[1] > self.rows) and ids.numel() and int(ids.max()) > self.rows:
            raise InvalidArgumentError(
                f"a molecule has {int(ids.max())} atoms, the position table of this model holds {self.rows}; accepted: fewer "
                "atoms, a model with a larger max_position_embeddings, or position_overflow='last'"
            )
        return self.table(ids)


class RandomWalkPosition(nn.Module):
    """Random-walk return probabilities, (RW^s)_ii for s = 1..16, mapped to width d (Dwivedi et al., arXiv 2110.07875, eq. 8)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.map = nn.Linear(WALK_STEPS, size)

    def forward(self, packing: Packing, graph: BondGraph, position_ids: Tensor | None = None) -> Tensor:
        adjacency = _adjacency(packing, graph, weight_dtype(self.map, torch.float32))  # [B, N, N]
        walk = adjacency / adjacency.sum(-1, keepdim=True).clamp(min=1)
        power, diagonals = walk, []
        for _ in range(WALK_STEPS):
            diagonals.append(power.diagonal(dim1=1, dim2=2))
            power = power @ walk
        return self.map(packing.pack(torch.stack(diagonals, -1)))


class LaplacianPosition(nn.Module):
    """First 8 non-trivial eigenvectors of the normalised Laplacian, mapped to width d (Dwivedi & Bresson, arXiv 2012.09699, 3.1).

    The sign of an eigenvector is arbitrary: it is drawn anew at each training step, and fixed otherwise (largest entry positive).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.map = nn.Linear(EIGENVECTORS, size)

    def forward(self, packing: Packing, graph: BondGraph, position_ids: Tensor | None = None) -> Tensor:
        if isinstance(packing, PaddedPacking):
            raise InvalidArgumentError(
                "position is 'laplacian', whose eigenvectors are found one molecule at a time: such a model cannot be traced, "
                "exported or mapped by torch.func; accepted: position 'index', 'rwse' or 'none'"
            )
        adjacency = _adjacency(packing, graph, torch.float64)
        batch, width = packing.shape
        vectors = adjacency.new_zeros(batch, width, EIGENVECTORS)
        # One molecule at a time, unpadded: symmetric molecules have repeated eigenvalues, and the basis that is found for
        # them must not depend on what else is in the batch.
        for molecule, atoms in enumerate(packing.lengths.tolist()):
            part = adjacency[molecule, :atoms, :atoms]
            scale = part.sum(-1).clamp(min=1).rsqrt()
            laplacian = torch.eye(atoms, device=part.device, dtype=part.dtype) - scale[:, None] * part * scale
            found = torch.linalg.eigh(laplacian)[1][:, 1 : EIGENVECTORS + 1]  # [atoms, ≤8]
            vectors[molecule, :atoms, : found.shape[1]] = found
        if self.training:
            sign = torch.randint(0, 2, (batch, 1, EIGENVECTORS), device=vectors.device) * 2 - 1
        else:
            largest = vectors.abs().argmax(1, keepdim=True)
            sign = torch.where(vectors.gather(1, largest) < 0, -1, 1)
        return self.map(packing.pack((vectors * sign).to(weight_dtype(self.map, torch.float32))))


def _adjacency(packing: Packing, graph: BondGraph, dtype: torch.dtype) -> Tensor:
    batch, width = packing.shape
    molecule = packing.molecule.index_select(0, graph.target)
    offset = packing.starts.index_select(0, molecule)
    adjacency = torch.zeros(batch, width, width, device=packing.mask.device, dtype=dtype)
    place = (molecule, graph.target - offset, graph.source - offset)
    if graph.real is not None:
        return adjacency.index_put(place, graph.real.to(dtype), accumulate=True).clamp(max=1)
    adjacency[place] = 1
    return adjacency


def make_position(kind: str, size: int, rows: int, overflow: str) -> nn.Module | None:
    """The encoding of that name, or ``None`` for ``"none"``."""
    return {
        "index": lambda: IndexPosition(rows, size, overflow),
        "rwse": lambda: RandomWalkPosition(size),
        "laplacian": lambda: LaplacianPosition(size),
        "none": lambda: None,
    }[kind]()
