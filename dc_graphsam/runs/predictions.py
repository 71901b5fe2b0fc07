"""``predictions_test.csv``: what the model says of the test split, beside the labels."""

from __future__ import annotations

import numpy as np

from dc_graphsam.run_folder import RunFolder
from dc_graphsam.tasks import TaskSpec

__all__ = ["write_predictions"]


def write_predictions(folder: RunFolder, test, spec: TaskSpec, values: np.ndarray) -> None:
    """Write ``predictions_test.csv``.

    Parameters
    ----------
    folder
        Of the run.
    test
        The test split.
    spec
        Its tasks.
    values
        float [n, T]: probabilities of class 1, or values; multiclass: [n, ΣC], a probability per class.
    """
    from dc_graphsam.data import label_matrix

    labels = label_matrix(test)
    if spec.task_type == "multiclass":
        _write_classes(folder, test, spec, values)
        return
    header = ["row", "smiles", *(name for task in spec.task_names for name in (task, f"{task}_label"))]
    rows, smiles = test.with_format(None)["row"][:], test.with_format(None)["smiles"][:]
    lines = (
        [row, text, *(_cell(number) for pair in zip(value, label, strict=True) for number in pair)]
        for row, text, value, label in zip(rows, smiles, values.tolist(), labels.tolist(), strict=True)
    )
    folder.write_csv("predictions_test.csv", header, lines)


def _write_classes(folder: RunFolder, test, spec: TaskSpec, values: np.ndarray) -> None:
    """Name of the predicted class, name of the true one, then a probability per class."""
    from dc_graphsam.data import label_matrix
    from dc_graphsam.predict.named import named_result

    header = ["row", "smiles"]
    for task, names in zip(spec.task_names, spec.class_names, strict=True):
        header += [task, f"{task}_label", *(f"{task}={name}" for name in names)]
    rows, smiles = test.with_format(None)["row"][:], test.with_format(None)["smiles"][:]
    lines = []
    for row, text, value, label in zip(rows, smiles, values.tolist(), label_matrix(test).tolist(), strict=True):
        found = named_result(spec, value)
        for task, names, number in zip(spec.task_names, spec.class_names, label, strict=True):
            found[f"{task}_label"] = "" if number != number else names[int(number)]
        cells = (found[name] for name in header[2:])
        lines.append([row, text, *(_cell(c) if isinstance(c, float) else c or "" for c in cells)])
    folder.write_csv("predictions_test.csv", header, lines)


def _cell(number: float) -> str:
    return "" if number != number else f"{number:.7g}"
