"""Options of ``train`` that are fields of neither model nor training arguments, and short names of some that are."""

from __future__ import annotations

from dataclasses import replace

from dc_graphsam.catalogue import METHODS, NETWORKS
from dc_graphsam.cli.fields import Field

__all__ = ["ALIASES", "MODELS", "OPTIMIZERS", "RUN_FIELDS", "SET_BY_RUN", "TABLE_OPTIONS", "TASK_TYPES"]

MODELS = tuple(NETWORKS)
OPTIMIZERS = (*(name for name in METHODS if name != "none"), "none", "adam")
SPLITS = ("random", "scaffold", "kfold")
TASK_TYPES = ("regression", "classification", "multiclass")
METRICS = ("roc_auc", "prc_auc", "rmse", "mae", "roc_auc_ovr", "balanced_accuracy", "accuracy", "f1_macro")

ALIASES = {
    "epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "lr": "learning_rate",
    "output_dir": "output",
    "sam": "optimizer",
    "task_names": "target",
    "task_columns": "target",
    "resume_from_checkpoint": "resume",
}

#: Put away when another data set is named.
TABLE_OPTIONS = (
    *("target", "smiles_column", "task_type", "positive", "split_column", "group_column", "time_column"),
    *("test_data", "validation_data"),
)

SET_BY_RUN = {
    "class_names": "follows from the labels; --positive says which of two is class 1",
    "label_mean": "is learnt on the training split",
    "label_std": "is learnt on the training split",
    "node_feature_size": "follows from --feature-set",
    "edge_feature_size": "follows from --feature-set",
    "format_version": "is that of the package",
    "do_train": "belongs to other scripts; use train, evaluate or predict",
    "do_eval": "belongs to other scripts; use train, evaluate or predict",
    "do_predict": "belongs to other scripts; use train, evaluate or predict",
}


def _field(
    name: str, kinds: str, help: str, choices: tuple[str, ...] = (), group: str = "data", default: str = ""
) -> Field:
    return Field(name, group, frozenset(kinds.split()), choices=choices, default=default, help=help)


_FIELDS = (
    _field("dataset", "str none", "a built-in data set; see dc-graphsam datasets"),
    _field("data", "str none", "a table of your own: .csv, .tsv, .smi and the like, also .gz"),
    _field("target", "list none", "column(s) of --data to predict"),
    _field("smiles_column", "str none", "column of --data with SMILES; by default the usual names are looked for"),
    _field("task_type", "str none", "what the targets are; by default told from their values", TASK_TYPES),
    _field("positive", "list none", "label that is class 1, where classes are words, e.g. Active"),
    _field("metric", "str none", "what the best epoch is chosen by; by default that of the data set", METRICS),
    _field("split", "str none", "how to divide; by default as recommended for the data set, else random", SPLITS),
    _field("split_seed", "int none", "of the split, if it shall differ from --seed"),
    _field("fold", "int none", "which fold tests, with --split kfold"),
    _field("n_folds", "int", "number of folds, with --split kfold", default="5"),
    _field("sizes", "list none", "fractions of train, validation and test, e.g. 0.8 0.1 0.1"),
    _field(
        "splits_file", "str none", "splits.json of another run, or its folder, or chemprop's: divide in the same way"
    ),
    _field("split_column", "str none", "column of --data that says train, valid or test"),
    _field("group_column", "str none", "column of --data whose values are never divided, e.g. assays"),
    _field("time_column", "str none", "column of --data with dates or numbers: the newest rows test"),
    _field("validation_data", "str none", "another table, for validation"),
    _field("test_data", "str none", "another table, for the test"),
    _field("data_dir", "str none", "folder of the built-in data sets' files; by default DEEPCHEM_DATA_DIR"),
    _field("max_atoms", "int none", "leave out larger molecules"),
    _field(
        "censored",
        "str",
        "labels that are bounds (>10000, or a column such as Standard Relation): leave them out, take them for values, or learn "
        "from them as bounds (regression)",
        ("drop", "exact", "bounded"),
        default="drop",
    ),
    _field(
        "feature_set", "str none", "atom and bond features: compt-own-slot, compt, or compt-chiral, which has R and S"
    ),
    _field("seed", "int", "of weights, batches and split", default="0", group="run"),
    _field("model", "str", "which network", MODELS, "run", default="compt"),
    _field("released", "bool", "settings of the published code for this --dataset", group="run"),
    _field(
        "optimizer",
        "str",
        "sharpness-aware method; none or adam for the plain optimizer",
        OPTIMIZERS,
        "run",
        "graphsam",
    ),
    _field("baselines", "bool", "fit the baselines, too (--no-baselines: do not)", group="run", default="true"),
    _field("report", "bool", "draw report.html (--no-report: do not)", group="run", default="true"),
    _field("output", "str none", "run folder to write; by default runs/<data set>", group="control"),
    _field("overwrite", "bool", "replace a run that is there", group="control"),
    _field("resume", "bool", "continue an interrupted run in --output", group="control"),
    _field("keep_checkpoints", "bool", "do not remove checkpoints at the end", group="control"),
)
RUN_FIELDS: dict[str, Field] = {
    f.name: replace(f, items=frozenset({"float"})) if f.name == "sizes" else f for f in _FIELDS
}
