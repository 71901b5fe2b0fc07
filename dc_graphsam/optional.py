"""Packages that only a part of this one needs: whether they are here, and one kind of error where they are not."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from dc_graphsam.exceptions import MissingPackageError

__all__ = ["how_to_get", "is_installed", "require"]

# DeepChem 2.8.0 says that it ends at Python 3.11, and no DGL that fits a current torch is built for later ones.
_LAST = (3, 11)
_DEEPCHEM_LATER = (
    "pip install --ignore-requires-python --no-deps deepchem==2.8.0 (it declares Python < 3.12 but runs on later ones; a "
    "plain 'pip install deepchem' takes 2.5.0 there, which cannot be imported)"
)
_DGL_LATER = (
    "there is none for this Python, use 3.10 or 3.11; models compute the same numbers without it, with "
    "message_engine='torch'"
)
_DEEPCHEM_NEEDS = ("joblib", "scipy", "sympy")  # what --no-deps leaves out, but for what we need ourselves
_EXTRAS = {"optuna": "hpo", "gradio": "demo", "onnx": "onnx", "onnxscript": "onnx", "onnxruntime": "onnx"}


def is_installed(package: str) -> bool:
    """Whether a package is here; it is not imported to find out.

    >>> is_installed("numpy"), is_installed("no_such_package")
    (True, False)
    """
    return sys.modules.get(package) is not None or importlib.util.find_spec(package) is not None


def how_to_get(package: str, python: tuple[int, ...] | None = None) -> str:
    """What a user does to have a package.

    Parameters
    ----------
    package
        Its import name.
    python
        Version of Python, ``None``: this one.

    Examples
    --------
    >>> how_to_get("deepchem", (3, 11))
    'pip install deepchem==2.8.0'
    >>> how_to_get("optuna")
    "pip install 'dc_graphsam[hpo]'"
    """
    later = (python or sys.version_info)[:2] > _LAST
    if package == "deepchem":
        return _DEEPCHEM_LATER if later else "pip install deepchem==2.8.0"
    if package == "dgl":
        return _DGL_LATER if later else "pip install dgl==1.1.3"
    return f"pip install 'dc_graphsam[{_EXTRAS[package]}]'" if package in _EXTRAS else f"pip install {package}"


def require(package: str, needed_by: str) -> ModuleType:
    """Import a package, or say in one line who needs it and how to get it.

    Parameters
    ----------
    package
        Import name, dots included.
    needed_by
        What the user asked for, as the message names it.

    Returns
    -------
    types.ModuleType
        The module.

    Raises
    ------
    MissingPackageError
        It is not installed, or what is installed cannot be imported.

    Examples
    --------
    >>> require("numpy", "this example").__name__
    'numpy'
    >>> require("no_such_package", "this example")
    Traceback (most recent call last):
    ...
    dc_graphsam.exceptions.MissingPackageError: this example needs no_such_package, which is not installed: pip install \
no_such_package
    """
    whole = package.partition(".")[0]
    if not is_installed(whole):
        raise MissingPackageError(whole, needed_by, how_to_get(whole))
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        lacks = (error.name or "").partition(".")[0]
        way = how_to_get(lacks if whole == "deepchem" and lacks in _DEEPCHEM_NEEDS else whole)
        raise MissingPackageError(whole, needed_by, way, f"cannot be imported ({error})") from error
    # A release that does not fit what is beside it: old names of numpy, a library built for another torch.
    except (ImportError, AttributeError, OSError, TypeError) as error:
        text = " ".join(str(error).split())[:200]
        raise MissingPackageError(whole, needed_by, how_to_get(whole), f"cannot be imported ({text})") from error
