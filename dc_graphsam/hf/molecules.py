"""What the Trainer does by itself when model and data are molecular, and only then."""

from __future__ import annotations

import inspect
import logging
from typing import Any

from dc_graphsam.data.featurized import BOUND_COLUMNS, GRAPH_COLUMNS
from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, MissingColumnError
from dc_graphsam.hf.sampling import sizes_of
from dc_graphsam.tasks import TaskSpec

__all__ = [
    "check_dataset",
    "default_collator",
    "fill_label_statistics",
    "is_molecular_dataset",
    "is_molecular_model",
    "molecule_rows",
    "task_of",
]

logger = logging.getLogger(__name__)


def is_molecular_model(model: Any) -> bool:
    """Whether the configuration of ``model`` says which features it reads and which tasks it predicts."""
    config = getattr(model, "config", None)
    return all(getattr(config, name, None) is not None for name in ("feature_set", "task_names", "task_type"))


def is_molecular_dataset(dataset: Any) -> bool:
    """Whether ``dataset`` has the columns of a featurized table."""
    columns = getattr(dataset, "column_names", None)
    return isinstance(columns, (list, tuple)) and set(GRAPH_COLUMNS) <= set(columns)


def task_of(dataset: Any) -> TaskSpec | None:
    """The record that a data set carries, or ``None`` if there is none."""
    if not is_molecular_dataset(dataset):
        return None
    try:
        return TaskSpec.of(dataset)
    except InvalidArgumentError:
        return None


def check_dataset(name: str, dataset: Any, model: Any) -> None:
    """Refuse a data set that a molecular model cannot read.

    Parameters
    ----------
    name
        What to call the data set in a message.
    dataset
        Any data set; those that are not molecular pass, unless they are tables without the graph columns.
    model
        A molecular model.

    Raises
    ------
    FeatureSetError
        If the features are of another set than the model's.
    InvalidArgumentError
        If the tasks are others than the model's, or a molecule has more atoms than its position table holds.
    MissingColumnError
        If it is a table of SMILES that has not been featurized.
    """
    columns = getattr(dataset, "column_names", None)
    if hasattr(dataset, "info") and isinstance(columns, list) and not is_molecular_dataset(dataset):
        missing = next(column for column in GRAPH_COLUMNS if column not in columns)
        raise MissingColumnError(f"{name} (featurize it with load_csv or load_moleculenet)", missing, columns)
    config = model.config
    _check_sizes(name, dataset, config)
    _check_bounds(name, dataset, model)
    spec = task_of(dataset)
    if spec is None:
        return
    accepts = getattr(config, "accepts_feature_set", None) or (lambda feature_set: feature_set == config.feature_set)
    if spec.feature_set is not None and not accepts(spec.feature_set):
        raise FeatureSetError(
            f"{name} ({spec.dataset}) has features {spec.feature_set!r}, the model reads {config.feature_set!r}; load the data "
            f"with feature_set={config.feature_set!r} or make the model with {type(config).__name__}.for_dataset(data)"
        )
    if len(spec.task_names) != len(config.task_names):
        raise InvalidArgumentError(
            f"{name} ({spec.dataset}) has {len(spec.task_names)} tasks ({_some(spec.task_names)}), the model predicts "
            f"{len(config.task_names)} ({_some(config.task_names)}); make it with {type(config).__name__}.for_dataset(data)"
        )
    mine, theirs = list(map(str, config.task_names)), list(spec.task_names)
    if mine != theirs and sorted(mine) == sorted(theirs):
        raise InvalidArgumentError(
            f"{name} ({spec.dataset}) has the tasks in the order {_some(theirs)}, the model predicts {_some(mine)}; "
            "load the columns in the model's order"
        )
    if spec.task_type != config.task_type:
        raise InvalidArgumentError(
            f"{name} ({spec.dataset}) is a {spec.task_type} table, the model is for {config.task_type}; "
            f"make it with {type(config).__name__}.for_dataset(data)"
        )
    for task, mine, theirs in zip(
        spec.task_names, getattr(config, "class_names", None) or (), spec.class_names or (), strict=False
    ):
        own, other = ([name.casefold() for name in names] for names in (mine, theirs))
        # of two classes the words may be others, but not the same ones the other way round
        if own != other and (spec.task_type == "multiclass" or own == other[::-1]):
            raise InvalidArgumentError(
                f"{name} ({spec.dataset}) has the classes {_some(theirs)} in {task!r}, the model has {_some(mine)}; load the "
                "data with class_names=model.config.class_names"
            )


def _check_bounds(name: str, dataset: Any, model: Any) -> None:
    """Refuse bounds where they would be taken for missing labels without a word."""
    columns = getattr(dataset, "column_names", None) or ()
    if not any(column in columns for column in BOUND_COLUMNS):
        return
    network = model.get_base_model() if hasattr(model, "get_base_model") else model  # peft
    network = getattr(network, "_orig_mod", network)  # torch.compile
    known = inspect.signature(network.forward).parameters
    if model.config.task_type != "regression" or not set(BOUND_COLUMNS) <= set(known):
        raise InvalidArgumentError(
            f"{name} has bounds for labels (load_csv(…, censored='bounded')), which {type(network).__name__} for "
            f"{model.config.task_type} does not read; load it with censored='drop' or 'exact'"
        )


def _check_sizes(name: str, dataset: Any, config: Any) -> None:
    """Refuse molecules without a place in the position table now, not in the middle of an epoch."""
    if getattr(config, "position", None) != "index" or getattr(config, "position_overflow", None) != "error":
        return
    sizes = sizes_of(dataset)
    if sizes is not None and len(sizes) and sizes.max() > config.max_position_embeddings:
        raise InvalidArgumentError(
            f"{name} has a molecule of {sizes.max()} atoms, the position table of the model holds "
            f"{config.max_position_embeddings}; make the model with max_position_embeddings={sizes.max()} or "
            "position_overflow='last', or load the data with max_atoms"
        )


def _some(names: Any) -> str:
    return ", ".join(map(str, names[:3])) + (", …" if len(names) > 3 else "")


def default_collator(model: Any, datasets: list[Any]) -> Any:
    """The collator for a molecular model, strict about the feature set where all data sets have that of the model."""
    from dc_graphsam.data import MoleculeCollator

    found = {spec.feature_set for spec in map(task_of, datasets) if spec is not None}
    same = found <= {model.config.feature_set}
    return MoleculeCollator(model.config.feature_set if same else None)


def molecule_rows(dataset: Any) -> Any:
    """The same rows through a fast view, if they are a featurized ``datasets.Dataset`` without a format of its own."""
    if not is_molecular_dataset(dataset) or not hasattr(dataset, "format"):  # a stream has none
        return dataset
    if dataset.format["type"] not in (None, "numpy", "torch", "python"):  # e.g. a transform that makes rows on the fly
        return dataset
    from dc_graphsam.data import MoleculeTable

    return MoleculeTable(dataset)


def fill_label_statistics(model: Any, train_dataset: Any) -> None:
    """Give a regression model mean and standard deviation of the training labels, if it has none.

    Parameters
    ----------
    model
        Molecular model; its ``config.label_mean`` and ``config.label_std`` are set, so that they are saved with it.
    train_dataset
        Featurized training data with ``labels``.
    """
    config = model.config
    if config.task_type != "regression" or getattr(config, "label_mean", None) is not None:
        return
    if not is_molecular_dataset(train_dataset) or not hasattr(train_dataset, "with_format"):
        return
    if "labels" not in train_dataset.column_names:
        return
    from dc_graphsam.models.compt.configuration_compt import label_statistics

    config.label_mean, config.label_std = label_statistics(train_dataset)
    logger.info(
        "label mean and standard deviation taken from the training data: %s, %s", config.label_mean, config.label_std
    )
