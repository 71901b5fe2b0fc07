"""What the DeepChem wrappers of all backbones share."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from typing import Any, ClassVar

import numpy as np
import torch

from dc_graphsam.data.deepchem.importing import import_deepchem
from dc_graphsam.dc.batches import fit_batches
from dc_graphsam.dc.graphs import note_seen, pad_graphs
from dc_graphsam.dc.losses import TaskLoss
from dc_graphsam.dc.network import OUTPUT_TYPES, DeepChemNetwork
from dc_graphsam.dc.prediction import MoleculePrediction
from dc_graphsam.dc.sharing import SharedFormat
from dc_graphsam.dc.sharpness import SharpnessAwareTraining
from dc_graphsam.exceptions import InvalidArgumentError, check_choice, check_range

deepchem = import_deepchem("dc_graphsam.dc")

__all__ = ["GraphTransformerModel"]

MODES = ("regression", "classification")  # DeepChem's words; several classes are a classification with n_classes > 2


class GraphTransformerModel(MoleculePrediction, SharedFormat, SharpnessAwareTraining, deepchem.models.TorchModel):
    """A graph transformer of this package as a ``TorchModel``; use a subclass, such as :class:`~dc_graphsam.dc.CoMPTModel`.

    Everything that DeepChem documents for ``TorchModel`` holds. Besides:

    * Random batches (``fit(deterministic=False)``) are of like-sized molecules, which saves more than half of the padding.
    * The loss is Σ w·ℓ over the measured labels (w > 0) divided by their number; ``w = 0`` is a missing label.
    * A graph in X may have ``bounds``, int8 [n_tasks]: 1 where the value is known to be above y, −1 below, 0 where y is what it
      is. A bound has w = 0, as what is not measured, and costs nothing in training on its right side (regression);
      :func:`~dc_graphsam.data.dataset_to_deepchem` makes such data. Metrics of :func:`dc_graphsam.metrics.dc_metric` leave it out,
      DeepChem's own with ``use_sample_weights=True``.
    * A molecule that could not be featurized (an empty array in X) is left out in training; its prediction is NaN.
    * ``predict`` of a classification gives probabilities, [n, n_classes] for one task, [n, n_tasks, n_classes] for several;
      that of a regression [n, n_tasks].
    * What the molecules have that a model is fitted on (the largest size, elements, charges, bond types) goes into
      ``config.seen``, so that predictions of the saved model can say which molecules lie beyond.
    * With a recipe of :mod:`dc_graphsam.dc.optimizers` training is sharpness-aware.

    Parameters
    ----------
    n_tasks : int
        Number of tasks.
    mode : {"regression", "classification"}
    n_classes : int
        Classes of a classification. With 2, y is 0 or 1 and the model has one logit per task; with more, y is 0 … n_classes − 1
        and it has n_classes; saved, such a model is a "multiclass" one of the common format. By default 2, or what ``config``
        or ``network`` says.
    batch_size : int
        Molecules in a batch.
    learning_rate : float or LearningRateSchedule
        Of Adam, if ``optimizer`` is not given.
    optimizer : deepchem.models.optimizers.Optimizer, optional
        Recipe, e.g. :class:`~dc_graphsam.dc.GraphSAMOptimizer`.
    model_dir, tensorboard, log_frequency, device, regularization_loss, wandb, wandb_logger
        As for ``TorchModel``.
    config : PretrainedConfig, optional
        Configuration of the network, in place of ``n_tasks``, ``mode`` and its single fields.
    network : PreTrainedModel, optional
        A network that is there already, in place of ``config``.
    **fields
        Fields of the configuration, e.g. ``hidden_size=128, dropout=0.1, loss="mse"``.

    Attributes
    ----------
    network
        The model of :mod:`dc_graphsam.models` inside.
    config
        Its configuration.

    Raises
    ------
    InvalidArgumentError
        If an argument is unknown or out of its range.
    """

    config_class: ClassVar[type]
    network_class: ClassVar[type]
    #: fields whose default here is not that of the configuration: a data set is not known when the model is made
    field_defaults: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        n_tasks: int | None = None,
        mode: str | None = None,
        n_classes: int | None = None,
        *,
        batch_size: int = 32,
        learning_rate: Any = 0.001,
        optimizer: Any = None,
        model_dir: str | None = None,
        tensorboard: bool = False,
        log_frequency: int = 100,
        device: torch.device | str | None = None,
        regularization_loss: Any = None,
        wandb: bool = False,
        wandb_logger: Any = None,
        config: Any = None,
        network: Any = None,
        **fields: Any,
    ) -> None:
        if n_classes is not None:
            check_range("n_classes", n_classes, 2)
        check_range("batch_size", batch_size, 1)
        self._names_given = network is not None or config is not None or "task_names" in fields
        if network is None:
            if config is None:
                config = self._make_config(
                    1 if n_tasks is None else n_tasks, mode or "regression", n_classes or 2, fields
                )
            elif fields:
                raise InvalidArgumentError(
                    f"config is given beside {', '.join(fields)}; accepted: config=CoMPTConfig(…) or its single fields"
                )
            network = self.network_class(config)
        elif config is not None or fields:
            raise InvalidArgumentError(
                f"network is given beside {', '.join(fields) or 'config'}; it has its configuration"
            )
        config = network.config
        n_tasks, mode, n_classes = _check_tasks(config, n_tasks, mode, n_classes)
        self.n_tasks, self.mode, self.n_classes, self.config = n_tasks, mode, n_classes, config
        super().__init__(
            DeepChemNetwork(network, mode, n_tasks, n_classes),
            loss=TaskLoss(config, n_tasks, n_classes, regularization_loss),
            output_types=OUTPUT_TYPES,
            batch_size=batch_size,
            model_dir=None if model_dir is None else str(model_dir),
            learning_rate=learning_rate,
            optimizer=optimizer,
            tensorboard=tensorboard,
            wandb=wandb,
            log_frequency=log_frequency,
            device=None if device is None else torch.device(device),
            regularization_loss=regularization_loss,
            wandb_logger=wandb_logger,
        )

    @property
    def network(self) -> Any:
        return self.model.network

    @classmethod
    def _make_config(cls, n_tasks: int, mode: str, n_classes: int, given: dict[str, Any]) -> Any:
        check_range("n_tasks", n_tasks, 1)
        check_choice("mode", mode, MODES)
        known = {field.name for field in fields(cls.config_class)}
        for name in given:
            if name not in known:
                close = get_close_matches(name, [*known, *_ARGUMENTS], n=1)
                raise InvalidArgumentError(
                    f"{cls.__name__} has no argument {name!r}"
                    + (
                        f". Did you mean {close[0]!r}?"
                        if close
                        else f"; see {cls.config_class.__name__} for the fields"
                    )
                )
        names = list(given.get("task_names") or (f"task_{i}" for i in range(n_tasks)))
        if n_classes > 2 and mode == "classification":
            mode = "multiclass"
            given = {"class_names": [[str(label) for label in range(n_classes)] for _ in names], **given}
        return cls.config_class(**{**cls.field_defaults, "task_type": mode, **given, "task_names": names})

    # ---------------------------------------------------------------- data
    def fit(self, dataset, *args, **kwargs):
        self._adopt_task_names(dataset)
        if self.device.type == "cpu":
            from dc_graphsam.models.common.cpu_memory import keep_freed_memory

            keep_freed_memory()
        return super().fit(dataset, *args, **kwargs)

    def _adopt_task_names(self, dataset: Any) -> None:
        """The names that the data set has for its tasks are saved with the model."""
        if self._names_given:
            return
        names = list(dataset.get_task_names())
        if len(names) == self.n_tasks and all(isinstance(name, str) for name in names):
            config = self.config
            config.task_names = [str(name) for name in names]
            config.id2label = dict(enumerate(config.output_names))
            config.label2id = {name: i for i, name in config.id2label.items()}
            self._names_given = True

    def default_generator(self, dataset, epochs=1, mode="fit", deterministic=True, pad_batches=True):
        """Batches of a data set, each ([X], [y], [w]).

        Parameters
        ----------
        dataset, epochs, mode, deterministic
            As for ``TorchModel``. Random batches are of like-sized molecules.
        pad_batches
            Accepted and not needed: the last batch is smaller.
        """
        for epoch in range(epochs):
            if mode == "fit":
                self._mark_epoch()
                batches = fit_batches(dataset, self.batch_size, deterministic)
            else:
                batches = (
                    batch[:3] for batch in dataset.iterbatches(self.batch_size, deterministic=True, pad_batches=False)
                )
            for X, y, w in batches:
                if mode == "fit" and not epoch:
                    note_seen(self.config, X)
                yield [X], [y], [w]

    def _prepare_tensors(self, batch):
        """Padded graphs in place of X; in training only the rows that have one."""
        inputs, labels, weights = batch
        X = inputs[0]
        graphs = pad_graphs(X, self.config, self.device)
        if labels is None:
            return graphs, [], []
        rows = graphs["rows"].cpu().numpy()
        if not len(rows):
            raise InvalidArgumentError(
                f"none of the {len(X)} molecules of a batch could be featurized; see failures of the featurizer"
            )
        graphs["size"] = len(rows)
        return (
            graphs,
            [*self._tensors("y", labels, rows), *self._bounds([X[row] for row in rows])],
            self._tensors("w", weights, rows),
        )

    def _bounds(self, graphs: Any) -> list[torch.Tensor]:
        """On which side of y the values are, [B, T], if the graphs say so."""
        sides = [getattr(graph, "bounds", None) for graph in graphs]
        if all(side is None for side in sides):
            return []
        none = np.zeros(self.n_tasks, np.int8)
        return [torch.as_tensor(np.stack([none if side is None else side for side in sides]), device=self.device)]

    def _tensors(self, name: str, arrays: Any, rows: np.ndarray) -> list[torch.Tensor]:
        if arrays is None or any(array is None for array in arrays):
            if name == "w":
                return []
            raise InvalidArgumentError("the data set has no labels (y is None); a model is fitted on one that has them")
        return [torch.as_tensor(np.asarray(array)[rows].astype(np.float32), device=self.device) for array in arrays]

    # ---------------------------------------------------------------- between tasks
    def load_from_pretrained(
        self,
        source_model,
        assignment_map=None,
        value_map=None,
        checkpoint=None,
        model_dir=None,
        include_top=True,
        inputs=None,
        **kwargs,
    ):
        """Take the weights of another model, with or without the last layer; as ``TorchModel.load_from_pretrained``.

        Parameters
        ----------
        source_model
            A model of the same class and size; its tasks may be others.
        include_top
            Whether the last layer is copied too: False for other tasks.
        checkpoint, model_dir
            Checkpoint of ``source_model`` to read first. With neither, its last one is read, as in DeepChem; if it has none,
            the weights it has now are taken.
        assignment_map, value_map, inputs
            As in DeepChem.
        """
        if value_map is None and checkpoint is None and model_dir is None and not source_model.get_checkpoints():
            value_map = self._create_value_map(source_model)
        super().load_from_pretrained(
            source_model, assignment_map, value_map, checkpoint, model_dir, include_top, inputs, **kwargs
        )

    def _create_assignment_map(self, source_model, include_top=True, **kwargs):
        """Weights of the same name belong together."""
        source = dict(source_model.model.named_parameters())
        target = dict(self.model.named_parameters())
        if not include_top:
            source, target = (
                {name: p for name, p in part.items() if not name.startswith("network.classifier.")}
                for part in (source, target)
            )
        wrong = sorted(source.keys() ^ target.keys()) or sorted(n for n in source if source[n].shape != target[n].shape)
        if wrong:
            name = wrong[0]
            sizes = [tuple(part[name].shape) if name in part else "not there" for part in (source, target)]
            advice = (
                "accepted: include_top=False for other tasks"
                if name.startswith("network.classifier.")
                else "accepted: a source_model made with the same sizes"
            )
            raise InvalidArgumentError(
                f"source_model does not fit: {name} is {sizes[0]} in it and {sizes[1]} here"
                + (f" ({len(wrong)} differ)" if len(wrong) > 1 else "")
                + f"; {advice}"
            )
        return {source[name]: target[name] for name in source}

    def get_task_type(self) -> str:
        return self.mode

    def get_num_tasks(self) -> int:
        return self.n_tasks


_ARGUMENTS = (
    "n_tasks",
    "mode",
    "n_classes",
    "batch_size",
    "learning_rate",
    "optimizer",
    "model_dir",
    "tensorboard",
    "log_frequency",
    "device",
)


def _check_tasks(config: Any, n_tasks: int | None, mode: str | None, n_classes: int | None) -> tuple[int, str, int]:
    """Tasks, mode and classes of a configuration, if they are not others than those given."""
    own = "regression" if config.task_type == "regression" else "classification"
    if mode is not None and own != check_choice("mode", mode, MODES):
        raise InvalidArgumentError(f"mode is {mode!r} but the configuration says task_type={config.task_type!r}")
    if (n_classes or 2) > 2 and own == "regression":
        raise InvalidArgumentError(f"n_classes is {n_classes} with mode='regression'; accepted: mode='classification'")
    counts = set(getattr(config, "class_counts", None) or (2,))
    if len(counts) > 1:
        raise InvalidArgumentError(
            f"the tasks have {', '.join(map(str, config.class_counts))} classes; DeepChem's models have the same number for "
            "every task: use the Hugging Face door, or one model per number"
        )
    found = counts.pop()
    if n_classes is not None and n_classes != found:
        raise InvalidArgumentError(
            f"n_classes is {n_classes} but the configuration has {found} classes per task "
            f"(task_type={config.task_type!r}); leave n_classes out, or make the configuration with class_names"
        )
    if n_tasks is not None and config.num_tasks != n_tasks:
        raise InvalidArgumentError(
            f"n_tasks is {n_tasks} but there are {config.num_tasks} task names: {', '.join(config.task_names[:5])}"
        )
    return config.num_tasks, own, found
