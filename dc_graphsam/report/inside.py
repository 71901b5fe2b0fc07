"""The report's look inside the optimizer: what ``inspect_every`` and ``inspect_sharpness`` put into the history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dc_graphsam.report.figures import line_chart
from dc_graphsam.report.style import COLOURS, INK, Canvas, Picture, shorten

__all__ = ["inside_pictures", "tensor_chart"]

MAX_TENSORS = 40  # names that can be read


def inside_pictures(history: Sequence[dict]) -> list[Picture]:
    """Charts of the probed values that the history has; none if it has none.

    Parameters
    ----------
    history
        The Trainer's log records; keys as in :class:`dc_graphsam.optim.GradientProbe`.

    Examples
    --------
    >>> [p.title for p in inside_pictures([{"epoch": 1.0, "sharpness": 0.1, "omega_norm": 0.5}])]
    ['Gradient norms', 'Sharpness']
    """
    cosines = [("cos_epsilon_omega", "last ω and true ε"), ("cos_epsilon_true", "ε used and true ε")]
    pairs = [("consistent_pairs", "all parameters"), ("consistent_tensors", "single tensors")]
    norms = [("omega_norm", "‖ω‖"), ("epsilon_norm", "‖ε‖")]
    variations = [("omega_variation", "ω"), ("epsilon_variation", "ε")]
    charts = [
        line_chart(history, cosines, "Cosine with the true perturbation gradient", "cosine"),
        line_chart(history, pairs, "Consistent pairs (cosine of last ω and true ε ≥ 0)", "share of probes"),
        line_chart(history, norms, "Gradient norms", "norm", log=True),
        line_chart(history, variations, "Change from step to step", "norm of the difference", log=True),
        line_chart(history, [("sharpness", "sharpness")], "Sharpness", "L(θ + ρ g/‖g‖) − L(θ)"),
        line_chart(history, [("hessian_eigenvalue", "eigenvalue")], "Largest Hessian eigenvalue", "eigenvalue"),
        tensor_chart(history),
    ]
    return [chart for chart in charts if chart]


def tensor_chart(history: Sequence[dict]) -> Picture | None:
    """Mean cosine of the last updating gradient and the true perturbation gradient, tensor by tensor.

    Parameters
    ----------
    history
        Records with keys ``cos_epsilon_omega/<tensor>``.

    Returns
    -------
    Picture or None
        With more than 40 tensors, those at both ends. None if there is nothing to draw.
    """
    prefix = "cos_epsilon_omega/"
    found: dict[str, list[float]] = {}
    for record in history:
        for key, value in record.items():
            if key.startswith(prefix) and isinstance(value, (int, float)) and np.isfinite(value):
                found.setdefault(key[len(prefix) :], []).append(float(value))
    if not found:
        return None
    means = sorted(((float(np.mean(values)), name) for name, values in found.items()), reverse=True)
    note = f"{sum(value >= 0 for value, _ in means)} of {len(means)} tensors have a mean that is not negative."
    if len(means) > MAX_TENSORS:
        half = MAX_TENSORS // 2
        means = means[:half] + means[-half:]
        note += f" Shown are the {half} at either end."
    values, names = np.array([value for value, _ in means]), [shorten(name, 46) for _, name in means]
    with Canvas(width=9.4, height=0.9 + 0.19 * len(means)) as canvas:
        ax, at = canvas.axes[0], np.arange(len(means))
        ax.hlines(at, 0, values, color=[COLOURS[0] if v >= 0 else COLOURS[1] for v in values], linewidth=2.2)
        ax.scatter(values, at, color=[COLOURS[0] if v >= 0 else COLOURS[1] for v in values], s=16, zorder=3)
        ax.axvline(0, color=INK, linewidth=0.9)
        ax.set_yticks(at, names, fontsize=7.5)
        ax.set_ylim(len(means) - 0.4, -0.6)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel("mean cosine")
    alt = f"Mean cosine by tensor, from {values.max():.3g} ({means[0][1]}) to {values.min():.3g} ({means[-1][1]})."
    return Picture("Cosine of last ω and true ε, by tensor", canvas.uri, alt, note, wide=True)
