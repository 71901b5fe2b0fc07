"""What the gradients of a sharpness-aware run look like: cosines, shares, norms and variations, probed now and then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dc_graphsam.exceptions import check_whole
from dc_graphsam.optim.memory.block import Block
from dc_graphsam.optim.perturbed.perturbation import Direction

__all__ = ["GradientProbe"]

Lists = list[list[Tensor]]  # one list of tensors per block


class GradientProbe:
    r"""Measures every ``every``-th step how the gradients of a run lie to each other; assign it to ``optimizer.probe``.

    With ω_t the updating gradient, ε_t what step t perturbs along (the gradient g_t for SAM, the moving average for
    GraphSAM) and g_t = ∇L_t(θ_t) the true perturbation gradient, a probe of step t measures

    =======================  ================================================================================
    ``cos_epsilon_omega``    cosine of (g_t, ω_{t-1}): how well the last updating gradient foretells g (Figure 3)
    ``consistent_pairs``     share of these cosines that are >= 0, of all parameters together
    ``consistent_tensors``   the same over single tensors
    ``cos_epsilon_true``     cosine of (ε_t, g_t), where the method does not perturb along g_t itself
    ``gradient_cosine``      cosine of (ω_t, ω_{t-1})
    ``epsilon_norm``         ‖ε_t‖ (Figure 9)
    ``epsilon_variation``    ‖ε_t − ε_{t-1}‖ (Figure 8)
    ``omega_norm``           ‖ω_t‖
    ``omega_variation``      ‖ω_t − ω_{t-1}‖
    =======================  ================================================================================

    of "Efficient Sharpness-Aware Minimization for Molecular Graph Transformer Models" (ICLR 2024). A probe needs g_t: SAM
    has it anyway, methods without a clean pass take one more forward-backward pass (with a closure by themselves; a loop that
    drives the phases asks :attr:`due` and calls :meth:`SharpnessAwareOptimizer.probe_clean_gradient`). Weights, random
    numbers, running statistics and the state of the method are as without it: the trajectory is the same, bit for bit.
    Between a step and its predecessor two copies of the weights are held. Numbers stay on the device until :meth:`read`.

    Nothing of it is part of a state dict: after a resume the first probe lacks what it would compare with.

    Parameters
    ----------
    every : int
        Steps between two probes, >= 1.
    per_tensor : bool
        Whether :meth:`read` also gives the two cosines with ε for each tensor.

    Examples
    --------
    >>> from dc_graphsam.optim import SAM
    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = SAM([w], torch.optim.SGD, lr=0.1, rho=0.5)
    >>> optimizer.probe = GradientProbe(every=2)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = 0.5 * w.square().sum()
    ...     loss.backward()
    ...     return loss
    >>> for _ in range(4):
    ...     _ = optimizer.step(closure)
    >>> found = optimizer.probe.read()
    >>> found["consistent_pairs"], round(found["cos_epsilon_omega"], 6)  # w shrinks along itself
    (1.0, 1.0)
    """

    def __init__(self, every: int, per_tensor: bool = False) -> None:
        self.every, self.per_tensor = check_whole("every", every), per_tensor
        self.clear()
        self.forget()

    # ---------------------------------------------------------------- what the optimizer tells it
    def due(self, step: int) -> bool:
        """Whether step ``step`` (0-based) is probed."""
        return step % self.every == 0 and step > 0

    def _before(self, step: int) -> bool:
        return (step + 1) % self.every == 0

    def clean_gradient(self, optimizer: Any) -> None:
        """p.grad holds g_t, at the clean weights."""
        self._true = None
        if self.due(optimizer.steps):
            self._true = optimizer._block_gradients()
            self._compare_with_true(optimizer)

    def direction(self, optimizer: Any, direction: Direction) -> None:
        """The weights are about to be perturbed along ``direction``."""
        step, blocks = optimizer.steps, optimizer._layout.blocks
        if not self.due(step) and not self._before(step):
            return
        lists = [list(tensors) for tensors in direction.lists]
        if self.due(step):
            squares = _products(blocks, lists, lists)
            self._add("epsilon_norm", direction.scale * squares.sum().sqrt())
            if self._epsilon is not None and _fits(self._epsilon, lists):
                now, before = direction.scale, self._epsilon_scale
                differences = [
                    torch._foreach_sub(torch._foreach_mul(a, now), torch._foreach_mul(b, before))
                    for a, b in zip(lists, self._epsilon, strict=True)
                ]
                self._add("epsilon_variation", _products(blocks, differences, differences).sum().sqrt())
            if self._true is not None and not direction.fresh and _fits(self._true, lists):
                self._cosine("cos_epsilon_true", blocks, lists, squares, self._true)
        self._true = self._epsilon = None
        if self._before(step):
            self._epsilon, self._epsilon_scale = [_copies(tensors) for tensors in lists], _copy(direction.scale)

    def updating_gradient(self, optimizer: Any, grad_scale: Any) -> None:
        """p.grad holds ω_t, ``grad_scale`` times too large and not clipped yet."""
        step, blocks = optimizer.steps, optimizer._layout.blocks
        if not self.due(step) and not self._before(step):
            return
        omega = optimizer._block_gradients()
        if grad_scale is not None:
            omega = [torch._foreach_mul(tensors, 1.0 / grad_scale) for tensors in omega]
        if self.due(step):
            squares = _products(blocks, omega, omega)
            self._add("omega_norm", squares.sum().sqrt())
            if self._omega is not None and _fits(self._omega, omega):
                differences = [torch._foreach_sub(a, b) for a, b in zip(omega, self._omega, strict=True)]
                self._add("omega_variation", _products(blocks, differences, differences).sum().sqrt())
                self._cosine("gradient_cosine", blocks, omega, squares, self._omega)
        self._next = None
        if self._before(step):
            self._next = omega if grad_scale is not None else [_copies(tensors) for tensors in omega]

    def stepped(self) -> None:
        """The step is made."""
        self._omega, self._next, self._true = self._next, None, None

    def skipped(self) -> None:
        """The step is not made; it will be asked for again."""
        self._next = self._true = None

    def forget(self) -> None:
        """Drop the copies: what follows does not continue what was before."""
        self._omega: Lists | None = None
        self._next: Lists | None = None
        self._epsilon: Lists | None = None
        self._epsilon_scale: Any = 1.0
        self._true: Lists | None = None

    # ---------------------------------------------------------------- numbers
    def clear(self) -> None:
        """Forget the numbers gathered so far."""
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}
        self._indices: list[int] = []

    def read(self, names: Sequence[str] | None = None) -> dict[str, float]:
        """Means over the probes since the last call; what did not occur is absent.

        Parameters
        ----------
        names : sequence of str, optional
            Names of all parameters, in the optimizer's order, for ``per_tensor``; their numbers by default.

        Returns
        -------
        dict of str to float
            Keys as in the table above; per tensor ``<key>/<name>``.
        """
        keys = list(self._sums)
        if not keys:
            return {}
        means = torch.cat([(self._sums[key] / self._counts[key]).reshape(-1).double().cpu() for key in keys])
        sizes = [self._sums[key].numel() for key in keys]
        found: dict[str, float] = {}
        for key, values in zip(keys, means.split(sizes), strict=True):
            numbers = values.tolist()
            if key.endswith("/"):
                labels = [str(i) if names is None else names[i] for i in self._indices]
                found.update((key + label, x) for label, x in zip(labels, numbers, strict=True) if x == x)
            elif numbers[0] == numbers[0]:
                found[key] = numbers[0]
        self.clear()
        return found

    def _add(self, name: str, value: Any) -> None:
        """Add a number, or one per tensor; what is not finite (a norm of 0, an overflow) does not count."""
        value = torch.as_tensor(value).detach().double() if not isinstance(value, Tensor) else value.detach()
        finite = torch.isfinite(value)
        value, count = torch.where(finite, value, 0.0), finite.to(value.dtype)
        same = name in self._sums and self._sums[name].shape == value.shape
        self._sums[name] = self._sums[name] + value if same else value
        self._counts[name] = self._counts[name] + count if same else count

    def _cosine(self, name: str, blocks: Sequence[Block], a: Lists, squares: Tensor, b: Lists) -> Tensor:
        """Record the cosine of (a, b) over all parameters; return that of each tensor."""
        products, others = _products(blocks, a, b), _products(blocks, b, b)
        self._add(name, products.sum() / (squares.sum() * others.sum()).sqrt())
        cosines = products / (squares * others).sqrt()
        if self.per_tensor and name.startswith("cos_epsilon"):
            self._indices = [index for block in blocks for index in block.indices]
            self._add(f"{name}/", cosines)
        return cosines

    def _compare_with_true(self, optimizer: Any) -> None:
        """g_t against ω_{t-1}."""
        if self._omega is None or not _fits(self._omega, self._true):
            return
        blocks = optimizer._layout.blocks
        squares = _products(blocks, self._true, self._true)
        cosines = self._cosine("cos_epsilon_omega", blocks, self._true, squares, self._omega)
        products = _products(blocks, self._true, self._omega).sum()
        self._add("consistent_pairs", torch.where(squares.sum() > 0, (products >= 0).to(squares.dtype), torch.nan))
        known = torch.isfinite(cosines)
        self._add("consistent_tensors", ((cosines >= 0) & known).sum() / known.sum())


def _products(blocks: Sequence[Block], a: Lists, b: Lists) -> Tensor:
    """⟨a⁽ᵐ⁾, b⁽ᵐ⁾⟩ of each tensor of all blocks, on the device of the first; float64 on the CPU, shape [tensors]."""
    parts = []
    for block, left, right in zip(blocks, a, b, strict=True):
        dtype = torch.float64 if block.host else block.work_dtype
        sums = [
            product.sum(dtype=dtype) for part in block.slices for product in torch._foreach_mul(left[part], right[part])
        ]
        parts.append(block.reduce(torch.stack(sums)))
    return torch.cat([part.to(parts[0].device) for part in parts])


def _copies(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.clone() for tensor in tensors]


def _copy(scale: Any) -> Any:
    return scale.clone() if isinstance(scale, Tensor) else scale


def _fits(one: Lists, other: Lists) -> bool:
    """Whether two vectors are of the same tensors (none has joined or left in between)."""
    return [[t.shape for t in tensors] for tensors in one] == [[t.shape for t in tensors] for tensors in other]
