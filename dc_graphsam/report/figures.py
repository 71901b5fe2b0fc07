"""Pictures of a report: charts drawn by matplotlib, molecules drawn by RDKit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dc_graphsam.report.style import COLOURS, FAINT, GRID, INK, MUTED, Canvas, Picture, data_uri, shorten

__all__ = [
    "draw_molecule",
    "error_histogram",
    "line_chart",
    "parity_plot",
    "precision_recall_plot",
    "roc_plot",
    "series",
]

MAX_CURVES = 6  # a legend that can be read
MAX_THIN_CURVES = 40
MAX_POINTS_AS_VECTORS = 1500


def series(history: Sequence[dict], key: str) -> tuple[np.ndarray, np.ndarray, int]:
    """One quantity over training.

    Parameters
    ----------
    history
        The Trainer's log records.
    key
        E.g. ``"loss_clean"``.

    Returns
    -------
    epochs : ndarray
        float64 [n], increasing; of two records at one point the first counts.
    values : ndarray
        float64 [n]; means over whole epochs where the log is finer and there are at least five of them.
    n_lost : int
        Records whose value is not a finite number.

    Examples
    --------
    >>> series([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": float("nan")}, {"epoch": 2, "eval_loss": 1.0}], "loss")
    (array([1.]), array([2.]), 1)
    """
    points: dict[float, float] = {}
    n_lost = 0
    for record in history:
        epoch, value = record.get("epoch"), record.get(key)
        if not isinstance(epoch, (int, float)) or key not in record:
            continue
        if isinstance(value, (int, float)) and np.isfinite(value):
            points.setdefault(float(epoch), float(value))
        else:
            n_lost += 1
    epochs = np.array(sorted(points), dtype=np.float64)
    values = np.array([points[epoch] for epoch in epochs], dtype=np.float64)
    whole = np.ceil(epochs - 1e-6)
    if len(epochs) > 1.5 * len(np.unique(whole)) >= 1.5 * 5:
        epochs, group = np.unique(whole, return_inverse=True)
        values = np.bincount(group, values) / np.bincount(group)
    return epochs, values, n_lost


def line_chart(
    history: Sequence[dict],
    lines: Sequence[tuple[str, str]],
    title: str,
    y_label: str,
    *,
    log: bool = False,
    best: float | None = None,
) -> Picture | None:
    """Quantities of the history over epochs.

    Parameters
    ----------
    history
        The Trainer's log records.
    lines
        Pairs of key and name; keys that no record has are left out.
    title, y_label
        Heading of the picture and label of its axis.
    log
        Logarithmic axis; values that are not positive are left out.
    best
        Epoch to ring on the first line.

    Returns
    -------
    Picture or None
        None if there is nothing to draw.

    Examples
    --------
    >>> line_chart([{"epoch": 1.0, "loss": 0.5}], [("loss", "training")], "Loss", "loss").title
    'Loss'
    >>> line_chart([{"epoch": 1.0}], [("loss", "training")], "Loss", "loss") is None
    True
    """
    drawn, notes, n_lost = [], [], 0
    for key, name in lines:
        x, y, lost = series(history, key)
        if log:
            x, y = x[y > 0], y[y > 0]
        n_lost += lost
        if x.size:
            drawn.append((name, x, y))
    if not drawn:
        return None

    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    with Canvas() as canvas:
        ax = canvas.axes[0]
        for (name, x, y), colour in zip(drawn, (*COLOURS[:2], MUTED, *COLOURS[2:]), strict=False):
            ax.plot(x, y, color=colour, label=name, marker="o" if x.size <= 40 else None, markersize=3.2)
        if log:
            low, high = min(y.min() for _, _, y in drawn), max(y.max() for _, _, y in drawn)
            ax.set_yscale("log")
            ax.set_ylim(low / 1.3, high * 1.3)
            subs = (1, 1.5, 2, 3, 4, 5, 7) if high / low < 10 else (1, 2, 5) if high / low < 300 else (1,)
            ax.yaxis.set_major_locator(LogLocator(subs=subs))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
            ax.yaxis.set_minor_formatter(NullFormatter())
        if best is not None:
            _, x, y = drawn[0]
            at = int(np.abs(x - best).argmin())
            ax.plot(x[at], y[at], "o", markersize=8, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.1)
            notes.append(f"Ring: epoch {x[at]:.4g}, whose weights were kept.")
        first, last = min(x[0] for _, x, _ in drawn), max(x[-1] for _, x, _ in drawn)
        pad = 0.03 * (last - first) or 0.5
        ax.set_xlim(first - pad, last + pad)
        whole = last - first >= 2 or first == last
        ax.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=whole, steps=(1, 2, 5, 10)))
        ax.set_xlabel("epoch")
        ax.set_ylabel(y_label)
        if len(drawn) > 1:
            ax.legend(loc="lower left", bbox_to_anchor=(0, 1.03), ncols=len(drawn), columnspacing=1.4)
    ends = "; ".join(
        f"{name}: {y[0]:.3g} at epoch {x[0]:.3g}, {y[-1]:.3g} at epoch {x[-1]:.3g}" for name, x, y in drawn
    )
    if n_lost:
        notes.append(f"{n_lost} logged values are not finite and not drawn.")
    return Picture(title, canvas.uri, f"Line chart of {y_label} over epochs. {ends}.", " ".join(notes))


def roc_plot(names: Sequence[str], labels: np.ndarray, scores: np.ndarray, areas: dict[str, float]) -> Picture | None:
    """Receiver operating characteristic of each task: all of up to six, beyond that their mean and spread.

    Parameters
    ----------
    names
        T task names.
    labels, scores
        float [M, T]; NaN labels are not measured.
    areas
        Task name → ROC-AUC, for the tasks to draw.

    Examples
    --------
    >>> roc_plot(["a"], np.array([[0.0], [1.0]]), np.array([[0.1], [0.9]]), {"a": 1.0}).title
    'ROC curve'
    """
    from sklearn.metrics import roc_curve

    def curve(y, s):
        return roc_curve(y, s)[:2]

    return _curves(names, labels, scores, areas, curve, "ROC", ("false positive rate", "true positive rate"))


def precision_recall_plot(
    names: Sequence[str], labels: np.ndarray, scores: np.ndarray, areas: dict[str, float]
) -> Picture | None:
    """Precision against recall of each task; arguments as in :func:`roc_plot`, with PRC-AUC for areas.

    Examples
    --------
    >>> precision_recall_plot(["a"], np.array([[0.0], [1.0]]), np.array([[0.1], [0.9]]), {"a": 1.0}).title
    'Precision-recall curve'
    """
    from sklearn.metrics import precision_recall_curve

    def curve(y, s):
        precision, recall, _ = precision_recall_curve(y, s)
        recall, precision = recall[::-1], precision[::-1]
        rises = np.diff(recall, prepend=-1.0) > 0  # the steps that average precision adds up
        return recall[rises], precision[rises]

    return _curves(names, labels, scores, areas, curve, "Precision-recall", ("recall", "precision"))


def _curves(names, labels, scores, areas, curve, kind, axis_labels) -> Picture | None:
    tasks = [t for t, name in enumerate(names) if np.isfinite(areas.get(name, np.nan))]
    if not tasks:
        return None
    step = None if kind == "ROC" else "steps-pre"
    points = {}
    for t in tasks:
        rows = ~np.isnan(labels[:, t])
        points[t] = curve(labels[rows, t], scores[rows, t])
    summarised = len(tasks) > MAX_CURVES
    with Canvas(height=3.9 if len(tasks) == 1 else 4.5) as canvas:
        ax = canvas.axes[0]
        if kind == "ROC":
            ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        if len(tasks) <= MAX_THIN_CURVES:
            for t, colour in zip(tasks, (FAINT,) * len(tasks) if summarised else COLOURS, strict=False):
                width = 0.9 if summarised else 1.7
                label = None if summarised else f"{shorten(names[t], 24)}  {areas[names[t]]:.3f}"
                ax.plot(*points[t], color=colour, linewidth=width, label=label, drawstyle=step)
        if summarised:
            grid = np.linspace(0, 1, 201)
            heights = np.array([_at(grid, *points[t], step) for t in tasks])
            mean = heights.mean(axis=0)
            if len(tasks) > MAX_THIN_CURVES:
                ax.fill_between(grid, *np.percentile(heights, (10, 90), axis=0), color=GRID, linewidth=0)
            area = np.mean([areas[names[t]] for t in tasks])
            ax.plot(grid, mean, color=COLOURS[0], linewidth=2.4, label=f"mean of {len(tasks)} tasks  {area:.3f}")
            order = sorted(tasks, key=lambda t: areas[names[t]])
            for t, colour, word in ((order[-1], COLOURS[2], "best"), (order[0], COLOURS[1], "worst")):
                label = f"{word}: {shorten(names[t], 20)}  {areas[names[t]]:.3f}"
                ax.plot(*points[t], color=colour, linewidth=1.3, drawstyle=step, label=label)
        ax.set(xlabel=axis_labels[0], ylabel=axis_labels[1], xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        ax.set_aspect("equal")
        if len(tasks) > 1:
            canvas.figure.legend(loc="outside lower left", ncols=2, columnspacing=1.4)
    title = f"{kind} curve" + ("s" if len(tasks) > 1 else "")
    area = "ROC-AUC" if kind == "ROC" else "PRC-AUC"
    listed = ", ".join(f"{names[t]} {areas[names[t]]:.3f}" for t in tasks[:30])
    if len(tasks) == 1:
        caption = f"Area {areas[names[tasks[0]]]:.3f}."
    else:
        rest = "; thin lines: all tasks" if len(tasks) <= MAX_THIN_CURVES else "; band: the middle 80 % of the tasks"
        caption = f"With the area under each{rest if summarised else ''}."
    return Picture(title, canvas.uri, f"{title} on the test set. {area}: {listed}.", caption)


def _at(grid: np.ndarray, x: np.ndarray, y: np.ndarray, step: str | None) -> np.ndarray:
    """Heights of a curve on a grid, as it is drawn."""
    if step is None:
        return np.interp(grid, x, y)
    return y[np.minimum(np.searchsorted(x, grid, side="left"), len(y) - 1)]


def parity_plot(names: Sequence[str], labels: np.ndarray, predictions: np.ndarray) -> Picture | None:
    """Prediction against label, one panel for each of up to six tasks: of more, those with the lowest R².

    Parameters
    ----------
    names
        T task names.
    labels, predictions
        float [M, T] in label units; NaN labels are not measured, NaN predictions are not drawn.

    Examples
    --------
    >>> parity_plot(["logS"], np.array([[0.0], [1.0]]), np.array([[0.1], [0.9]])).title
    'Parity plot'
    """
    from dc_graphsam.metrics.masked import r2

    seen = np.isfinite(labels) & np.isfinite(predictions)
    tasks = [t for t in range(len(names)) if seen[:, t].any()]
    if not tasks:
        return None
    caption = ""
    if len(tasks) > MAX_CURVES:
        quality = r2(np.where(seen, labels, np.nan), predictions, names).per_task
        tasks = sorted(tasks, key=lambda t: quality.get(names[t], -np.inf))[:MAX_CURVES]
        caption = f"The {MAX_CURVES} of {len(names)} tasks with the lowest R²; the others are in the table."
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    size = (4.5, 3.9) if len(tasks) == 1 else (9.2, 3.15 * rows if columns == 3 else 4.2)
    with Canvas(*size, rows=rows, columns=columns) as canvas:
        for ax, t in zip(canvas.axes, tasks, strict=False):
            y, p = labels[seen[:, t], t], predictions[seen[:, t], t]
            low, high = min(y.min(), p.min()), max(y.max(), p.max())
            pad = 0.05 * (high - low) or 1.0
            ends = (low - pad, high + pad)
            ax.plot(ends, ends, color=FAINT, linewidth=1, zorder=1)
            opacity = float(np.clip(20 / np.sqrt(y.size), 0.15, 0.6))
            many = y.size > MAX_POINTS_AS_VECTORS
            ax.scatter(y, p, s=14, color=COLOURS[0], alpha=opacity, linewidths=0, zorder=2, rasterized=many)
            ax.set(xlim=ends, ylim=ends, xlabel="label", ylabel="prediction")
            ax.locator_params(nbins=5)
            ax.set_aspect("equal")
            if len(tasks) > 1:
                ax.set_title(shorten(names[t], 34))
        for ax in canvas.axes[len(tasks) :]:
            ax.set_axis_off()
    title = "Parity plot" + ("s" if len(tasks) > 1 else "")
    listed = ", ".join(names[t] for t in tasks)
    alt = f"Scatter of prediction against label on the test set for {listed}, with the diagonal where they are equal."
    return Picture(title, canvas.uri, alt, caption, wide=len(tasks) > 1)


def error_histogram(labels: np.ndarray, predictions: np.ndarray) -> Picture | None:
    """Distribution of prediction minus label; arguments float [M].

    Examples
    --------
    >>> error_histogram(np.array([0.0, 1.0]), np.array([0.1, 0.9])).title
    'Errors'
    """
    error = predictions - labels
    error = error[np.isfinite(error)]
    if not error.size:
        return None
    reach = float(np.abs(error).max()) or 1.0
    edges = np.linspace(-reach, reach, int(np.clip(2 * np.sqrt(error.size), 8, 40)) // 2 * 2 + 2)
    with Canvas(height=3.9) as canvas:
        ax = canvas.axes[0]
        ax.hist(error, bins=edges, color=COLOURS[0], alpha=0.75, edgecolor="white", linewidth=0.6)
        ax.axvline(0, color=INK, linewidth=0.9)
        ax.grid(axis="x", visible=False)
        ax.set(xlabel="prediction − label", ylabel="molecules", xlim=(-reach * 1.05, reach * 1.05))
    alt = f"Histogram of errors on the test set: mean {error.mean():.3g}, standard deviation {error.std():.3g}."
    caption = f"Mean {error.mean():.3g}, standard deviation {error.std():.3g}.".replace("-", "−")
    return Picture("Errors", canvas.uri, alt, caption)


def draw_molecule(smiles: str, width: int = 230, height: int = 150) -> str | None:
    """A molecule as an SVG data URI, or None if it cannot be drawn.

    Examples
    --------
    >>> draw_molecule("CCO")[:26]
    'data:image/svg+xml;base64,'
    >>> draw_molecule("no molecule") is None
    True
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem.Draw import rdMolDraw2D

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles) if isinstance(smiles, str) else None
        if mol is None or not mol.GetNumAtoms():
            return None
        drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
        options = drawer.drawOptions()
        options.clearBackground = False
        options.bondLineWidth = 1.3
        options.padding = 0.06
        options.fixedBondLength = 26  # small molecules are not blown up
        try:
            rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol)
        except (ValueError, RuntimeError):  # RDKit cannot kekulize or lay it out
            return None
        drawer.FinishDrawing()
    return data_uri(drawer.GetDrawingText())
