"""Attention of CoMPT, twice: the exact factored form, and the literal dense form.

Symbols: atoms N, width d, heads h, k = d/h, bond features F, s = √d; x̂ the normalised atom states, K the distance
kernel, f_ij the features of a bond, q_i = W_q x̂_i + b_q, v_i = W_v x̂_i + b_v.

Dense form (released code, ``transformer_graph.py:326-406``), for all pairs: e_ij = s(W_e f_ij + b_e),
κ_ij = W_k e_ij + b_k, P = softmax_j(q_i·κ_ij/√k), R = softmax_j(q_i·κ_ji/√k), A = P + R − diag(P), y_i = Σ_j A_ij K_ij v_j.

Factored form. Pairs without a bond share one key, which cancels in the softmax; bond features are symmetric, so R = P. With
b_ij = q_i·(s/√k) W_k W_e f_ij on bonds,

    y_i = (1/Z_i) { Σ_j (2 − δ_ij) K_ij v_j + Σ_{j~i} 2 (e^{b_ij} − 1) K_ij v_j },   Z_i = N + Σ_{j~i} (e^{b_ij} − 1):

one kernel product shared by all heads, plus message passing on the bonds. b_k and b_e have no influence.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from dc_graphsam.models.common.layers import mish
from dc_graphsam.models.common.message_passing import BondGraph, edge_sum, u_mul_e_sum
from dc_graphsam.models.common.packing import Packing, PaddedPacking
from dc_graphsam.models.common.plain import is_plain_linear
from dc_graphsam.models.kernels.layer import KernelBatch

__all__ = ["CoMPTAttention", "MoleculeBatch"]

OTHER_FRAGMENT = 255
_FAR = 1e8  # RDKit's distance between fragments


@dataclass
class MoleculeBatch:
    """What the layers need to know of a batch beside the atom states; computed once a forward pass.

    Attributes
    ----------
    packing, graph
        Layout of the atoms, and the bonds.
    bonds
        Bond features, float [E, F], in the edge order of ``graph``.
    given_distance
        Shortest path lengths in bonds as they came, [B, N, N]: uint8 with 255 = other fragment, or float.
    """

    packing: Packing
    graph: BondGraph
    bonds: Tensor
    given_distance: Tensor

    @cached_property
    def distance(self) -> Tensor:
        """Shortest path lengths in bonds, float [B, N, N]; 10⁸ between fragments."""
        distance, dtype = self.given_distance, self.bonds.dtype
        if distance.is_floating_point():
            return distance.to(dtype)
        return distance.to(dtype).masked_fill(distance == OTHER_FRAGMENT, _FAR)

    @cached_property
    def pairs(self) -> Tensor:
        """int64 [E], position (target, source) of each edge in the flattened [B, N, N] grid."""
        width, starts = self.packing.shape[1], self.packing.starts
        molecule = self.packing.molecule.index_select(0, self.graph.target)
        offset = starts.index_select(0, molecule)
        return (molecule * width + self.graph.target - offset) * width + self.graph.source - offset

    @cached_property
    def bond_kinds(self) -> tuple[Tensor, Tensor]:
        """The rows of bond features there are, the 0 of a pair without a bond first, [U + 1, F]; and which each edge has, [E].

        In molecules U is about ten. Where the rows are themselves to be differentiated, or no shape may depend on a value, each
        edge has a row of its own.
        """
        bonds = self.bonds
        none = bonds.new_zeros(1, bonds.shape[1])
        if self.graph.real is not None or bonds.requires_grad or not bonds.numel():
            return torch.cat((none, bonds)), torch.arange(1, bonds.shape[0] + 1, device=bonds.device)
        rows, kind = torch.unique(bonds, dim=0, return_inverse=True)
        return torch.cat((none, rows)), kind + 1

    def on_pairs(self, grid: Tensor, values: Tensor) -> Tensor:
        """A flat grid of all pairs [B·N·N, m] with the values [E, m] of the bonds in it."""
        if self.graph.real is None:
            return grid.index_copy(0, self.pairs, values)
        return grid.index_add(0, self.pairs, self.graph.clear(values - grid.index_select(0, self.pairs)))

    @cached_property
    def for_kernels(self) -> KernelBatch | None:
        """The layout for the fused kernels; ``None`` where they do not read it (distances that are not bytes)."""
        if self.given_distance.dtype != torch.uint8 or isinstance(self.packing, PaddedPacking):
            return None
        tensors = (self.given_distance, self.bonds, self.graph.source, self.graph.target)
        if any(type(tensor) is not Tensor or tensor.device.type != "cpu" for tensor in tensors):
            return None
        end = self.packing.lengths.sum().unsqueeze(0)
        edges = torch.tensor([self.graph.num_edges])

        def order(name: str) -> tuple[Tensor, Tensor]:
            numbers, begin = self.graph.sorted_by(name)
            return numbers, torch.cat((begin, edges))

        return KernelBatch(
            start=torch.cat((self.packing.starts, end)),
            by_target=order("target"),
            by_source=order("source"),
            source=self.graph.source.contiguous(),
            target=self.graph.target.contiguous(),
            bonds=self.bonds.contiguous(),
            distance=self.given_distance.contiguous(),
        )

    @cached_property
    def unbonded(self) -> Tensor:
        """N − deg_i: atoms of the molecule without a bond to atom i, itself included, [n, 1]."""
        atoms = self.packing.lengths.index_select(0, self.packing.molecule)
        return (atoms - self.graph.degree(torch.int64)).to(self.bonds.dtype).unsqueeze(1)

    @classmethod
    def build(cls, node_mask: Tensor, edge_index: Tensor, edge_features: Tensor, distance: Tensor, dtype: torch.dtype):
        """From a padded batch, see the batch contract in :class:`dc_graphsam.data.MoleculeCollator`."""
        packing = Packing.from_mask(node_mask)
        graph, present = packing.bond_graph(edge_index)
        bonds = packing.edge_rows(edge_features, present).to(dtype)
        return cls(packing, graph, bonds, distance)


class CoMPTAttention(nn.Module):
    """One attention block: x̂ [n, d] → mish(W_o y + b_o) [n, d].

    Parameters
    ----------
    config
        A :class:`~dc_graphsam.models.CoMPTConfig`.
    """

    def __init__(self, config) -> None:
        super().__init__()
        d = config.hidden_size
        self.heads = config.num_attention_heads
        self.head_size = d // self.heads
        self.kernel = config.distance_kernel
        self.constraint = config.lambda_constraint
        self.form = config.attention
        self.engine = config.message_engine
        self.edge_update = config.edge_update
        self.query = nn.Linear(d, d)
        self.key = nn.Linear(d, d)
        self.value = nn.Linear(d, d)
        self.output = nn.Linear(d, d)
        self.edge_output = nn.Linear(d, d) if config.edge_update or config.keep_dead_parameters else None
        raw = config.initial_lambda
        if self.constraint == "softplus":
            raw = math.log(math.expm1(raw))
        self.raw_lambda = nn.Parameter(torch.tensor(float(raw)))
        self.dropout = nn.Dropout(config.dropout)

    @property
    def distance_decay(self) -> Tensor:
        """λ, a scalar tensor."""
        if self.constraint == "softplus":
            return nn.functional.softplus(self.raw_lambda)
        return self.raw_lambda.clamp(min=0) if self.constraint == "clamp" else self.raw_lambda

    def distance_kernel(self, batch: MoleculeBatch) -> Tensor:
        """K [B, N, N]: exp(−λD), or its softmax over j; 0 for padded j."""
        decayed = self.distance_decay * batch.distance
        absent = None if batch.packing.absent is None else batch.packing.absent.unsqueeze(1)  # [B, 1, N]
        if self.kernel == "softmax":
            logits = -decayed if absent is None else (-decayed).masked_fill(absent, float("-inf"))
            return logits.softmax(-1)
        kernel = torch.exp(-decayed)
        return kernel if absent is None else kernel.masked_fill(absent, 0)

    def forward(
        self, x: Tensor, edge_embedding: nn.Module, batch: MoleculeBatch, edges: Tensor | None, want_attention: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """New atom states, edge states for the next layer (dense form only), and A [B, h, N, N] if asked for."""
        if self.form == "dense":
            y, edges, attention = self._dense(x, batch, edges)
        else:
            y, attention = self._factored(x, edge_embedding, batch, want_attention)
        return mish(self.output(y).to(x.dtype)), edges, attention

    def foldable(self, edge_embedding: nn.Module) -> bool:
        """Whether query, key and edge embedding are plain layers of one dtype, whose weights may be multiplied beforehand."""
        layers = (self.query, self.key, edge_embedding)
        return is_plain_linear(*layers) and len({layer.weight.dtype for layer in layers}) == 1

    def fold(self, edge_embedding: nn.Linear) -> tuple[Tensor, Tensor]:
        """The map from x̂ to the scores of the F bond features in one, [h·F, d] and [h·F], so that q is never formed."""
        h, k = self.heads, self.head_size
        d = h * k
        device = self.key.weight.device.type
        whole = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
        with whole:  # a small product of weights with weights
            bond_keys = (self.key.weight @ edge_embedding.weight).view(h, k, -1) * math.sqrt(d / k)  # [h, k, F]
            fold = torch.bmm(bond_keys.transpose(1, 2), self.query.weight.view(h, k, d)).flatten(0, 1)
            return fold, torch.einsum("hkf,hk->hf", bond_keys, self.query.bias.view(h, k)).flatten()

    def bond_scores(self, x: Tensor, edge_embedding: nn.Module, batch: MoleculeBatch) -> Tensor:
        """b_ij = q_i·(s/√k) W_k W_e f_ij for every edge (j → i), float [E, h]."""
        h = self.heads
        if not self.foldable(edge_embedding):
            return self._scores_of_calls(x, edge_embedding, batch)
        fold, offset = self.fold(edge_embedding)
        scores = nn.functional.linear(x, fold.to(x.dtype), offset.to(x.dtype)).to(x.dtype)  # [n, h·F]
        of_target = scores.index_select(0, batch.graph.target).view(-1, h, batch.bonds.shape[1])
        return batch.graph.clear(torch.linalg.vecdot(of_target, batch.bonds.unsqueeze(1)))

    def _scores_of_calls(self, x: Tensor, edge_embedding: nn.Module, batch: MoleculeBatch) -> Tensor:
        """b_ij = q_i·(κ_ij − κ₀)/√k with q, κ from the layers as they are, κ₀ the key of a pair without a bond.

        Exact for any layers that work row by row: all pairs without a bond share κ₀, and a term q_i·κ₀ that does not depend
        on j cancels in the softmax. Each row of bond features goes through the layers once a batch, so that with random
        layers (the dropout of an adapter) equal bonds share their key.
        """
        h, k = self.heads, self.head_size
        rows, kind = batch.bond_kinds
        q = self.query(x).to(x.dtype)
        keys = self.key(edge_embedding(rows).to(x.dtype) * math.sqrt(h * k)).to(x.dtype)  # κ, [U + 1, d]
        keys = (keys - keys[:1]) / math.sqrt(k)
        of_target = q.index_select(0, batch.graph.target).view(-1, h, k)
        return batch.graph.clear(torch.linalg.vecdot(of_target, keys.index_select(0, kind).view(-1, h, k)))

    def _factored(
        self, x: Tensor, edge_embedding: nn.Module, batch: MoleculeBatch, want_attention: bool
    ) -> tuple[Tensor, Tensor | None]:
        n, d = x.shape
        h, k = self.heads, self.head_size
        graph, packing = batch.graph, batch.packing
        b = self.dropout(self.bond_scores(x, edge_embedding, batch))  # [E, h]
        # m_i = max(0, max_j b_ij) keeps the exponentials in range; it cancels, so no gradient flows through it
        highest = b.detach().new_zeros(n, h)
        highest = highest.scatter_reduce(0, graph.target.unsqueeze(1).expand(-1, h), b.detach(), "amax")
        w0 = torch.exp(-highest)  # weight of a pair without a bond, [n, h]
        w = torch.exp(b - highest.index_select(0, graph.target))
        z = torch.addcmul(edge_sum(graph, graph.clear(w)), batch.unbonded, w0)  # Z_i·e^{−m_i}, [n, h]

        kernel = self.distance_kernel(batch)  # [B, N, N]
        if want_attention:
            attention = self._attention_matrix(kernel, w0 / z, w / z.index_select(0, graph.target), batch)
        v = self.value(x).to(x.dtype)
        doubled = self.dropout(2 * kernel - torch.diag_embed(kernel.diagonal(dim1=1, dim2=2)))  # (2 − δ_ij) K_ij
        everyone = packing.pack(torch.bmm(doubled, packing.pad(v)).to(x.dtype)).view(n, h, k)
        on_bond = kernel.flatten().index_select(0, batch.pairs).unsqueeze(1)  # K_ij of bonds, [E, 1]
        excess = (w - w0.index_select(0, graph.target)) / z.index_select(0, graph.target)
        bond_weight = graph.clear(excess * (2 * on_bond))  # [E, h]
        bonded = u_mul_e_sum(graph, v.view(n, h, k), self.dropout(bond_weight), self.engine)
        y = torch.addcmul(bonded, everyone, (w0 / z).unsqueeze(-1)).reshape(n, d)
        return y, attention if want_attention else None

    def _attention_matrix(self, kernel: Tensor, p0: Tensor, p: Tensor, batch: MoleculeBatch) -> Tensor:
        """A_ij K_ij as [B, h, N, N], from the weights of unbonded [n, h] and bonded [E, h] pairs."""
        size, width = batch.packing.shape
        probability = batch.packing.pad(p0).transpose(1, 2).unsqueeze(-1).expand(-1, -1, -1, width)
        flat = probability.permute(0, 2, 3, 1).reshape(size * width * width, -1)
        flat = batch.on_pairs(flat, p).view(size, width, width, -1).permute(0, 3, 1, 2)
        both = 2 * flat - torch.diag_embed(flat.diagonal(dim1=2, dim2=3))
        return both * kernel.unsqueeze(1)

    def _dense(self, x: Tensor, batch: MoleculeBatch, edges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        packing, h, k = batch.packing, self.heads, self.head_size
        size, width = packing.shape
        absent = ~packing.mask[:, None, None, :]  # [B, 1, 1, N]
        q = packing.pad(self.query(x).to(x.dtype)).view(size, width, h, k)
        v = packing.pad(self.value(x).to(x.dtype)).view(size, width, h, k)
        keys = self.key(edges).to(x.dtype).view(size, width, width, h, k)  # κ
        outgoing = torch.einsum("bihk,bijhk->bhij", q, keys) / math.sqrt(k)
        incoming = torch.einsum("bihk,bjihk->bhij", q, keys) / math.sqrt(k)
        p = outgoing.masked_fill(absent, float("-inf")).softmax(-1)
        r = incoming.masked_fill(absent, float("-inf")).softmax(-1)
        message = p + r - torch.diag_embed(p.diagonal(dim1=2, dim2=3))
        message = self.dropout(message * self.distance_kernel(batch).unsqueeze(1))  # [B, h, N, N]
        y = packing.pack(torch.einsum("bhij,bjhk->bihk", message, v).flatten(2))
        if self.edge_update:
            new = (message.permute(0, 2, 3, 1).unsqueeze(-1) * keys).flatten(3)
            edges = mish(self.edge_output(new).to(x.dtype))
        return y, edges, message
