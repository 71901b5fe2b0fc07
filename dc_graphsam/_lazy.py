"""Names of a package that are loaded on first use, so that importing it costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["HOMES", "exports"]

#: package → public name → module that defines it, of every package that has been imported
HOMES: dict[str, dict[str, str]] = {}


def exports(package: str, home: Mapping[str, str]) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """``__all__``, ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package
        Its ``__name__``.
    home
        Public name → module that defines it: below the package if it begins with a dot, else its full name.

    Examples
    --------
    >>> names, load, _ = exports("dc_graphsam", {"TaskSpec": ".tasks"})
    >>> names, load("TaskSpec").__name__
    (['TaskSpec'], 'TaskSpec')
    """

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home[name], package), name)

    HOMES[package] = {name: f"{package}{module}" if module[0] == "." else module for name, module in home.items()}
    names = sorted(home)
    return names, load, lambda: names
