"""What a report shows of tasks with several classes: confusion matrices, and the molecules whose class was least expected."""

from __future__ import annotations

from typing import Any

import numpy as np

from dc_graphsam.metrics.classes import confusion_matrix, predicted_classes
from dc_graphsam.report.data import RunRecord
from dc_graphsam.report.style import INK, Canvas, Picture, shorten

__all__ = ["confusion_plots", "worst_of_classes"]

MAX_TASKS, MAX_CLASSES, MAX_COUNTS = 6, 30, 12


def confusion_plots(run: RunRecord) -> list[tuple[str, Picture]]:
    """A confusion matrix for each of the first tasks: (task, picture); none for more than 30 classes.

    Shading is the share within the true class; the number is that of molecules.
    """
    counts = run.spec.class_counts or ()
    found = predicted_classes(run.predictions, counts)
    out = []
    for t, (task, names) in enumerate(zip(run.spec.task_names[:MAX_TASKS], run.spec.class_names or (), strict=False)):
        matrix = confusion_matrix(run.labels[:, t], found[:, t], counts[t])
        if matrix.any() and counts[t] <= MAX_CLASSES:
            out.append((task, _plot(task if len(counts) > 1 else "", names, matrix)))
    return out


def _plot(task: str, names: tuple[str, ...], matrix: np.ndarray) -> Picture:
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with Canvas(height=4.2) as canvas:
        ax = canvas.axes[0]
        ax.grid(False)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1.25)
        labels = [shorten(name, 14) for name in names]
        turned = 45 if max(map(len, labels)) * len(labels) > 40 else 0
        ax.set_xticks(range(len(names)), labels, rotation=turned, ha="right" if turned else "center")
        ax.set_yticks(range(len(names)), labels)
        ax.set_xlabel("predicted")
        ax.set_ylabel("true")
        if len(names) <= MAX_COUNTS:
            for (row, column), count in np.ndenumerate(matrix):
                dark = shares[row, column] > 0.6
                ax.text(column, row, f"{count:,}", ha="center", va="center", color="white" if dark else INK, fontsize=8)
    right = int(np.trace(matrix))
    rows = "; ".join(
        f"{name}: {', '.join(f'{count} {other}' for other, count in zip(names, row, strict=True))}"
        for name, row in list(zip(names, matrix.tolist(), strict=True))[:MAX_COUNTS]
    )
    title = f"Confusion matrix, {task}" if task else "Confusion matrix"
    alt = f"{title}: molecules by true class (rows) and predicted class. {rows}."
    return Picture(title, canvas.uri, alt, f"{right:,} of {int(matrix.sum()):,} on the diagonal.")


def worst_of_classes(run: RunRecord, count: int) -> list[dict[str, Any]]:
    """The molecules whose true class got the lowest probability, in their worst task."""
    from dc_graphsam.report.figures import draw_molecule

    spec = run.spec
    found = predicted_classes(run.predictions, spec.class_counts)
    starts = np.cumsum((0, *spec.class_counts))[:-1]
    own = np.full(run.labels.shape, np.nan)  # probability of the true class
    for t, start in enumerate(starts):
        rows = np.flatnonzero(np.isfinite(run.labels[:, t]) & (found[:, t] >= 0))
        own[rows, t] = run.predictions[rows, start + run.labels[rows, t].astype(int)]
    missed = np.where(np.isfinite(own), 1 - own, -1.0)
    if not missed.size:
        return []
    task = missed.argmax(axis=1)
    worst = missed[np.arange(len(task)), task]
    order = [i for i in np.argsort(-worst, kind="stable")[:count] if worst[i] > 0]
    return [
        {
            "row": run.rows[i],
            "smiles": run.smiles[i],
            "task": spec.task_names[task[i]] if len(spec.task_names) > 1 else "",
            "label": f"{spec.class_names[task[i]][int(run.labels[i, task[i]])]} ({own[i, task[i]]:.3f})",
            "prediction": (
                f"{spec.class_names[task[i]][found[i, task[i]]]} "
                f"({run.predictions[i, starts[task[i]] + found[i, task[i]]]:.3f})"
            ),
            "uri": draw_molecule(run.smiles[i]),
        }
        for i in order
    ]
