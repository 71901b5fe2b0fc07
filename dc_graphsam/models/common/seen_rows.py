"""What the rows of a featurized data set hold, as a configuration records it."""

from __future__ import annotations

from typing import Any

__all__ = ["seen_in_rows"]

_ROWS = 1000  # that are in memory at a time


def seen_in_rows(dataset: Any, feature_set: str) -> dict[str, Any] | None:
    """:meth:`~dc_graphsam.chem.seen.Seen.to_dict` of a featurized data set; reads its features once.

    Parameters
    ----------
    dataset
        A ``datasets.Dataset`` with ``num_nodes``, ``node_features`` and ``edge_features``, flat, as the loaders make it.
    feature_set
        Name of its feature set.

    Returns
    -------
    dict or None
        ``None`` of a stream, of no rows, and of rows of another make.
    """
    needed = ["num_nodes", "node_features", "edge_features"]
    if not hasattr(dataset, "__len__") or not len(dataset) or not set(needed) <= set(dataset.column_names or ()):
        return None
    import pyarrow.types as kinds

    from dc_graphsam.chem.feature_sets import get_feature_set
    from dc_graphsam.chem.seen import Seen

    features = get_feature_set(feature_set)
    widths = features.node_feature_size, features.edge_feature_size
    seen = Seen(feature_set)
    for batch in dataset.select_columns(needed).with_format("arrow").iter(_ROWS):
        flat = [batch.column(name).combine_chunks() for name in needed]
        if not all(hasattr(column, "flatten") and kinds.is_floating(column.type.value_type) for column in flat[1:]):
            return None
        nodes, edges = (
            column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
            for column, width in zip(flat[1:], widths, strict=True)
        )
        seen.add_arrays(max(flat[0].to_pylist()), nodes, edges)
    return seen.to_dict()
