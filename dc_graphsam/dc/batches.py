"""Which molecules of a DeepChem data set go into a batch together.

A padded batch costs as much as its largest molecule in every row, so batches are made of molecules of about one size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

from dc_graphsam.data.deepchem.exchange import shards_not_kept
from dc_graphsam.dc.graphs import is_failure, usable_rows

__all__ = ["Batch", "fit_batches", "like_sized", "sorted_batches"]

Batch = tuple[np.ndarray, Any, Any]  # X, y, w; y and w may be None

TOGETHER = 50  # batches that are sorted together
KEPT = 2**30  # bytes of X up to which a DiskDataset may keep its shards in memory from epoch to epoch
NOISE = 0.03  # sizes that differ by less than this share may change places


def like_sized(sizes: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Random full batches of like-sized molecules, and one of those left over.

    Parameters
    ----------
    sizes
        Atoms of each of n molecules, int [n].
    batch_size
        Molecules in a batch.
    rng
        Of the order.

    Returns
    -------
    list of numpy.ndarray
        Places, each once: random batches of ``batch_size``, then one with the rest, if there is any.

    Examples
    --------
    >>> batches = like_sized(np.array([3, 30, 4, 31, 29, 5]), 3, np.random.default_rng(0))
    >>> sorted(sorted(batch.tolist()) for batch in batches)
    [[0, 2, 5], [1, 3, 4]]
    """
    n = len(sizes)
    places = rng.permutation(n)
    noisy = sizes * rng.uniform(1 - NOISE, 1 + NOISE, n)
    surplus = n % batch_size
    rest = places[:0]
    full: list[np.ndarray] = []
    parts = max(1, round(n / batch_size / TOGETHER))
    edges = [round((n - surplus) / batch_size * part / parts) * batch_size for part in range(parts)] + [n]
    for start, stop in zip(edges, edges[1:], strict=False):
        members = places[start:stop]
        members = members[np.argsort(noisy[members], kind="stable")]
        if stop == n and surplus:  # neighbours in size, from anywhere in the last part
            at = int(rng.integers(len(members) // batch_size + 1)) * batch_size
            rest, members = members[at : at + surplus], np.delete(members, np.s_[at : at + surplus])
        full.extend(members.reshape(-1, batch_size))
    return [full[i] for i in rng.permutation(len(full))] + ([rest] if len(rest) else [])


def fit_batches(dataset: Any, batch_size: int, deterministic: bool) -> Iterator[Batch]:
    """Batches of one epoch of training, without molecules that could not be featurized.

    Parameters
    ----------
    dataset
        A ``deepchem.data.Dataset``. Of a ``DiskDataset`` of more than ``KEPT`` bytes no more is held than one shard and
        ``TOGETHER`` batches.
    batch_size
        Molecules in a batch.
    deterministic
        Whether batches follow the order of the data set; else they are random, of like-sized molecules, by numpy's global
        generator (``numpy.random.seed``), as DeepChem's are.

    Yields
    ------
    tuple
        X, y, w of a batch.
    """
    if deterministic:
        for X, y, w, _ in dataset.iterbatches(batch_size, deterministic=True, pad_batches=False):
            rows = usable_rows(X)
            if len(rows):
                yield _take((X, y, w), rows)
        return
    rng = np.random.default_rng(np.random.randint(2**31, size=4))
    pool: Batch | None = None
    for part in _shards(dataset, rng):
        part = _take(part, usable_rows(part[0]))
        pool = part if pool is None else _join(pool, part)
        if len(pool[0]) >= TOGETHER * batch_size:
            *full, last = like_sized(_sizes(pool[0]), batch_size, rng)
            for places in full:
                yield _take(pool, places)
            pool = _take(pool, last)  # goes on with the next shard
    if pool is not None and len(pool[0]):
        for places in like_sized(_sizes(pool[0]), batch_size, rng):
            yield _take(pool, places)


def sorted_batches(dataset: Any, batch_size: int, order: list[int]) -> Iterator[Batch]:
    """All molecules, those of a shard from the largest to the smallest; their places are appended to ``order``."""
    first = 0
    for X, y, w in _shards(dataset, None):
        sizes = np.array([0 if is_failure(graph) else getattr(graph, "num_nodes", 0) for graph in X], np.int64)
        by_size = np.argsort(-sizes, kind="stable")
        order.extend((first + by_size).tolist())
        first += len(X)
        for start in range(0, len(X), batch_size):
            yield _take((X, y, w), by_size[start : start + batch_size])


def _shards(dataset: Any, rng: np.random.Generator | None) -> Iterator[Batch]:
    """X, y, w shard by shard, in random order if ``rng`` is given; a data set without shards is one."""
    if not hasattr(dataset, "get_shard"):
        yield dataset.X, dataset.y, dataset.w
        return
    count = dataset.get_number_shards()
    with shards_not_kept(dataset) if _size_on_disk(dataset) > KEPT else nullcontext():
        for i in range(count) if rng is None else rng.permutation(count):
            X, y, w, _ = dataset.get_shard(int(i))
            yield X, y, w


def _size_on_disk(dataset: Any) -> int:
    """Bytes of X of a ``DiskDataset``."""
    names = [name for name in dataset.metadata_df["X"] if name is not None]
    return sum(os.path.getsize(os.path.join(dataset.data_dir, name)) for name in names)


def _sizes(X: np.ndarray) -> np.ndarray:
    return np.array([getattr(graph, "num_nodes", 0) for graph in X], np.int64)


def _take(batch: Batch, places: np.ndarray) -> Batch:
    return tuple(None if part is None else part[places] for part in batch)


def _join(a: Batch, b: Batch) -> Batch:
    return tuple(None if x is None or y is None else np.concatenate((x, y)) for x, y in zip(a, b, strict=True))
