"""DeepChem's transformers as plain records, so that they travel with a data set or a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dc_graphsam.data.deepchem.importing import import_deepchem
from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["label_scale", "transformer_records", "transformers_from_records"]

_ACCEPTED = "accepted: NormalizationTransformer(transform_y=True), BalancingTransformer"


def transformer_records(transformers: Iterable[Any]) -> list[dict[str, Any]]:
    """Describe transformers by numbers alone (JSON types).

    Parameters
    ----------
    transformers
        ``NormalizationTransformer`` of y and ``BalancingTransformer``, in the order they were applied.

    Raises
    ------
    InvalidArgumentError
        On any other, by name.
    """
    records = []
    for transformer in transformers:
        name = type(transformer).__name__
        if name == "NormalizationTransformer" and transformer.transform_y and not transformer.transform_gradients:
            records.append(
                {
                    "name": name,
                    "y_means": np.asarray(transformer.y_means, np.float64).tolist(),
                    "y_stds": np.asarray(transformer.y_stds, np.float64).tolist(),
                    "move_mean": bool(transformer.move_mean),
                }
            )
        elif name == "BalancingTransformer":
            records.append(
                {
                    "name": name,
                    "classes": [float(label) for label in transformer.classes],
                    "weights": [[float(weight) for weight in task] for task in transformer.weights],
                }
            )
        else:
            what = f"{name} of X" if getattr(transformer, "transform_X", False) else name
            raise InvalidArgumentError(
                f"transformers holds a {what}, which cannot be carried over; {_ACCEPTED}. Load the data without it: "
                "dc.molnet.load_…(transformers=[…])"
            )
    return records


def transformers_from_records(records: Iterable[dict[str, Any]]) -> list[Any]:
    """The transformers that :func:`transformer_records` described."""
    trans = import_deepchem("transformers_of").trans
    out = []
    for record in records:
        if record["name"] == "NormalizationTransformer":
            transformer = trans.NormalizationTransformer(transform_y=True, move_mean=record["move_mean"])
            transformer.y_means, transformer.y_stds = np.asarray(record["y_means"]), np.asarray(record["y_stds"])
        else:
            transformer = trans.BalancingTransformer.__new__(trans.BalancingTransformer)  # else it counts a data set
            trans.Transformer.__init__(transformer, transform_w=True)
            transformer.classes, transformer.weights = record["classes"], record["weights"]
        out.append(transformer)
    return out


def label_scale(transformers: Sequence[Any], n_tasks: int) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation that undo the transformers of y, per task: label = y·std + mean. None if y is untouched.

    Raises
    ------
    InvalidArgumentError
        If one of them can be neither undone so nor ignored.
    """
    scales = [record for record in transformer_records(transformers) if record["name"] == "NormalizationTransformer"]
    if not scales:
        return None
    if len(scales) > 1:
        raise InvalidArgumentError("transformers holds two NormalizationTransformers; accepted: one")
    std = np.broadcast_to(np.asarray(scales[0]["y_stds"], np.float64).reshape(-1), (n_tasks,))
    mean = np.broadcast_to(np.asarray(scales[0]["y_means"], np.float64).reshape(-1), (n_tasks,))
    return (mean if scales[0]["move_mean"] else np.zeros(n_tasks)).tolist(), std.tolist()
