"""SMILES and labels → the Arrow stream that training reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dc_graphsam.data.cache import DATA
from dc_graphsam.data.dropped import DroppedRow, summarize_dropped
from dc_graphsam.data.tables import LabelledSmiles
from dc_graphsam.exceptions import InvalidArgumentError, InvalidSmilesError

if TYPE_CHECKING:
    from dc_graphsam.chem import MolGraph

__all__ = ["BOUND_COLUMNS", "GRAPH_COLUMNS", "write_featurized"]

BOUND_COLUMNS = ("lower_bounds", "upper_bounds")  # of data with bounds for labels only
GRAPH_COLUMNS = ("node_features", "edge_index", "edge_features", "distance")
_VALUES_PER_BATCH = 1 << 22  # in the widest column of an Arrow batch: some 1,500 drug-like molecules, 16 MB


def write_featurized(
    folder: Path,
    table: LabelledSmiles,
    *,
    source: str,
    feature_set: str,
    max_atoms: int | None = None,
    num_workers: int | None = None,
    progress: bool = False,
) -> dict:
    """Featurize a table and write it to ``folder/data.arrow``.

    Columns: ``smiles`` string, ``labels`` list<float32> [T], ``row`` int64, ``num_nodes`` int32, ``node_features``
    list<float32> [N·F], ``edge_index`` list<int32> [2·2E], ``edge_features`` list<float32> [2E·Fe], ``distance``
    list<uint8> [N·N], all row-major. Where the table has bounds, ``lower_bounds`` and ``upper_bounds`` are list<float32> [T].

    Parameters
    ----------
    folder
        Where to write.
    table
        What to write; rows in ``table.problems``, rows without any label and rows without a graph are left out.
    source
        Name of the table in messages.
    feature_set
        Name of the feature set.
    max_atoms
        Molecules with more atoms are left out; ``None`` keeps all.
    num_workers, progress
        Passed on to :func:`~dc_graphsam.chem.iter_featurized`.

    Returns
    -------
    dict
        ``rows``, ``rows_in_source``, ``dropped`` (row, SMILES, reason), ``ignored`` (row, text behind the SMILES),
        ``task_names``, ``task_type``, ``class_names`` and ``notes``.

    Raises
    ------
    InvalidArgumentError
        If no row is left.
    """
    import pyarrow as pa

    from dc_graphsam.chem.trailing import ignored_text

    reasons = dict(table.problems)
    ignored: list[list] = []
    numbers = {"labels": table.labels}
    if table.lower_bounds is not None:
        numbers.update(lower_bounds=table.lower_bounds, upper_bounds=table.upper_bounds)
    for row in np.flatnonzero(np.isnan(np.hstack(list(numbers.values()))).all(axis=1)).tolist():
        reasons.setdefault(row, "no label")
    rows = 0
    with pa.ipc.new_stream(str(folder / DATA), row_schema(len(numbers) > 1)) as writer:
        graphs = _graphs(table.smiles, reasons, feature_set, max_atoms, num_workers, progress)
        for batch in _by_size(graphs):
            writer.write_batch(_record_batch(batch, numbers))
            rows += len(batch)
            ignored += [[row, text] for row, graph in batch if (text := ignored_text(graph.smiles)) is not None]
    dropped = [DroppedRow(row, table.smiles[row], reasons[row]) for row in sorted(reasons)]
    if not rows:
        raise InvalidArgumentError(f"{source}: no row can be used: {summarize_dropped(dropped, len(table.smiles))}")
    return {
        "rows": rows,
        "rows_in_source": len(table.smiles),
        "dropped": [[record.row, record.smiles, record.reason] for record in dropped],
        "ignored": ignored,
        "task_names": list(table.task_names),
        "task_type": table.task_type,
        "class_names": None if table.class_names is None else [list(names) for names in table.class_names],
        "notes": list(table.notes),
    }


def _graphs(
    smiles: Sequence[str],
    reasons: dict[int, str],
    feature_set: str,
    max_atoms: int | None,
    num_workers: int | None,
    progress: bool,
) -> Iterator[tuple[int, MolGraph]]:
    """(row, graph) in order; what cannot be a graph is noted in ``reasons``."""
    rows = [row for row in range(len(smiles)) if row not in reasons]
    from dc_graphsam.chem import iter_featurized  # rdkit is needed here only

    graphs = iter_featurized([smiles[row] for row in rows], feature_set, num_workers, progress)
    for row, graph in zip(rows, graphs, strict=True):
        if isinstance(graph, InvalidSmilesError):
            reasons[row] = f"SMILES {graph.reason.removeprefix('it ')}"
        elif max_atoms is not None and graph.num_nodes > max_atoms:
            reasons[row] = f"molecule has more than {max_atoms} atoms"
        else:
            yield row, graph


def _by_size(graphs: Iterable[tuple[int, MolGraph]]) -> Iterator[list[tuple[int, MolGraph]]]:
    """Gather what goes into one Arrow batch, so that no column of it grows too long."""
    batch, values = [], 0
    for row, graph in graphs:
        size = max(graph.node_features.size, graph.edge_features.size, graph.distance.size)
        if batch and values + size > _VALUES_PER_BATCH:
            yield batch
            batch, values = [], 0
        batch.append((row, graph))
        values += size
    if batch:
        yield batch


def row_schema(with_bounds: bool = False):
    import pyarrow as pa

    return pa.schema(
        {
            "smiles": pa.string(),
            "labels": pa.list_(pa.float32()),
            **(dict.fromkeys(BOUND_COLUMNS, pa.list_(pa.float32())) if with_bounds else {}),
            "row": pa.int64(),
            "num_nodes": pa.int32(),
            "node_features": pa.list_(pa.float32()),
            "edge_index": pa.list_(pa.int32()),
            "edge_features": pa.list_(pa.float32()),
            "distance": pa.list_(pa.uint8()),
        }
    )


def _record_batch(batch: list[tuple[int, MolGraph]], numbers: dict[str, np.ndarray]):
    """One Arrow batch; columns are made from whole arrays, never value by value."""
    import pyarrow as pa

    def lists(arrays: list[np.ndarray], dtype) -> pa.ListArray:
        offsets = np.zeros(len(arrays) + 1, np.int32)
        np.cumsum([array.size for array in arrays], out=offsets[1:])
        values = np.concatenate([array.reshape(-1) for array in arrays]).astype(dtype, copy=False)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))

    rows = np.array([row for row, _ in batch], np.int64)
    graphs = [graph for _, graph in batch]
    return pa.record_batch(
        [
            pa.array([graph.smiles for graph in graphs], pa.string()),
            *(lists(list(values[rows]), np.float32) for values in numbers.values()),
            pa.array(rows),
            pa.array(np.array([graph.num_nodes for graph in graphs], np.int32)),
            lists([graph.node_features for graph in graphs], np.float32),
            lists([graph.edge_index for graph in graphs], np.int32),
            lists([graph.edge_features for graph in graphs], np.float32),
            lists([graph.distance for graph in graphs], np.uint8),
        ],
        schema=row_schema(len(numbers) > 1),
    )
