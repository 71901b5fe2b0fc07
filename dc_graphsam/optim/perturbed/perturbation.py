"""From a direction to a perturbation: θ ← θ + ε̂, with norms, elementwise scaling and clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dc_graphsam.optim.memory.block import Block, Scalar
from dc_graphsam.optim.memory.layout import Layout
from dc_graphsam.optim.memory.vector import StoredVector

__all__ = ["Direction", "Shape", "perturb"]

_TINY = 1e-12


@dataclass(frozen=True)
class Shape:
    r"""What is made of a direction ``v``, with T = 1 or, elementwise adaptive, :math:`T = |\theta| + \eta`.

    .. math:: \hat\varepsilon = \rho\,\frac{T^2 v}{\|Tv\| + 10^{-12}}

    Attributes
    ----------
    adaptive : bool
        Whether T follows the weights (ASAM).
    eta : float
        η, added to |θ|.
    is_weight : callable, optional
        Which parameters have T = |θ| + η; all by default. T = 1 for the others.
    released : bool
        The scale of the released code for directions that are not of this step: :math:`\rho\cdot10^{12}\,T^2v`, which the
        clipping then cuts to norm ``radius`` per tensor (``CoMPT-main/sam.py:144-145,175-178``).
    """

    adaptive: bool = False
    eta: float = 0.0
    is_weight: Callable[[Tensor], bool] | None = None
    released: bool = False


@dataclass
class Direction:
    """A direction to climb along: ``scale`` times one list of tensors per block.

    Attributes
    ----------
    lists : list of list of Tensor
        One list per block, in the block's order.
    scale : float or Tensor
        Common positive factor.
    squares : list, optional
        Squared norm of each list, where it is known.
    vector : StoredVector, optional
        The owner of the lists; it is normalised in place on an accelerator.
    disposable : bool
        Whether the lists may be overwritten.
    fresh : bool
        Whether this is the gradient of this very step.
    chosen : list of list of bool, optional
        The tensors that are moved at all; all by default. The norm runs over all.
    gain : float
        Factor on the result.
    """

    lists: list[list[Tensor]]
    scale: Scalar = 1.0
    squares: list[Scalar] | None = None
    vector: StoredVector | None = None
    disposable: bool = False
    fresh: bool = True
    chosen: list[list[bool]] | None = None
    gain: float = 1.0

    @classmethod
    def of(cls, vector: StoredVector, fresh: bool) -> Direction:
        return cls(vector.lists(), vector.scale, vector.squares(), vector, fresh=fresh)

    def norm(self, layout: Layout) -> Scalar:
        """Its norm over all blocks."""
        if self.squares is None:
            self.squares = [
                block.squared_norm_of(tensors) for block, tensors in zip(layout.blocks, self.lists, strict=True)
            ]
        return self.scale * layout.total(self.squares) ** 0.5


def perturb(
    layout: Layout, direction: Direction, rhos: Sequence[float], radii: Sequence[float] | None, shape: Shape
) -> Scalar | None:
    """Save the weights and add ε̂ to them; return ‖ε̂‖, or None if they were left alone.

    Parameters
    ----------
    rhos : sequence of float
        Signed radius ρ of each parameter group.
    radii : sequence of float, optional
        Largest norm of one tensor's perturbation, for each parameter group.

    Notes
    -----
    A direction of norm 0 or without a finite norm perturbs nothing (on an accelerator, where the norm is not read, it
    perturbs by 0 or makes the pass overflow).
    """
    if shape.adaptive or radii is not None or (shape.released and not direction.fresh):
        return _shaped(layout, direction, rhos, radii, shape)
    norm = direction.norm(layout)
    on_device = isinstance(norm, Tensor)
    if not on_device and (norm == 0 or not math.isfinite(norm)):
        return None
    unit = direction.scale / (norm + _TINY)
    layout.leave()
    lists = direction.lists
    if on_device:
        lists = _normalised(layout, direction, unit)
        unit = 1.0
    name = None if direction.vector is None else direction.vector.name
    for i, (block, tensors) in enumerate(zip(layout.blocks, lists, strict=True)):
        factor = rhos[block.group] * direction.gain * unit
        weights = block.weights
        if direction.chosen is not None:
            weights, tensors = _chosen(direction.chosen[i], weights, tensors)
        if not factor or not weights:
            continue
        if direction.chosen is None and block.may_move_beside():
            block.move_beside(tensors, factor, name)
            continue
        if direction.chosen is None and name is not None:
            weights, tensors = block.pairs(name)
        block.move_in_place(weights, tensors, factor)
    if direction.chosen is not None:
        return _norm_of_chosen(layout, direction, rhos, norm)
    size = {abs(rhos[block.group]) for block in layout.blocks}
    if len(size) == 1:  # by construction, whatever the direction
        return size.pop() * abs(direction.gain) * (1.0 if on_device else norm / (norm + _TINY))
    parts = [rhos[block.group] ** 2 * square for block, square in zip(layout.blocks, direction.squares, strict=True)]
    return layout.total(parts) ** 0.5 * abs(direction.gain) * direction.scale / (norm + _TINY)


def _normalised(layout: Layout, direction: Direction, unit: Tensor) -> list[list[Tensor]]:
    """The lists times a number that is not read from the device."""
    if direction.vector is not None:
        direction.vector.rescale(unit)
        return direction.lists
    if direction.disposable:
        for block, tensors in zip(layout.blocks, direction.lists, strict=True):
            torch._foreach_mul_(tensors, unit.to(block.device))
        return direction.lists
    return [
        torch._foreach_mul(list_, unit.to(block.device))
        for block, list_ in zip(layout.blocks, direction.lists, strict=True)
    ]


def _chosen(mask: list[bool], weights: list[Tensor], tensors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    pairs = [(w, t) for keep, w, t in zip(mask, weights, tensors, strict=True) if keep]
    return [w for w, _ in pairs], [t for _, t in pairs]


def _norm_of_chosen(layout: Layout, direction: Direction, rhos: Sequence[float], norm: Scalar) -> Scalar:
    parts = []
    for block, tensors, mask in zip(layout.blocks, direction.lists, direction.chosen, strict=True):
        kept = [t for t, keep in zip(tensors, mask, strict=True) if keep]
        parts.append(rhos[block.group] ** 2 * block.squared_norm_of(kept) if kept else 0.0)
    scale = 1.0 if isinstance(norm, Tensor) and direction.disposable else direction.scale / (norm + _TINY)
    return layout.total(parts) ** 0.5 * abs(direction.gain) * scale


def _times(block: Block, part: slice, values: list[Tensor], shape: Shape, power: int) -> list[Tensor]:
    """T^power · v for a run of tensors, as new tensors."""
    if not shape.adaptive:
        return [v.clone() for v in values] if power == 2 else values
    sizes = torch._foreach_abs(block.weights[part])
    if shape.eta:
        torch._foreach_add_(sizes, shape.eta)
    result = torch._foreach_mul(values, sizes)
    if power == 2:
        torch._foreach_mul_(result, sizes)
    if shape.is_weight is not None:
        scaled = [shape.is_weight(p) for p in block.params[part]]
        result = [r if follows else v.clone() for r, v, follows in zip(result, values, scaled, strict=True)]
    return result


def _shaped(
    layout: Layout, direction: Direction, rhos: Sequence[float], radii: Sequence[float] | None, shape: Shape
) -> Scalar | None:
    """The general form, in runs of tensors so that temporaries stay small."""
    pairs = list(zip(layout.blocks, direction.lists, strict=True))
    if shape.released and not direction.fresh:
        unit = direction.scale / _TINY
    else:
        parts = [
            layout.total([block.squared_norm_of(_times(block, s, tensors[s], shape, 1)) for s in block.slices])
            for block, tensors in pairs
        ]
        norm = direction.scale * layout.total(parts) ** 0.5
        if not isinstance(norm, Tensor) and (norm == 0 or not math.isfinite(norm)):
            return None
        unit = direction.scale / (norm + _TINY)
    layout.save()
    squares = []
    for i, (block, tensors) in enumerate(pairs):
        rho = rhos[block.group] * direction.gain
        sign, factor = math.copysign(1.0, rho), unit * abs(rho)
        for s in block.slices:
            moves = _times(block, s, tensors[s], shape, 2)
            norms = block.tensor_norms(moves)  # [tensors of the run]
            factors = (factor.to(norms) if isinstance(factor, Tensor) else norms.new_tensor(factor)).expand_as(norms)
            if radii is not None:
                factors = torch.minimum(factors, radii[block.group] / norms)
            if direction.chosen is not None:
                factors = factors * norms.new_tensor(direction.chosen[i][s])
            torch._foreach_mul_(moves, list((sign * factors).unbind()))
            torch._foreach_add_(block.weights[s], moves)
            squares.append(block.number((factors * norms).square().sum()))
    return layout.total(squares) ** 0.5
