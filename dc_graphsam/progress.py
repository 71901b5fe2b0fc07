"""Bars that show how far something is: on a terminal tqdm's, in a notebook one line of text that is overwritten in place.

tqdm's own bar for notebooks needs ``ipywidgets``, and what it leaves in a stored notebook is an empty widget; its bar for
terminals adds a piece to the cell's output at every refresh. The one here needs neither, and leaves one line.
"""

from __future__ import annotations

import sys
import time
import warnings
from importlib.util import find_spec
from typing import Any

__all__ = ["in_notebook", "progress_bar", "silence_note_on_widgets"]

_SECONDS = 0.25  # between two refreshes in a notebook: each is a message to the page
_COLUMNS = 90


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process: also Colab, and notebooks that are executed without a page.

    Examples
    --------
    >>> in_notebook()
    False
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


def silence_note_on_widgets() -> None:
    """In a notebook without ``ipywidgets``, load ``tqdm.auto`` (as transformers and datasets do) without its note on that."""
    if in_notebook() and find_spec("ipywidgets") is None and "tqdm.auto" not in sys.modules:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tqdm.auto  # noqa: F401


def progress_bar(*args: Any, **options: Any) -> Any:
    """A ``tqdm.tqdm`` with its arguments, that shows itself in the way that suits the place.

    Examples
    --------
    >>> with progress_bar(total=3, disable=True) as bar:
    ...     _ = bar.update(3)
    """
    if in_notebook():
        return _notebook_bar()(*args, **options)
    from tqdm.std import tqdm

    return tqdm(*args, **options)


def _notebook_bar() -> type:
    from IPython.display import display, update_display
    from tqdm.std import tqdm

    class NotebookBar(tqdm):
        """One output of the cell, overwritten a few times a second."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self._shown: str | None = None
            self._shown_at = 0.0
            options.pop("dynamic_ncols", None)
            interval = max(options.pop("mininterval", 0.1), _SECONDS)
            # gui: tqdm counts and formats, and leaves showing to display()
            super().__init__(*args, **{"ncols": _COLUMNS, **options, "mininterval": interval, "gui": True})
            if not self.disable:
                self.display()

        def display(self, *_: Any, text: str | None = None, last: bool = False, **__: Any) -> None:
            now = time.monotonic()
            if now - self._shown_at < _SECONDS and not last:  # set_postfix() asks for a refresh at every call
                return
            self._shown_at = now
            output = {"text/plain": str(self) if text is None else text}
            if self._shown is None:
                self._shown = display(output, raw=True, display_id=True).display_id
            else:
                update_display(output, raw=True, display_id=self._shown)

        def close(self) -> None:
            if not self.disable:
                self.display(text=None if self.leave else "", last=True)
            super().close()

    return NotebookBar
