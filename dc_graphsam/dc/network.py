"""The module inside a ``TorchModel``: a model of this package with DeepChem's outputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["OUTPUT_TYPES", "DeepChemNetwork"]

OUTPUT_TYPES = ["prediction", "loss", "embedding"]


class DeepChemNetwork(nn.Module):
    """A batch of :func:`~dc_graphsam.dc.graphs.pad_graphs` → prediction, logits, embedding.

    Parameters
    ----------
    network
        Property prediction model whose last layer is called ``classifier``.
    mode
        ``"classification"`` or ``"regression"``.
    n_tasks, n_classes
        T and C.

    Attributes
    ----------
    sampling
        Whether dropout is on in evaluation mode, see :meth:`sample_dropout`.
    """

    def __init__(self, network: nn.Module, mode: str, n_tasks: int, n_classes: int = 2) -> None:
        super().__init__()
        self.network = network
        self.mode, self.n_tasks, self.n_classes = mode, n_tasks, n_classes
        self.sampling = False

    @contextmanager
    def sample_dropout(self) -> Iterator[None]:
        """Within, every prediction draws its own dropout masks."""
        self.sampling = True
        try:
            yield
        finally:
            self.sampling = False

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs with one row per element of X; NaN where there is no molecule.

        Parameters
        ----------
        batch
            Tensors of the molecules, ``rows`` and ``size``.

        Returns
        -------
        prediction : Tensor
            Regression: values [B, T] in label units. Classification: probabilities [B, T, C], or [B, C] for one task.
        logits : Tensor
            [B, T], or [B, T·C] of a multiclass network.
        embedding : Tensor
            [B, d], what the last layer reads.
        """
        if self.sampling and not self.training:
            self.network.train()
            try:
                logits, embedding = self._run(batch)
            finally:
                self.network.eval()
        else:
            logits, embedding = self._run(batch)
        rows, size = batch["rows"], batch["size"]
        if len(rows) < size and not self.training:
            logits, embedding = _scatter(logits, rows, size), _scatter(embedding, rows, size)
        return self._predict(logits), logits, embedding

    def _run(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        tensors = {name: value for name, value in batch.items() if name not in ("rows", "size")}
        head = self.network.classifier
        if not tensors:
            return head.weight.new_zeros(0, head.out_features), head.weight.new_zeros(0, head.in_features)
        read: list[Tensor] = []
        handle = head.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
        try:
            logits = self.network(**tensors).logits
        finally:
            handle.remove()
        return logits, read[-1]

    def _predict(self, logits: Tensor) -> Tensor:
        if self.mode == "regression":
            return logits
        if self.network.config.task_type != "multiclass":
            probabilities = torch.stack((torch.sigmoid(-logits), torch.sigmoid(logits)), dim=-1)  # [B, T, 2]
        else:
            probabilities = logits.view(-1, self.n_tasks, self.n_classes).softmax(-1)
        return probabilities.squeeze(1) if self.n_tasks == 1 else probabilities


def _scatter(values: Tensor, rows: Tensor, size: int) -> Tensor:
    out = values.new_full((size, *values.shape[1:]), float("nan"))
    return out.index_copy(0, rows, values)
