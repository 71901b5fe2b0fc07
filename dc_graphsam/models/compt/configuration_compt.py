"""Configuration of CoMPT: everything a prediction needs beside the weights."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from transformers import PretrainedConfig

from dc_graphsam.chem.feature_sets import fits, get_feature_set
from dc_graphsam.chem.table_feature_sets import is_table_feature_set
from dc_graphsam.exceptions import InvalidArgumentError, check_choice, check_range
from dc_graphsam.models.common.seen_rows import seen_in_rows
from dc_graphsam.repository.files import CONFIG_FORMAT as FORMAT_VERSION
from dc_graphsam.repository.files import check_config
from dc_graphsam.tasks import DEFAULT_METRIC, METRICS, TASK_TYPES, TaskSpec, check_class_names, output_names

__all__ = ["CoMPTConfig"]

ATTENTIONS = ("factored", "dense")
DISTANCE_KERNELS = ("exp", "softmax")
NORMS = ("layer", "scale")
ACTIVATIONS = ("mish", "relu", "tanh", "gelu", "swish", "none")
READOUTS = ("gru", "gru-released", "mean", "sum", "attention")
POSITIONS = ("index", "none", "rwse", "laplacian")
OVERFLOWS = ("error", "last")
LAMBDA_CONSTRAINTS = ("softplus", "clamp", "free")
UNKNOWN_BONDS = ("own-slot", "as-aromatic")
LOSSES = {"classification": ("bce",), "multiclass": ("cross_entropy",), "regression": ("rmse", "mse", "mae")}
MESSAGE_ENGINES = ("auto", "torch", "dgl")

_FEATURE_SETS = {"own-slot": ("compt-own-slot", "compt-chiral"), "as-aromatic": ("compt",)}  # the default first

# layers, heads, kernel, norm, head layers, tasks, loss: the settings table of the released code (utils.py, get_options).
_RELEASED = {
    "esol": (3, 4, "softmax", "scale", 2, 1, "rmse"),
    "freesolv": (3, 4, "softmax", "scale", 2, 1, "rmse"),
    "lipophilicity": (3, 8, "exp", "layer", 2, 1, "rmse"),
    "qm7": (6, 4, "exp", "scale", 2, 1, "mae"),
    "bbbp": (4, 4, "exp", "layer", 2, 1, "bce"),
    "tox21": (8, 4, "exp", "layer", 4, 12, "bce"),
    "sider": (4, 4, "softmax", "scale", 2, 27, "bce"),
    "clintox": (4, 4, "exp", "layer", 2, 2, "bce"),
    "bace": (4, 8, "exp", "layer", 2, 1, "bce"),
}


class CoMPTConfig(PretrainedConfig):
    """Configuration of :class:`CoMPTEncoder` and :class:`CoMPTForPropertyPrediction`.

    CoMPT is the "Communicative Message Passing Transformer" (Chen et al., IJCAI 2021) as its released code computes it.
    Symbols: width d, heads h, k = d/h, layers n, head layers n_g.

    Parameters
    ----------
    hidden_size
        d, a multiple of ``num_attention_heads``.
    num_hidden_layers
        n, at least 1.
    num_attention_heads
        h.
    num_dense_layers
        Linear maps in the feed-forward block of a layer (``N_dense``), at least 0.
    num_head_layers
        n_g, linear maps in the prediction head, at least 1.
    distance_kernel
        ``"exp"``: K_ij = exp(−λ D_ij); ``"softmax"``: softmax over j of −λ D_ij.
    norm
        ``"layer"`` (unbiased standard deviation) or ``"scale"``.
    dense_activation, leaky_relu_slope
        Last non-linearity of the feed-forward block (``"relu"`` is leaky).
    dropout
        Probability, everywhere the released code has a dropout. In the factored attention it acts on the bond scores, the
        distance kernel and the bond weights instead of on single atom pairs.
    initial_lambda
        λ at the start, for every layer.
    lambda_constraint
        ``"softplus"`` or ``"clamp"`` keep λ ≥ 0; ``"free"`` is the release (which discards its clamp).
    attention
        ``"factored"`` (exact, without pair tensors) or ``"dense"`` (literal; same numbers, O(N²d) memory).
    edge_update
        Feed the updated edge states on to the next layer, as the SAIL version of the model does; needs ``"dense"``.
    readout
        ``"gru"`` (packed; padding has no influence), ``"gru-released"`` (padding takes part, see ``pad_to``), or the
        permutation-invariant ``"mean"``, ``"sum"``, ``"attention"``.
    pad_to
        For ``"gru-released"``: rows every molecule is padded to (the release: the largest molecule of the data set).
        ``None``: the largest of the batch.
    position
        ``"index"`` (learned, by atom order), ``"none"``, ``"rwse"`` (random-walk return probabilities) or ``"laplacian"``.
    max_position_embeddings
        Atoms the position table of ``"index"`` has room for.
    position_overflow
        What larger molecules get: ``"error"``, or ``"last"``: all atoms past the table share its last row.
    unknown_bond
        ``"own-slot"`` (14 bond features) or ``"as-aromatic"`` (13, the release). A model with 13 reads 14-wide features
        too, folding the extra slot into "aromatic".
    keep_dead_parameters
        Keep the fifth linear map of each attention block, which never receives a gradient, so that parameters match the
        release one to one.
    message_engine
        ``"auto"``, ``"torch"`` or ``"dgl"`` for the sum over bonds. ``"auto"`` takes the fastest: the fused kernels of a CPU
        where they can be used, else torch.
    node_feature_size, edge_feature_size, feature_set
        Filled from ``unknown_bond``, unless ``feature_set`` is ``"compt-chiral"`` (with ``"own-slot"``: also R or S of every
        stereocentre) or names the features of a table of graphs, such as ``"table-9-3"`` (see
        :func:`~dc_graphsam.data.load_graph_dataset`): then the widths follow from the name.
    task_names, task_type, metric, dataset, class_names
        What the logits mean, see :class:`dc_graphsam.tasks.TaskSpec`. A multiclass task has one logit per class.
    label_mean, label_std
        Of the training labels, per task, in label units; regression logits are z·std + mean.
    seen
        What the training molecules had: the size of the largest, elements, charges, bond types
        (:meth:`dc_graphsam.chem.seen.Seen.to_dict`), so that predictions can say where a molecule lies beyond. ``None``:
        not known.
    loss
        ``"bce"``; ``"cross_entropy"`` (multiclass); ``"rmse"`` (√ of the batch mean squared error), ``"mse"`` or ``"mae"``,
        regression on standardised labels.

    Raises
    ------
    InvalidArgumentError
        A value out of range, or an unknown name close to a known one.

    Examples
    --------
    >>> config = CoMPTConfig.released("bbbp")
    >>> config.hidden_size, config.num_hidden_layers, config.distance_kernel, config.norm
    (256, 4, 'exp', 'layer')
    >>> CoMPTConfig(hidden_sise=32)
    Traceback (most recent call last):
        ...
    dc_graphsam.exceptions.InvalidArgumentError: CoMPTConfig has no field 'hidden_sise'. Did you mean 'hidden_size'?
    """

    model_type = "compt"

    hidden_size: int = 256
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_dense_layers: int = 1
    num_head_layers: int = 2
    distance_kernel: str = "exp"
    norm: str = "layer"
    dense_activation: str = "mish"
    leaky_relu_slope: float = 0.1
    dropout: float = 0.0
    initial_lambda: float = 0.1
    lambda_constraint: str = "softplus"
    attention: str = "factored"
    edge_update: bool = False
    readout: str = "gru"
    pad_to: int | None = None
    position: str = "index"
    max_position_embeddings: int = 256
    position_overflow: str = "error"
    unknown_bond: str = "own-slot"
    keep_dead_parameters: bool = False
    message_engine: str = "auto"
    feature_set: str | None = None
    node_feature_size: int | None = None
    edge_feature_size: int | None = None
    dataset: str | None = None
    task_names: list[str] | None = None
    task_type: str = "regression"
    metric: str | None = None
    class_names: list[list[str]] | None = None
    label_mean: list[float] | None = None
    label_std: list[float] | None = None
    seen: dict[str, Any] | None = None
    loss: str | None = None
    format_version: int = FORMAT_VERSION

    def __post_init__(self, **kwargs: Any) -> None:
        self._refuse_misspelt(kwargs)
        self._check()
        self._derive()
        kwargs.pop("num_labels", None)
        self.id2label = dict(enumerate(output_names(self.task_type, self.task_names, self.class_names)))
        self.label2id = {name: i for i, name in self.id2label.items()}
        super().__post_init__(**kwargs)

    def _refuse_misspelt(self, kwargs: dict[str, Any]) -> None:
        own = [f.name for f in fields(self)]
        for name in kwargs:
            close = [] if hasattr(type(self), name) else get_close_matches(name, own, n=1, cutoff=0.8)
            if close:
                raise InvalidArgumentError(f"{type(self).__name__} has no field {name!r}. Did you mean {close[0]!r}?")

    def _check(self) -> None:
        for name, low in (
            ("hidden_size", 2),
            ("num_hidden_layers", 1),
            ("num_attention_heads", 1),
            ("num_dense_layers", 0),
            ("num_head_layers", 1),
            ("max_position_embeddings", 1),
        ):
            check_range(name, getattr(self, name), low)
        if self.pad_to is not None:
            check_range("pad_to", self.pad_to, 1)
        check_range("dropout", self.dropout, 0, 1, bounds="[)")
        check_range("initial_lambda", self.initial_lambda, 0 if self.lambda_constraint == "clamp" else None)
        if self.lambda_constraint == "softplus":
            check_range("initial_lambda", self.initial_lambda, 0, bounds="()")
        for name, choices in (
            ("attention", ATTENTIONS),
            ("distance_kernel", DISTANCE_KERNELS),
            ("norm", NORMS),
            ("dense_activation", ACTIVATIONS),
            ("readout", READOUTS),
            ("position", POSITIONS),
            ("position_overflow", OVERFLOWS),
            ("lambda_constraint", LAMBDA_CONSTRAINTS),
            ("unknown_bond", UNKNOWN_BONDS),
            ("message_engine", MESSAGE_ENGINES),
            ("task_type", TASK_TYPES),
        ):
            check_choice(name, getattr(self, name), choices)
        if self.metric is not None:
            check_choice("metric", self.metric, METRICS)
        if self.hidden_size % self.num_attention_heads:
            raise InvalidArgumentError(
                f"hidden_size is {self.hidden_size}; accepted: a multiple of num_attention_heads ({self.num_attention_heads})"
            )
        if self.edge_update and self.attention != "dense":
            raise InvalidArgumentError(
                "edge_update is True; accepted only with attention='dense' (the factored form is exact only without)"
            )
        if self.format_version > FORMAT_VERSION:
            raise InvalidArgumentError(
                f"format_version is {self.format_version}; this version of dc_graphsam reads up to {FORMAT_VERSION}: install a newer one"
            )

    def _derive(self) -> None:
        if self.feature_set is None:
            self.feature_set = _FEATURE_SETS[self.unknown_bond][0]
        if not is_table_feature_set(self.feature_set):
            check_choice("feature_set", self.feature_set, _FEATURE_SETS[self.unknown_bond])
        features = get_feature_set(self.feature_set)
        for name in ("node_feature_size", "edge_feature_size"):
            width = getattr(features, name)
            if getattr(self, name) is None:
                setattr(self, name, width)
            if getattr(self, name) != width:
                raise InvalidArgumentError(
                    f"{name} is {getattr(self, name)}; feature set {self.feature_set!r} is {width} wide"
                )
        if self.task_names is None:
            labels = self.id2label
            self.task_names = [labels[i] for i in sorted(labels)] if labels else ["task"]
        self.task_names = [str(name) for name in self.task_names]
        if self.loss is None:
            self.loss = LOSSES[self.task_type][0]
        check_choice("loss", self.loss, LOSSES[self.task_type])
        if self.metric is None:
            self.metric = DEFAULT_METRIC[self.task_type]
        names = check_class_names(self.task_type, self.class_names, self.num_tasks)
        self.class_names = None if names is None else [list(classes) for classes in names]
        for name in ("label_mean", "label_std"):
            value = getattr(self, name)
            if value is not None and len(value) != self.num_tasks:
                raise InvalidArgumentError(f"{name} has {len(value)} values; accepted: one per task ({self.num_tasks})")

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any):
        """The parent's, after :func:`~dc_graphsam.repository.files.check_config` on what comes from a file."""
        if "model_type" in config_dict:
            check_config(config_dict, str(kwargs.get("name_or_path") or "the configuration"), [cls.model_type])
        return super().from_dict(config_dict, **kwargs)

    @property
    def num_tasks(self) -> int:
        """Number of tasks: of columns of the labels."""
        return len(self.task_names)

    @property
    def class_counts(self) -> tuple[int, ...] | None:
        """Classes of each task of a multiclass model; ``None`` for the other types."""
        return tuple(map(len, self.class_names)) if self.task_type == "multiclass" else None

    @property
    def num_logits(self) -> int:
        """Number of logits per molecule: one per task, or one per class of each task."""
        return self.num_tasks if self.class_counts is None else sum(self.class_counts)

    @property
    def output_names(self) -> tuple[str, ...]:
        """One name per logit, see :func:`dc_graphsam.tasks.output_names`."""
        return output_names(self.task_type, self.task_names, self.class_names)

    def accepts_feature_set(self, name: str) -> bool:
        """Whether a model of this configuration can read features of that set."""
        return fits(self.feature_set, name)

    @classmethod
    def released(cls, dataset: str, **overrides: Any) -> CoMPTConfig:
        """Settings of the released code for one of its nine data sets (``utils.py``, ``get_options``).

        Everything that changes a prediction for an unpadded molecule is as released. The read-out stays the packed one;
        ``readout="gru-released", pad_to=…`` adds the influence of padding.

        Parameters
        ----------
        dataset
            ``esol``, ``freesolv``, ``lipophilicity``, ``qm7``, ``bbbp``, ``tox21``, ``sider``, ``clintox`` or ``bace``.
        **overrides
            Any field, in place of the released value.
        """
        check_choice("dataset", dataset, _RELEASED)
        layers, heads, kernel, norm, head_layers, tasks, loss = _RELEASED[dataset]
        settings: dict[str, Any] = {
            "hidden_size": 256,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "distance_kernel": kernel,
            "norm": norm,
            "num_head_layers": head_layers,
            "lambda_constraint": "free",
            "unknown_bond": "as-aromatic",
            "dataset": dataset,
            "task_type": "classification" if loss == "bce" else "regression",
            "task_names": [f"task_{i}" for i in range(tasks)],
            "loss": loss,
            "metric": {"bce": "roc_auc", "rmse": "rmse", "mae": "mae"}[loss],
        }
        return cls(**{**settings, **overrides})

    @classmethod
    def for_dataset(cls, data: Any, released: bool = False, **overrides: Any) -> CoMPTConfig:
        """Configuration for a data set: its tasks, its metric, and mean and standard deviation of its training labels,
        and what its training molecules had (``seen``).

        Parameters
        ----------
        data
            A ``datasets.DatasetDict`` with a ``train`` split, or one ``Dataset``, that carries a
            :class:`~dc_graphsam.tasks.TaskSpec`. Of a stream the size of the largest molecule and ``seen`` are not known,
            and the label statistics of a regression take one pass, unless ``label_mean`` and ``label_std`` are given.
        released
            Start from :meth:`released` for the data set of that name.
        **overrides
            Any field, in place of the derived value.
        """
        spec = TaskSpec.of(data)
        train = data["train"] if hasattr(data, "values") else data
        settings: dict[str, Any] = {
            "dataset": spec.dataset,
            "task_names": list(spec.task_names),
            "task_type": spec.task_type,
            "metric": spec.metric,
        }
        if spec.class_names is not None:
            settings["class_names"] = [list(names) for names in spec.class_names]
        if spec.feature_set == "compt":
            settings["unknown_bond"] = "as-aromatic"
        elif is_table_feature_set(spec.feature_set) or spec.feature_set in _FEATURE_SETS["own-slot"][1:]:
            settings["feature_set"], settings["unknown_bond"] = spec.feature_set, "own-slot"
        if spec.task_type == "regression":
            settings["loss"] = "mae" if spec.metric == "mae" else "rmse"
            if not {"label_mean", "label_std"} <= set(overrides):
                settings["label_mean"], settings["label_std"] = label_statistics(train)
        splits = [part for part in (data.values() if hasattr(data, "values") else [data]) if hasattr(part, "__len__")]
        largest = max((max(part.with_format(None)["num_nodes"], default=1) for part in splits), default=1)
        settings["max_position_embeddings"] = max(cls.max_position_embeddings, largest)
        if "seen" not in overrides:
            settings["seen"] = seen_in_rows(train, spec.feature_set)
        settings.update(overrides)
        if released:
            return cls.released(settings.pop("dataset"), **settings)
        return cls(**settings)


def label_statistics(dataset: Any) -> tuple[list[float], list[float]]:
    """Mean and (population) standard deviation of each task over the measured labels of a data set, in label units.

    A task that is constant, or measured once, gets the standard deviation 1; one without labels, mean 0.
    """
    import numpy as np

    if hasattr(dataset, "__len__"):
        labels = np.asarray(dataset.with_format("numpy")["labels"], dtype=np.float64).reshape(
            len(dataset), -1
        )  # [M, T]
    else:  # a stream
        labels = np.array([row["labels"] for row in dataset.select_columns("labels")], dtype=np.float64)
    measured = ~np.isnan(labels)
    count = np.maximum(measured.sum(0), 1)
    mean = np.where(measured, labels, 0).sum(0) / count
    std = np.sqrt((np.where(measured, labels - mean, 0) ** 2).sum(0) / count)
    std[std == 0] = 1.0
    return mean.tolist(), std.tolist()
