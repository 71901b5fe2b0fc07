"""Sharpness-aware optimizers as DeepChem's recipes: what ``TorchModel(optimizer=…)`` takes."""

from __future__ import annotations

from typing import Any, ClassVar

from dc_graphsam.catalogue import METHODS
from dc_graphsam.data.deepchem.importing import import_deepchem
from dc_graphsam.exceptions import InvalidArgumentError, check_range

deepchem = import_deepchem("dc_graphsam.dc")

__all__ = [
    "AESAMOptimizer",
    "ASAMOptimizer",
    "ESAMOptimizer",
    "GraphSAMOptimizer",
    "LookSAMOptimizer",
    "MomentumSAMOptimizer",
    "RSTOptimizer",
    "SAMOneOptimizer",
    "SAMOptimizer",
    "SAMkOptimizer",
    "SharpnessAwareOptimizerRecipe",
]

_UNSUITED = ("KFAC", "SparseAdam")


class SharpnessAwareOptimizerRecipe(deepchem.models.optimizers.Optimizer):
    """Base of the recipes: a sharpness-aware method around one of DeepChem's optimizers.

    A recipe holds numbers only: it can be pickled, copied, and given to several models. ``CoMPTModel`` takes it as it is;
    another ``TorchModel`` has to be told how to take a step of two passes, by :func:`dc_graphsam.dc.sharpness_aware`.

    Parameters
    ----------
    learning_rate : float or deepchem.models.optimizers.LearningRateSchedule, optional
        Of Adam, if ``base`` is not given; 0.001 by default.
    base : deepchem.models.optimizers.Optimizer, optional
        What makes the descent step, e.g. ``dc.models.optimizers.AdamW(learning_rate=…)``, with its own learning rate.
    rho : float, optional
        Radius of the perturbation; None is the method's default.
    **options
        The method's own, as of the optimizer in :mod:`dc_graphsam.optim` that carries them out.

    Raises
    ------
    InvalidArgumentError
        If an option is unknown or out of its range.
    """

    method: ClassVar[str] = ""

    def __init__(self, learning_rate: Any = None, rho: float | None = None, base: Any = None, **options: Any) -> None:
        if base is None:
            base = deepchem.models.optimizers.Adam(0.001 if learning_rate is None else learning_rate)
        elif learning_rate is not None:
            raise InvalidArgumentError(
                f"learning_rate is {learning_rate!r} beside base; accepted: one of them, the learning rate of base is its own"
            )
        _check_base(base)
        if not self.method:
            raise InvalidArgumentError(
                f"{type(self).__name__} has no method; use GraphSAMOptimizer or one of its siblings"
            )
        super().__init__(base.learning_rate)
        self.base = base
        self.options = options if rho is None else {"rho": rho, **options}
        self._check_options()

    def _check_options(self) -> None:
        """Unknown options and wrong values are errors here, not when training starts."""
        import torch

        if self.options.get("loss_weighting") == "elementwise" or self.options.get("sample_share", 1) != 1:
            raise InvalidArgumentError(
                "loss_weighting='elementwise' and sample_share below 1 need the loss of every molecule; a TorchModel has that "
                "of the batch. Accepted: loss_weighting='none' or 'loss', sample_share=1"
            )
        if not hasattr(self.base.learning_rate, "initial_rate"):
            check_range("learning_rate", self.base.learning_rate, 0)
        self._create_pytorch_optimizer([torch.nn.Parameter(torch.zeros(1))])

    def _create_pytorch_optimizer(self, params: Any) -> Any:
        """The optimizer of :mod:`dc_graphsam.optim` for these parameters; ``TorchModel`` calls it."""
        from dc_graphsam.optim import build_optimizer

        def base(groups: Any) -> Any:
            return self.base._create_pytorch_optimizer(groups)

        optimizer = build_optimizer(self.method, params, base, **self.options)
        optimizer._how_to_drive = _how_to_drive_in_deepchem
        return optimizer

    def __repr__(self) -> str:
        # dc.hyper makes file names of it
        rate = self.learning_rate
        rate = repr(rate) if isinstance(rate, (int, float)) else type(rate).__name__
        shown = {"learning_rate": rate, **{name: repr(value) for name, value in self.options.items()}}
        if type(self.base).__name__ != "Adam":
            shown["base"] = type(self.base).__name__
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in shown.items())})"

    def __eq__(self, other: object) -> bool:
        same = type(other) is type(self) and other.options == self.options and type(other.base) is type(self.base)
        return same and {**vars(other.base)} == {**vars(self.base)}

    __hash__ = None


def _how_to_drive_in_deepchem() -> str:
    return (
        "this step needs a gradient at the perturbed weights, and the model's fit() does not know how to take it; accepted: "
        "model = dc_graphsam.dc.sharpness_aware(model) before fit(), or CoMPTModel, which knows"
    )


def _check_base(base: Any) -> None:
    accepted = "accepted: a recipe such as dc.models.optimizers.AdamW(learning_rate=0.001)"
    if isinstance(base, SharpnessAwareOptimizerRecipe):
        raise InvalidArgumentError(f"base is {base!r}, which is sharpness-aware itself; {accepted}")
    if not isinstance(base, deepchem.models.optimizers.Optimizer):
        raise InvalidArgumentError(f"base is {base!r}; {accepted}")
    if type(base).__name__ in _UNSUITED:
        raise InvalidArgumentError(f"base is {type(base).__name__}, which cannot step on a given gradient; {accepted}")


class GraphSAMOptimizer(SharpnessAwareOptimizerRecipe):
    """GraphSAM: sharpness-aware minimization at the cost of one extra pass per epoch.

    See :class:`dc_graphsam.optim.GraphSAM` for the equations. Epochs are those of ``fit``; they go on with a second ``fit``,
    and after ``restore``.

    Parameters
    ----------
    learning_rate, base
        See :class:`SharpnessAwareOptimizerRecipe`.
    rho : float
        Initial radius ρ.
    beta : float
        β, weight of the past in the moving average.
    gamma : float
        γ, factor of the radius at one update.
    rho_update_epochs : int
        λ, epochs between two updates of the radius.
    anchor_every_epochs : int or None
        K, epochs between two steps with a gradient at the clean weights.
    **options
        Further ones of :class:`dc_graphsam.optim.GraphSAM`: ``preset="released"``, ``anchor="in-stream"``, ``max_grad_norm``, …

    Examples
    --------
    >>> GraphSAMOptimizer(rho=0.05)
    GraphSAMOptimizer(learning_rate=0.001, rho=0.05)
    >>> rate = deepchem.models.optimizers.ExponentialDecay(1e-3, 0.9, 100)
    >>> GraphSAMOptimizer(base=deepchem.models.optimizers.AdamW(rate), beta=0.9)
    GraphSAMOptimizer(learning_rate=ExponentialDecay, rho=0.05, beta=0.9, base=AdamW)
    """

    method = "graphsam"

    def __init__(
        self,
        learning_rate: Any = None,
        rho: float = 0.05,
        base: Any = None,
        *,
        beta: float = 0.99,
        gamma: float = 0.5,
        rho_update_epochs: int = 1,
        anchor_every_epochs: int | None = 1,
        **options: Any,
    ) -> None:
        given = {
            "beta": (beta, 0.99),
            "gamma": (gamma, 0.5),
            "rho_update_epochs": (rho_update_epochs, 1),
            "anchor_every_epochs": (anchor_every_epochs, 1),
        }
        named = {name: value for name, (value, default) in given.items() if value != default}
        super().__init__(learning_rate, rho, base, **named, **options)


class SAMOptimizer(SharpnessAwareOptimizerRecipe):
    """SAM, two passes per step: :class:`dc_graphsam.optim.SAM`."""

    method = "sam"


class ASAMOptimizer(SharpnessAwareOptimizerRecipe):
    """Adaptive SAM: :class:`dc_graphsam.optim.ASAM`."""

    method = "asam"


class SAMOneOptimizer(SharpnessAwareOptimizerRecipe):
    """SAM along the gradient of the step before, one pass per step: :class:`dc_graphsam.optim.SAMOne`."""

    method = "sam-one"


class SAMkOptimizer(SharpnessAwareOptimizerRecipe):
    """SAM with a fresh direction every k steps: :class:`dc_graphsam.optim.SAMk`."""

    method = "sam-k"


class LookSAMOptimizer(SharpnessAwareOptimizerRecipe):
    """LookSAM: :class:`dc_graphsam.optim.LookSAM`."""

    method = "looksam"


class AESAMOptimizer(SharpnessAwareOptimizerRecipe):
    """AE-SAM: :class:`dc_graphsam.optim.AESAM`. It needs ``total_steps``: epochs · ⌈molecules / batch_size⌉ of the whole run."""

    method = "ae-sam"


class RSTOptimizer(SharpnessAwareOptimizerRecipe):
    """Randomized sharpness-aware training: :class:`dc_graphsam.optim.RST`."""

    method = "rst"


class ESAMOptimizer(SharpnessAwareOptimizerRecipe):
    """ESAM with stochastic weight perturbation: :class:`dc_graphsam.optim.ESAM`."""

    method = "esam"


class MomentumSAMOptimizer(SharpnessAwareOptimizerRecipe):
    """Perturbation along the momentum of the base optimizer, one pass per step: :class:`dc_graphsam.optim.MomentumSAM`."""

    method = "momentum-sam"


def __getattr__(name: str) -> type[SharpnessAwareOptimizerRecipe]:
    """The recipe of a method in the catalogue that needs no words of its own."""
    for method in METHODS.values():
        if method.cls and name == f"{method.cls}Optimizer":
            doc = f"{method.title}: :class:`dc_graphsam.optim.{method.cls}`."
            made = type(
                name, (SharpnessAwareOptimizerRecipe,), {"method": method.name, "__doc__": doc, "__module__": __name__}
            )
            globals()[name] = made  # once: it can be pickled
            return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
