"""Data sets of graphs or of SMILES, from the Hub or from files, in the columns that training reads."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dc_graphsam.chem import FEATURE_SETS
from dc_graphsam.chem.table_feature_sets import is_table_feature_set
from dc_graphsam.data.cache import DATA, get_or_build, read_record, table_key
from dc_graphsam.data.dropped import DroppedRow, summarize_dropped, summarize_ignored
from dc_graphsam.data.featurized import write_featurized
from dc_graphsam.data.hub.columns import labels_of
from dc_graphsam.data.hub.plan import Plan, bounds_of, check_classes, graph_rows, make_plan, task_type_of, texts_of
from dc_graphsam.data.hub.rows import ConvertedRows, write_graphs
from dc_graphsam.data.hub.source import Source, batches, open_source
from dc_graphsam.data.hub.stream import open_stream
from dc_graphsam.data.partition import partition
from dc_graphsam.data.tables import LabelledSmiles
from dc_graphsam.data.view import column_values
from dc_graphsam.exceptions import InvalidArgumentError, check_choice, check_range
from dc_graphsam.tasks import METRICS, TASK_TYPES

__all__ = ["load_graph_dataset"]

logger = logging.getLogger(__name__)


def load_graph_dataset(
    name_or_path: str | Path,
    config_name: str | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    streaming: bool = False,
    feature_set: str | None = None,
    smiles_column: str | None = None,
    task_columns: str | Sequence[str] | None = None,
    task_names: Sequence[str] | None = None,
    task_type: str | None = None,
    metric: str | None = None,
    split: str | None = None,
    seed: int = 0,
    fold: int | None = None,
    n_folds: int = 5,
    sizes: Sequence[float] = (0.8, 0.1, 0.1),
    splits: str | Path | Mapping[str, Sequence[int]] | None = None,
    max_atoms: int | None = None,
    num_workers: int | None = None,
    progress: bool = True,
    cache_dir: str | Path | None = None,
):
    """Load a data set of graphs, or of SMILES, from the Hub or from files.

    A table of graphs has the columns ``node_feat``, ``edge_index``, ``edge_attr``, ``y`` and ``num_nodes``, nested or
    flat; ``edge_attr`` and ``num_nodes`` may be absent. Its features are kept as they are. Any other table needs a
    column of SMILES, which are featurized as by :func:`~dc_graphsam.data.load_csv`.

    The features of a graph table cannot be computed from a SMILES, so a model trained on them predicts tables with the
    same features only. Where the table has SMILES too, ``feature_set="compt-own-slot"`` uses those instead.

    Parameters
    ----------
    name_or_path
        ``"owner/name"`` on the Hub, a folder, or a file: Parquet, JSON lines, CSV.
    config_name
        Of a data set with several configurations.
    revision, token
        For the Hub.
    streaming
        Return streams: rows are read and turned into graphs as training asks for them, and nothing is stored.
    feature_set
        ``None``: the columns of a graph table as they are, else features from SMILES. ``"table"`` asks for the
        columns. ``"one-hot"`` spreads columns of integers, which are categories in most tables (OGB's atomic number,
        chirality, …), over one column per category; how many there are is counted, so for a stream, or for a table
        that must fit another one, give the whole name, e.g. ``"one-hot-119.5.12.12.10.6.6.2.2-5.6.2"``. ``"compt"``
        and the like compute features from the SMILES.
    smiles_column
        Column with SMILES; ``None`` looks for the usual names.
    task_columns
        Column(s) to predict; ``None`` takes ``y`` (``label``, ``labels``, ``target``), else the only one with numbers.
    task_names
        Names of the T tasks; default: the column's name, numbered if it holds several.
    task_type
        ``"classification"`` (values 0 and 1) or ``"regression"``; ``None`` decides by the values (of a stream, by its
        first thousand rows).
    metric
        To compare and select models by; ``None``: ``roc_auc`` for classification and ``rmse`` for regression.
    split, seed, fold, n_folds, sizes, splits
        As of :func:`~dc_graphsam.data.load_csv`. ``None`` keeps the splits of the data set, ``val`` and ``valid`` as
        ``validation``; one that has a single split is divided at random.
    max_atoms
        Larger molecules are left out.
    num_workers, progress, cache_dir
        As of :func:`~dc_graphsam.data.load_csv`.

    Returns
    -------
    datasets.DatasetDict or datasets.IterableDatasetDict
        Train, validation and test, as far as there are such, as :func:`~dc_graphsam.data.load_csv` returns them.

    Raises
    ------
    MissingDataError
        If there is no such data set, or it may not be read.
    MissingColumnError
        If a column is absent; the message lists those there are.
    FeatureSetError
        If the table cannot give the features asked for.
    InvalidArgumentError
        If an argument is not accepted, or no row can be used.

    Notes
    -----
    Bonds become two neighbouring opposite edges each: a missing opposite is added, self-loops and repeated edges are
    left out. A row is left out, and listed by :func:`~dc_graphsam.data.dropped_rows`, if its numbers do not fit the
    table's layout, if the two directions of a bond have different features, or if it has no label.

    Examples
    --------
    >>> import json, os, tempfile
    >>> from dc_graphsam import TaskSpec
    >>> folder = tempfile.mkdtemp()
    >>> row = {"node_feat": [[5, 0], [7, 1]], "edge_index": [[0, 1], [1, 0]], "edge_attr": [[1], [1]], "y": [[1]], "num_nodes": 2}
    >>> for part in ("train", "val"):
    ...     with open(os.path.join(folder, f"{part}.jsonl"), "w") as file:
    ...         _ = file.write("".join(json.dumps({**row, "y": [[label]]}) + chr(10) for label in (0, 1)))
    >>> data = load_graph_dataset(folder, progress=False)
    >>> {part: len(rows) for part, rows in data.items()}, TaskSpec.of(data).feature_set
    ({'train': 2, 'validation': 2}, 'table-2-1')
    """
    _check(feature_set, task_type, metric, max_atoms, split, splits, streaming)
    wanted = [task_columns] if isinstance(task_columns, str) else task_columns
    source = open_source(name_or_path, config_name, revision=revision, token=token, streaming=streaming)
    plan = make_plan(source, feature_set, smiles_column, wanted, task_names, task_type, metric, max_atoms)
    if streaming:
        return open_stream(source, plan)
    asked = {"split": split, "seed": seed, "fold": fold, "n_folds": n_folds, "sizes": sizes, "splits": splits}
    return _assemble(source, plan, asked, num_workers=num_workers, progress=progress, cache_dir=cache_dir)


def _check(feature_set, task_type, metric, max_atoms, split, splits, streaming) -> None:
    if feature_set is not None and not is_table_feature_set(feature_set):
        check_choice("feature_set", feature_set, ["table", "one-hot", *FEATURE_SETS])
    if task_type is not None:
        check_choice("task_type", task_type, TASK_TYPES)
    if metric is not None:
        check_choice("metric", metric, METRICS)
    if max_atoms is not None:
        check_range("max_atoms", max_atoms, 1)
    if streaming and (split is not None or splits is not None):
        raise InvalidArgumentError("a stream keeps the splits it has; load without streaming to split by rows")
    if streaming and feature_set == "one-hot":
        raise InvalidArgumentError(
            "feature_set='one-hot' counts categories over the whole table, which a stream does not allow; accepted: the "
            "whole name, e.g. 'one-hot-119.5.12.12.10.6.6.2.2-5.6.2' for OGB molecules"
        )


def _assemble(source: Source, plan: Plan, asked: dict[str, Any], *, num_workers, progress, cache_dir):
    from datasets import Dataset, DatasetDict

    key = table_key(
        name=source.name,
        raw=source.digest,
        reading={
            "parts": list(source.parts),
            "smiles": plan.smiles,
            "labels": list(plan.labels),
            "row": plan.row,
            "type": None if plan.type_is_open else plan.spec.task_type,
            "columns": plan.layout is not None,
            **({"bounds": True} if plan.has_bounds else {}),
        },
        feature_set=plan.feature_set,
        max_atoms=plan.max_atoms,
    )

    def build(folder: Path) -> dict:
        write = _write_smiles if plan.layout is None else _write_graphs_of
        return write(folder, source, plan, num_workers, progress)

    folder = get_or_build(source.name, key, build, cache_dir)
    record = read_record(folder)
    dropped = [DroppedRow(*fields) for fields in record["dropped"]]
    if dropped:
        logger.warning("%s: %s", source.name, summarize_dropped(dropped, record["rows_in_source"]))
    if record.get("ignored"):
        logger.warning("%s: %s", source.name, summarize_ignored(record["ignored"], record["rows_in_source"]))
    table = Dataset.from_file(str(folder / DATA))
    table.info.dataset_name = source.name
    table.info.download_checksums = {source.name: {"num_bytes": 0, "checksum": source.digest}}
    table = plan.with_type(record["task_type"]).spec.attach(table)
    parts = record["parts"]
    if asked["splits"] is None and asked["split"] is None and len(parts) > 1:
        return DatasetDict({name: table.select(range(*span)) for name, span in parts.items()}).with_format("numpy")
    asked = {**asked, "split": asked["split"] or "random"}
    rows = column_values(table, "row")
    if (np.diff(rows) < 0).any():  # as numbered by the source that was pushed
        table = table.select(np.argsort(rows, kind="stable"))
    return partition(table, progress=progress, **asked).with_format("numpy")


def _write_graphs_of(folder: Path, source: Source, plan: Plan, num_workers, progress) -> dict:
    def convert() -> Iterator[tuple[str, ConvertedRows]]:
        seen = 0
        for name, part in _progress(source, progress):
            for table in batches(part):
                yield name, graph_rows(source.name, plan, table, seen)
                seen += len(table)

    record = write_graphs(folder, source.name, convert(), plan.has_bounds)
    labels = record.pop("labels")
    plan = plan.with_type(task_type_of(labels)) if plan.type_is_open else plan
    check_classes(plan, source.name, labels)
    return {**record, "task_names": list(plan.spec.task_names), "task_type": plan.spec.task_type}


def _progress(source: Source, show: bool) -> Iterator[tuple[str, Any]]:
    from dc_graphsam.progress import progress_bar

    return iter(progress_bar(source.parts.items(), desc=source.name, unit=" split", disable=not show, leave=False))


def _write_smiles(folder: Path, source: Source, plan: Plan, num_workers, progress) -> dict:
    smiles: list[str] = []
    labels, bounds, problems, stops = [], [], {}, {}
    for name, part in source.parts.items():
        for table in batches(part):
            some = texts_of(table, plan.smiles)
            values, wrong = labels_of(table, plan.labels, len(plan.spec.task_names))
            problems.update({len(smiles) + place: why for place, why in wrong.items()})
            smiles += some
            labels.append(values)
            bounds.append(bounds_of(table, plan))
        stops[name] = len(smiles)
    values = np.concatenate(labels)
    plan = plan.with_type(task_type_of(values)) if plan.type_is_open else plan
    check_classes(plan, source.name, values)
    both = {name: np.concatenate([part[name] for part in bounds]) for name in bounds[0]}
    table = LabelledSmiles(smiles, values, plan.spec.task_names, plan.spec.task_type, problems, **both)
    record = write_featurized(
        folder,
        table,
        source=source.name,
        feature_set=plan.feature_set,
        max_atoms=plan.max_atoms,
        num_workers=num_workers,
        progress=progress,
    )
    dropped = np.array([entry[0] for entry in record["dropped"]], np.int64)
    ends = {name: stop - int((dropped < stop).sum()) for name, stop in stops.items()}
    starts = [0, *ends.values()]
    return {**record, "parts": {name: [start, end] for (name, end), start in zip(ends.items(), starts, strict=False)}}
