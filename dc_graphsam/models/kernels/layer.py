"""One layer of CoMPT as one autograd function: matrix products of torch, and the fused kernels between them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from dc_graphsam.models.kernels.binding import Batch, call, library, lower, product_dtype
from dc_graphsam.models.kernels.derivatives import first_derivative_only

__all__ = ["FusedLayer", "KernelBatch", "distance_table"]

_FAR = 1e8  # RDKit's distance between fragments, which the byte 255 stands for


@dataclass
class KernelBatch:
    """The layout of a batch for the kernels; holds the tensors whose addresses it hands out.

    Attributes
    ----------
    start
        int64 [B + 1], first packed atom of each molecule.
    by_target, by_source
        Numbers of the edges sorted by that end [E], and where those of each atom begin [n + 1]; int64.
    source, target
        int64 [E].
    bonds
        float32 [E, F].
    distance
        uint8 [B, N, N], 255 = other fragment.
    """

    start: Tensor
    by_target: tuple[Tensor, Tensor]
    by_source: tuple[Tensor, Tensor]
    source: Tensor
    target: Tensor
    bonds: Tensor
    distance: Tensor

    def pointer(self, heads: int, size: int):
        """``const Batch *`` for attention with that many heads of that size."""
        (in_edge, in_begin), (out_edge, out_begin) = self.by_target, self.by_source
        tensors = (
            self.start,
            in_begin,
            in_edge,
            out_begin,
            out_edge,
            self.source,
            self.target,
            self.bonds,
            self.distance,
        )
        shape = (len(self.start) - 1, self.distance.shape[1], heads, size, self.bonds.shape[1])
        return ctypes.byref(Batch(*(tensor.data_ptr() for tensor in tensors), *shape))


def distance_table(decay: Tensor) -> Tensor:
    """exp(−λ·D) for the 256 values of a distance byte, [256]."""
    lengths = torch.arange(256, dtype=torch.float32)
    lengths[255] = _FAR
    return torch.exp(-decay * lengths)


class FusedLayer(torch.autograd.Function):
    """x̂ = norm(x); x₁ = x̂ + norm(mish(W_o·attention(x̂) + b_o)); out = x̂ + x₁ + norm(mish(W_f x₁ + b_f)).

    ``fold`` [h·F, d] and ``offset`` [h·F] map x̂ to the scores of the bond features (``CoMPTAttention.bond_scores``), ``decay``
    is λ ≥ 0, ``a`` and ``b`` [d] belong to the norm. Under autocast the products alone are in bfloat16; a trailing ``_`` marks
    their factors.
    """

    @staticmethod
    def forward(ctx, x, a, b, fold, offset, w_v, b_v, w_o, b_o, w_f, b_f, decay, batch: KernelBatch, heads, options):
        layer, eps, softmax = options
        kernels, x = library(), x.contiguous()
        n, d = x.shape
        rows, threads = (n, d), kernels.threads
        stats = x.new_empty(3, n, 3)
        normed = torch.empty_like(x)
        call(kernels.norm_forward, x, a, b, normed, stats[0], *rows, layer, eps, threads)
        low = product_dtype()
        normed_, w_v_, fold_, w_o_, w_f_ = lower(low, normed, w_v, fold, w_o, w_f)
        v = _affine(b_v, normed_, w_v_)
        scores = _affine(offset, normed_, fold_)  # [n, h·F]
        table = distance_table(decay)
        p_atom, p_bond = x.new_empty(n, heads), x.new_empty(len(batch.source), heads)
        y = torch.empty_like(x)
        pointer = batch.pointer(heads, d // heads)
        call(kernels.attention_forward, pointer, v, scores, table, softmax, p_atom, p_bond, y, threads)
        (y,) = lower(low, y)
        o = (y @ w_o_.t()).float()
        x1 = torch.empty_like(x)
        call(kernels.mish_norm_forward, o, b_o, a, b, normed, None, x1, stats[1], *rows, layer, eps, threads)
        (x1_,) = lower(low, x1)
        f = (x1_ @ w_f_.t()).float()
        out = torch.empty_like(x)
        call(kernels.mish_norm_forward, f, b_f, a, b, normed, x1, out, stats[2], *rows, layer, eps, threads)
        ctx.save_for_backward(
            *(x, a, fold_, w_v_, w_o_, b_o, w_f_, b_f, stats, normed_, v, table, p_atom, p_bond, y, o, x1_, f)
        )
        ctx.batch, ctx.heads, ctx.options, ctx.low = batch, heads, options, low
        return out

    @staticmethod
    @first_derivative_only
    def backward(ctx, grad: Tensor):
        x, a, fold, w_v, w_o, b_o, w_f, b_f, stats, normed, v, table, p_atom, p_bond, y, o, x1, f = ctx.saved_tensors
        layer, _, softmax = ctx.options
        kernels, grad, low = library(), grad.contiguous(), ctx.low
        n, d = x.shape
        rows, threads = (n, d), kernels.threads
        da, db, d_bo, d_bf, d_bv = sums = grad.new_zeros(5, d)

        df = torch.empty_like(x)
        call(kernels.mish_norm_backward, grad, f, b_f, a, stats[2], df, da, db, d_bf, *rows, layer, threads)
        (df_,) = lower(low, df)
        d_wf = (df_.t() @ x1).float()
        dx1 = _plus(grad, df_, w_f)

        do = df  # its memory is free again
        call(kernels.mish_norm_backward, dx1, o, b_o, a, stats[1], do, da, db, d_bo, *rows, layer, threads)
        (do_,) = lower(low, do)
        d_wo = (do_.t() @ y).float()
        dy = (do_ @ w_o).float()

        dv, d_scores = do, torch.empty(n, fold.shape[0])
        d_decay = grad.new_empty(len(ctx.batch.start) - 1)
        pointer = ctx.batch.pointer(ctx.heads, d // ctx.heads)
        call(
            kernels.attention_backward,
            *(pointer, dy, v, table, softmax, p_atom, p_bond, dv, d_scores, d_decay, threads),
        )
        dv_, d_scores_ = lower(low, dv, d_scores)
        d_wv, d_fold = (dv_.t() @ normed).float(), (d_scores_.t() @ normed).float()
        d_offset = grad.new_zeros(fold.shape[0])
        call(kernels.column_sums, dv, d_bv, n, d, threads)
        call(kernels.column_sums, d_scores, d_offset, n, fold.shape[0], threads)
        d_normed = _plus(_plus(dx1, dv_, w_v), d_scores_, fold)
        dx = dy
        call(kernels.norm_backward, d_normed, grad, None, x, a, stats[0], dx, da, db, *rows, layer, threads)
        del sums
        return dx, da, db, d_fold, d_offset, d_wv, d_bv, d_wo, d_bo, d_wf, d_bf, d_decay.sum(), None, None, None


def _affine(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """x Wᵀ + b in float32; the product in the dtype of its factors."""
    return torch.addmm(bias, x, weight.t()) if x.dtype == bias.dtype else torch.mm(x, weight.t()) + bias


def _plus(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """x + a b in float32; the product in the dtype of its factors."""
    return torch.addmm(x, a, b) if a.dtype == x.dtype else x + torch.mm(a, b)
