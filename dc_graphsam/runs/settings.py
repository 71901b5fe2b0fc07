"""What a training run is made of, as one flat record that can be written to YAML and read back."""

from __future__ import annotations

import inspect
import os
import shlex
from dataclasses import dataclass, field, fields, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from dc_graphsam.catalogue import NETWORKS
from dc_graphsam.exceptions import InvalidArgumentError, RunFolderError, check_choice, check_range

__all__ = ["DEFAULTS", "RELEASED", "RunSettings", "portable_path", "read_run_yaml"]

CENSORED = ("drop", "exact", "bounded")  # as load_csv takes them
_PLAIN = {"adam": "none"}  # other names for training without a sharpness-aware method
_PATHS = ("data", "splits_file", "test_data", "validation_data")
#: That belong to a table of one's own.
TABLE_ONLY = (
    *("target", "smiles_column", "task_type", "positive", "split_column", "group_column", "time_column"),
    *("test_data", "validation_data"),
)
_SECRET = ("hub_token",)

# Where the command line differs from GraphSAMTrainingArguments.
DEFAULTS: dict[str, Any] = {
    "num_train_epochs": 30.0,
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 64,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 1,  # the last checkpoint, and beside it the best
    "logging_strategy": "steps",
}

# The published code's training (CoMPT-main/utils.py): learning rate from 1e-4 over 1e-3 back to 1e-4, no clipping.
RELEASED: dict[str, Any] = {"lr_schedule": "released", "learning_rate": 1e-3, "max_grad_norm": 0.0}


@dataclass(frozen=True)
class RunSettings:
    """Data, model, optimizer and training of one run.

    Attributes
    ----------
    dataset, data
        Name of a built-in data set, or path of a table; one of the two.
    target
        Columns of the table to predict.
    smiles_column, task_type, positive, metric, split, fold, n_folds, sizes, splits_file, data_dir, max_atoms, censored,
    feature_set
        As in :func:`~dc_graphsam.data.load_csv` and :func:`~dc_graphsam.data.load_moleculenet`.
    split_column, group_column, time_column, test_data, validation_data
        How the table says itself who trains and who tests, as in :func:`~dc_graphsam.data.load_csv`.
    seed
        Of weights, batches and split.
    split_seed
        Of the split, where it is another.
    model
        Name of a network, a key of :data:`dc_graphsam.catalogue.NETWORKS`.
    released
        Take model and schedule of the published code for the data set.
    optimizer
        A name of :func:`~dc_graphsam.optim.build_optimizer`.
    baselines, report
        Whether to fit the baselines, and to draw ``report.html``.
    model_options
        Fields of the model's configuration.
    training_options
        Fields of :class:`~dc_graphsam.hf.GraphSAMTrainingArguments`.

    Raises
    ------
    InvalidArgumentError
        If there is not exactly one data set, or a value is not accepted.

    Examples
    --------
    >>> RunSettings(dataset="bbbp", seed=1).flat()
    {'dataset': 'bbbp', 'seed': 1, 'model': 'compt', 'optimizer': 'graphsam'}
    """

    dataset: str | None = None
    data: str | None = None
    target: tuple[str, ...] | None = None
    smiles_column: str | None = None
    task_type: str | None = None
    positive: tuple[str, ...] | None = None
    metric: str | None = None
    split: str | None = None
    seed: int = 0
    split_seed: int | None = None
    fold: int | None = None
    n_folds: int = 5
    sizes: tuple[float, ...] | None = None
    splits_file: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    time_column: str | None = None
    validation_data: str | None = None
    test_data: str | None = None
    data_dir: str | None = None
    max_atoms: int | None = None
    censored: str = "drop"
    feature_set: str | None = None
    model: str = "compt"
    released: bool = False
    optimizer: str = "graphsam"
    baselines: bool = True
    report: bool = True
    model_options: dict[str, Any] = field(default_factory=dict)
    training_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.dataset is None) == (self.data is None):
            got = "neither" if self.dataset is None else f"dataset {self.dataset!r} and data {self.data!r}"
            raise InvalidArgumentError(
                f"a run needs one of dataset (a built-in one) and data (a table of your own), got {got}",
                arguments=("dataset", "data"),
            )
        check_choice("model", self.model, NETWORKS)
        check_choice("censored", self.censored, CENSORED)
        check_range("seed", self.seed, 0, 2**32 - 1)
        if self.split_seed is not None:
            check_range("split_seed", self.split_seed, 0)
        object.__setattr__(self, "optimizer", _PLAIN.get(self.optimizer, self.optimizer))
        for name in ("target", "positive"):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, (getattr(self, name),))
        for name in ("target", "positive", "sizes"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        columns = [name for name in ("split_column", "group_column", "time_column") if getattr(self, name) is not None]
        if self.splits_file is not None and columns:
            raise InvalidArgumentError(
                f"splits_file and {columns[0]} both say how to divide; give one of them",
                arguments=("splits_file", columns[0]),
            )
        if self.released and self.dataset is None:
            raise InvalidArgumentError(
                "released is for built-in data sets; with data, name the settings one by one", arguments=("released",)
            )

    @classmethod
    def from_flat(cls, flat: dict[str, Any]) -> RunSettings:
        """Sort a flat mapping of names into this record, the model's options and the training options.

        Raises
        ------
        InvalidArgumentError
            If a name belongs to none of them.
        """
        own = {f.name for f in fields(cls)} - {"model_options", "training_options"}
        network = check_choice("model", flat.get("model", cls.model), NETWORKS)
        sorted_: dict[str, dict[str, Any]] = {"own": {}, "model": {}, "training": {}}
        for name, value in flat.items():
            if name in own:
                sorted_["own"][name] = value
            elif name in _training_fields():
                sorted_["training"][name] = value
            elif name in _model_fields(network):
                sorted_["model"][name] = value
            else:
                raise InvalidArgumentError(f"{name!r} is no field of a run, of the model or of the training arguments")
        return cls(**sorted_["own"], model_options=sorted_["model"], training_options=sorted_["training"])

    def flat(self) -> dict[str, Any]:
        """Names and values that differ from the defaults, with seed, model and optimizer in any case."""
        always = ("seed", "model", "optimizer")
        out: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name.endswith("_options"):
                out.update(value)
            elif f.name in always or value != f.default:
                out[f.name] = list(value) if isinstance(value, tuple) else value
        return out

    def portable(self) -> RunSettings:
        """Without absolute paths and secrets."""
        changes: dict[str, Any] = {name: portable_path(getattr(self, name)) for name in _PATHS}
        changes["data_dir"] = None if self.data_dir is None or os.path.isabs(self.data_dir) else self.data_dir
        changes["training_options"] = {k: v for k, v in self.training_options.items() if k not in _SECRET}
        return replace(self, **changes)

    def command(self, *more: str) -> str:
        """The command line that asks for this run."""
        words = ["dc-graphsam", "train"]
        for name, value in self.flat().items():
            option = name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            elif isinstance(value, (list, tuple)):
                words += [f"--{option}", *map(str, value)]
            elif isinstance(value, dict):
                words += [f"--{option}", _json(value)]
            else:
                words += [f"--{option}", "null" if value is None else str(value)]
        return shlex.join([*words, *more])

    @property
    def name(self) -> str:
        """Of the data: the built-in name, or the stem of the file."""
        return self.dataset or Path(self.data).name.split(".")[0] or "table"


def _json(value: dict) -> str:
    import json

    return json.dumps(value)


def portable_path(path: str | Path | None) -> str | None:
    """A path as it may stand in a file that is passed on: as given; an absolute one from here, or its name alone.

    Examples
    --------
    >>> portable_path("data/my.csv"), portable_path("/somewhere/else/my.csv")
    ('data/my.csv', 'my.csv')
    """
    if path is None or not os.path.isabs(path):
        return None if path is None else str(path)
    relative = os.path.relpath(path)
    return os.path.basename(path) if relative.startswith("..") else relative


@lru_cache(maxsize=1)
def _training_fields() -> frozenset[str]:
    from dc_graphsam.hf import GraphSAMTrainingArguments

    return frozenset(f.name for f in fields(GraphSAMTrainingArguments))


@cache
def _model_fields(network: str) -> frozenset[str]:
    import dc_graphsam.models

    config_class = getattr(dc_graphsam.models, NETWORKS[network].classes[0])
    return frozenset(inspect.get_annotations(config_class))  # its own, not those of every configuration


def read_run_yaml(path: Path) -> dict[str, Any]:
    """Flat settings as ``run.yaml`` of a run folder holds them."""
    import yaml

    try:
        flat = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        flat = None
    if not isinstance(flat, dict):
        raise RunFolderError(f"{path.parent} cannot be resumed: its run.yaml is absent or broken; start again")
    return flat
