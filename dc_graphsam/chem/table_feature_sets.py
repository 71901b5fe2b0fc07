"""Feature sets of tables that come with numbers of their own instead of SMILES.

Their names say all there is to know, so that a configuration or a data set that carries the name needs no registry:

* ``table-9-3``: 9 numbers per node and 3 per edge, as they stand in the table.
* ``one-hot-119.5-5.6``: two categorical numbers per node with 119 and 5 categories and two per edge with 5 and 6, each
  as so many columns of which one is 1. A linear map of these columns is a sum of embeddings, one per category.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from dc_graphsam.chem.feature_blocks import FeatureBlock, FeatureSet
from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["is_table_feature_set", "one_hot", "one_hot_name", "table_feature_set", "table_name"]

_TABLE = re.compile(r"table-([1-9][0-9]*)-([1-9][0-9]*)")
_ONE_HOT = re.compile(r"one-hot-([1-9][0-9]*(?:\.[1-9][0-9]*)*)-([1-9][0-9]*(?:\.[1-9][0-9]*)*)")


def is_table_feature_set(name: object) -> bool:
    """Whether ``name`` is that of features which come with a table and cannot be computed from a SMILES.

    >>> is_table_feature_set("table-9-3"), is_table_feature_set("compt")
    (True, False)
    """
    return isinstance(name, str) and bool(_TABLE.fullmatch(name) or _ONE_HOT.fullmatch(name))


def table_name(node_width: int, edge_width: int) -> str:
    """Name of the features of a table with so many numbers per node and edge.

    >>> table_name(9, 3)
    'table-9-3'
    """
    return f"table-{node_width}-{edge_width}"


def one_hot_name(node_categories: Sequence[int], edge_categories: Sequence[int]) -> str:
    """Name of the features made of categorical numbers; category c of k is one of 0 … k − 1.

    >>> one_hot_name([119, 5], [5, 6])
    'one-hot-119.5-5.6'
    """
    return f"one-hot-{'.'.join(map(str, node_categories))}-{'.'.join(map(str, edge_categories))}"


@lru_cache(maxsize=64)
def table_feature_set(name: str) -> FeatureSet:
    """The feature set of that name.

    Raises
    ------
    InvalidArgumentError
        If it is no such name.

    Examples
    --------
    >>> features = table_feature_set("one-hot-119.5-5.6")
    >>> features.node_feature_size, features.edge_feature_size, features.edge_feature_names[5]
    (124, 11, 'edge_1=0')
    """
    widths = _TABLE.fullmatch(name)
    if widths:
        nodes, edges = (
            tuple(FeatureBlock(f"{what}_{i}") for i in range(int(width)))
            for what, width in zip(("node", "edge"), widths.groups(), strict=True)
        )
        return FeatureSet(name, nodes, edges)
    if not _ONE_HOT.fullmatch(name):
        raise InvalidArgumentError(
            f"feature_set is {name!r}; accepted for a table of graphs: table-F-Fe (numbers per node and edge), or "
            "one-hot-a.b.c-d.e (categories of each number)"
        )
    nodes, edges = (
        tuple(FeatureBlock(f"{what}_{i}", tuple(map(str, range(count)))) for i, count in enumerate(counts))
        for what, counts in zip(("node", "edge"), categories(name), strict=True)
    )
    return FeatureSet(name, nodes, edges)


def categories(name: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Categories per number of nodes and of edges, or ``None`` for a set that is not one-hot.

    >>> categories("one-hot-119.5-5.6"), categories("table-2-2")
    (((119, 5), (5, 6)), None)
    """
    match = _ONE_HOT.fullmatch(name)
    if not match:
        return None
    nodes, edges = (tuple(map(int, counts.split("."))) for counts in match.groups())
    return nodes, edges


def one_hot(values: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Categorical numbers [n, k] as float32 [n, sum(counts)] of zeros and ones.

    The numbers must be in range.

    >>> one_hot(np.array([[1, 0], [0, 2]]), [2, 3])
    array([[0., 1., 1., 0., 0.],
           [1., 0., 0., 0., 1.]], dtype=float32)
    """
    out = np.zeros((len(values), sum(counts)), np.float32)
    starts = np.cumsum([0, *counts])[:-1]
    out[np.arange(len(values))[:, None], values.astype(np.int64) + starts] = 1
    return out
