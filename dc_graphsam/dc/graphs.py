"""``X`` of a DeepChem data set: telling graphs from failures, and padding graphs into a batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError

__all__ = ["check_graph", "drop_failed", "is_failure", "note_seen", "pad_graphs", "usable_rows"]

logger = logging.getLogger(__name__)


def is_failure(element: Any) -> bool:
    """Whether an element of X stands for a molecule that could not be featurized.

    >>> is_failure(np.array([]))
    True
    """
    return element is None or (isinstance(element, np.ndarray) and element.size == 0)


def usable_rows(X: Sequence[Any]) -> np.ndarray:
    """Places of X that hold a molecule, int64 [k]."""
    return np.array([place for place, element in enumerate(X) if not is_failure(element)], np.int64)


def drop_failed(dataset: Any) -> Any:
    """The data set without the molecules that could not be featurized.

    ``InMemoryLoader`` keeps them, as empty arrays. A model leaves them out when it is fitted and predicts NaN for them, which
    DeepChem's own metrics cannot read; those of :func:`dc_graphsam.metrics.dc_metric` can.

    Parameters
    ----------
    dataset : deepchem.data.Dataset

    Returns
    -------
    deepchem.data.Dataset
        ``dataset`` itself if nothing is to be dropped.

    Examples
    --------
    >>> from dc_graphsam.dc import GraphTransformerFeaturizer
    >>> import deepchem
    >>> X = GraphTransformerFeaturizer().featurize(["CCO", "not a molecule", "C"])
    >>> drop_failed(deepchem.data.NumpyDataset(X, [[1.0], [2.0], [3.0]])).y.tolist()
    [[1.0], [3.0]]
    """
    rows = usable_rows(dataset.X)
    return dataset if len(rows) == len(dataset) else dataset.select(rows)


def check_graph(graph: Any, config: Any) -> Any:
    """Return ``graph`` if a model of this configuration reads it; what GraphData lacks is computed.

    Raises
    ------
    InvalidArgumentError
        If it is no graph.
    FeatureSetError
        If it was featurized by another featurizer or for another model.
    """
    if isinstance(graph, str):
        raise InvalidArgumentError(
            f"X holds the text {str(graph)!r}; accepted: GraphData. Featurize first, with GraphTransformerFeaturizer"
            f"({config.feature_set!r}).featurize(smiles)"
        )
    if not hasattr(graph, "node_features") or not hasattr(graph, "edge_index"):
        raise InvalidArgumentError(
            f"X holds {type(graph).__name__}; accepted: GraphData. Load the data with featurizer="
            f"GraphTransformerFeaturizer({config.feature_set!r})"
        )
    name = getattr(graph, "feature_set", None)
    if name is None or getattr(graph, "distance", None) is None:  # made by hand, or by another featurizer
        from dc_graphsam.chem import MolGraph

        if graph.node_features.shape[1] != config.node_feature_size:
            raise FeatureSetError(
                f"X has {graph.node_features.shape[1]} features per atom, this model reads {config.node_feature_size}; load the "
                f"data with featurizer=GraphTransformerFeaturizer({config.feature_set!r})"
            )
        graph = MolGraph.from_deepchem(graph)
        name = graph.feature_set
    if not config.accepts_feature_set(name):
        raise FeatureSetError(
            f"X was featurized with GraphTransformerFeaturizer({name!r}), this model reads {config.feature_set!r}; featurize "
            f"with GraphTransformerFeaturizer({config.feature_set!r})"
        )
    return graph


def note_seen(config: Any, X: Sequence[Any]) -> None:
    """Add what the molecules of X have to ``config.seen``; elements that are no graphs of this model's are passed over."""
    from dc_graphsam.chem.seen import Seen

    names = {getattr(graph, "feature_set", None) for graph in X if not is_failure(graph)}
    if not hasattr(config, "seen") or len(names) != 1:
        return
    name = names.pop() or config.feature_set
    graphs = [graph for graph in X if not is_failure(graph) and getattr(graph, "edge_features", None) is not None]
    if config.accepts_feature_set(name) and graphs:
        seen = Seen(name, config.seen)
        if all((g.node_features.shape[1], g.edge_features.shape[1]) == seen.widths for g in graphs):
            seen.add(graphs)
            config.seen = seen.to_dict()


def pad_graphs(X: Sequence[Any], config: Any, device: Any) -> dict[str, Any]:
    """One padded batch of the usable elements of X on ``device``.

    Returns
    -------
    dict
        Tensors as :class:`~dc_graphsam.data.MoleculeCollator` makes them, and ``rows`` int64 [k], the places in X they are
        from, with ``size``, the length of X. Only ``rows`` and ``size`` if none is usable.
    """
    import torch

    from dc_graphsam.data import MoleculeCollator

    rows = usable_rows(X)
    batch: dict[str, Any] = {"rows": torch.from_numpy(rows).to(device), "size": len(X)}
    if len(rows):
        padded = MoleculeCollator()([check_graph(X[row], config) for row in rows])
        batch.update((name, tensor.to(device)) for name, tensor in padded.items())
    return batch
