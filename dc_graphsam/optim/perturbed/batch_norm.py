"""Running statistics of batch norm: updated by one pass of a step only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["frozen_running_statistics"]


@contextmanager
def frozen_running_statistics(model: nn.Module | None, enabled: bool = True) -> Iterator[None]:
    """Keep the running statistics of all normalisation layers of ``model`` while the perturbed pass runs.

    A step with two passes would otherwise update them twice, once at weights that are never used. Batches are still
    normalised by their own statistics: the running mean, variance and batch counter are noted and put back, which, unlike
    evaluation mode, changes neither the function nor its gradient, and, unlike a momentum of 0, lets no infinity of an
    overflowing pass into them.

    Parameters
    ----------
    model : torch.nn.Module or None
        Its layers in training mode with ``track_running_stats`` (batch and instance norm) are held. ``None`` holds nothing.
    enabled : bool
        ``False`` holds nothing: for a step without a clean pass.

    Examples
    --------
    >>> model = torch.nn.BatchNorm1d(2)
    >>> with frozen_running_statistics(model):
    ...     _ = model(torch.randn(8, 2))
    >>> model.running_mean.tolist(), model.num_batches_tracked.item()
    ([0.0, 0.0], 0)
    """
    buffers: list[torch.Tensor] = []
    if enabled and model is not None:
        for layer in model.modules():
            if getattr(layer, "track_running_stats", False) and layer.training:
                named = (layer.running_mean, layer.running_var, layer.num_batches_tracked)
                buffers += [buffer for buffer in named if buffer is not None]
    values = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, values, strict=True):
                buffer.copy_(value)
