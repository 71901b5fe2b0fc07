"""Columns of a Hub-style graph table, in their real variety → one form.

A graph comes as ``node_feat, edge_index, edge_attr, y, num_nodes``, but nested differently from table to table: lists of
lists, lists inside one more list, flat lists; edges as [2, E] or [E, 2]; ``y`` as [1, T], [T] or a number. What a table
does is found out once, from its first rows, and holds for all of them; a row that does otherwise is left out with a
reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dc_graphsam.chem import shortest_paths
from dc_graphsam.chem.table_feature_sets import categories, one_hot
from dc_graphsam.data.tables import TextTable, parse_labels
from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, MissingColumnError

__all__ = ["GraphLayout", "Nested", "Unusable", "find_column", "graph_arrays", "label_columns", "labels_of"]

MAX_NODES = 10_000  # as for SMILES: the distances alone of such a graph take 100 MB
NAMES = {
    "node_feat": ("node_feat", "node_features", "x"),
    "edge_index": ("edge_index",),
    "edge_attr": ("edge_attr", "edge_feat", "edge_features"),
    "num_nodes": ("num_nodes",),
    "y": ("y", "label", "labels", "target"),
}


class Unusable(InvalidArgumentError):
    """A row that cannot become a graph; the message says why."""


def find_column(columns: Sequence[str], what: str) -> str | None:
    """The column of a table that holds ``what``, a key of ``NAMES``."""
    return next((name for name in NAMES[what] if name in columns), None)


@dataclass(frozen=True)
class Nested:
    """Numbers of one column, whatever lists they are in.

    Attributes
    ----------
    values : float64 [V]
        All numbers, row after row; NaN for null.
    bounds : int64 [n + 1]
        Row r holds ``values[bounds[r]:bounds[r + 1]]``.
    lists : int64 [n + 1]
        Row r consists of the innermost lists ``lists[r]`` to ``lists[r + 1]``.
    list_sizes : int64
        Numbers in each innermost list.
    missing : bool [n]
        Whether the row is null.
    integral
        Whether the column is declared to hold integers or truth values.

    Examples
    --------
    >>> import pyarrow as pa
    >>> column = Nested.of("y", pa.array([[[1, 2], [3, 4]], [[5, 6]]]))
    >>> column.row(0).tolist(), column.list_counts.tolist()
    ([1.0, 2.0, 3.0, 4.0], [2, 1])
    """

    values: np.ndarray
    bounds: np.ndarray
    lists: np.ndarray
    list_sizes: np.ndarray
    missing: np.ndarray
    integral: bool

    @classmethod
    def of(cls, name: str, column: Any) -> Nested:
        import pyarrow as pa
        import pyarrow.compute as pc

        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        missing = column.is_null().to_numpy(zero_copy_only=False)
        bounds = lists = np.arange(len(column) + 1)
        list_sizes = np.ones(len(column), np.int64)
        while is_list(column.type):
            list_sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
            lists = bounds
            bounds = np.concatenate(([0], np.cumsum(list_sizes)))[bounds]
            column = column.flatten()
        kind = column.type
        integral = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
        if not (integral or pa.types.is_floating(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind)):
            raise InvalidArgumentError(f"column {name!r} holds {kind}; accepted: numbers, or lists of numbers")
        if pa.types.is_boolean(kind) or pa.types.is_null(kind):
            column = pc.cast(column, pa.int8())
        values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
        return cls(values, bounds, lists, list_sizes, missing, integral)

    def __len__(self) -> int:
        return len(self.missing)

    @property
    def sizes(self) -> np.ndarray:
        """Numbers in each row."""
        return np.diff(self.bounds)

    @property
    def list_counts(self) -> np.ndarray:
        """Innermost lists of each row."""
        return np.diff(self.lists)

    def row(self, index: int) -> np.ndarray:
        return self.values[self.bounds[index] : self.bounds[index + 1]]


def is_list(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


@dataclass(frozen=True)
class GraphLayout:
    """What a table of graphs looks like.

    Attributes
    ----------
    columns
        Its names for ``node_feat``, ``edge_index``, ``edge_attr``, ``num_nodes``; absent ones left out.
    node_width, edge_width
        Numbers per node and per edge. Without ``edge_attr`` an edge has the one number 1.
    edge_list
        Whether ``edge_index`` is [E, 2] instead of [2, E].
    integral
        Whether all features are declared as integers: categories, as a rule.
    encoded
        Whether categories are columns of zeros and ones already.
    """

    columns: dict[str, str]
    node_width: int
    edge_width: int
    edge_list: bool
    integral: bool
    encoded: bool = False

    @classmethod
    def of(cls, source: str, head: Any) -> GraphLayout:
        """From the first rows of a table.

        Parameters
        ----------
        source
            Its name, for messages.
        head : pyarrow.Table
            Some rows.

        Raises
        ------
        MissingColumnError
            If ``node_feat`` or ``edge_index`` is absent.
        InvalidArgumentError
            If no row of ``head`` shows how wide the features are.
        """
        found = {what: find_column(head.column_names, what) for what in NAMES if what != "y"}
        columns = {what: name for what, name in found.items() if name is not None}
        for what in ("node_feat", "edge_index"):
            if what not in columns:
                raise MissingColumnError(source, what, head.column_names)
        nodes = Nested.of(columns["node_feat"], head.column(columns["node_feat"]))
        index = Nested.of(columns["edge_index"], head.column(columns["edge_index"]))
        counts = _node_counts(columns, head, nodes, None)
        width = _commonest(nodes.sizes, counts)
        if width is None:
            raise InvalidArgumentError(
                f"{source}: in its first {len(head)} rows no {columns['node_feat']!r} holds the same count of numbers for "
                f"every node (rows hold {_some(nodes.sizes)} numbers, nodes: {_some(counts)}); accepted: [num_nodes][F], "
                "or those lists flat"
            )
        edge_width, integral = 1, nodes.integral
        if "edge_attr" in columns:
            attributes = Nested.of(columns["edge_attr"], head.column(columns["edge_attr"]))
            if attributes.missing.all() and len(attributes):
                del columns["edge_attr"]
            else:
                edge_width = _commonest(attributes.sizes, index.sizes // 2) or 1
                integral = integral and (attributes.integral or not len(attributes.values))
        some = index.sizes > 0
        edge_list = bool(
            some.any()
            and (index.list_counts[some] != 2).any()
            and len(index.list_sizes)
            and (index.list_sizes == 2).all()
        )
        return cls(columns, width, edge_width, edge_list, integral)


def _node_counts(columns: dict[str, str], table: Any, nodes: Nested, width: int | None) -> np.ndarray:
    """Nodes of each row, −1 where the row does not say."""
    if "num_nodes" in columns:
        given = Nested.of(columns["num_nodes"], table.column(columns["num_nodes"]))
        first = np.full(len(given), -1.0)
        filled = given.sizes > 0
        first[filled] = given.values[given.bounds[:-1][filled]]
        return np.where(np.isfinite(first), first, -1).astype(np.int64)
    nested = (nodes.list_counts != 1).any()  # a list per node, or one flat list
    if nested:
        return nodes.list_counts
    return nodes.sizes if width is None else nodes.sizes // width


def _commonest(values: np.ndarray, items: np.ndarray) -> int | None:
    """The commonest count of values per item among the rows in which it is a whole number."""
    fits = (items > 0) & (values > 0)
    fits[fits] = values[fits] % items[fits] == 0
    if not fits.any():
        return None
    widths, counts = np.unique(values[fits] // items[fits], return_counts=True)
    return int(widths[counts.argmax()])


def _some(numbers: np.ndarray) -> str:
    return ", ".join(map(str, numbers[:4].tolist())) + (", …" if len(numbers) > 4 else "")


def graph_arrays(
    table: Any, layout: GraphLayout, feature_set: str, max_nodes: int | None = None
) -> tuple[list[tuple[int, dict[str, np.ndarray]]], dict[int, str]]:
    """Turn rows of a table into graphs with each bond as two neighbouring opposite edges, and distances.

    Bonds that are given in one direction only get the other; self-loops and repeated edges are left out.

    Parameters
    ----------
    table : pyarrow.Table
        Some rows.
    layout
        Of the whole table.
    feature_set
        Name of the features to make: ``table-…`` keeps the numbers, ``one-hot-…`` spreads them over columns.
    max_nodes
        Larger graphs are left out.

    Returns
    -------
    graphs : list of (int, dict)
        Place of the row in ``table``, and ``num_nodes``, ``node_features`` float32 [N, F], ``edge_index`` int64 [2, 2E],
        ``edge_features`` float32 [2E, Fe], ``distance`` uint8 [N, N].
    problems : dict
        Place of a row → why it is left out.
    """
    columns = layout.columns
    nodes = Nested.of(columns["node_feat"], table.column(columns["node_feat"]))
    index = Nested.of(columns["edge_index"], table.column(columns["edge_index"]))
    edges = None
    if "edge_attr" in columns:
        edges = Nested.of(columns["edge_attr"], table.column(columns["edge_attr"]))
    counts = _node_counts(columns, table, nodes, layout.node_width)
    limit = MAX_NODES if max_nodes is None else min(max_nodes, MAX_NODES)
    known = None if layout.encoded else categories(feature_set)
    graphs, problems = [], {}
    for row in range(len(nodes)):
        try:
            count = int(counts[row])
            features = _rows_of(columns["node_feat"], nodes.row(row), count, layout.node_width, "node")
            if count > limit:
                raise Unusable(f"graph has more than {limit} nodes")
            ends = _edge_index(index.row(row), count, layout.edge_list, columns["edge_index"])
            if edges is None:
                attributes = np.ones((ends.shape[1], 1))
            else:
                attributes = _rows_of(columns["edge_attr"], edges.row(row), ends.shape[1], layout.edge_width, "edge")
            ends, attributes = _both_directions(ends, attributes, columns.get("edge_attr", "edge_attr"))
            if known is not None:
                features = _spread(features, known[0], columns["node_feat"])
                attributes = _spread(attributes, known[1], columns.get("edge_attr", "edge_attr"))
        except Unusable as error:
            problems[row] = str(error)
            continue
        graphs.append(
            (
                row,
                {
                    "num_nodes": count,
                    "node_features": features.astype(np.float32),
                    "edge_index": ends,
                    "edge_features": attributes.astype(np.float32),
                },
            )
        )
    _add_distances([graph for _, graph in graphs])
    return graphs, problems


def _rows_of(name: str, values: np.ndarray, count: int, width: int, item: str) -> np.ndarray:
    """Values as [count, width]."""
    if item == "node" and count < 1:
        raise Unusable("graph has no nodes")
    if len(values) != count * width:
        raise Unusable(f"{name} holds {len(values)} numbers for {count} {item}s; the table has {width} per {item}")
    if not np.isfinite(values).all():
        raise Unusable(f"{name} holds a number that is not finite")
    return values.reshape(count, width)


def _edge_index(values: np.ndarray, count: int, edge_list: bool, name: str) -> np.ndarray:
    """int64 [2, E]."""
    if len(values) % 2:
        raise Unusable(f"{name} holds {len(values)} numbers, which is odd")
    if not np.isfinite(values).all():
        raise Unusable(f"{name} holds a number that is not finite")
    index = values.astype(np.int64)
    index = index.reshape(-1, 2).T if edge_list else index.reshape(2, -1)
    if index.size and not 0 <= index.min() <= index.max() < count:
        raise Unusable(f"{name} names nodes {index.min()} to {index.max()}, the graph has nodes 0 to {count - 1}")
    return index


def _both_directions(index: np.ndarray, features: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Each bond as edge 2k and its reverse 2k + 1, in the order in which bonds first occur."""
    other = index[0] != index[1]
    if not other.all():
        index, features = index[:, other], features[other]
    if not index.size:
        return np.zeros((2, 0), np.int64), features[:0]
    low, high = index.min(axis=0), index.max(axis=0)
    _, first, bond = np.unique(low * (int(high.max()) + 1) + high, return_index=True, return_inverse=True)
    if (features != features[first[bond.reshape(-1)]]).any():
        raise Unusable(f"{name} differs between the two directions of a bond, or between repeated edges")
    first = np.sort(first)
    begin, end = index[:, first]
    both = np.empty((2, 2 * len(first)), np.int64)
    both[:, 0::2], both[:, 1::2] = (begin, end), (end, begin)
    return both, np.repeat(features[first], 2, axis=0)


def _spread(values: np.ndarray, counts: Sequence[int], name: str) -> np.ndarray:
    """Categories as columns of zeros and ones."""
    if values.shape[1] != len(counts):
        raise FeatureSetError(
            f"{name!r} has {values.shape[1]} numbers, the one-hot feature set has {len(counts)}; "
            "load the table with the feature set it was made with"
        )
    wrong = (values != np.floor(values)) | (values < 0) | (values >= np.asarray(counts))
    if wrong.any():
        column = int(np.nonzero(wrong)[1][0])
        raise Unusable(
            f"{name} has {values[wrong][0]:g} as number {column}; the feature set has categories 0 to {counts[column] - 1}"
        )
    return one_hot(values, counts)


def _add_distances(graphs: list[dict[str, np.ndarray]]) -> None:
    if not graphs:
        return
    atoms = np.array([graph["num_nodes"] for graph in graphs])
    bonds = np.array([graph["edge_index"].shape[1] // 2 for graph in graphs])
    begin, end = np.concatenate([graph["edge_index"][:, 0::2] for graph in graphs], axis=1)
    flat = shortest_paths(atoms, bonds, begin, end)
    stops = np.cumsum(atoms.astype(np.int64) ** 2)
    for graph, part in zip(graphs, np.split(flat, stops[:-1]), strict=True):
        graph["distance"] = part.reshape(graph["num_nodes"], graph["num_nodes"])


def label_columns(source: str, head: Any, wanted: Sequence[str] | None, others: Sequence[str]) -> list[str]:
    """The columns to predict.

    Parameters
    ----------
    source
        Name of the table, for messages.
    head : pyarrow.Table
        Some rows.
    wanted
        The user's choice; ``None`` takes ``y`` (``label``, ``labels``, ``target``), else the only column with numbers.
    others
        Columns that hold something else.

    Raises
    ------
    MissingColumnError
        If one is not there.
    InvalidArgumentError
        If there is none, or which one cannot be told.
    """
    if wanted is not None:
        for name in wanted:
            if name not in head.column_names:
                raise MissingColumnError(source, name, head.column_names)
        return list(wanted)
    usual = find_column(head.column_names, "y")
    if usual is not None:
        return [usual]
    numeric = []
    for name in head.column_names:
        if name not in others and not is_list(head.schema.field(name).type):
            values, _ = labels_of(head, [name])
            if np.isfinite(values).mean() >= 0.5:
                numeric.append(name)
    if len(numeric) == 1:
        return numeric
    has = (
        f"several columns with numbers: {', '.join(numeric)}" if numeric else "no column 'y' and no other with numbers"
    )
    raise InvalidArgumentError(
        f"task_columns is None and {source} has {has} (columns: {', '.join(head.column_names)}); name the column(s) to "
        "predict"
    )


def labels_of(table: Any, columns: Sequence[str], tasks: int | None = None) -> tuple[np.ndarray, dict[int, str]]:
    """Labels of some rows.

    Parameters
    ----------
    table : pyarrow.Table
        The rows.
    columns
        One column of numbers or of lists, or several of numbers.
    tasks
        T; ``None`` takes the commonest length.

    Returns
    -------
    labels : float64 [n, T]
        NaN where nothing was measured.
    problems : dict
        Place of a row → what is wrong with its labels.
    """
    import pyarrow as pa

    parts, problems = [], {}
    for name in columns:
        column = table.column(name)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            texts = ["" if value is None else value for value in column.to_pylist()]
            values, wrong = parse_labels(TextTable("", {name: texts}), [name])
            parts.append(values)
            problems = {**wrong, **problems}
            continue
        nested = Nested.of(name, column)
        sizes = nested.sizes
        usual = sizes[sizes > 0]
        width = (
            tasks if tasks is not None and len(columns) == 1 else int(np.bincount(usual).argmax()) if len(usual) else 1
        )
        values = np.full((len(nested), width), np.nan)
        fits = (sizes == width) & ~nested.missing
        for row in np.flatnonzero(~fits & ~nested.missing & (sizes > 0)).tolist():
            problems.setdefault(row, f"{name} holds {sizes[row]} labels, the table has {width}")
        values[fits] = nested.values[np.repeat(fits, sizes)].reshape(-1, width)
        parts.append(values)
    labels = np.concatenate(parts, axis=1)
    largest = np.finfo(np.float32).max
    for row, task in zip(*np.nonzero(np.abs(labels) > largest), strict=True):
        problems.setdefault(int(row), f"label {task} is {labels[row, task]!s}")
    return labels, problems
