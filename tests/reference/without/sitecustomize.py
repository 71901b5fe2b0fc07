"""On the import path of every process that a test run ``--without PACKAGE`` starts: hides those packages from import.

They are hidden, not broken: ``importlib.util.find_spec`` says None, as it does where they are not installed.
"""

import os
from importlib.machinery import PathFinder

_HIDDEN = frozenset(filter(None, os.environ.get("DC_GRAPHSAM_TESTS_WITHOUT", "").split(",")))
_find = PathFinder.find_spec


class _FindSpec:
    """No function: pytest makes what stands here an attribute of a class of its own, where a function would become a method."""

    def __call__(self, name, path=None, target=None):
        return None if name.partition(".")[0] in _HIDDEN else _find(name, path, target)


if _HIDDEN:
    PathFinder.find_spec = _FindSpec()
