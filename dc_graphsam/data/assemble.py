"""The common road of all loaders: raw table → cached features → splits that know their tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dc_graphsam.data.cache import DATA, file_digest, get_or_build, read_record, table_key
from dc_graphsam.data.dropped import DroppedRow, summarize_dropped, summarize_ignored
from dc_graphsam.data.featurized import BOUND_COLUMNS, write_featurized
from dc_graphsam.data.partition import load_splits, partition
from dc_graphsam.data.splits import check_splitting
from dc_graphsam.data.tables import LabelledSmiles
from dc_graphsam.data.view import column_values, label_matrix
from dc_graphsam.exceptions import check_range
from dc_graphsam.tasks import DEFAULT_METRIC, TaskSpec

__all__ = ["assemble", "describe"]

logger = logging.getLogger(__name__)


def assemble(
    name: str,
    files: Sequence[Path],
    read: Callable[[], LabelledSmiles],
    *,
    reading: Mapping[str, object],
    metric: str | None,
    citation: str,
    feature_set: str,
    max_atoms: int | None,
    num_workers: int | None,
    progress: bool,
    cache_dir: str | Path | None,
    **splitting,
):
    """Return the splits of a data set, from the cache if it is there.

    Parameters
    ----------
    name
        Of the data set.
    files
        Raw files; their bytes are part of the cache key.
    read
        Called only if the table is not cached.
    reading
        What else ``read`` depends on (JSON types): part of the cache key.
    metric
        ``None`` means that of :data:`dc_graphsam.tasks.DEFAULT_METRIC`.
    citation
        Written into ``info.citation``.
    feature_set, max_atoms, num_workers, progress
        See :func:`~dc_graphsam.data.featurized.write_featurized`.
    cache_dir
        See :func:`~dc_graphsam.data.cache.cache_root`.
    splitting
        Arguments of :func:`~dc_graphsam.data.partition.partition`.

    Returns
    -------
    datasets.DatasetDict
        In NumPy format, with a :class:`~dc_graphsam.tasks.TaskSpec` in the description of each part.
    """
    from datasets import Dataset

    from dc_graphsam.chem import get_feature_set

    get_feature_set(feature_set)
    if splitting.get("splits") is None:  # before hours of work, not after it
        check_splitting(*(splitting[name] for name in ("split", "seed", "fold", "n_folds", "sizes")))
    elif not isinstance(splitting["splits"], Mapping):
        load_splits(splitting["splits"], splitting.get("fold"))
    if max_atoms is not None:
        check_range("max_atoms", max_atoms, 1)
    digest = file_digest(*files)

    def build(folder: Path) -> dict:
        return write_featurized(
            folder,
            read(),
            source=name,
            feature_set=feature_set,
            max_atoms=max_atoms,
            num_workers=num_workers,
            progress=progress,
        )

    key = table_key(name=name, raw=digest, reading=dict(reading), feature_set=feature_set, max_atoms=max_atoms)
    folder = get_or_build(name, key, build, cache_dir)
    record = read_record(folder)
    dropped = [DroppedRow(*fields) for fields in record["dropped"]]
    if dropped:
        logger.warning("%s: %s", name, summarize_dropped(dropped, record["rows_in_source"]))
    if record.get("ignored"):
        logger.warning("%s: %s", name, summarize_ignored(record["ignored"], record["rows_in_source"]))
    table = Dataset.from_file(str(folder / DATA))
    table.info.dataset_name = name
    table.info.citation = citation
    table.info.download_checksums = {files[0].name: {"num_bytes": files[0].stat().st_size, "checksum": digest}}
    task_type = record["task_type"]
    for note in record.get("notes") or ():
        logger.warning("%s", note, extra={"arguments": ("task_type",)})  # which the command line calls otherwise
    metric = metric or DEFAULT_METRIC[task_type]
    spec = TaskSpec(name, tuple(record["task_names"]), task_type, metric, feature_set, record.get("class_names"))
    data = partition(spec.attach(table), progress=progress, **splitting).with_format("numpy")
    _warn_of_empty_tasks(data, spec)
    return data


def _warn_of_empty_tasks(data, spec: TaskSpec) -> None:
    """A task without a label in train cannot be learnt; its column stays, so that numbers keep their places."""
    part = "train" if "train" in data else next(iter(data))
    if len(data[part]):
        labels = label_matrix(data[part])
        known = ~np.isnan(labels)
        for column in BOUND_COLUMNS:
            if column in data[part].column_names:
                known |= ~np.isnan(column_values(data[part], column))
        empty = [name for name, found in zip(spec.task_names, known.any(axis=0), strict=True) if not found]
        if empty:
            shown = ", ".join(repr(name) for name in empty[:5]) + (
                f" and {len(empty) - 5} more" if len(empty) > 5 else ""
            )
            logger.warning("%s: no label of %s in %s: nothing can be learnt of it", spec.dataset, shown, part)


def describe(data) -> str:
    """Sum up a data set in one line.

    Parameters
    ----------
    data
        What :func:`~dc_graphsam.data.load_moleculenet` or :func:`~dc_graphsam.data.load_csv` returned.

    Examples
    --------
    >>> from dc_graphsam.data import load_moleculenet
    >>> describe(load_moleculenet("freewilson", progress=False))
    'freewilson: 1,017 molecules, 1 regression task, split 813/102/102, 0 left out'
    """
    from dc_graphsam.data.dropped import dropped_rows

    spec = TaskSpec.of(data)
    sizes = [len(part) for part in data.values()]
    tasks = f"{len(spec.task_names)} {spec.task_type} task{'s' if len(spec.task_names) > 1 else ''}"
    split = "/".join(f"{size:,}" for size in sizes)
    return f"{spec.dataset}: {sum(sizes):,} molecules, {tasks}, split {split}, {len(dropped_rows(data)):,} left out"
