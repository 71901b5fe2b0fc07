"""Backward passes written by hand have first derivatives only, and say so."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["first_derivative_only"]


def first_derivative_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate the ``backward`` of a ``torch.autograd.Function``: with ``create_graph=True`` it is refused.

    ``once_differentiable`` of torch puts an error where a second derivative begins. ``torch.autograd.grad(…, inputs)`` runs only
    what leads to its inputs, and so passes the error by and leaves out what went through this function: a Hessian-vector
    product without a word and with other numbers. Under ``torch.func`` plain operations run instead, which have all derivatives.

    Raises
    ------
    InvalidArgumentError
        When the gradient is asked for with ``create_graph=True``.

    Examples
    --------
    >>> class Square(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...
    ...     @staticmethod
    ...     @first_derivative_only
    ...     def backward(ctx, grad):
    ...         return 2 * ctx.saved_tensors[0] * grad
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> torch.autograd.grad(Square.apply(x), x)
    (tensor(6.),)
    >>> torch.autograd.grad(Square.apply(x), x, create_graph=True)
    Traceback (most recent call last):
        ...
    dc_graphsam.exceptions.InvalidArgumentError: create_graph is True; accepted here: False, the fast operations of this model have \
first derivatives only. For second ones use torch.func (grad, jvp, vjp), under which plain operations run
    """

    @wraps(backward)
    def checked(ctx: Any, *gradients: Any) -> Any:
        if torch.is_grad_enabled():  # in a backward pass: a graph of it is to be made
            raise InvalidArgumentError(
                "create_graph is True; accepted here: False, the fast operations of this model have first derivatives only. "
                "For second ones use torch.func (grad, jvp, vjp), under which plain operations run",
                arguments=("create_graph",),
            )
        return backward(ctx, *gradients)

    return checked
