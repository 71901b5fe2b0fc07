"""Predicting with a graph transformer: in order of size, with uncertainty, and atom by atom."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dc_graphsam.data.deepchem.importing import import_deepchem
from dc_graphsam.dc.batches import sorted_batches
from dc_graphsam.dc.graphs import pad_graphs
from dc_graphsam.exceptions import InvalidArgumentError, check_range

__all__ = ["MoleculePrediction"]


class MoleculePrediction:
    """The predicting part of :class:`~dc_graphsam.dc.GraphTransformerModel`; goes before ``TorchModel``."""

    def _predict(self, *args, **kwargs):
        with torch.no_grad():
            return super()._predict(*args, **kwargs)

    def predict(self, dataset, transformers=(), output_types=None):
        """Predictions for a data set, in its order; as ``TorchModel.predict``.

        Parameters
        ----------
        dataset
            The data set; its y is not read.
        transformers
            Transformers to undo, e.g. the ``NormalizationTransformer`` that the labels of training went through.
        output_types
            ``["embedding"]`` for the embedding, None for the prediction.

        Returns
        -------
        numpy.ndarray
            See the class; NaN in the rows of molecules that could not be featurized.
        """
        order: list[int] = []
        batches = (([X], None, None) for X, _, _ in sorted_batches(dataset, self.batch_size, order))
        values = _in_order(self.predict_on_generator(batches, [], output_types), order)
        return _undo(values, list(transformers)) if transformers and len(order) else values

    def predict_embedding(self, dataset):
        """What the last layer reads, float32 [n, d], one row per molecule."""
        return self.predict(dataset, output_types=["embedding"])

    def predict_uncertainty(self, dataset, masks: int = 50):
        """Mean and standard deviation of predictions under random dropout masks (Gal and Ghahramani 2016).

        Parameters
        ----------
        dataset
            The data set.
        masks
            Masks to average over.

        Returns
        -------
        tuple of numpy.ndarray
            Mean and standard deviation, each in the shape of ``predict``.

        Raises
        ------
        InvalidArgumentError
            If the model has no dropout.
        """
        if not self.config.dropout:
            raise InvalidArgumentError(
                f"dropout is 0, and the uncertainty is the spread under random dropout masks; make the model with "
                f"{type(self).__name__}(…, dropout=0.1) and train it"
            )
        check_range("masks", masks, 1)
        mean = spread = 0.0
        with self.model.sample_dropout():
            for count in range(1, masks + 1):
                values = np.asarray(self.predict(dataset), np.float64)
                change = values - mean
                mean = mean + change / count
                spread = spread + change * (values - mean)
        return mean.astype(np.float32), np.sqrt(spread / masks).astype(np.float32)

    def compute_saliency(self, X):
        """Derivative of the prediction for one molecule by the features of its atoms.

        Parameters
        ----------
        X : GraphData
            One molecule.

        Returns
        -------
        numpy.ndarray
            float32 [T, N, F] for a regression; [C, N, F] or [T, C, N, F] for a classification.
        """
        graph = X.item() if isinstance(X, np.ndarray) and X.size == 1 else X
        self._ensure_built()
        training = self.model.training
        self.model.eval()
        try:
            batch = pad_graphs([graph], self.config, self.device)
            if "node_features" not in batch:
                raise InvalidArgumentError(
                    "X is a molecule that could not be featurized; there is nothing to derive by"
                )
            features = batch["node_features"].requires_grad_(True)
            prediction = self.model(batch)[0]
            shape = tuple(prediction.shape[1:])
            slopes = [torch.autograd.grad(value, features, retain_graph=True)[0][0] for value in prediction.reshape(-1)]
            return torch.stack(slopes).reshape(*shape, *features.shape[1:]).cpu().numpy()
        finally:
            self.model.train(training)

    def compute_atom_saliency(self, X):
        """Norm of :meth:`compute_saliency` over the features of each atom: float32 [T, N], [C, N] or [T, C, N].

        The atoms are those of ``X.atom_index``.
        """
        return np.linalg.norm(self.compute_saliency(X), axis=-1)


def _undo(values: np.ndarray, transformers: list) -> np.ndarray:
    """``undo_transforms`` on all rows at once: a NormalizationTransformer of several tasks misreads a single row."""
    if len(values) > 1:
        return import_deepchem("dc_graphsam.dc").trans.undo_transforms(values, transformers)
    return import_deepchem("dc_graphsam.dc").trans.undo_transforms(np.concatenate((values, values)), transformers)[:1]


def _in_order(values: Any, order: list[int]) -> Any:
    """Rows that were computed in ``order``, in the order of the data set."""
    if isinstance(values, list):
        return [_in_order(value, order) for value in values]
    restored = np.empty_like(values)
    restored[np.asarray(order)] = values
    return restored
