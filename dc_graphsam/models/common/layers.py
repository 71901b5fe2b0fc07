"""Small layers the backbones share: mish, the two norms of CoMPT, and the dense kernels behind them.

The activations and norms here have hand-written backward passes. They are the memory-bound half of a training step on a
CPU: ``F.mish`` alone would cost more time than a quarter of the matrix products.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dc_graphsam.models.kernels.binding import in_the_open, usable
from dc_graphsam.models.kernels.derivatives import first_derivative_only
from dc_graphsam.models.kernels.norms import FusedBiasMish, FusedNorm

__all__ = ["LayerNorm", "ScaleNorm", "activation_function", "bias_mish", "make_norm", "mish"]

# tanh(softplus(20)) differs from 1 by 8e-18: beyond this point mish is the identity in every dtype used here.
_MISH_LINEAR = 20.0


class _Mish(torch.autograd.Function):
    """x·tanh(softplus(x)), with t = tanh(softplus(x)) = n/(n + 2), n = eˣ(eˣ + 2), free of cancellation."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        e = torch.exp(x.clamp(max=_MISH_LINEAR))
        n = torch.addcmul(2 * e, e, e)
        t = n / (n + 2)
        if ctx.needs_input_grad[0]:
            # d mish/dx = t + x·(1 − t²)·σ(x), with 1 − t = 2/(n + 2) and σ(x) = e/(1 + e)
            slope = (1 + t).mul_(2 * e).mul_(x).div_((n + 2).mul_(1 + e)).add_(t)
            ctx.save_for_backward(slope)
        return t.mul_(x)

    @staticmethod
    @first_derivative_only
    def backward(ctx, grad: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return grad * slope


def mish(x: Tensor) -> Tensor:
    """mish(x) = x·tanh(softplus(x)), elementwise (Misra, arXiv 1908.08681, eq. 1).

    Equal to ``torch.nn.functional.mish`` to rounding, three times as fast on a CPU. First derivatives only.

    Parameters
    ----------
    x
        Tensor of any shape.

    Examples
    --------
    >>> import torch
    >>> x = torch.linspace(-30, 30, 7, dtype=torch.float64)
    >>> bool((mish(x) - torch.nn.functional.mish(x)).abs().max() < 1e-14)
    True
    """
    return _Mish.apply(x) if in_the_open() else nn.functional.mish(x)


def bias_mish(y: Tensor, bias: Tensor) -> Tensor:
    """mish(y + bias) for y [n, d], bias [d].

    >>> y, bias = torch.randn(3, 4), torch.randn(4)
    >>> bool(torch.allclose(bias_mish(y, bias), torch.nn.functional.mish(y + bias), atol=1e-6))
    True
    """
    return FusedBiasMish.apply(y, bias) if usable(y, bias) else mish(y + bias)


def _leaky_relu(slope: float):
    return lambda x: nn.functional.leaky_relu(x, slope)


def activation_function(name: str, leaky_relu_slope: float = 0.1):
    """The elementwise function of that name: ``mish``, ``relu`` (leaky, with the given slope), ``tanh``, ``gelu``, ``swish`` or ``none``.

    >>> float(activation_function("none")(torch.tensor(2.0)))
    2.0
    """
    table = {
        "mish": mish,
        "relu": _leaky_relu(leaky_relu_slope),
        "tanh": torch.tanh,
        "gelu": nn.functional.gelu,
        "swish": nn.functional.silu,
        "none": lambda x: x,
    }
    return table[name]


class _UnbiasedLayerNorm(torch.autograd.Function):
    """a·(x − mean)/(s + eps) + b with the unbiased standard deviation s, on top of torch's fused kernels."""

    @staticmethod
    def forward(ctx, x: Tensor, a: Tensor, b: Tensor, eps: float) -> Tensor:
        d = x.shape[-1]
        # The tiny eps only keeps a constant row at 0·finite; it is far below rounding for every other row.
        normed, mean, rstd = torch.native_layer_norm(x, [d], None, None, 1e-30)
        s = math.sqrt(d / (d - 1)) / rstd
        ratio = 1 / (rstd * (s + eps))  # q/rstd, with q = 1/(s + eps)
        ctx.save_for_backward(x, normed, mean, rstd, s, ratio, a)
        ctx.eps = eps
        return torch.addcmul(b, normed * ratio, a)

    @staticmethod
    @first_derivative_only
    def backward(ctx, grad: Tensor):
        x, normed, mean, rstd, s, ratio, a = ctx.saved_tensors
        d = x.shape[-1]
        g = grad * a * ratio
        # torch's kernel gives rstd·[g − mean(g) − x̂·mean(g·x̂)]; ours has the factor s/(s + eps) before the last term.
        dx = torch.ops.aten.native_layer_norm_backward(g, x, [d], mean, rstd, None, None, [True, False, False])[0]
        projection = torch.linalg.vecdot(g, normed).unsqueeze(-1) / d
        dx.addcmul_(normed, projection * rstd * (ctx.eps / (s + ctx.eps)))
        weighted = grad * normed
        da = (weighted * ratio).flatten(0, -2).sum(0)
        db = grad.flatten(0, -2).sum(0)
        return dx, da, db, None


class LayerNorm(nn.Module):
    """Layer norm of the released CoMPT: y = a·(x − mean(x))/(std(x) + eps) + b.

    The standard deviation is the *unbiased* one and ``eps`` is added to it, not to the variance
    (``CoMPT-main/transformer_graph.py:294-306``), so that it is not ``torch.nn.LayerNorm``.

    Parameters
    ----------
    size
        Width d of the last axis, at least 2.
    eps
        Added to the standard deviation.

    Examples
    --------
    >>> norm = LayerNorm(4)
    >>> x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    >>> bool(torch.allclose(norm(x), (x - x.mean()) / (x.std() + 1e-6)))
    True
    """

    is_layer_norm = True

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.eps = eps

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """The factor and the term of each column, [d] both."""
        return self.weight, self.bias

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)  # statistics stay in full precision under autocast
        if not in_the_open():
            std, mean = torch.std_mean(x, dim=-1, keepdim=True)
            return self.weight * (x - mean) / (std + self.eps) + self.bias
        if usable(x, self.weight):
            return FusedNorm.apply(x, *self.scale_and_shift(), self.is_layer_norm, self.eps)
        return _UnbiasedLayerNorm.apply(x, self.weight, self.bias, self.eps)


class ScaleNorm(nn.Module):
    """Scale norm: y = g·x/max(‖x‖, eps), one learnable scalar g, initially √d (``transformer_graph.py:309-320``).

    >>> norm = ScaleNorm(4)
    >>> float(norm(torch.tensor([3.0, 0.0, 0.0, 4.0])).norm())
    2.0
    """

    is_layer_norm = False

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(math.sqrt(size)))
        self.size = size
        self.eps = eps

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """The factor and the term of each column, [d] both."""
        return self.weight.expand(self.size).contiguous(), self.weight.new_zeros(self.size)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        if usable(x, self.weight):
            return FusedNorm.apply(x, *self.scale_and_shift(), self.is_layer_norm, self.eps)
        return x * (self.weight / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=self.eps))


def make_norm(kind: str, size: int) -> nn.Module:
    """``"layer"`` or ``"scale"`` norm of the given width."""
    return LayerNorm(size) if kind == "layer" else ScaleNorm(size)
