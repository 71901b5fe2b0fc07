"""Message passing on the bond graph: weighted sums over in-edges, on DGL's kernels or in plain torch.

The one operation is y_i = Σ_{e=(j→i)} w_e v_j per head (DGL's ``u_mul_e_sum``). Two engines compute it, with equal numbers
and gradients:

``"torch"``
    ``embedding_bag`` over edges sorted by target, which multiplies, gathers and sums in one pass; its gradient is the same
    kernel over edges sorted by source. The faster one on a CPU (``benchmarks/message_passing.py``) and the default.
    Inside a layer that the fused kernels know, ``"auto"`` means their sum instead (:mod:`dc_graphsam.models.kernels`).
``"dgl"``
    ``dgl.ops.u_mul_e_sum`` on a ``DGLGraph``. DGL is imported on first use; this module is the only one that does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dc_graphsam.exceptions import check_choice
from dc_graphsam.models.kernels.binding import in_the_open
from dc_graphsam.models.kernels.derivatives import first_derivative_only
from dc_graphsam.optional import is_installed, require

__all__ = ["ENGINES", "BondGraph", "dgl_is_available", "edge_sum", "u_mul_e_sum"]

ENGINES = ("auto", "torch", "dgl")


def dgl_is_available() -> bool:
    """Whether DGL is installed here (it is not imported to find out)."""
    return is_installed("dgl")


@dataclass
class BondGraph:
    """Directed edges of a batch of molecules, and the orders the kernels need, computed once a batch.

    Attributes
    ----------
    source, target
        int64 [E], node numbers in the packed batch.
    num_nodes
        Number n of nodes.
    real
        bool [E]; the other edges only fill up a table, and carry the value 0. ``None``: all are real.
    """

    source: Tensor
    target: Tensor
    num_nodes: int
    real: Tensor | None = None
    _orders: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)
    _dgl: object = field(default=None, repr=False)

    @property
    def num_edges(self) -> int:
        return self.source.numel()

    def sorted_by(self, end: str) -> tuple[Tensor, Tensor]:
        """Edges sorted by ``"source"`` or ``"target"``: their order [E], and where each node's edges begin [n]."""
        if end not in self._orders:
            nodes = getattr(self, end)
            counts = torch.bincount(nodes, minlength=self.num_nodes)
            self._orders[end] = torch.argsort(nodes, stable=True), counts.cumsum(0) - counts
        return self._orders[end]

    def degree(self, dtype: torch.dtype) -> Tensor:
        """Number of in-edges of each node, [n]."""
        if self.real is not None:
            real = self.real.to(dtype)
            return real.new_zeros(self.num_nodes).index_add(0, self.target, real)
        return torch.bincount(self.target, minlength=self.num_nodes).to(dtype)

    def clear(self, values: Tensor) -> Tensor:
        """Edge values [E, h] with 0 for edges that are not real."""
        return values if self.real is None else torch.where(self.real.unsqueeze(1), values, 0)

    def to_dgl(self):
        """The same edges as a ``dgl.DGLGraph`` (made once)."""
        if self._dgl is None:
            os.environ.setdefault("DGLBACKEND", "pytorch")
            dgl = require("dgl", "BondGraph.to_dgl")
            self._dgl = dgl.graph((self.source, self.target), num_nodes=self.num_nodes)
        return self._dgl


def edge_sum(graph: BondGraph, values: Tensor) -> Tensor:
    """Sum of edge values over the in-edges of each node: [E, h] → [n, h]."""
    return values.new_zeros(graph.num_nodes, values.shape[1]).index_add(0, graph.target, values)


def u_mul_e_sum(graph: BondGraph, v: Tensor, w: Tensor, engine: str = "auto") -> Tensor:
    """y_i = Σ over edges e = (j → i) of w_e · v_j, per head.

    Parameters
    ----------
    graph
        Edges of the packed batch.
    v
        Node values, float [n, h, k].
    w
        Edge weights, float [E, h].
    engine
        ``"torch"``, ``"dgl"``, or ``"auto"``: ``"torch"``.

    Returns
    -------
    Tensor
        [n, h, k].

    Raises
    ------
    InvalidArgumentError
        Unknown engine.
    MissingPackageError
        ``"dgl"`` where DGL is not installed.

    Examples
    --------
    >>> graph = BondGraph(torch.tensor([0, 1]), torch.tensor([1, 0]), num_nodes=2)
    >>> v = torch.tensor([[[1.0]], [[10.0]]])
    >>> u_mul_e_sum(graph, v, torch.tensor([[2.0], [3.0]])).flatten().tolist()
    [30.0, 2.0]
    """
    check_choice("message_engine", engine, ENGINES)
    if graph.real is not None or not in_the_open():
        return torch.zeros_like(v).index_add(0, graph.target, v.index_select(0, graph.source) * w.unsqueeze(-1))
    if engine == "dgl":
        return _dgl_u_mul_e_sum(graph, v, w)
    return _UMulESum.apply(v, w, graph)


def _dgl_u_mul_e_sum(graph: BondGraph, v: Tensor, w: Tensor) -> Tensor:
    os.environ.setdefault("DGLBACKEND", "pytorch")
    ops = require("dgl.ops", "message_engine='dgl'")
    g = graph.to_dgl()
    return ops.u_mul_e_sum(g, v, w.unsqueeze(-1))


class _UMulESum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, v: Tensor, w: Tensor, graph: BondGraph) -> Tensor:
        ctx.save_for_backward(v, w)
        ctx.graph = graph
        return _bag(v, w, graph.source, *graph.sorted_by("target"))

    @staticmethod
    @first_derivative_only
    def backward(ctx, grad: Tensor):
        v, w = ctx.saved_tensors
        graph = ctx.graph
        grad_v = grad_w = None
        if ctx.needs_input_grad[0]:
            grad_v = _bag(grad, w, graph.target, *graph.sorted_by("source"))
        if ctx.needs_input_grad[1]:
            grad_w = torch.linalg.vecdot(grad.index_select(0, graph.target), v.index_select(0, graph.source))
        return grad_v, grad_w, None


def _bag(v: Tensor, w: Tensor, from_nodes: Tensor, order: Tensor, starts: Tensor) -> Tensor:
    """One bag per (head, node): Σ of w_e·v over the edges of each node, in the given edge order."""
    n, h, k = v.shape
    edges = order.numel()
    if edges == 0:
        return torch.zeros_like(v)
    heads = torch.arange(h, device=v.device).unsqueeze(1)
    rows = from_nodes.index_select(0, order) * h + heads  # [h, E], rows of v seen as [n·h, k]
    bags = starts + heads * edges  # [h, n]
    weights = w.index_select(0, order).t().reshape(-1)
    out = torch.nn.functional.embedding_bag(
        rows.reshape(-1), v.reshape(n * h, k), bags.reshape(-1), mode="sum", per_sample_weights=weights
    )
    return out.view(h, n, k).transpose(0, 1)
