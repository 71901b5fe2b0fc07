"""CoMPT: encoder, and encoder with a property prediction head."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, InvalidShapeError
from dc_graphsam.models.common.graph_input import batch_from_graph
from dc_graphsam.models.common.initialization import initialize
from dc_graphsam.models.common.layers import LayerNorm, ScaleNorm, activation_function, make_norm, mish
from dc_graphsam.models.common.loading import CheckedPreTrainedModel
from dc_graphsam.models.common.packing import Packing
from dc_graphsam.models.common.plain import is_plain, is_plain_linear, weight_dtype
from dc_graphsam.models.common.positions import make_position
from dc_graphsam.models.common.property_prediction import (
    PropertyPredictionOutput,
    in_label_units,
    property_loss,
)
from dc_graphsam.models.common.readout import make_readout
from dc_graphsam.models.compt.attention_compt import CoMPTAttention, MoleculeBatch
from dc_graphsam.models.compt.configuration_compt import CoMPTConfig
from dc_graphsam.models.kernels.binding import usable
from dc_graphsam.models.kernels.layer import FusedLayer

__all__ = ["CoMPTEncoder", "CoMPTForPropertyPrediction"]


class FeedForward(nn.Module):
    """``num_dense_layers`` maps d → d with mish after each; the last non-linearity is ``dense_activation``."""

    def __init__(self, config: CoMPTConfig) -> None:
        super().__init__()
        d = config.hidden_size
        self.linears = nn.ModuleList(nn.Linear(d, d) for _ in range(config.num_dense_layers))
        self.last = activation_function(config.dense_activation, config.leaky_relu_slope)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        for i, linear in enumerate(self.linears, start=1):
            activation = self.last if i == len(self.linears) else mish
            x = self.dropout(activation(linear(x).to(x.dtype)))
        return x


class CoMPTLayer(nn.Module):
    """x̂ = norm(x); x₁ = x̂ + norm(attention(x̂)); x ← x̂ + x₁ + norm(FFN(x₁)). One norm module, used three times."""

    def __init__(self, config: CoMPTConfig) -> None:
        super().__init__()
        self.norm = make_norm(config.norm, config.hidden_size)
        self.attention = CoMPTAttention(config)
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, edge_embedding: nn.Module, batch: MoleculeBatch, edges: Tensor | None, want: bool):
        if not want and self._fusable(x, edge_embedding, batch):
            return self._fused(x, edge_embedding, batch), edges, None
        x = self.dropout(self.norm(x))
        a, edges, attention = self.attention(x, edge_embedding, batch, edges, want)
        x1 = x + self.dropout(self.norm(a))
        return x + x1 + self.dropout(self.norm(self.feed_forward(x1))), edges, attention

    def _fusable(self, x: Tensor, edge_embedding: nn.Module, batch: MoleculeBatch) -> bool:
        """Whether the kernels know this layer: factored form, one dense map, mish, no dropout now, λ ≥ 0, and plain parts."""
        attention, dense = self.attention, self.feed_forward
        return (
            is_plain(attention, CoMPTAttention)
            and is_plain(dense, FeedForward)
            and attention.form == "factored"
            and attention.engine == "auto"
            and len(dense.linears) == 1
            and dense.last is mish
            and all(_is_idle(dropout) for dropout in (self.dropout, attention.dropout, dense.dropout))
            and (is_plain(self.norm, LayerNorm) or is_plain(self.norm, ScaleNorm))
            and self._are_usable(x, attention.query, attention.key, attention.value, attention.output, edge_embedding)
            and batch.for_kernels is not None
            and float(attention.distance_decay.detach()) >= 0
        )

    def _are_usable(self, x: Tensor, *linears: nn.Module) -> bool:
        linears = (*linears, self.feed_forward.linears[0])
        if not is_plain_linear(*linears):
            return False
        return usable(x, self.norm.weight, *(part for layer in linears for part in (layer.weight, layer.bias)))

    def _fused(self, x: Tensor, edge_embedding: nn.Linear, batch: MoleculeBatch) -> Tensor:
        attention, dense = self.attention, self.feed_forward.linears[0]
        return FusedLayer.apply(
            x,
            *self.norm.scale_and_shift(),
            *attention.fold(edge_embedding),
            *(attention.value.weight, attention.value.bias),
            *(attention.output.weight, attention.output.bias),
            *(dense.weight, dense.bias),
            attention.distance_decay,
            batch.for_kernels,
            attention.heads,
            (self.norm.is_layer_norm, self.norm.eps, attention.kernel == "softmax"),
        )


def _is_idle(dropout: nn.Module) -> bool:
    return is_plain(dropout, nn.Dropout) and not (dropout.training and dropout.p > 0)


class CoMPTPreTrainedModel(CheckedPreTrainedModel):
    """Loading and saving; see :class:`~dc_graphsam.models.common.loading.CheckedPreTrainedModel`."""

    config_class = CoMPTConfig
    base_model_prefix = "encoder"
    main_input_name = "node_features"
    supports_gradient_checkpointing = False

    def _init_weights(self, module: nn.Module) -> None:
        initialize(module)


class CoMPTEncoder(CoMPTPreTrainedModel):
    """CoMPT without a head: a batch of molecules → atom states.

    x_i = s·(W_a a_i + b_a) + position_i with s = √d, then ``num_hidden_layers`` layers, then one more norm.

    Parameters
    ----------
    config
        A :class:`CoMPTConfig`.

    Examples
    --------
    >>> import torch
    >>> from dc_graphsam.chem import featurize
    >>> from dc_graphsam.data import MoleculeCollator
    >>> from dc_graphsam.models import CoMPTConfig, CoMPTEncoder
    >>> encoder = CoMPTEncoder(CoMPTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)).eval()
    >>> batch = MoleculeCollator()([featurize("CCO"), featurize("C")])
    >>> encoder(**batch).last_hidden_state.shape
    torch.Size([2, 3, 8])
    """

    def __init__(self, config: CoMPTConfig) -> None:
        super().__init__(config)
        d = config.hidden_size
        self.node_embedding = nn.Linear(config.node_feature_size, d)
        self.edge_embedding = nn.Linear(config.edge_feature_size, d)
        self.position = make_position(config.position, d, config.max_position_embeddings, config.position_overflow)
        self.layers = nn.ModuleList(CoMPTLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = make_norm(config.norm, d)
        self.dropout = nn.Dropout(config.dropout)
        self.post_init()

    def forward(
        self,
        node_features: Tensor | None = None,
        node_mask: Tensor | None = None,
        edge_index: Tensor | None = None,
        edge_features: Tensor | None = None,
        distance: Tensor | None = None,
        position_ids: Tensor | None = None,
        graph=None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **ignored,
    ) -> BaseModelOutput:
        """Atom states of a batch.

        Parameters
        ----------
        node_features
            float [B, N, F].
        node_mask
            bool [B, N], atoms first; ``None``: no padding.
        edge_index
            int64 [B, 2, E], source and target of each directed bond, −1 = padding.
        edge_features
            float [B, E, Fe].
        distance
            uint8 [B, N, N] with 255 = other fragment, or float.
        position_ids
            int64 [B, N], counted from 1; default: the order of the atoms.
        graph
            A batched ``DGLGraph`` in place of the five tensors.

        Returns
        -------
        BaseModelOutput
            ``last_hidden_state`` [B, N, d] (0 in padded rows), ``hidden_states``, ``attentions``.
        """
        tensors = self.gather_inputs(node_features, node_mask, edge_index, edge_features, distance, graph)
        x, batch, hidden_states, attentions = self.encode(
            *tensors, position_ids, output_hidden_states, output_attentions
        )
        return BaseModelOutput(
            last_hidden_state=batch.packing.pad(x), hidden_states=hidden_states, attentions=attentions
        )

    def gather_inputs(self, node_features, node_mask, edge_index, edge_features, distance, graph) -> tuple[Tensor, ...]:
        """The five tensors, checked against the configuration."""
        if graph is not None:
            tensors = batch_from_graph(graph)
            node_features, node_mask = tensors["node_features"], tensors["node_mask"]
            edge_index, edge_features, distance = (tensors[k] for k in ("edge_index", "edge_features", "distance"))
        if node_features is None or edge_index is None or edge_features is None or distance is None:
            raise InvalidArgumentError(
                "node_features, edge_index, edge_features and distance are needed, or graph in their place"
            )
        config = self.config
        if node_features.dim() != 3:
            raise InvalidShapeError("node_features", node_features.shape, f"(B, N, {config.node_feature_size})")
        if node_features.shape[-1] != config.node_feature_size:
            raise FeatureSetError(
                f"node_features are {node_features.shape[-1]} wide, this model reads {config.node_feature_size} "
                f"(feature set {config.feature_set!r}); featurize with MoleculeProcessor.for_model(model)"
            )
        width = edge_features.shape[-1]
        if width == config.edge_feature_size + 1 and config.unknown_bond == "as-aromatic":
            # the extra slot, "other bond type", is what the release writes into "aromatic" (slot 3)
            folded = edge_features[..., :-1].clone()
            folded[..., 3] += edge_features[..., -1]
            edge_features = folded
        elif width != config.edge_feature_size:
            raise FeatureSetError(
                f"edge_features are {width} wide, this model reads {config.edge_feature_size} "
                f"(feature set {config.feature_set!r}); featurize with MoleculeProcessor.for_model(model)"
            )
        if node_mask is None:
            node_mask = torch.ones(node_features.shape[:2], dtype=torch.bool, device=node_features.device)
        if not torch.jit.is_tracing():  # there, sizes are tensors
            (size, atoms), edges = node_features.shape[:2], edge_features.shape[1]
            for name, tensor, shape in (
                ("node_mask", node_mask, (size, atoms)),
                ("edge_index", edge_index, (size, 2, edges)),
                ("distance", distance, (size, atoms, atoms)),
            ):
                if tensor.shape != shape:
                    raise InvalidShapeError(name, tensor.shape, f"{shape}, as node_features and edge_features say")
        return node_features, node_mask, edge_index, edge_features, distance

    def encode(
        self, node_features, node_mask, edge_index, edge_features, distance, position_ids, want_states, want_attentions
    ):
        """Packed atom states [n, d] after the last norm, the batch layout, and what was asked for along the way."""
        config = self.config
        scale = math.sqrt(config.hidden_size)
        dtype = weight_dtype(self.node_embedding, self.layers[0].attention.raw_lambda.dtype)
        want_states = config.output_hidden_states if want_states is None else want_states
        want_attentions = config.output_attentions if want_attentions is None else want_attentions
        batch = MoleculeBatch.build(node_mask, edge_index, edge_features, distance, dtype)
        packing = batch.packing
        x = self.dropout(self.node_embedding(packing.pack(node_features).to(dtype)).to(dtype)) * scale
        if self.position is not None:
            x = x + self.dropout(self.position(packing, batch.graph, position_ids).to(dtype))
        edges = self._pair_states(batch) if config.attention == "dense" else None
        hidden_states, attentions = [], []
        for layer in self.layers:
            if want_states:
                hidden_states.append(packing.pad(x))
            x, edges, attention = layer(x, self.edge_embedding, batch, edges, want_attentions)
            if want_attentions:
                attentions.append(attention)
        x = self.norm(x)
        if want_states:
            hidden_states.append(packing.pad(x))
        return x, batch, tuple(hidden_states) or None, tuple(attentions) or None

    def _pair_states(self, batch: MoleculeBatch) -> Tensor:
        """e_ij = s·(W_e f_ij + b_e) for all pairs, [B, N, N, d]; features of pairs without a bond are 0."""
        size, width = batch.packing.shape
        features = batch.bonds.new_zeros(size * width * width, batch.bonds.shape[1])
        features = batch.on_pairs(features, batch.bonds).view(size, width, width, -1)
        return self.dropout(self.edge_embedding(features).to(batch.bonds.dtype)) * math.sqrt(self.config.hidden_size)


class CoMPTForPropertyPrediction(CoMPTPreTrainedModel):
    """CoMPT with read-out and head: a batch of molecules → one number per task.

    Logits of a regression are in label units (``label_mean``, ``label_std`` of the configuration); those of a
    classification are log-odds. A multiclass task has one logit per class, whose softmax are the probabilities; its labels
    are the numbers of the classes. Labels that are NaN are ignored.

    Parameters
    ----------
    config
        A :class:`CoMPTConfig`.

    Examples
    --------
    >>> from dc_graphsam.chem import featurize
    >>> from dc_graphsam.data import MoleculeCollator
    >>> from dc_graphsam.models import CoMPTConfig, CoMPTForPropertyPrediction
    >>> config = CoMPTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, task_names=["logS"])
    >>> model = CoMPTForPropertyPrediction(config).eval()
    >>> model(**MoleculeCollator()([featurize("CCO"), featurize("C")])).logits.shape
    torch.Size([2, 1])
    """

    accepts_loss_kwargs = False  # the loss is a mean over measured labels, whatever Trainer counts

    def __init__(self, config: CoMPTConfig) -> None:
        super().__init__(config)
        d = config.hidden_size
        self.encoder = CoMPTEncoder(config)
        self.readout = make_readout(config.readout, d, config.pad_to)
        head: list[nn.Module] = []
        for _ in range(config.num_head_layers - 1):
            head.append(HeadLayer(config))
        self.head = nn.ModuleList(head)
        self.classifier = nn.Linear(d, config.num_logits)
        self.post_init()

    def forward(
        self,
        labels: Tensor | None = None,
        node_features: Tensor | None = None,
        node_mask: Tensor | None = None,
        edge_index: Tensor | None = None,
        edge_features: Tensor | None = None,
        distance: Tensor | None = None,
        position_ids: Tensor | None = None,
        graph=None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        lower_bounds: Tensor | None = None,
        upper_bounds: Tensor | None = None,
        **ignored,
    ) -> PropertyPredictionOutput | tuple:
        """Logits [B, T] (multiclass: one column per class of each task), and the loss when ``labels`` float [B, T] are given (label units; NaN = not measured).

        ``lower_bounds`` and ``upper_bounds`` float [B, T] are what a regression value without a label is known to be above and
        below (NaN = nothing): such an entry counts as measured, and its loss is 0 on the right side.

        The other arguments are those of :meth:`CoMPTEncoder.forward`.
        """
        config = self.config
        tensors = self.encoder.gather_inputs(node_features, node_mask, edge_index, edge_features, distance, graph)
        wanted = (position_ids, output_hidden_states, output_attentions)
        if is_plain(self.encoder, CoMPTEncoder):
            x, batch, hidden_states, attentions = self.encoder.encode(*tensors, *wanted)
            packing = batch.packing
        else:
            x, packing, hidden_states, attentions = self._call_encoder(tensors, *wanted)
        pooled, states = self.readout(x, packing, want_states=hidden_states is not None)
        for layer in self.head:
            pooled = layer(pooled)
        scores = self.classifier(pooled).to(pooled.dtype)  # [B, T], or one column per class
        loss = None
        if labels is not None:
            loss = property_loss(config, scores, labels, lower_bounds, upper_bounds)
        output = PropertyPredictionOutput(
            loss=loss,
            logits=in_label_units(scores, config.label_mean, config.label_std),
            hidden_states=hidden_states,
            attentions=attentions,
            node_states=packing.pad(states) if hidden_states else None,
        )
        return output.to_tuple() if return_dict is False else output

    def _call_encoder(self, tensors, position_ids, want_states, want_attentions):
        """What ``encode`` gives, by way of the encoder's own call, with which its hooks run."""
        names = ("node_features", "node_mask", "edge_index", "edge_features", "distance")
        output = self.encoder(
            **dict(zip(names, tensors, strict=True)),
            position_ids=position_ids,
            output_hidden_states=want_states,
            output_attentions=want_attentions,
        )
        packing = Packing.from_mask(tensors[1])
        return packing.pack(output.last_hidden_state), packing, output.hidden_states, output.attentions

    @classmethod
    def from_released(cls, state_dict: dict[str, Tensor], **hparams) -> CoMPTForPropertyPrediction:
        """A model with weights of the released code.

        Parameters
        ----------
        state_dict
            As saved by the released ``make_model(…).state_dict()``.
        **hparams
            Arguments of the released ``make_model`` (``transformer_graph.py:12-15``): ``d_atom, d_edge, N, d_model, h, dropout,
            attenuation_lambda, max_length, N_dense, leaky_relu_slope, dense_output_nonlinearity, distance_matrix_kernel,
            n_output, scale_norm, init_type, n_generator_layers, aggregation_type``, with its defaults, except that
            ``d_atom``, ``d_edge`` and ``max_length`` are read off the weights when not given. Fields of
            :class:`CoMPTConfig` (``pad_to``, ``task_names``, ``label_mean``, …) may be given too; ``pad_to`` selects the
            read-out in which padding takes part.

        Raises
        ------
        InvalidArgumentError
            An argument that neither of them has, or weights that do not fit: every missing, unexpected or misshapen
            tensor is named.
        """
        from dc_graphsam.models.compt.released_compt import build_from_released

        return build_from_released(cls, state_dict, hparams)


class HeadLayer(nn.Module):
    """linear d → d, mish, norm, dropout."""

    def __init__(self, config: CoMPTConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = make_norm(config.norm, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.norm(mish(self.linear(x).to(x.dtype))))
