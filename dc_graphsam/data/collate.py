"""Molecules → one padded batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

import numpy as np

from dc_graphsam.data.featurized import BOUND_COLUMNS
from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, MissingColumnError, check_range

__all__ = ["MoleculeCollator"]

PADDING_EDGE, PADDING_DISTANCE = -1, 255


class MoleculeCollator:
    """Pad molecules to the largest of the batch.

    Parameters
    ----------
    feature_set
        Name of the feature set that the molecules must have; ``None`` takes the widths as they come.
    pad_to
        Pad to at least this number of atoms; ``None`` to the largest molecule.

    Raises
    ------
    FeatureSetError
        On a call, if the molecules have other feature widths than ``feature_set`` or than each other.
    InvalidArgumentError
        On a call, if a molecule has more atoms than ``pad_to``, or only some have labels.

    Notes
    -----
    A call takes a list of B rows, which are ``MolGraph`` objects or mappings with the columns of a featurized data set
    (flat or shaped, NumPy or lists), and returns a dictionary of tensors, molecule first, in this order:

    * ``labels`` float32 [B, T], NaN = not measured; absent if the rows have none
    * ``lower_bounds``, ``upper_bounds`` float32 [B, T], what a value that is not measured is known to be above or below, NaN = no
      bound; absent if the rows have none
    * ``node_features`` float32 [B, N, F], 0 = padding
    * ``node_mask`` bool [B, N], true for atoms
    * ``edge_index`` int64 [B, 2, E], atom numbers within the molecule, source above target, −1 = padding
    * ``edge_features`` float32 [B, E, Fe], 0 = padding
    * ``distance`` uint8 [B, N, N] in bonds, 255 = other fragment or padding

    N and E are those of the largest molecule (N at least ``pad_to``).

    Examples
    --------
    >>> from dc_graphsam.chem import featurize
    >>> batch = MoleculeCollator()([featurize("CCO"), featurize("C")])
    >>> {name: tuple(tensor.shape) for name, tensor in batch.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'node_features': (2, 3, 115), 'node_mask': (2, 3), 'edge_index': (2, 2, 4), 'edge_features': (2, 4, 14),
     'distance': (2, 3, 3)}
    >>> batch["edge_index"][0].tolist()
    [[0, 1, 1, 2], [1, 0, 2, 1]]
    """

    def __init__(self, feature_set: str | None = None, pad_to: int | None = None) -> None:
        if pad_to is not None:
            check_range("pad_to", pad_to, 1)
        self.feature_set = feature_set
        self.pad_to = pad_to
        self._widths: tuple[int, int] | None = None
        if feature_set is not None:
            from dc_graphsam.chem import get_feature_set

            features = get_feature_set(feature_set)
            self._widths = features.node_feature_size, features.edge_feature_size

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict:
        import torch

        if not rows:
            raise InvalidArgumentError("rows is empty; accepted: at least one molecule")
        graphs = [_Graph(row) for row in rows]
        node_width, edge_width = self._check_widths(graphs)
        size = max(graph.num_nodes for graph in graphs)
        if self.pad_to is not None:
            if size > self.pad_to:
                raise InvalidArgumentError(
                    f"pad_to is {self.pad_to} but a molecule has {size} atoms; raise it or set max_atoms"
                )
            size = self.pad_to
        edges = max(graph.num_edges for graph in graphs)

        # torch's memory is aligned, numpy's is not always; the last bits of a matrix product depend on it
        n = len(graphs)
        batch = {
            "node_features": torch.zeros(n, size, node_width),  # [B, N, F]
            "node_mask": torch.zeros(n, size, dtype=torch.bool),  # [B, N]
            "edge_index": torch.full((n, 2, edges), PADDING_EDGE, dtype=torch.int64),  # [B, 2, E]
            "edge_features": torch.zeros(n, edges, edge_width),  # [B, E, Fe]
            "distance": torch.full((n, size, size), PADDING_DISTANCE, dtype=torch.uint8),  # [B, N, N]
        }
        node_features, node_mask, edge_index, edge_features, distance = (part.numpy() for part in batch.values())
        for b, graph in enumerate(graphs):
            atoms, bonds = graph.num_nodes, graph.num_edges
            node_mask[b, :atoms] = True
            node_features[b, :atoms] = graph.node_features.reshape(atoms, node_width)
            distance[b, :atoms, :atoms] = graph.distance.reshape(atoms, atoms)
            if bonds:
                edge_index[b, :, :bonds] = graph.edge_index.reshape(2, bonds)
                edge_features[b, :bonds] = graph.edge_features.reshape(bonds, edge_width)
        numbers = {name: _numbers(name, graphs) for name in ("labels", *BOUND_COLUMNS)}
        return {**{name: torch.tensor(part) for name, part in numbers.items() if part is not None}, **batch}

    def _check_widths(self, graphs: list[_Graph]) -> tuple[int, int]:
        """F and Fe of the batch; an edge width is unknown as long as no molecule has a bond."""
        node_width = graphs[0].node_width
        edge_width = next((graph.edge_width for graph in graphs if graph.num_edges), None)
        if self._widths is not None:
            expected = self._widths
        else:
            expected = node_width, edge_width if edge_width is not None else graphs[0].edge_width
        for graph in graphs:
            if graph.node_width != expected[0] or (graph.num_edges and graph.edge_width != expected[1]):
                raise FeatureSetError(
                    f"a molecule has {graph.node_width} features per atom and {graph.edge_width} per bond, expected "
                    f"{expected[0]} and {expected[1]}"
                    + (f" of feature set {self.feature_set!r}" if self.feature_set else " as the first of the batch")
                    + "; featurize all molecules with the same feature set"
                )
        return expected


class _Graph:
    """Arrays and sizes of one row."""

    __slots__ = ("distance", "edge_features", "edge_index", "edge_width", "node_features", "node_width", "num_edges",
                 "num_nodes", "numbers")  # fmt: skip

    def __init__(self, row: Any) -> None:
        if isinstance(row, Mapping):
            try:
                self.node_features = np.asarray(row["node_features"])
                self.edge_index = np.asarray(row["edge_index"])
                self.edge_features = np.asarray(row["edge_features"])
                self.distance = np.asarray(row["distance"])
            except KeyError as error:
                raise MissingColumnError("a row of the batch", error.args[0], row) from None
            for name in ("node_features", "edge_index", "edge_features", "distance"):
                if row[name] is None:
                    raise InvalidArgumentError(
                        f"{name} of a row of the batch is empty (None); accepted: an array. Featurize the molecule, or leave "
                        "the row out"
                    )
            self.numbers = row
        else:
            self.node_features, self.edge_index = row.node_features, row.edge_index
            self.edge_features, self.distance = row.edge_features, row.distance
            self.numbers = {}
        self.num_nodes = isqrt(self.distance.size)
        self.num_edges = self.edge_index.size // 2
        self.node_width = self.node_features.size // max(self.num_nodes, 1)
        if self.num_edges:
            self.edge_width = self.edge_features.size // self.num_edges
        else:  # a shaped array of no bonds still tells
            self.edge_width = self.edge_features.shape[1] if self.edge_features.ndim == 2 else 0


def _numbers(name: str, graphs: list[_Graph]) -> np.ndarray | None:
    """Labels or bounds, float32 [B, T], or None if no row has any."""
    numbers = [graph.numbers.get(name) for graph in graphs]
    known = [part is not None for part in numbers]
    if not any(known):
        return None
    if not all(known):
        raise InvalidArgumentError(
            f"{known.count(False)} of {len(known)} rows of the batch have no {name}; accepted: all or none"
        )
    return np.stack([np.asarray(part, np.float32).reshape(-1) for part in numbers])
