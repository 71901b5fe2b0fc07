"""mish, the two norms, and mish followed by a norm, as autograd functions over the fused kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from dc_graphsam.models.kernels.binding import call, library
from dc_graphsam.models.kernels.derivatives import first_derivative_only

__all__ = ["FusedBiasMish", "FusedNorm"]


class FusedBiasMish(torch.autograd.Function):
    """mish(y + c) for y [n, d], c [d]."""

    @staticmethod
    def forward(ctx, y: Tensor, c: Tensor) -> Tensor:
        y, kernels = y.contiguous(), library()
        out = torch.empty_like(y)
        call(kernels.mish_forward, y, c, out, *_rows(y), kernels.threads)
        ctx.save_for_backward(y, c)
        return out

    @staticmethod
    @first_derivative_only
    def backward(ctx, grad: Tensor):
        y, c = ctx.saved_tensors
        grad, kernels = grad.contiguous(), library()
        dy, dc = torch.empty_like(y), torch.zeros_like(c)
        call(kernels.mish_backward, grad, y, c, dy, dc, *_rows(y), kernels.threads)
        return dy, dc


class FusedNorm(torch.autograd.Function):
    """Layer norm (``layer``) or scale norm of CoMPT, rows of x [n, d]; ``a`` and ``b`` [d]."""

    @staticmethod
    def forward(ctx, x: Tensor, a: Tensor, b: Tensor, layer: bool, eps: float) -> Tensor:
        x, kernels = x.contiguous(), library()
        out, stats = torch.empty_like(x), x.new_empty(x.numel() // x.shape[-1], 3)
        call(kernels.norm_forward, x, a, b, out, stats, *_rows(x), layer, eps, kernels.threads)
        ctx.save_for_backward(x, a, stats)
        ctx.layer = layer
        return out

    @staticmethod
    @first_derivative_only
    def backward(ctx, grad: Tensor):
        x, a, stats = ctx.saved_tensors
        grad, kernels = grad.contiguous(), library()
        dx, sums = torch.empty_like(x), x.new_zeros(2, x.shape[-1])
        none = None
        call(
            kernels.norm_backward,
            grad,
            none,
            none,
            x,
            a,
            stats,
            dx,
            sums[0],
            sums[1],
            *_rows(x),
            ctx.layer,
            kernels.threads,
        )
        return dx, sums[0], sums[1], None, None


def _rows(x: Tensor) -> tuple[int, int]:
    return x.numel() // x.shape[-1], x.shape[-1]
