"""Metrics of a model on labelled data."""

from __future__ import annotations

import logging

import numpy as np

from dc_graphsam.run_folder import RunFolder
from dc_graphsam.runs.settings import DEFAULTS
from dc_graphsam.tasks import TaskSpec

__all__ = ["evaluate_model", "rewriting_of", "stored_batch_size"]

logger = logging.getLogger(__name__)


def stored_batch_size(folder: RunFolder) -> int:
    """Batch size that the metrics of a run were computed with."""
    default = DEFAULTS["per_device_eval_batch_size"]
    if not folder.has("run.json"):
        return default
    return int(folder.read_json("run.json").get("training", {}).get("per_device_eval_batch_size", default))


def evaluate_model(model, rows, batch_size: int) -> tuple[dict[str, float], np.ndarray]:
    """Metrics of all tasks, and predictions [n, T] (multiclass: [n, ΣC]) as of ``predict_graphs``, for a split of labelled data."""
    from dc_graphsam.data import MoleculeTable, label_matrix
    from dc_graphsam.metrics import all_metrics
    from dc_graphsam.predict.molecules import predict_graphs

    config, spec = model.config, TaskSpec.of(rows)
    table = MoleculeTable(rows)
    values, reasons = predict_graphs(
        model, [table[i] for i in range(len(table))], batch_size, logits=True, feature_set=spec.feature_set
    )
    known = np.array([reason is None for reason in reasons], bool)
    if not known.all():
        logger.warning(
            "%d of %d molecules have no prediction and are left out (%s)",
            (~known).sum(),
            len(known),
            next(reason for reason in reasons if reason is not None),
        )
    labels = label_matrix(rows)
    metrics, left_out = all_metrics(
        config.task_type, labels[known], values[known], config.task_names, class_counts=config.class_counts
    )
    if left_out:
        shown = ", ".join(f"{task} ({why})" for task, why in list(left_out.items())[:5])
        more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
        logger.warning("left out of the mean over tasks: %s%s", shown, more)
    if config.task_type == "classification":
        values = 1 / (1 + np.exp(-values.astype(np.float64)))
    elif config.task_type == "multiclass":
        from scipy.special import softmax

        parts = np.split(values.astype(np.float64), np.cumsum(config.class_counts)[:-1], axis=1)
        values = np.concatenate([softmax(part, axis=1) for part in parts], axis=1)
    return metrics, values


def rewriting_of(model, rows, batch_size: int, rewrites: int, seed: int = 0):
    """What writing the molecules of a split in other ways does to their predictions.

    Parameters
    ----------
    model
        A property prediction model.
    rows
        A split of labelled data that was made from SMILES.
    batch_size
        Molecules per batch.
    rewrites
        Random orders of each molecule, at least 1.
    seed
        Of the orders.

    Returns
    -------
    dc_graphsam.check.RewritingCheck

    Raises
    ------
    FeatureSetError
        If the features come with a table of graphs: there is nothing to rewrite.
    """
    from dc_graphsam.check import check_rewriting
    from dc_graphsam.chem import featurize_many
    from dc_graphsam.data import label_matrix
    from dc_graphsam.predict.molecules import predict_graphs

    config, spec = model.config, TaskSpec.of(rows)

    def predict(texts: list[str]) -> np.ndarray:
        graphs = featurize_many(texts, spec.feature_set)
        return predict_graphs(model, graphs, batch_size, feature_set=spec.feature_set)[0]

    return check_rewriting(
        predict,
        rows.with_format(None)["smiles"][:],
        label_matrix(rows),
        config.task_names,
        config.task_type,
        spec.metric,
        class_counts=config.class_counts,
        rewrites=rewrites,
        seed=seed,
    )
