"""How sharp a minimum is: the rise of the loss one step up the gradient, and the largest eigenvalue of the Hessian."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dc_graphsam.exceptions import InvalidArgumentError, check_range, check_whole
from dc_graphsam.optim.perturbed.batch_norm import frozen_running_statistics
from dc_graphsam.optim.perturbed.noise import SameNoise

__all__ = ["largest_hessian_eigenvalue", "sharpness"]

Loss = Callable[[], Tensor]


def sharpness(
    loss: Loss, params: Iterable[Tensor] | nn.Module, rho: float = 0.05, *, adaptive: bool = False, eta: float = 0.0
) -> float:
    r"""Rise of the loss along its gradient.

    .. math:: L\Bigl(\theta+\rho\,\frac{g}{\|g\|}\Bigr) - L(\theta),\qquad g = \nabla L(\theta)

    or, with ``adaptive``, at :math:`\theta + \rho\,T^2g/\|Tg\|`, T = |θ| + ``eta``. Weights, gradients in ``p.grad``, random
    generators and running statistics are afterwards what they were.

    Parameters
    ----------
    loss : callable
        Computes the scalar loss of one fixed batch, without calling backward.
    params : iterable of Tensor, or Module
        Parameters θ; those that require no gradient or have none stay where they are. Of a module also the running
        statistics are kept.
    rho : float
        Radius ρ > 0.

    Returns
    -------
    float
        0 where the gradient is 0.

    Raises
    ------
    InvalidArgumentError
        If ``rho`` or ``eta`` is out of range, or no parameter has a gradient.

    Examples
    --------
    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> round(sharpness(lambda: 0.5 * w.square().sum(), [w], rho=0.1), 4)  # (5.1² − 5²) / 2
    0.505
    """
    check_range("rho", rho, 0, bounds="()")
    check_range("eta", eta, 0)
    surface = _Surface(loss, params)
    with surface.measuring():
        value, gradient = surface.gradient()
        factors = [p.abs() + eta if adaptive else torch.ones((), dtype=p.dtype, device=p.device) for p in surface.home]
        scaled = torch._foreach_mul(gradient, factors)
        norm = _norm(scaled)
        if norm == 0:
            return 0.0
        surface.move(torch._foreach_mul(scaled, factors), rho / norm)
        with torch.no_grad():
            raised = float(surface.evaluate())
    return raised - value


def largest_hessian_eigenvalue(
    loss: Loss,
    params: Iterable[Tensor] | nn.Module,
    *,
    iterations: int = 30,
    tolerance: float = 1e-3,
    step: float | None = None,
    seed: int = 0,
) -> float:
    r"""Largest eigenvalue of ∇²L(θ), by the Lanczos method.

    Products with the Hessian are central differences of gradients,

    .. math:: Hv \approx \frac{\nabla L(\theta+hv)-\nabla L(\theta-hv)}{2h},\qquad \|v\| = 1,

    so that models need no second derivatives. Each costs two forward-backward passes; three copies of the weights are held.

    Parameters
    ----------
    loss, params
        As for :func:`sharpness`.
    iterations : int
        Largest number of products, >= 1.
    tolerance : float
        Relative change of the eigenvalue from one product to the next at which to stop.
    step : float, optional
        h > 0; by default the cube root of the precision of the weights, where the error of the difference and that of
        rounding balance.
    seed : int
        Of the first vector.

    Returns
    -------
    float

    Raises
    ------
    InvalidArgumentError
        If an argument is out of range, or no parameter has a gradient.

    Examples
    --------
    >>> w = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    >>> scales = torch.tensor([1.0, 4.0, -9.0], dtype=torch.float64)
    >>> round(largest_hessian_eigenvalue(lambda: 0.5 * (scales * w.square()).sum(), [w]), 6)
    4.0
    """
    check_whole("iterations", iterations)
    check_range("tolerance", tolerance, 0)
    if step is not None:
        check_range("step", step, 0, bounds="()")
    surface = _Surface(loss, params)
    with surface.measuring():
        surface.gradient()  # finds the parameters that have one
        h = step or max(torch.finfo(p.dtype).eps for p in surface.home) ** (1 / 3)
        generator = torch.Generator().manual_seed(seed)
        vector = [torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device) for p in surface.home]
        torch._foreach_mul_(vector, 1.0 / _norm(vector))
        previous, alphas, betas, found = None, [], [], 0.0
        size = sum(p.numel() for p in surface.home)
        for k in range(min(iterations, size)):
            image = surface.curve(vector, h)
            alphas.append(_dot(image, vector))
            torch._foreach_add_(image, vector, alpha=-alphas[-1])
            if previous is not None:
                torch._foreach_add_(image, previous, alpha=-betas[-1])
            last, found = found, _largest(alphas, betas)
            beta = _norm(image)
            if (k and abs(found - last) <= tolerance * abs(found)) or beta <= 1e-10 * max(1.0, abs(found)):
                break
            betas.append(beta)
            previous, vector = vector, torch._foreach_mul(image, 1.0 / beta)
    return found


def _largest(alphas: list[float], betas: list[float]) -> float:
    """Largest eigenvalue of the tridiagonal matrix."""
    matrix = torch.diag(torch.tensor(alphas, dtype=torch.float64))
    if betas:
        beside = torch.tensor(betas, dtype=torch.float64)
        matrix = matrix + torch.diag(beside, 1) + torch.diag(beside, -1)
    return float(torch.linalg.eigvalsh(matrix)[-1])


class _Surface:
    """The loss of one batch as a function of the weights."""

    def __init__(self, loss: Loss, params: Iterable[Tensor] | nn.Module) -> None:
        self.loss = loss
        self.model = params if isinstance(params, nn.Module) else None
        everyone = params.parameters() if isinstance(params, nn.Module) else params
        self.params = [p for p in everyone if p.requires_grad]
        if not self.params:
            raise InvalidArgumentError("params has no parameter that requires a gradient; accepted: at least one")
        self._noise = SameNoise({p.device for p in self.params})

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Everything is afterwards as it was."""
        self.home = [p.detach().clone() for p in self.params]
        whole, originals = self.params, self.home
        with self._noise.record(), frozen_running_statistics(self.model):
            try:
                yield
            finally:
                with torch.no_grad():
                    for p, value in zip(whole, originals, strict=True):
                        p.copy_(value)
                self._noise.rewind()

    def evaluate(self) -> Tensor:
        """The loss here; all evaluations see the same dropout."""
        self._noise.rewind()
        return self.loss()

    def gradient(self) -> tuple[float, list[Tensor]]:
        """Loss and gradient here; parameters that have none are left out from now on."""
        with torch.enable_grad():
            value = self.evaluate()
            found = torch.autograd.grad(value, self.params, allow_unused=True)
        pairs = [(p, home, g) for p, home, g in zip(self.params, self.home, found, strict=True) if g is not None]
        if not pairs:
            raise InvalidArgumentError("loss depends on none of params; accepted: a loss that has a gradient")
        self.params, self.home, gradient = (list(column) for column in zip(*pairs, strict=True))
        return float(value.detach()), [g.detach() for g in gradient]

    @torch.no_grad()
    def move(self, direction: list[Tensor], factor: float) -> None:
        """Weights at θ + factor · direction."""
        for p, home, d in zip(self.params, self.home, direction, strict=True):
            p.copy_(torch.add(home, d, alpha=factor))

    def curve(self, vector: list[Tensor], h: float) -> list[Tensor]:
        """Hv."""
        self.move(vector, h)
        _, above = self.gradient()
        self.move(vector, -h)
        _, below = self.gradient()
        return torch._foreach_mul(torch._foreach_sub(above, below), 0.5 / h)


def _dot(a: list[Tensor], b: list[Tensor]) -> float:
    return float(torch.stack([t.sum(dtype=torch.float64).cpu() for t in torch._foreach_mul(a, b)]).sum())


def _norm(a: list[Tensor]) -> float:
    return _dot(a, a) ** 0.5
