"""What help() and the signature of every method say."""

from __future__ import annotations

import inspect

import pytest

import dc_graphsam.optim
from dc_graphsam.catalogue import METHODS
from dc_graphsam.optim import SharpnessAwareOptimizer, closure_of
from dc_graphsam.optim.stepping.construction import completed, own_options

CLASSES = [getattr(dc_graphsam.optim, method.cls) for method in METHODS.values() if method.cls]


def sections(doc):
    """Heading → names that begin its entries."""
    lines, found, name = doc.splitlines(), {}, None
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line and below == "-" * len(line):
            name = line
            found[name] = []
        elif name and line and not line.startswith((" ", "-")):
            found[name] += line.partition(" : ")[0].split(", ")
    return found


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_argument_of_a_method_is_documented_once(cls):
    found = sections(inspect.getdoc(cls))
    assert "InvalidArgumentError" in found["Raises"] and ">>> " in cls.__doc__
    said = found["Parameters"]
    assert len(said) == len(set(said)) and {"params", "**options", "base_optimizer", "rho"} <= set(said)
    arguments = inspect.signature(cls).parameters
    assert list(arguments)[:3] == ["params", "base_optimizer", "rho"]
    assert set(arguments) - {"options"} <= set(said)
    inherited = set(sections(inspect.getdoc(SharpnessAwareOptimizer))["Parameters"])
    parents = set().union(*(sections(inspect.getdoc(base)).get("Parameters", ()) for base in cls.__mro__[1:3]))
    assert set(own_options(cls)) <= {*said, *inherited, *parents}


def test_a_docstring_that_says_it_all_stays_as_it_is():
    whole = "A.\n\nParameters\n----------\nparams : list\nrho : float\n\nRaises\n------\nX\n"
    assert completed(whole) == whole


def test_the_docstring_of_a_class_outside_is_its_own():
    class Mine(SharpnessAwareOptimizer):
        """Mine."""

    assert Mine.__doc__ == "Mine."


def test_a_closure_clears_and_returns_the_loss():
    import torch

    w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    closure = closure_of(torch.optim.SGD([w], lr=0.1), lambda: 0.5 * w.square().sum())
    assert [closure().item(), closure().item()] == [12.5, 12.5] and w.grad.tolist() == [3.0, 4.0]
