"""When the parameters of a module say all that it does, so that other code may compute in its place."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules import module as _torch

__all__ = ["is_plain", "is_plain_linear", "weight_dtype"]


def is_plain(module: nn.Module, kind: type) -> bool:
    """Whether calling the module does what its class says, and nothing besides.

    A layer of an adapter (LoRA, DoRA, IA3), a quantized one, a parametrized one, a subclass, a module with a hook of any kind
    or with a ``forward`` of its own is not plain: it has to be called. Everything in the models that computes with the
    parameters of a layer instead of calling it, the fused kernels above all, asks here first.

    Parameters
    ----------
    module
        The layer.
    kind
        Its class; a subclass is not plain.

    Examples
    --------
    >>> layer = nn.Linear(2, 2)
    >>> is_plain(layer, nn.Linear)
    True
    >>> handle = layer.register_forward_hook(lambda module, inputs, output: output * 2)
    >>> is_plain(layer, nn.Linear)
    False
    """
    return (
        type(module) is kind
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and not module._backward_hooks
        and not module._backward_pre_hooks
        and "forward" not in module.__dict__
        and not _torch._has_any_global_hook()
    )


def is_plain_linear(*modules: nn.Module) -> bool:
    """Whether all of them are plain ``nn.Linear`` layers with a bias.

    >>> is_plain_linear(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))
    False
    """
    return all(is_plain(module, nn.Linear) and module.bias is not None for module in modules)


def weight_dtype(module: nn.Module, otherwise: torch.dtype) -> torch.dtype:
    """The dtype of ``module.weight`` if that is a tensor of floating-point numbers, as it is not in a quantized layer.

    >>> weight_dtype(nn.Linear(2, 2), torch.float64)
    torch.float32
    """
    weight = getattr(module, "weight", None)
    return weight.dtype if isinstance(weight, Tensor) and weight.is_floating_point() else otherwise
