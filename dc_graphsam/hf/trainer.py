"""The Trainer with sharpness-aware optimizers, for molecules and for anything else it trains."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer_utils import suppress_progress_bars

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.hf import molecules
from dc_graphsam.hf.callbacks import SharpnessCallback
from dc_graphsam.hf.checkpoints import last_whole_checkpoint
from dc_graphsam.hf.inspection import SharpnessProbe, attach_probe, measure_sharpness, probed_values
from dc_graphsam.hf.measured_labels import MeasuredLabelsMixin
from dc_graphsam.hf.optimizers import wrap_optimizer
from dc_graphsam.hf.passes import StepPasses, find_sharpness_aware
from dc_graphsam.hf.sampling import SizeGroupedSampler
from dc_graphsam.hf.schedules import released_schedule
from dc_graphsam.hf.step_loss import mask_repeated_rows
from dc_graphsam.hf.trainer_batches import LikeSizedBatchesMixin
from dc_graphsam.hf.trainer_publishing import PublishingMixin
from dc_graphsam.hf.training_args import GraphSAMTrainingArguments
from dc_graphsam.models.common.cpu_memory import keep_freed_memory
from dc_graphsam.optional import require

__all__ = ["GraphSAMTrainer"]

logger = logging.getLogger(__name__)


class GraphSAMTrainer(PublishingMixin, LikeSizedBatchesMixin, MeasuredLabelsMixin, Trainer):
    """``transformers.Trainer`` whose steps are taken by a sharpness-aware optimizer.

    Any model that the parent trains can be trained, around any base optimizer, schedule, precision and accumulation
    that it knows. The whole accumulated batch is one batch: the extra pass, where the method asks for one, runs over
    all micro-batches, then the updating pass does. Weights are the clean ones in evaluation, in callbacks at the end of
    a step, and in checkpoints; gradient clipping sees the updating gradient only.

    With a molecular model and a featurized data set, what is left out is filled in: the collator, the metrics of the
    task, the metric that chooses the best model, the processor that is saved with the model, batches of like-sized
    molecules, and for regression mean and standard deviation of the training labels (into ``model.config``, if it has
    none). The loss of a step is then the mean over the measured labels of all its micro-batches on all processes, as if
    they were one batch, and ``eval_loss`` that over the whole data set.

    Parameters
    ----------
    model
        A ``PreTrainedModel``, or any module the parent takes.
    args : GraphSAMTrainingArguments
        Method, radius and so on beside the parent's arguments.
    **kwargs
        Those of the parent: ``train_dataset``, ``eval_dataset``, ``data_collator``, ``compute_metrics``,
        ``processing_class``, ``model_init``, ``callbacks``, ``optimizers``, … A plain optimizer in ``optimizers`` is
        wrapped, a sharpness-aware one is used as it is.

    Raises
    ------
    InvalidArgumentError
        If ``args`` is of another class, the data set has other tasks than the model, or the weights would be sharded
        (FSDP, DeepSpeed, tensor parallelism).
    FeatureSetError
        If the data set was featurized for another model.
    MissingColumnError
        If the data set has not been featurized.

    Notes
    -----
    Logged beside the parent's values, of which ``loss`` is that of the gradient stepped with: ``loss_clean`` and
    ``loss_perturbed``, means over the passes at θ and at θ + ε̂ since the last log (absent where there were none);
    ``perturbation_norm``, the mean of ‖ε̂‖; ``rho``, the radius; ``passes``, the forward-backward passes since the start;
    and ``passes_per_second``. With ``inspect_every`` also the means over the probes since the last log, by the names of
    :class:`~dc_graphsam.optim.GradientProbe`; ``inspect_sharpness`` and :meth:`measure_sharpness` log records of their own.
    Probes keep nothing in checkpoints: of a resumed run the first one lacks what it would compare with, and the weights are
    the same as ever.

    Examples
    --------
    >>> from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction, load_moleculenet
    >>> import tempfile
    >>> data = load_moleculenet("freewilson", progress=False)
    >>> config = CoMPTConfig.for_dataset(data, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> args = GraphSAMTrainingArguments(tempfile.mkdtemp(), max_steps=2, logging_strategy="no", disable_tqdm=True)
    >>> trainer = GraphSAMTrainer(CoMPTForPropertyPrediction(config), args, train_dataset=data["train"])
    >>> trainer.train().global_step, trainer.passes  # doctest: +ELLIPSIS
    {'train_runtime': ...}
    (2, 3)
    """

    def __init__(self, model: Any = None, args: GraphSAMTrainingArguments | None = None, **kwargs: Any) -> None:
        if args is None:
            args = GraphSAMTrainingArguments("tmp_trainer")
        if not isinstance(args, GraphSAMTrainingArguments):
            raise InvalidArgumentError(
                f"args is of class {type(args).__name__}; accepted: GraphSAMTrainingArguments, "
                "which takes the same arguments"
            )
        self._passes = StepPasses(self)
        self._sharpness = SharpnessCallback(self)
        self._sampler: SizeGroupedSampler | None = None
        self._in_loop = False  # between the first batch and the last, where model and counters belong together
        probes = [SharpnessProbe(self.measure_sharpness)] if args.inspect_sharpness else []
        kwargs["callbacks"] = [self._sharpness, *probes, *(kwargs.get("callbacks") or [])]
        super().__init__(model, args, **kwargs)
        self._is_molecular = molecules.is_molecular_model(self.model)
        if self._is_molecular:
            self._complete_for_molecules(kwargs)

    def _complete_for_molecules(self, given: dict[str, Any]) -> None:
        """What the user left open, from the task."""
        from dc_graphsam.chem.table_feature_sets import is_table_feature_set
        from dc_graphsam.metrics import compute_metrics_for
        from dc_graphsam.processing.molecule_processor import MoleculeProcessor

        config, args = self.model.config, self.args
        evaluated = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"eval_dataset": self.eval_dataset}
        datasets = {"train_dataset": self.train_dataset, **evaluated}
        own_collator = given.get("data_collator") is not None
        for name, dataset in datasets.items():
            if dataset is not None and not own_collator:
                molecules.check_dataset(name, dataset, self.model)
        if not own_collator:
            self.data_collator = molecules.default_collator(self.model, list(datasets.values()))
        if self.compute_metrics is None and not args.batch_eval_metrics:
            self.compute_metrics = compute_metrics_for(
                config.task_type, config.task_names, class_counts=getattr(config, "class_counts", None)
            )
        if self.processing_class is None and not is_table_feature_set(config.feature_set):
            self.processing_class = self.callback_handler.processing_class = MoleculeProcessor.for_model(self.model)
        if args.metric_is_default and getattr(config, "metric", None) and not isinstance(self.eval_dataset, dict):
            args.metric_for_best_model = config.metric
            args.greater_is_better = config.metric not in ("rmse", "mae")

    @property
    def passes(self) -> int:
        """Forward-backward passes since the start of training; one runs over all micro-batches of a step."""
        return self._passes.passes

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        sharded = [name for name in ("deepspeed", "fsdp") if getattr(self, f"is_{name}_enabled")]
        if getattr(self.model, "is_distributed_loading_by_transformers", False):
            sharded.append("weights sharded at load time")
        if sharded and self.args.sam != "none":
            raise InvalidArgumentError(
                f"sam={self.args.sam!r} does not work with {' and '.join(sharded)}; use data-parallel training "
                "(torchrun, accelerate launch), where every process holds all weights, or sam='none'"
            )

    # ---- Optimizer and schedule

    def create_optimizer(self, model: Any = None) -> Any:
        super().create_optimizer(model)
        if self.args.sam != "none" and find_sharpness_aware(self.optimizer) is None:
            self.optimizer = wrap_optimizer(
                self.args.sam,
                self.optimizer,
                self.args.method_options(),
                model=self.model if model is None else model,
                total_steps=self.state.max_steps,
                seed=self.args.seed,
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None and self.args.lr_schedule == "released":
            self.lr_scheduler = released_schedule(
                self.optimizer if optimizer is None else optimizer,
                self.args,
                num_training_steps,
                self.state.num_train_epochs,
            )
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

    # ---- Training

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train; see the parent.

        Parameters
        ----------
        resume_from_checkpoint
            ``True`` takes the last checkpoint in ``output_dir`` that was written to its end.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = str(last_whole_checkpoint(self.args.output_dir))
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> Any:
        # Whatever ends the loop (Ctrl-C, too little memory for a batch size, an error) leaves clean weights behind.
        if self._is_molecular and self.train_dataset is not None:
            molecules.fill_label_statistics(self.model, self.train_dataset)
        if self.args.device.type == "cpu":
            keep_freed_memory()
        try:
            return super()._inner_training_loop(*args, **kwargs)
        except KeyboardInterrupt:
            if self._passes.abandon() and self._in_loop and kwargs.get("trial") is None:
                self._save_interrupted()
            raise
        finally:
            self._passes.abandon()
            self._in_loop = False

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        self._in_loop = False
        return super()._finalize_training(*args, **kwargs)

    def _save_interrupted(self) -> None:
        args, step = self.args, self.state.global_step
        if not args.save_on_interrupt or args.save_strategy == "no" or args.world_size > 1 or step == 0:
            return
        if self._evaluation_is_due():
            logger.warning(
                "interrupted before the evaluation at step %d was done: a checkpoint would skip it, so that none is written; "
                "train(resume_from_checkpoint=True) continues from the last one there is",
                step,
            )
            return
        if not (Path(args.output_dir) / f"checkpoint-{step}" / "trainer_state.json").is_file():
            self._save_checkpoint(self.model_wrapped, trial=None)
        logger.warning("interrupted: step %d is saved; continue with train(resume_from_checkpoint=True)", step)

    def _evaluation_is_due(self) -> bool:
        """Whether this step ends with an evaluation, for logs and the best model, that has not been made."""
        if self.control.should_evaluate:
            return True
        args, state = self.args, self.state
        at_end = state.epoch is not None and state.epoch == int(state.epoch)
        if args.eval_strategy != "epoch" or not at_end or state.epoch < args.eval_delay:
            return False
        records = (record for record in state.log_history if record["step"] == state.global_step)
        return not any(name.startswith("eval_") for record in records for name in record)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list, Any]:
        samples, num_items = super().get_batch_samples(*args, **kwargs)
        if self._is_molecular and samples:
            samples[-1] = mask_repeated_rows(self.accelerator, samples[-1])
        self._passes.collect(samples)
        return samples, num_items

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        return self._passes.run(self._one_pass, model, inputs, num_items_in_batch)

    def _clip_grad_norm(self, model: Any) -> Any:
        """The parent's; where the optimizer has measured the norm already, neither that nor a factor of 1 costs a stream."""
        norm = self._passes.gradient_norm(model)
        if norm is None:
            return super()._clip_grad_norm(model)
        if norm > self.args.max_grad_norm:
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            torch._foreach_mul_(gradients, self.args.max_grad_norm / (norm + 1e-6))
        return norm

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """The parent's, which without clipping measures the norm for the log alone: not again where it is known."""
        if grad_norm is None:
            grad_norm = self._passes.gradient_norm(model)
        return super()._get_grad_norm(model, grad_norm)

    def begin_training(self, passes: int = 0) -> None:
        """Called when training starts or resumes, with the passes done before."""
        self._passes.passes = passes
        self._passes.clear_log()
        sam = find_sharpness_aware(self.optimizer)
        attach_probe(sam, self.args)
        if sam is not None and not self.state.global_step:
            sam.epoch = None  # another train() on the same optimizer begins anew

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first batch of an epoch, also of one that is resumed inside."""
        self._in_loop = True
        sam = find_sharpness_aware(self.optimizer)
        if sam is not None:
            sam.set_epoch(epoch)
        if self._sampler is not None:
            self._sampler.set_epoch(epoch)

    def end_step(self) -> None:
        """Called after the optimizer's step."""
        self._passes.stepped()

    def _load_callback_state(self) -> None:
        super()._load_callback_state()
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, SharpnessCallback):  # made anew
                callback.attach(self)
                self._sharpness = callback

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            logs.update(self._passes.averages())
            sam = find_sharpness_aware(self.optimizer)
            if sam is not None:
                logs["rho"] = float(sam.last.rho)
                logs.update(probed_values(sam, self.model))
            logs["passes"] = self.passes
            rate = self._sharpness.pass_rate()
            if rate is not None:
                logs["passes_per_second"] = round(rate, 3)
        super().log(logs, *args, **kwargs)

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        with suppress_progress_bars():  # one per checkpoint, in the middle of that of the training
            super().save_model(*args, **kwargs)

    # ---- Looking inside

    def measure_sharpness(
        self, rho: float | None = None, dataset: Any = None, batch_size: int | None = None, eigenvalue: bool = True
    ) -> dict[str, float]:
        """How sharp the loss is at the weights as they are now, on one batch without dropout.

        Parameters
        ----------
        rho
            Radius of ``sharpness``; by default the initial one of the optimizer, or 0.05 where there is none.
        dataset
            Its first rows are the batch; ``train_dataset`` by default.
        batch_size
            Rows; ``per_device_train_batch_size`` by default.
        eigenvalue
            Whether to look for the largest eigenvalue of the Hessian, too (at most 41 passes).

        Returns
        -------
        dict of str to float
            ``sharpness``, L(θ + ρ g/‖g‖) − L(θ), its ``sharpness_rho``, and ``hessian_eigenvalue``; they are logged, too.
            Weights, gradients, random generators and running statistics are as before.

        Raises
        ------
        InvalidArgumentError
            If called within a step, or there are no rows.
        """
        found = measure_sharpness(self, rho, dataset, batch_size, eigenvalue)
        self.log(dict(found))
        return found

    # ---- Search

    def hyperparameter_search(
        self,
        hp_space: Callable | None = None,
        compute_objective: Callable | None = None,
        n_trials: int = 20,
        direction: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The parent's search; left open, it looks for the method's options by the metric that chooses the best model.

        Parameters
        ----------
        hp_space
            As for the parent. Default: those of ρ, β, γ, λ that the method has, in the ranges of the paper (A.4), for
            Optuna.
        compute_objective
            Default: ``metric_for_best_model``.
        n_trials
            Runs.
        direction
            Default: from ``greater_is_better``.
        **kwargs
            The parent's.

        Returns
        -------
        transformers.trainer_utils.BestRun

        Raises
        ------
        MissingPackageError
            The search is Optuna's, and it is not installed.
        """
        from dc_graphsam.hf.search import DefaultSpace, ObjectiveOf

        if kwargs.get("backend") == "optuna" or (kwargs.get("backend") is None and hp_space is None):
            require("optuna", "hyperparameter_search")
        if hp_space is None and kwargs.get("backend") in (None, "optuna"):
            hp_space = DefaultSpace(self.args)
        if compute_objective is None and self.args.metric_for_best_model is not None:
            compute_objective = ObjectiveOf(self.args.metric_for_best_model)
            direction = direction or ("maximize" if self.args.greater_is_better else "minimize")
        return super().hyperparameter_search(
            hp_space, compute_objective, n_trials, "minimize" if direction is None else direction, **kwargs
        )
