"""Sharpness-aware training of any ``TorchModel``, in its own training loop."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

from dc_graphsam.data.deepchem.importing import import_deepchem
from dc_graphsam.dc.checkpoints import SafeCheckpoints
from dc_graphsam.dc.copies import Copies
from dc_graphsam.exceptions import InvalidArgumentError

deepchem = import_deepchem("dc_graphsam.dc")
TorchModel = deepchem.models.TorchModel

__all__ = ["SharpnessAwareTraining", "sharpness_aware"]


class SharpnessAwareTraining(Copies, SafeCheckpoints):
    """What :func:`sharpness_aware` puts before a ``TorchModel`` class: a few hooks, no training loop.

    With a recipe such as :class:`~dc_graphsam.dc.GraphSAMOptimizer`, ``fit``, ``fit_generator`` and ``fit_on_batch`` take
    sharpness-aware steps; with any other optimizer nothing changes. Weights are clean in callbacks, in evaluation and in
    checkpoints, and after Ctrl-C.

    An epoch of the method is one of ``fit``, or one call of ``fit_generator``; ``fit_on_batch`` stays within the epoch there is
    (give the recipe ``anchor_every=<steps>`` where there are no epochs).

    Attributes
    ----------
    passes : int
        Forward-backward passes so far; 0 with an optimizer that is not sharpness-aware.
    """

    _steps: Any = None  # StepPasses while fitting
    _single_batch = False
    passes = 0

    def __reduce_ex__(self, protocol: Any) -> Any:
        around = vars(type(self)).get("_around")  # a class made by sharpness_aware cannot be found by its name
        if around is None:
            return super().__reduce_ex__(protocol)
        return _without_state, (around,), self.__getstate__()

    def fit_generator(
        self,
        generator,
        max_checkpoints_to_keep=5,
        checkpoint_interval=1000,
        restore=False,
        variables=None,
        loss=None,
        callbacks=(),
        all_losses=None,
    ):
        from dc_graphsam.dc.passes import StepPasses

        self._ensure_built()
        variables = None if variables is None else list(variables)
        steps = StepPasses(self, self._loss_fn if loss is None else loss, variables)
        steps.new_epoch = not self._single_batch
        outer, self._steps = self._steps, steps
        try:
            with warnings.catch_warnings():  # of DeepChem's own way to add up losses, once per fit
                warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad=True to a scalar")
                return super().fit_generator(
                    generator,
                    max_checkpoints_to_keep,
                    checkpoint_interval,
                    restore,
                    variables,
                    steps.loss,
                    callbacks,
                    all_losses,
                )
        finally:
            self._steps = outer
            steps.close()
            self.passes += steps.count

    def fit_on_batch(self, *args, **kwargs):
        self._single_batch = True
        try:
            return super().fit_on_batch(*args, **kwargs)
        finally:
            self._single_batch = False

    def default_generator(self, dataset, epochs=1, mode="fit", deterministic=True, pad_batches=True):
        if mode != "fit":
            yield from super().default_generator(dataset, epochs, mode, deterministic, pad_batches)
            return
        for _ in range(epochs):
            self._mark_epoch()
            yield from super().default_generator(dataset, 1, mode, deterministic, pad_batches)

    def _mark_epoch(self) -> None:
        """The next batch is the first of an epoch, unless ``fit_on_batch`` asks for it."""
        if self._steps is not None and not self._single_batch:
            self._steps.new_epoch = True

    def _prepare_tensors(self, batch):
        return super()._prepare_batch(batch)

    def _prepare_batch(self, batch):
        prepared = self._prepare_tensors(batch)
        if self._steps is not None and batch[1] is not None:  # predicting, in a callback too, goes without labels
            self._steps.begin(prepared)
        return prepared

    def _predict(self, *args, **kwargs):
        # a ValidationCallback would otherwise leave the model in evaluation mode, without dropout, for the rest of fit()
        training = self.model.training
        try:
            return super()._predict(*args, **kwargs)
        finally:
            self.model.train(training)


def sharpness_aware(model: Any, optimizer: Any = None) -> Any:
    """Let a ``TorchModel`` take sharpness-aware steps.

    Its ``fit`` stays DeepChem's. Exactly the passes of the method are run: with
    :class:`~dc_graphsam.dc.GraphSAMOptimizer`, n + 1 forward-backward passes per epoch of n batches.

    Parameters
    ----------
    model : deepchem.models.TorchModel or subclass
        A model, which is changed and returned, or a class, of which a subclass is returned; a class serves as the
        ``model_builder`` of ``dc.hyper.GridHyperparamOpt``.
    optimizer : deepchem.models.optimizers.Optimizer, optional
        Recipe to train a given model with from now on. None keeps the one it was made with.

    Returns
    -------
    The model, or the class.

    Raises
    ------
    InvalidArgumentError
        If it is no ``TorchModel``, or one with a training loop of its own.

    Examples
    --------
    >>> import numpy as np
    >>> from dc_graphsam.dc import GraphSAMOptimizer
    >>> model = deepchem.models.MultitaskRegressor(n_tasks=1, n_features=4, layer_sizes=[8], batch_size=5)
    >>> model = sharpness_aware(model, GraphSAMOptimizer(learning_rate=0.01, rho=0.05))
    >>> data = deepchem.data.NumpyDataset(np.random.rand(20, 4), np.random.rand(20, 1))
    >>> loss = model.fit(data, nb_epoch=3, checkpoint_interval=0)
    >>> model.passes, model.get_global_step()
    (15, 12)
    """
    if isinstance(model, type):
        if optimizer is not None:
            raise InvalidArgumentError(
                "optimizer is given with a class; accepted: sharpness_aware(ModelClass)(…, optimizer=…)"
            )
        return _sharpness_aware_class(model)
    if not isinstance(model, TorchModel):
        raise InvalidArgumentError(f"model is {type(model).__name__}; accepted: a deepchem.models.TorchModel")
    if not isinstance(model, SharpnessAwareTraining):
        model.__class__ = _sharpness_aware_class(type(model))
        if model._built:
            model._keep_schedule()
    if optimizer is not None:
        model.optimizer = optimizer
        model._optimizer_for_vars = {}
        if model._built:  # trained before: the new optimizer starts afresh, steps go on counting
            step, model._built = model._global_step, False
            model._ensure_built()
            model._global_step = step
    return model


@cache
def _sharpness_aware_class(cls: type) -> type:
    if not issubclass(cls, TorchModel):
        raise InvalidArgumentError(
            f"model is the class {cls.__name__}; accepted: a subclass of deepchem.models.TorchModel"
        )
    if issubclass(cls, SharpnessAwareTraining):
        return cls
    if cls.fit_generator is not TorchModel.fit_generator:
        raise InvalidArgumentError(
            f"model is a {cls.__name__}, which has a training loop of its own; accepted: models trained by "
            "TorchModel.fit_generator, e.g. AttentiveFPModel, GCNModel, GATModel, MultitaskRegressor"
        )
    doc = f"``{cls.__name__}`` that takes sharpness-aware steps; see :func:`dc_graphsam.dc.sharpness_aware`."
    return type(
        f"SharpnessAware{cls.__name__}",
        (SharpnessAwareTraining, cls),
        {"__doc__": doc, "__module__": __name__, "_around": cls},
    )


def _without_state(cls: type) -> Any:
    """A model around ``cls`` that is about to be given its state."""
    made = _sharpness_aware_class(cls)
    return made.__new__(made)
