"""What the pictures of a report share: colours, type, sizes, and SVG written without pyplot's global state."""

from __future__ import annotations

import base64
import io
import warnings
from contextlib import ExitStack
from dataclasses import dataclass

__all__ = ["COLOURS", "FAINT", "GRID", "INK", "MUTED", "Canvas", "Picture", "data_uri", "shorten"]

INK, MUTED, GRID, FAINT = "#243040", "#6b7785", "#e3e7ec", "#c3cad3"
COLOURS = ("#1f5fa8", "#d2701a", "#2f8f6b", "#8a5bb0", "#b8405e", "#5aa7d6")  # told apart by colour-blind readers
FONTS = ["Segoe UI", "Roboto", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"]
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "font.family": ["sans-serif"],
    "font.sans-serif": FONTS,
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.borderaxespad": 0.0,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.7,
    "path.simplify_threshold": 0.5,
    "svg.fonttype": "none",  # text stays text: small, sharp, selectable
    "text.parse_math": False,  # a task may be called "$IC_50$"
    "svg.hashsalt": "dc_graphsam",  # equal runs, equal files
    "xtick.color": MUTED,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.color": MUTED,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
}


@dataclass(frozen=True)
class Picture:
    """A figure of the report: heading, data URI, text for those who cannot see it, and a line below."""

    title: str
    uri: str
    alt: str
    caption: str = ""
    wide: bool = False


class Canvas:
    """A figure in the report's style; leaving the block writes it as a data URI."""

    def __init__(self, width: float = 4.5, height: float = 3.0, rows: int = 1, columns: int = 1) -> None:
        self.size, self.shape, self.uri = (width, height), (rows, columns), ""

    def __enter__(self) -> Canvas:
        import matplotlib
        from matplotlib.figure import Figure

        self._stack = ExitStack()
        self._stack.enter_context(matplotlib.rc_context(STYLE))
        self._stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the reader's fonts may have it
        self.figure = Figure(figsize=self.size, layout="constrained")
        self.axes = list(self.figure.subplots(*self.shape, squeeze=False).flat)
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                file = io.BytesIO()
                self.figure.savefig(
                    file, format="svg", metadata={"Date": None, "Creator": None}, transparent=True, dpi=160
                )
                self.uri = data_uri(file.getvalue())
        finally:
            self._stack.close()


def data_uri(svg: bytes | str) -> str:
    svg = svg.encode() if isinstance(svg, str) else svg
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def shorten(text: str, length: int) -> str:
    """Cut in the middle, where names of tasks differ least.

    >>> shorten("a rather long name of a task", 14)
    'a rathe…a task'
    """
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[len(text) - (length - head - 1) :]}"
