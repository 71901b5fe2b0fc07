"""Graphs as arrays → the Arrow rows that training reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dc_graphsam.data.cache import DATA
from dc_graphsam.data.dropped import DroppedRow, summarize_dropped
from dc_graphsam.data.featurized import row_schema
from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["GRAPH_FIELDS", "ConvertedRows", "stream_schema", "write_graphs"]

GRAPH_FIELDS = ("num_nodes", "node_features", "edge_index", "edge_features", "distance")
_VALUES_PER_BATCH = 1 << 22  # in the longest column of an Arrow batch


def stream_schema(with_bounds: bool = False) -> Any:
    """Columns of a streamed row: those of a stored one but for ``row``, which a stream does not know."""
    schema = row_schema(with_bounds)
    return schema.remove(schema.get_field_index("row"))


@dataclass(frozen=True)
class ConvertedRows:
    """n rows of a source after conversion.

    Attributes
    ----------
    graphs
        Place of a usable row among the n, and its ``GRAPH_FIELDS``.
    labels
        float [n, T].
    smiles
        n of them, ``""`` where there is none.
    rows
        int64 [n], their numbers in the source.
    problems
        Place of a row → why it is left out.
    bounds
        ``lower_bounds`` and ``upper_bounds``, float [n, T] each, or nothing.
    """

    graphs: list[tuple[int, dict[str, Any]]]
    labels: np.ndarray
    smiles: list[str]
    rows: np.ndarray
    problems: dict[int, str]
    bounds: dict[str, np.ndarray] = field(default_factory=dict)

    def batches(self) -> Iterator[Any]:
        """Arrow batches of the usable rows, none of which grows too long."""
        group, values = [], 0
        for place, graph in self.graphs:
            size = max(graph[name].size for name in ("node_features", "edge_features", "distance"))
            if group and values + size > _VALUES_PER_BATCH:
                yield self._batch(group)
                group, values = [], 0
            group.append((place, graph))
            values += size
        if group:
            yield self._batch(group)

    def _batch(self, graphs: list[tuple[int, dict[str, Any]]]) -> Any:
        import pyarrow as pa

        places = np.array([place for place, _ in graphs], np.int64)
        columns = {
            "smiles": pa.array([self.smiles[place] for place in places.tolist()], pa.string()),
            "labels": _lists(list(self.labels[places]), np.float32),
            "row": pa.array(self.rows[places]),
            "num_nodes": pa.array(np.array([graph["num_nodes"] for _, graph in graphs], np.int32)),
        }
        for name, values in self.bounds.items():
            columns[name] = _lists(list(values[places]), np.float32)
        schema = row_schema(bool(self.bounds))
        for name, dtype in zip(GRAPH_FIELDS[1:], (np.float32, np.int32, np.float32, np.uint8), strict=True):
            columns[name] = _lists([graph[name] for _, graph in graphs], dtype)
        return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def _lists(arrays: list[np.ndarray], dtype: Any) -> Any:
    import pyarrow as pa

    offsets = np.zeros(len(arrays) + 1, np.int32)
    np.cumsum([array.size for array in arrays], out=offsets[1:])
    values = np.concatenate([array.reshape(-1) for array in arrays])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.astype(dtype, copy=False)))


def write_graphs(
    folder: Path, source: str, converted: Iterable[tuple[str, ConvertedRows]], with_bounds: bool = False
) -> dict:
    """Write ``folder/data.arrow``.

    Parameters
    ----------
    folder
        Where to write.
    source
        Name of the table in messages.
    converted
        Split and rows, split after split.
    with_bounds
        Whether they have ``lower_bounds`` and ``upper_bounds``.

    Returns
    -------
    dict
        ``rows``, ``rows_in_source``, ``dropped``, ``parts`` (split → first row and row after the last in the file) and
        ``labels``, float [rows, T].

    Raises
    ------
    InvalidArgumentError
        If no row is left.
    """
    import pyarrow as pa

    seen = written = 0
    dropped: list[DroppedRow] = []
    labels: list[np.ndarray] = []
    parts: dict[str, list[int]] = {}
    with pa.ipc.new_stream(str(folder / DATA), row_schema(with_bounds)) as writer:
        for part, some in converted:
            for batch in some.batches():
                writer.write_batch(batch)
            dropped += [DroppedRow(int(some.rows[i]), some.smiles[i], why) for i, why in sorted(some.problems.items())]
            labels.append(some.labels[[place for place, _ in some.graphs]])
            start = parts.setdefault(part, [written, written])[0]
            written += len(some.graphs)
            seen += len(some.labels)
            parts[part] = [start, written]
    if not written:
        raise InvalidArgumentError(f"{source}: no row can be used: {summarize_dropped(dropped, seen)}")
    return {
        "rows": written,
        "rows_in_source": seen,
        "dropped": [[record.row, record.smiles, record.reason] for record in dropped],
        "parts": parts,
        "labels": np.concatenate(labels),
    }
