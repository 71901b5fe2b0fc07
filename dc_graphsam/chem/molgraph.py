"""A molecule as a graph of numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dc_graphsam.chem.dgl_graph import check_dgl_graph
from dc_graphsam.chem.distance import shortest_paths
from dc_graphsam.chem.feature_sets import DEFAULT_FEATURE_SET, FEATURE_SETS, get_feature_set
from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, InvalidShapeError
from dc_graphsam.optional import require

if TYPE_CHECKING:
    import dgl
    from deepchem.feat import GraphData

__all__ = ["MolGraph"]


@dataclass(frozen=True, eq=False)
class MolGraph:
    """One molecule with N atoms and E bonds; nodes are atoms in RDKit's order, each bond is two directed edges.

    Featurizing gives read-only arrays. Those of :func:`dc_graphsam.chem.featurize_many` are slices of common buffers of
    some hundred molecules; ``copy.deepcopy`` makes a molecule independent.

    Attributes
    ----------
    smiles
        The SMILES as given.
    node_features : float32 [N, F]
        Atoms; columns as in ``get_feature_set(feature_set).node_feature_names``.
    edge_index : int64 [2, 2E]
        Row 0 the source j, row 1 the target i. Bond k is edge 2k (begin → end) and edge 2k + 1 (end → begin), so the
        reverse of edge e is e ^ 1.
    edge_features : float32 [2E, Fe]
        Bonds; the two directions have equal rows.
    distance : uint8 [N, N]
        Shortest path in bonds; 254 if it is longer, 255 between atoms of different fragments.
    atom_index : int64 [N]
        Node → atom index in RDKit's molecule.
    feature_set
        Name of the feature set.

    Raises
    ------
    InvalidShapeError
        If the shapes do not fit together.

    Examples
    --------
    >>> from dc_graphsam.chem import featurize
    >>> graph = featurize("CCO")
    >>> graph
    MolGraph('CCO', nodes=3, bonds=2, feature_set='compt-own-slot')
    >>> graph.edge_index
    array([[0, 1, 1, 2],
           [1, 0, 2, 1]])
    >>> graph.distance
    array([[0, 1, 2],
           [1, 0, 1],
           [2, 1, 0]], dtype=uint8)
    """

    smiles: str
    node_features: np.ndarray
    edge_index: np.ndarray
    edge_features: np.ndarray
    distance: np.ndarray
    atom_index: np.ndarray
    feature_set: str

    def __post_init__(self) -> None:
        nodes, edges = len(self.node_features), len(self.edge_features)
        if self.node_features.ndim != 2:
            raise InvalidShapeError("node_features", self.node_features.shape, "[N, F]")
        if self.edge_features.ndim != 2 or edges % 2:
            raise InvalidShapeError("edge_features", self.edge_features.shape, "[2E, Fe], two rows per bond")
        if self.edge_index.shape != (2, edges):
            raise InvalidShapeError(
                "edge_index", self.edge_index.shape, f"(2, {edges}), as edge_features has {edges} rows"
            )
        if self.distance.shape != (nodes, nodes):
            raise InvalidShapeError("distance", self.distance.shape, f"({nodes}, {nodes}), as there are {nodes} nodes")
        if self.atom_index.shape != (nodes,):
            raise InvalidShapeError("atom_index", self.atom_index.shape, f"({nodes},), as there are {nodes} nodes")

    def __repr__(self) -> str:
        return (
            f"MolGraph({self.smiles!r}, nodes={self.num_nodes}, bonds={self.num_edges // 2}, "
            f"feature_set={self.feature_set!r})"
        )

    @property
    def num_nodes(self) -> int:
        """N, the number of atoms."""
        return len(self.node_features)

    @property
    def num_edges(self) -> int:
        """2E, twice the number of bonds."""
        return len(self.edge_features)

    def to_deepchem(self) -> GraphData:
        """``deepchem.feat.GraphData``; what it has no field for travels as further attributes.

        Examples
        --------
        >>> from dc_graphsam.chem import featurize
        >>> data = featurize("CCO").to_deepchem()
        >>> data.num_nodes, data.num_edges, data.smiles
        (3, 4, 'CCO')
        """
        return require("deepchem.feat", "MolGraph.to_deepchem").GraphData(
            node_features=self.node_features,
            edge_index=self.edge_index,
            edge_features=self.edge_features,
            distance=self.distance,
            atom_index=self.atom_index,
            smiles=self.smiles,
            feature_set=self.feature_set,
        )

    @classmethod
    def from_deepchem(cls, data: GraphData, smiles: str | None = None, feature_set: str | None = None) -> MolGraph:
        """Inverse of :meth:`to_deepchem`.

        Parameters
        ----------
        data
            With bonds as neighbouring pairs of opposite edges. Distances are computed anew if it does not hold them.
        smiles, feature_set
            Override what ``data`` holds; needed if it holds none (``feature_set`` only if widths do not tell).
        """
        fields = data.kwargs if isinstance(getattr(data, "kwargs", None), dict) else {}
        get = lambda name: getattr(data, name, fields.get(name))  # noqa: E731
        return cls._from_arrays(
            smiles if smiles is not None else get("smiles"),
            data.node_features,
            data.edge_index,
            data.edge_features,
            feature_set or get("feature_set"),
            distance=get("distance"),
            atom_index=get("atom_index"),
        )

    def to_dgl(self) -> dgl.DGLGraph:
        """``dgl.DGLGraph`` with ``ndata`` node_features, atom_index and ``edata`` edge_features.

        Distances follow from the edges, and a matrix per graph cannot be batched by ``dgl.batch``, so they are left out
        and computed anew by :meth:`from_dgl`.
        """
        dgl = require("dgl", "MolGraph.to_dgl")
        import torch

        source, target = torch.tensor(self.edge_index)
        graph = dgl.graph((source, target), num_nodes=self.num_nodes)
        graph.ndata["node_features"] = torch.tensor(self.node_features)
        graph.ndata["atom_index"] = torch.tensor(self.atom_index)
        graph.edata["edge_features"] = torch.tensor(self.edge_features)
        graph.smiles, graph.feature_set = self.smiles, self.feature_set  # lost by dgl.batch
        return graph

    @classmethod
    def from_dgl(cls, graph: dgl.DGLGraph, smiles: str | None = None, feature_set: str | None = None) -> MolGraph:
        """Inverse of :meth:`to_dgl` for a single graph.

        Parameters
        ----------
        graph
            With edges in pairs of opposite directions. ``dgl.unbatch`` a batch first.
        smiles, feature_set
            Override the attributes of the graph, which ``dgl.batch`` and ``dgl.unbatch`` drop.

        Raises
        ------
        InvalidArgumentError
            It is a batch, or not a molecule, see :func:`~dc_graphsam.chem.dgl_graph.check_dgl_graph`.
        """
        if graph.batch_size != 1:
            raise InvalidArgumentError(
                f"graph is a batch of {graph.batch_size} graphs; accepted: one graph. Use dgl.unbatch first"
            )
        check_dgl_graph(graph)
        source, target = graph.edges(order="eid")
        return cls._from_arrays(
            smiles if smiles is not None else getattr(graph, "smiles", None),
            graph.ndata["node_features"].cpu().numpy(),
            np.stack((source.cpu().numpy(), target.cpu().numpy())),
            graph.edata["edge_features"].cpu().numpy(),
            feature_set or getattr(graph, "feature_set", None),
            atom_index=graph.ndata["atom_index"].cpu().numpy() if "atom_index" in graph.ndata else None,
        )

    def to_row(self, y: Sequence[float] | None = None) -> dict[str, Any]:
        """Row of a graph data set on the Hub, made of plain lists.

        Parameters
        ----------
        y
            Labels, if any.

        Returns
        -------
        dict
            ``node_feat`` [N][F], ``edge_index`` [2][2E], ``edge_attr`` [2E][Fe], ``num_nodes``, ``y``, ``smiles``.

        Examples
        --------
        >>> from dc_graphsam.chem import featurize
        >>> row = featurize("CO").to_row(y=[1.5])
        >>> list(row), row["edge_index"], row["y"]
        (['node_feat', 'edge_index', 'edge_attr', 'num_nodes', 'y', 'smiles'], [[0, 1], [1, 0]], [1.5])
        """
        return {
            "node_feat": self.node_features.tolist(),
            "edge_index": self.edge_index.tolist(),
            "edge_attr": self.edge_features.tolist(),
            "num_nodes": self.num_nodes,
            "y": [] if y is None else [float(value) for value in y],
            "smiles": self.smiles,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any], feature_set: str | None = None) -> MolGraph:
        """Inverse of :meth:`to_row`.

        Parameters
        ----------
        row
            ``smiles`` may be absent.
        feature_set
            Name of the feature set; default: the one with the widths of the row. Without bonds only one width is known,
            and the first of ``compt-own-slot``, ``compt``, … that has it is taken.

        Raises
        ------
        FeatureSetError
            If the widths belong to no feature set, or to another one than ``feature_set``.
        """
        nodes = np.asarray(row["node_feat"], np.float32).reshape(int(row["num_nodes"]), -1)
        edge_index = np.asarray(row["edge_index"], np.int64).reshape(2, -1)
        edges = np.asarray(row["edge_attr"], np.float32)
        if not edge_index.shape[1]:
            edges = None
        return cls._from_arrays(row.get("smiles"), nodes, edge_index, edges, feature_set)

    @classmethod
    def _from_arrays(
        cls, smiles, node_features, edge_index, edge_features, feature_set, distance=None, atom_index=None
    ) -> MolGraph:
        node_features = np.asarray(node_features, np.float32)
        edge_index = np.asarray(edge_index, np.int64)
        if node_features.ndim != 2:
            raise InvalidShapeError("node_features", node_features.shape, "[N, F]")
        if edge_index.ndim != 2 or len(edge_index) != 2:
            raise InvalidShapeError("edge_index", edge_index.shape, "[2, 2E]")
        num_nodes = len(node_features)
        forth, back = edge_index[:, 0::2], edge_index[:, 1::2]
        if forth.shape != back.shape or (forth != back[::-1]).any():
            raise InvalidArgumentError(
                "edge_index does not hold each bond as two opposite edges, one after the other; accepted: edge 2k+1 is "
                "edge 2k turned round"
            )
        if edge_index.size and not 0 <= edge_index.min() <= edge_index.max() < num_nodes:
            raise InvalidArgumentError(
                f"edge_index names nodes {edge_index.min()} to {edge_index.max()}; accepted: 0 to {num_nodes - 1}"
            )
        width = None if edge_features is None else np.shape(edge_features)[1]
        feature_set = _feature_set_of_widths(node_features.shape[1], width, feature_set)
        if edge_features is None:
            edge_features = np.zeros((0, get_feature_set(feature_set).edge_feature_size))
        if distance is None:
            distance = shortest_paths([num_nodes], [forth.shape[1]], *forth).reshape(num_nodes, num_nodes)
        return cls(
            "" if smiles is None else str(smiles),
            node_features,
            edge_index,
            np.asarray(edge_features, np.float32),
            np.asarray(distance, np.uint8),
            np.arange(num_nodes) if atom_index is None else np.asarray(atom_index, np.int64),
            feature_set,
        )


def _feature_set_of_widths(nodes: int, edges: int | None, name: str | None) -> str:
    """The feature set called ``name``, or the one with these widths; an error if there is none."""
    names = [DEFAULT_FEATURE_SET, *FEATURE_SETS] if name is None else [get_feature_set(name).name]
    for candidate in names:
        known = get_feature_set(candidate)
        if known.node_feature_size == nodes and edges in (None, known.edge_feature_size):
            return candidate
    wanted = ", ".join(
        f"{get_feature_set(n).node_feature_size} and {get_feature_set(n).edge_feature_size} ({n})" for n in names
    )
    got = f"{nodes} node and {'unknown' if edges is None else edges} edge features"
    raise FeatureSetError(f"the graph has {got}; accepted: {wanted}")
