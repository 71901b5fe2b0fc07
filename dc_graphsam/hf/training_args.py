"""Arguments of :class:`~dc_graphsam.hf.GraphSAMTrainer`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from dc_graphsam.exceptions import InvalidArgumentError, check_choice, check_range
from dc_graphsam.hf.optimizers import method_defaults, method_names, trial_optimizer

__all__ = ["GraphSAMTrainingArguments"]

LR_SCHEDULES = ("released",)
LOSS_WEIGHTINGS = ("none", "loss")
# Fields that are options of the sharpness-aware method, by the name the optimizer has for them.
METHOD_FIELDS = {
    "rho": "rho",
    "beta": "beta",
    "gamma": "gamma",
    "rho_update_epochs": "rho_update_epochs",
    "rho_schedule": "rho_schedule",
    "anchor": "anchor",
    "anchor_every": "anchor_every",
    "anchor_every_epochs": "anchor_every_epochs",
    "sam_preset": "preset",
    "loss_weighting": "loss_weighting",
}
# These change weights while gradients are still being computed, so that a second pass would start elsewhere.
FUSED_INTO_BACKWARD = ("lomo", "adalomo", "galore_adamw_layerwise", "galore_adamw_8bit_layerwise",
                       "galore_adafactor_layerwise", "apollo_adamw_layerwise")  # fmt: skip


@dataclass
class GraphSAMTrainingArguments(TrainingArguments):
    r"""``TrainingArguments`` with the options of sharpness-aware training.

    A method option left at ``None`` becomes the method's own default (for GraphSAM that of the paper, A.4: ρ 0.05,
    β 0.99, γ 0.5, λ 1 epoch, a new anchor every epoch). An option that the method does not have is an error.

    Parameters
    ----------
    output_dir : str
        Folder for checkpoints.
    sam : str
        Method, a name of :func:`dc_graphsam.optim.build_optimizer`; ``"none"`` trains with the base optimizer alone.
    rho, beta, gamma, rho_update_epochs, rho_schedule, anchor, anchor_every, anchor_every_epochs, sam_preset
        Options of the method; symbols as in :class:`dc_graphsam.optim.GraphSAM`.
    sam_options : dict
        Further options of the method, by the names of its class.
    same_noise : bool
        Whether dropout and other randomness repeat in the second pass of a step.
    loss_weighting : str, optional
        ``"none"``: the updating gradient is ω = ∇L; ``"loss"``: L·∇L, which the released code steps with
        (``CoMPT-main/train_graph.py:91,132``). Default: what ``sam_preset`` says.
    lr_schedule : str, optional
        ``None``: ``lr_scheduler_type`` decides. ``"released"``: linear from ``initial_learning_rate`` to
        ``learning_rate`` over ``lr_warmup_epochs`` (at most half of the run), then exponential to
        ``final_learning_rate`` at the last epoch (``CoMPT-main/utils.py:146-168``; there, it pairs with SAM and
        GraphSAM, and Adam with ``"inverse_sqrt"``).
    initial_learning_rate, final_learning_rate : float, optional
        Ends of ``"released"``; a tenth of ``learning_rate`` each by default.
    lr_warmup_epochs : float
        Length of the rise in ``"released"``.
    save_on_interrupt : bool
        Whether Ctrl-C leaves a checkpoint of the last whole step.
    inspect_every : int
        Steps between two probes of the gradients, whose values are logged (:class:`~dc_graphsam.optim.GradientProbe`); 0
        for none. A probe takes at most one more forward-backward pass and changes nothing of the training: 50 costs 2 %.
    inspect_tensors : bool
        Whether the cosines of the probes are logged for each tensor, too.
    inspect_sharpness : bool
        Whether the end of each epoch logs ``sharpness`` and ``hessian_eigenvalue`` of the first training rows (one batch,
        without dropout; some forty passes).
    **kwargs
        All arguments of ``transformers.TrainingArguments``.

    Raises
    ------
    InvalidArgumentError
        If a value is not accepted.

    Notes
    -----
    Defaults that differ from the parent: ``learning_rate`` 1e-3 (5e-5), ``warmup_steps`` 0.05 of the run (0),
    ``num_train_epochs`` 30 (3), ``per_device_train_batch_size`` 32 (8), ``per_device_eval_batch_size`` 64 (8),
    ``logging_strategy`` and ``save_strategy`` ``"epoch"`` (``"steps"``, 500), ``save_total_limit`` 2 (none),
    ``logging_nan_inf_filter`` False (True: hides a diverged loss, and waits for the device in every step),
    ``train_sampling_strategy`` ``"auto"`` (``"random"``) and ``length_column_name`` ``"num_nodes"`` (``"length"``):
    batches of like-sized examples where the data set has that column, random ones elsewhere.

    ``optim`` stays the parent's AdamW, in its fused form: with the default ``weight_decay=0`` it takes the steps of the
    paper's Adam, bit for bit. ``max_grad_norm`` stays 1; the paper does not clip, which is 0 here. Clipping acts on the
    updating gradient only, never on the direction of the perturbation.

    Examples
    --------
    >>> import tempfile
    >>> args = GraphSAMTrainingArguments(tempfile.mkdtemp(), sam="graphsam", rho=0.02, rho_update_epochs=3)
    >>> args.rho, args.beta, args.rho_schedule
    (0.02, 0.99, 'paper')
    >>> GraphSAMTrainingArguments(tempfile.mkdtemp(), beta=1.5)
    Traceback (most recent call last):
        ...
    dc_graphsam.exceptions.InvalidArgumentError: beta is 1.5; accepted: a number in [0, 1)
    """

    sam: str = field(
        default="graphsam",
        metadata={
            "help": "Method: graphsam, sam, asam, sam-one, sam-k, looksam, ae-sam, rst, esam, momentum-sam or none."
        },
    )
    rho: float | None = field(
        default=None,
        metadata={"help": "Radius of the perturbation, at least 0. Default: the method's, 0.05 for graphsam."},
    )
    beta: float | None = field(
        default=None, metadata={"help": "Weight of the past in GraphSAM's moving average, in [0, 1). Default: 0.99."}
    )
    gamma: float | None = field(
        default=None, metadata={"help": "Factor on rho at each of its updates, above 0. Default: 0.5."}
    )
    rho_update_epochs: int | None = field(default=None, metadata={"help": "Epochs between updates of rho. Default: 1."})
    rho_schedule: str | None = field(
        default=None,
        metadata={
            "help": "How rho changes: constant, paper, paper-smooth, released, floor, linear-lr. Default: the method's."
        },
    )
    anchor: str | None = field(
        default=None,
        metadata={
            "help": "How GraphSAM anchors: extra-pass (paper, the default) or in-stream (a plain step, no extra pass)."
        },
    )
    anchor_every: int | None = field(
        default=None, metadata={"help": "Anchor every so many steps instead of by epoch, for streams without epochs."}
    )
    anchor_every_epochs: int | None = field(
        default=None, metadata={"help": "Anchor at the start of every so many epochs (K). Default: 1."}
    )
    sam_preset: str | None = field(
        default=None,
        metadata={"help": "paper (the equations, the default) or released (the published code); looksam has its own."},
    )
    sam_options: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Further options of the method, as JSON."}
    )
    same_noise: bool = field(
        default=True, metadata={"help": "Repeat dropout and other randomness in the second pass of a step."}
    )
    loss_weighting: str | None = field(
        default=None,
        metadata={"help": "none, or loss: multiply the updating gradient by the loss, as the published code does."},
    )
    lr_schedule: str | None = field(
        default=None,
        metadata={
            "help": "released: linear rise, then exponential fall of the learning rate, instead of lr_scheduler_type."
        },
    )
    initial_learning_rate: float | None = field(
        default=None, metadata={"help": "Where lr_schedule=released starts. Default: learning_rate / 10."}
    )
    final_learning_rate: float | None = field(
        default=None, metadata={"help": "Where lr_schedule=released ends. Default: learning_rate / 10."}
    )
    lr_warmup_epochs: float = field(default=2.0, metadata={"help": "Epochs of the rise of lr_schedule=released."})
    save_on_interrupt: bool = field(
        default=True, metadata={"help": "On Ctrl-C, save a checkpoint of the last whole step to resume from."}
    )
    inspect_every: int = field(
        default=0, metadata={"help": "Steps between two probes of the gradients, for log and report; 0 for none."}
    )
    inspect_tensors: bool = field(default=False, metadata={"help": "Log the cosines of the probes tensor by tensor."})
    inspect_sharpness: bool = field(
        default=False,
        metadata={"help": "Log sharpness and largest Hessian eigenvalue at the end of each epoch (some forty passes)."},
    )

    learning_rate: float = field(default=1e-3, metadata={"help": "Largest learning rate."})
    warmup_steps: float = field(
        default=0.05, metadata={"help": "Steps of a linear warmup from 0; a share of all steps if below 1."}
    )
    num_train_epochs: float = field(default=30.0, metadata={"help": "Passes over the training data."})
    per_device_train_batch_size: int = field(default=32, metadata={"help": "Examples per training batch and device."})
    per_device_eval_batch_size: int = field(default=64, metadata={"help": "Examples per evaluation batch and device."})
    logging_strategy: str = field(default="epoch", metadata={"help": "When to log: no, epoch or steps."})
    logging_nan_inf_filter: bool = field(
        default=False,
        metadata={"help": "Leave NaN and infinite losses out of the logs; waits for the device in every step."},
    )
    save_strategy: str = field(
        default="epoch", metadata={"help": "When to save a checkpoint: no, epoch, steps or best."}
    )
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints to keep."})
    train_sampling_strategy: str = field(
        default="auto",
        metadata={
            "help": "auto (batches of like-sized examples where the data set has the column length_column_name, random "
            "ones elsewhere), group_by_length, random, sequential or batch_rebalance.",
            "choices": ["auto", "group_by_length", "random", "sequential", "batch_rebalance"],
        },
    )
    length_column_name: str = field(default="num_nodes", metadata={"help": "Column with the sizes of the examples."})

    def __post_init__(self) -> None:
        if isinstance(self.sam_options, str):
            self.sam_options = _parse_options(self.sam_options)
        self._check_method()
        self._check_training()
        # The Trainer takes them from the task of the data set; elsewhere it is the loss, as for the parent.
        self.metric_is_default = self.metric_for_best_model is None
        if self.metric_is_default and str(self.save_strategy).endswith("best"):
            self.metric_for_best_model = "loss"
        super().__post_init__()
        if self.device.type == "cpu":
            self.dataloader_pin_memory = False  # nothing to pin for; torch would warn at every epoch
        if self.sam != "none" and self.optim in FUSED_INTO_BACKWARD:
            raise InvalidArgumentError(
                f"optim is {str(self.optim.value)!r}, which updates weights within the backward pass; accepted with "
                f"sam={self.sam!r}: any other optimizer, e.g. 'adamw_torch_fused'"
            )

    def _check_method(self) -> None:
        from dc_graphsam.optim.rho.schedules import RHO_SCHEDULES

        check_choice("sam", self.sam, method_names())
        self._refuse_sharding()
        if self.rho is not None:
            check_range("rho", self.rho, 0)
        if self.beta is not None:
            check_range("beta", self.beta, 0, 1, bounds="[)")
        if self.gamma is not None:
            check_range("gamma", self.gamma, 0, bounds="()")
        for name in ("rho_update_epochs", "anchor_every", "anchor_every_epochs"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), 1)
        for name, choices in (
            ("rho_schedule", RHO_SCHEDULES),
            ("anchor", ("extra-pass", "in-stream")),
            ("loss_weighting", LOSS_WEIGHTINGS),
            ("lr_schedule", LR_SCHEDULES),
        ):
            if getattr(self, name) is not None:
                check_choice(name, getattr(self, name), choices)
        if self.sam_options is not None and not isinstance(self.sam_options, dict):
            raise InvalidArgumentError(f"sam_options is {self.sam_options!r}; accepted: a dictionary of options")
        self._fill_in()

    def _refuse_sharding(self) -> None:
        """Before the parent sets up what cannot be trained with."""
        asked = [name for name in ("fsdp", "deepspeed") if getattr(self, name)]
        asked += [
            name
            for name in ("fsdp", "deepspeed")
            if os.environ.get(f"ACCELERATE_USE_{name.upper()}", "") in ("1", "true")
        ]
        if asked and self.sam != "none":
            raise InvalidArgumentError(
                f"sam={self.sam!r} does not work with {asked[0]}, which shards the weights; use data-parallel training "
                "(torchrun, accelerate launch), or sam='none'"
            )

    def _check_training(self) -> None:
        for name in ("initial_learning_rate", "final_learning_rate"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), 0, self.learning_rate, bounds="(]")
        check_range("lr_warmup_epochs", self.lr_warmup_epochs, 0)
        check_range("inspect_every", self.inspect_every, 0)
        if self.inspect_every and self.sam == "none":
            raise InvalidArgumentError(
                f"inspect_every is {self.inspect_every} and sam is 'none', which has no gradients to compare; accepted: 0, or "
                "another method (with rho=0 it trains like the base optimizer)"
            )
        if self.inspect_tensors and not self.inspect_every:
            raise InvalidArgumentError(
                "inspect_tensors is True and inspect_every 0; accepted with inspect_every: 1 or more"
            )
        check_choice(
            "train_sampling_strategy",
            self.train_sampling_strategy,
            type(self).__dataclass_fields__["train_sampling_strategy"].metadata["choices"],
        )

    def method_options(self) -> dict[str, Any]:
        """Options for the method's class that were set here.

        Raises
        ------
        InvalidArgumentError
            If an option was set that the method does not have.
        """
        accepted = method_defaults(self.sam)
        given = {
            option: getattr(self, name) for name, option in METHOD_FIELDS.items() if getattr(self, name) is not None
        }
        spelt = {option: name for name, option in METHOD_FIELDS.items()}
        for option, value in (self.sam_options or {}).items():
            if given.get(option, value) != value:
                raise InvalidArgumentError(
                    f"{spelt[option]} is {given[option]!r} and sam_options says {value!r}; set one of them"
                )
            given[option] = value
        usual = method_defaults("graphsam")
        for option, value in list(given.items()):
            if option in accepted:
                continue
            if option in METHOD_FIELDS.values() and value == usual[option]:  # filled in for another method
                del given[option]
                continue
            raise InvalidArgumentError(
                f"{spelt.get(option, option)} is no option of sam={self.sam!r}; accepted: "
                f"{', '.join(sorted(accepted)) or 'none'}"
            )
        return given

    def _fill_in(self) -> None:
        """Show what the method makes of the options that were left open; this also checks all of them."""
        options = self.method_options()
        if self.sam == "none":
            return
        method = trial_optimizer(self.sam, options)
        self.rho = method.param_groups[0]["rho"]
        self.rho_schedule = method.rho_schedule.name
        if method.rho_schedule.uses_epoch:
            self.gamma, self.rho_update_epochs = method.rho_schedule.gamma, method.rho_schedule.rho_update_epochs
        self.loss_weighting = method.loss_weighting
        for name in ("beta", "anchor", "anchor_every", "anchor_every_epochs"):
            setattr(self, name, getattr(method, name, getattr(self, name)))


def _parse_options(text: str) -> dict[str, Any]:
    try:
        return json.loads(text)
    except ValueError:
        raise InvalidArgumentError(f"sam_options is {text!r}; accepted: a JSON object such as '{{\"k\": 8}}'") from None
