"""``deepchem.data.Dataset`` ⇄ ``datasets.Dataset``, shard by shard."""

from __future__ import annotations

import atexit
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dc_graphsam.data.cache import DATA
from dc_graphsam.data.deepchem.importing import import_deepchem
from dc_graphsam.data.deepchem.labels import (
    bounds_from_deepchem,
    bounds_to_deepchem,
    labels_from_deepchem,
    labels_to_deepchem,
)
from dc_graphsam.data.deepchem.transformers import label_scale, transformer_records, transformers_from_records
from dc_graphsam.data.featurized import BOUND_COLUMNS, GRAPH_COLUMNS
from dc_graphsam.data.graph_columns import GraphColumns, arrow_lists, numpy_rows
from dc_graphsam.exceptions import InvalidArgumentError, MissingColumnError, check_choice, check_range
from dc_graphsam.tasks import DEFAULT_METRIC, TASK_TYPES, TaskSpec

__all__ = ["dataset_from_deepchem", "dataset_to_deepchem", "shards_not_kept", "transformers_of"]

logger = logging.getLogger(__name__)

_KEY = "deepchem"
_VALUES_PER_BATCH = 1 << 24  # in the widest column of an Arrow batch


def dataset_from_deepchem(
    dataset: Any,
    *,
    name: str = "deepchem",
    task_type: str | None = None,
    metric: str | None = None,
    transformers: Sequence[Any] = (),
    folder: str | Path | None = None,
):
    """Turn a DeepChem data set of graphs into a ``datasets.Dataset`` that the Hugging Face door trains on.

    Columns are those of :func:`~dc_graphsam.data.load_moleculenet` (``smiles, labels, row, num_nodes, node_features, …``), and
    besides ``y``, ``w`` and ``ids`` exactly as they are, so that :func:`dataset_to_deepchem` gives the same data set back.
    ``labels`` has NaN where w is 0, and a normalization of y is undone in it. Weights other than 0 and 1 are kept in ``w``;
    the loss of the Hugging Face door does not read them, which is logged.

    Parameters
    ----------
    dataset : deepchem.data.Dataset
        ``NumpyDataset`` or ``DiskDataset`` with GraphData in X. No more than one shard is held in memory. Molecules that could
        not be featurized are left out, and named in the log.
    name
        Name of the data set.
    task_type
        ``"regression"``, ``"classification"`` or ``"multiclass"`` (y is 0, 1, …, the numbers of the classes); by default
        classification if all labels are 0 or 1.
    metric
        By default ``roc_auc`` for classification, ``roc_auc_ovr`` for several classes and ``rmse`` for regression.
    transformers
        Those that ``dataset`` went through, as the ``dc.molnet`` loaders return them.
    folder
        Where the Arrow file is written; by default a temporary folder, removed when Python ends.

    Returns
    -------
    datasets.Dataset
        Memory-mapped, in NumPy format.

    Raises
    ------
    InvalidArgumentError
        If X holds no graphs, y has more than two axes, or a transformer cannot be carried over.

    Examples
    --------
    >>> from dc_graphsam.dc import GraphTransformerFeaturizer
    >>> import deepchem
    >>> X = GraphTransformerFeaturizer().featurize(["CCO", "C"])
    >>> table = dataset_from_deepchem(deepchem.data.NumpyDataset(X, [[0.5], [2.0]], ids=["a", "b"]))
    >>> str(table[1]["ids"]), table[1]["labels"].tolist(), int(table[0]["num_nodes"])
    ('b', [2.0], 3)
    >>> graph = dataset_to_deepchem(table, in_memory=True).X[0]
    >>> graph.smiles, graph.distance.tolist()
    ('CCO', [[0, 1, 2], [1, 0, 1], [2, 1, 0]])
    """
    from datasets import Dataset

    if task_type is not None:
        check_choice("task_type", task_type, TASK_TYPES)
    if not hasattr(dataset, "get_shard") and type(dataset).__name__ != "NumpyDataset":
        raise InvalidArgumentError(
            f"dataset is of class {type(dataset).__name__}; accepted: NumpyDataset or DiskDataset with GraphData in X"
        )
    records = transformer_records(transformers)
    if folder is None:
        folder = tempfile.mkdtemp(prefix="dc_graphsam-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    tasks = [task.item() if isinstance(task, np.generic) else task for task in dataset.get_task_names()]
    writer = _Writer(path / DATA, transformers)
    try:
        for X, y, w, ids in _shards(dataset):
            writer.write(X, y, w, ids)
    finally:
        writer.close()
    writer.report()
    table = Dataset.from_file(str(path / DATA))
    names = [task for task in tasks if isinstance(task, str)]
    if not names or len(names) != writer.n_tasks:
        names = [f"task_{i}" for i in range(max(writer.n_tasks, 1))]
    task_type = task_type or ("classification" if writer.binary and writer.n_tasks else "regression")
    classes = _numbered_classes(table, len(names)) if task_type == "multiclass" else None
    spec = TaskSpec(
        name, tuple(names), task_type, metric or DEFAULT_METRIC[task_type], writer.graphs.feature_set, classes
    )
    own = {
        "tasks": tasks,
        "axes": writer.axes,
        "ids": writer.kind_of_ids,
        "graphs": writer.graphs.record(),
        "transformers": records,
    }
    table.info.dataset_name = name
    table.info.description = json.dumps({**json.loads(spec.to_json()), _KEY: own})
    return table.with_format("numpy")


def _numbered_classes(table: Any, n_tasks: int) -> list[list[str]]:
    """Names "0", "1", … of the classes that y counts, per task; the same number for every task, as DeepChem has it."""
    labels = np.asarray(table.with_format(None)["labels"][:], np.float64).reshape(len(table), -1)
    known = labels[~np.isnan(labels)]
    if not known.size or (known < 0).any() or (known != np.floor(known)).any():
        raise InvalidArgumentError(
            "task_type is 'multiclass' and y holds other than the numbers of classes; accepted: 0, 1, …, with w = 0 where "
            "nothing was measured"
        )
    return [[str(number) for number in range(max(int(known.max()) + 1, 2))]] * n_tasks


def _shards(dataset: Any) -> Iterator[tuple[np.ndarray, Any, Any, np.ndarray]]:
    if not hasattr(dataset, "get_shard"):
        yield dataset.X, dataset.y, dataset.w, dataset.ids
        return
    with shards_not_kept(dataset):
        for i in range(dataset.get_number_shards()):
            yield dataset.get_shard(i)


@contextmanager
def shards_not_kept(dataset: Any) -> Iterator[None]:
    """A ``DiskDataset`` keeps shards it has read, and counts 8 bytes for a graph of 20,000; not so within."""
    size = dataset.memory_cache_size
    dataset.memory_cache_size = 0
    try:
        yield
    finally:
        dataset.memory_cache_size = size


class _Writer:
    """Shards of a DeepChem data set → an Arrow stream."""

    def __init__(self, path: Path, transformers: Sequence[Any]) -> None:
        self.path, self.transformers = path, transformers
        self.graphs = GraphColumns()
        self.axes: dict[str, int] = {}  # of y and w
        self.n_tasks, self.binary = 0, True
        self.kind_of_ids = "O"
        self._rows = 0
        self._weighted = False
        self._failed: list[int] = []
        self._stream: Any = None

    def write(self, X: np.ndarray, y: Any, w: Any, ids: np.ndarray) -> None:
        failed = np.array(
            [x is None or (isinstance(x, np.ndarray) and x.dtype != object and not x.size) for x in X], bool
        )
        self._failed += (np.flatnonzero(failed) + self._rows).tolist()
        labels = self._labels(y, w)
        for places in _pieces(X, np.flatnonzero(~failed)):
            self._write_batch(X, y, w, ids, labels, places)
        self._rows += len(X)

    def _labels(self, y: Any, w: Any) -> np.ndarray | None:
        """float64 [n, T] in label units, NaN where not measured."""
        if y is None:
            return None
        for name, values in (("y", y), ("w", w)):
            if values is not None:
                if np.ndim(values) not in (1, 2) or np.asarray(values).dtype.kind not in "biuf":
                    raise InvalidArgumentError(
                        f"{name} is {np.asarray(values).dtype} with {np.ndim(values)} axes; accepted: numbers [n] or [n, tasks]"
                    )
                self.axes[name] = np.ndim(values)
        labels = labels_from_deepchem(y, np.ones(len(y)) if w is None else w)
        self.n_tasks = labels.shape[1]
        self._weighted |= w is not None and not np.isin(w, (0, 1)).all()
        self.binary &= bool(np.isin(labels[~np.isnan(labels)], (0, 1)).all())
        scale = label_scale(self.transformers, self.n_tasks)
        return labels if scale is None else labels * scale[1] + scale[0]

    def _write_batch(self, X: np.ndarray, y: Any, w: Any, ids: np.ndarray, labels: Any, places: np.ndarray) -> None:
        import pyarrow as pa

        columns: dict[str, Any] = {}
        if labels is not None:
            columns["labels"] = arrow_lists(list(labels[places]), np.float32)
            sides = [getattr(X[place], "bounds", None) for place in places]
            if all(side is not None for side in sides):
                columns.update(self._bounds(np.asarray(y)[places], np.stack(sides)))
            for name, values in (("y", y), ("w", w)):
                if values is not None:
                    columns[name] = arrow_lists(list(np.asarray(values)[places].reshape(len(places), -1)), values.dtype)
        ids = np.asarray(ids)
        self.kind_of_ids = ids.dtype.kind
        columns["ids"] = _ids(ids[places])
        columns["row"] = pa.array(places + self._rows)
        columns.update(self.graphs.to_arrow([X[place] for place in places]))
        batch = pa.RecordBatch.from_pydict(columns)
        if self._stream is None:
            self._stream = pa.ipc.new_stream(str(self.path), batch.schema)
            self._schema = batch.schema
        elif batch.schema != self._schema:
            wrong = next(name for name in batch.schema.names if batch.schema.field(name) != self._schema.field(name))
            raise InvalidArgumentError(
                f"{wrong} is {batch.schema.field(wrong).type} in one shard and {self._schema.field(wrong).type} in the first; "
                "accepted: one type in all shards"
            )
        self._stream.write_batch(batch)

    def _bounds(self, y: np.ndarray, sides: np.ndarray) -> dict[str, Any]:
        """Columns of bounds in label units."""
        scale = label_scale(self.transformers, self.n_tasks)
        found = bounds_from_deepchem(y, sides)
        if scale is not None:
            found = {name: values * scale[1] + scale[0] for name, values in found.items()}
        return {name: arrow_lists(list(values), np.float32) for name, values in found.items()}

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def report(self) -> None:
        if self._stream is None:
            raise InvalidArgumentError(
                "dataset holds no molecule that could be featurized; see failures of the featurizer"
            )
        if self._weighted:
            logger.warning(
                "w holds weights other than 0 and 1: they are kept in column 'w', and the loss of the Hugging Face door does "
                "not read them"
            )
        if self._failed:
            shown = ", ".join(map(str, self._failed[:5]))
            more = f" and {len(self._failed) - 5} more" if len(self._failed) > 5 else ""
            logger.warning(
                "%d of %d rows left out: could not be featurized (rows %s%s)",
                len(self._failed),
                self._rows,
                shown,
                more,
            )


def _pieces(X: np.ndarray, places: np.ndarray) -> Iterator[np.ndarray]:
    """``places`` in pieces small enough for an Arrow batch."""
    start = values = 0
    for at, place in enumerate(places):
        graph = X[place]
        size = max(getattr(graph, "num_nodes", 0) ** 2, np.size(getattr(graph, "node_features", 0)))
        if values and values + size > _VALUES_PER_BATCH:
            yield places[start:at]
            start, values = at, 0
        values += size
    if len(places) > start:
        yield places[start:]


def _ids(ids: np.ndarray):
    """A column of text or numbers."""
    import pyarrow as pa

    values = ids.tolist()
    for kind, column in ((str, pa.string()), (int, pa.int64()), (float, pa.float64())):
        if all(isinstance(value, kind) and not isinstance(value, bool) for value in values):
            return pa.array(ids) if ids.dtype.kind in "iuf" else pa.array(values, column)
    kinds = ", ".join(sorted({type(value).__name__ for value in values}))
    raise InvalidArgumentError(f"ids are {kinds}; accepted: text or numbers, one kind for all")


def dataset_to_deepchem(
    dataset: Any, data_dir: str | Path | None = None, *, shard_size: int = 8192, in_memory: bool = False
):
    """Turn a featurized ``datasets.Dataset`` into a DeepChem data set with GraphData in X.

    Parameters
    ----------
    dataset : datasets.Dataset
        What :func:`dataset_from_deepchem`, :func:`~dc_graphsam.data.load_moleculenet` or
        :func:`~dc_graphsam.data.load_csv` returned (one split), or a view of it. Where it has no ``y``, ``w`` and ``ids`` these are
        made of ``labels`` (y = 0 and w = 0 where nothing was measured) and ``smiles``. A bound of ``load_csv(…, censored="bounded")``
        is in y with w = 0, and the attribute ``bounds`` of the graph, int8 [T], says on which side of it the value is (1 above,
        −1 below): to DeepChem it is like a label that is not measured, models of :mod:`dc_graphsam.dc` learn from it.
    data_dir
        Folder of the ``DiskDataset``; None: a temporary one.
    shard_size
        Molecules in a shard; no more than these are held in memory.
    in_memory
        Return a ``NumpyDataset`` instead.

    Returns
    -------
    deepchem.data.DiskDataset or deepchem.data.NumpyDataset

    Raises
    ------
    MissingColumnError
        If the data set has not been featurized.

    Examples
    --------
    >>> from dc_graphsam.data import load_moleculenet
    >>> test = load_moleculenet("freewilson", progress=False)["test"]
    >>> dataset_to_deepchem(test, in_memory=True).get_task_names().tolist()
    ['pAct']
    """
    check_range("shard_size", shard_size, 1)
    for column in ("num_nodes", "node_features", "edge_index"):
        if column not in dataset.column_names:
            raise MissingColumnError("the data set", column, dataset.column_names)
    data = import_deepchem("dataset_to_deepchem").data
    tasks, shards = _tasks(dataset), _read_shards(dataset, shard_size)
    if not in_memory:
        return data.DiskDataset.create_dataset(shards, None if data_dir is None else str(data_dir), tasks)
    X, y, w, ids = (_concatenate(part) for part in zip(*shards, strict=True))
    numpy_dataset = data.NumpyDataset(X, y, w, ids)
    if tasks and y is not None:
        numpy_dataset.get_task_names = lambda: np.array(tasks)  # which a NumpyDataset cannot hold
    return numpy_dataset


def _concatenate(parts: Sequence[Any]) -> Any:
    return None if parts[0] is None else np.concatenate(parts)


def transformers_of(dataset: Any) -> list[Any]:
    """The DeepChem transformers that y and w of a data set of :func:`dataset_from_deepchem` went through."""
    return transformers_from_records(_own(dataset).get("transformers", []))


def _own(dataset: Any) -> dict[str, Any]:
    """What :func:`dataset_from_deepchem` noted; empty for data of another source."""
    try:
        return json.loads(dataset.info.description)[_KEY]
    except (ValueError, KeyError, TypeError):
        return {}


def _tasks(dataset: Any) -> list[Any]:
    own = _own(dataset)
    if own:
        return own["tasks"]
    try:
        return list(TaskSpec.of(dataset).task_names)
    except InvalidArgumentError:  # not said
        return list(range(len(dataset[0]["labels"]))) if "labels" in dataset.column_names and len(dataset) else []


def _graph_columns(dataset: Any) -> GraphColumns:
    own = _own(dataset)
    if own:
        return GraphColumns(own["graphs"])
    from dc_graphsam.chem import get_feature_set

    features = get_feature_set(TaskSpec.of(dataset).feature_set)
    for column in GRAPH_COLUMNS:
        if column not in dataset.column_names:
            raise MissingColumnError("the data set", column, dataset.column_names)
    rows = {"shape": "rows", "dtype": "float32"}
    layouts = {
        "node_features": {**rows, "trailing": [features.node_feature_size]},
        "edge_index": {"shape": "columns", "dtype": "int64"},
        "edge_features": {**rows, "trailing": [features.edge_feature_size]},
        "distance": {"shape": "square", "dtype": "uint8"},
    }
    if "smiles" in dataset.column_names:
        layouts["smiles"] = {"shape": "text"}
    return GraphColumns({"layouts": layouts, "constants": {"feature_set": features.name}})


def _read_shards(dataset: Any, shard_size: int) -> Iterator[tuple[np.ndarray, Any, Any, np.ndarray]]:
    graph_data = import_deepchem("dataset_to_deepchem").feat.GraphData
    graphs, axes = _graph_columns(dataset), _own(dataset).get("axes", {})
    arrow = dataset.with_format("arrow")
    for start in range(0, len(dataset), shard_size):
        table = arrow[start : start + shard_size]
        columns = {name: _one_chunk(table.column(name)) for name in table.column_names}
        X = graphs.to_graphs(columns, graph_data)
        if "ids" in columns:
            kind = _own(dataset).get("ids", "O")
            if kind in "iuf":
                ids = columns["ids"].to_numpy(zero_copy_only=False)
            else:
                ids = np.array(columns["ids"].to_pylist(), dtype=str if kind == "U" else object)
        elif "smiles" in columns:
            ids = np.array(columns["smiles"].to_pylist(), dtype=object)
        else:
            ids = np.arange(start, start + len(X))
        if "y" in columns:
            y, w = (_matrix(columns[name], axes.get(name, 2)) if name in columns else None for name in ("y", "w"))
        elif "labels" in columns and not axes:
            y, w = labels_to_deepchem(_matrix(columns["labels"], 2))
            if all(name in columns for name in BOUND_COLUMNS):
                y, sides = bounds_to_deepchem(y, *(_matrix(columns[name], 2) for name in BOUND_COLUMNS))
                for graph, side in zip(X, sides, strict=True):
                    graph.bounds = graph.kwargs["bounds"] = side
        else:
            y = w = None
        yield X, y, w, ids


def _one_chunk(column: Any) -> Any:
    import pyarrow as pa

    column = column.combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _matrix(column: Any, axes: int) -> np.ndarray:
    values = np.stack(numpy_rows(column))
    return values[:, 0] if axes == 1 else values
