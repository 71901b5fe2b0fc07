"""Networks and optimizers by the names that a user types: the one place where a new one is entered.

Nothing is imported here, so that the command line can list names, and packages their exports, before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["METHODS", "NETWORKS", "Method", "Network"]


@dataclass(frozen=True)
class Network:
    """A network, in ``models/<name>/configuration_<name>.py`` and ``modeling_<name>.py``.

    Attributes
    ----------
    name
        Its ``model_type``: the name in ``config.json`` and behind ``--model``.
    title
        As people write it; also the stem of its classes: ``<title>Config``, ``<title>Encoder``,
        ``<title>ForPropertyPrediction``.

    Examples
    --------
    >>> NETWORKS["compt"].classes
    ('CoMPTConfig', 'CoMPTEncoder', 'CoMPTForPropertyPrediction')
    >>> NETWORKS["compt"].homes["CoMPTEncoder"]
    '.compt.modeling_compt'
    """

    name: str
    title: str

    @property
    def classes(self) -> tuple[str, str, str]:
        """Names of configuration, encoder and predictor."""
        return f"{self.title}Config", f"{self.title}Encoder", f"{self.title}ForPropertyPrediction"

    @property
    def homes(self) -> dict[str, str]:
        """Class → module, below ``dc_graphsam.models``."""
        kinds = ("configuration", "modeling", "modeling")
        return {cls: f".{self.name}.{kind}_{self.name}" for cls, kind in zip(self.classes, kinds)}


@dataclass(frozen=True)
class Method:
    """A sharpness-aware optimizer.

    Attributes
    ----------
    name
        In :func:`dc_graphsam.optim.build_optimizer` and behind ``--optimizer``.
    title
        As people write it.
    module
        File in ``optim/methods`` that defines it; empty for ``"none"``, the base optimizer alone.
    cls
        Its class there; the recipe of the DeepChem door is called ``<cls>Optimizer``.
    passes
        Forward-backward passes per step.
    extra_copies
        Copies of the trainable weights held beyond the base optimizer's state.
    """

    name: str
    title: str
    module: str
    cls: str
    passes: str
    extra_copies: int


NETWORKS: Mapping[str, Network] = MappingProxyType({network.name: network for network in (Network("compt", "CoMPT"),)})

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("none", "", "", "", "1", 0),
            Method("sam", "SAM", "sam", "SAM", "2", 1),
            Method("asam", "ASAM", "sam", "ASAM", "2", 1),
            Method("sam-one", "SAM-ON", "sam_k", "SAMOne", "1", 2),
            Method("sam-k", "SAM-k", "sam_k", "SAMk", "1 + 1/k", 2),
            Method("looksam", "LookSAM", "looksam", "LookSAM", "1 + 1/k", 2),
            Method("ae-sam", "AE-SAM", "ae_sam", "AESAM", "1 + share of steps that fire", 1),
            Method("rst", "RST", "rst", "RST", "1 + p", 1),
            Method("esam", "ESAM", "esam", "ESAM", "2", 1),
            Method("graphsam", "GraphSAM", "graphsam", "GraphSAM", "1 + 1/n with n steps per epoch", 2),
            Method("momentum-sam", "MomentumSAM", "momentum_sam", "MomentumSAM", "1", 1),
        )
    }
)
