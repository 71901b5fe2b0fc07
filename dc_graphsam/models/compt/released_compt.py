"""Reader for weights of the released CoMPT code."""

from __future__ import annotations

import re
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from torch import Tensor

from dc_graphsam.exceptions import InvalidArgumentError, check_choice
from dc_graphsam.models.compt.configuration_compt import CoMPTConfig

__all__ = ["build_from_released", "released_name"]

# Defaults of the released make_model.
_DEFAULTS: dict[str, Any] = {
    "N": 2,
    "d_model": 128,
    "h": 8,
    "dropout": 0.1,
    "attenuation_lambda": 0.1,
    "N_dense": 2,
    "leaky_relu_slope": 0.0,
    "dense_output_nonlinearity": "relu",
    "distance_matrix_kernel": "softmax",
    "n_output": 1,
    "scale_norm": True,
    "init_type": "uniform",
    "n_generator_layers": 1,
    "aggregation_type": "mean",
}
_FROM_WEIGHTS = ("d_atom", "d_edge", "max_length")
_READOUTS = {"gru": "gru", "mean": "mean", "sum": "sum"}

# name here → name there
_RULES = (
    (r"^encoder\.node_embedding\.", "node_embed.lut."),
    (r"^encoder\.edge_embedding\.", "edge_embed.lut."),
    (r"^encoder\.position\.table\.", "pos_embed.pe."),
    (r"^encoder\.layers\.(\d+)\.attention\.raw_lambda$", r"encoder.layers.\1.self_attn.attenuation_lambda"),
    (r"^encoder\.layers\.(\d+)\.attention\.query\.", r"encoder.layers.\1.self_attn.linears.0."),
    (r"^encoder\.layers\.(\d+)\.attention\.key\.", r"encoder.layers.\1.self_attn.linears.1."),
    (r"^encoder\.layers\.(\d+)\.attention\.value\.", r"encoder.layers.\1.self_attn.linears.2."),
    (r"^encoder\.layers\.(\d+)\.attention\.output\.", r"encoder.layers.\1.self_attn.linears.3."),
    (r"^encoder\.layers\.(\d+)\.attention\.edge_output\.", r"encoder.layers.\1.self_attn.linears.4."),
    (r"^readout\.", "generator."),
)


def released_name(name: str, config: CoMPTConfig) -> str:
    """Name of a parameter of :class:`CoMPTForPropertyPrediction` in the released code.

    >>> released_name("encoder.layers.0.attention.query.bias", CoMPTConfig())
    'encoder.layers.0.self_attn.linears.0.bias'
    """
    deep = config.num_head_layers > 1
    if name.startswith("classifier."):
        position = f"{4 * (config.num_head_layers - 1)}." if deep else ""
        return f"generator.proj.{position}{name.removeprefix('classifier.')}"
    if match := re.match(r"^head\.(\d+)\.(linear|norm)\.(.*)$", name):
        block, part, rest = int(match[1]), match[2], match[3]
        name = f"generator.proj.{4 * block + (0 if part == 'linear' else 2)}.{rest}"
        return _norm_name(name, config) if part == "norm" else name
    if re.search(r"(^|\.)norm\.(weight|bias)$", name):
        return _norm_name(name, config)
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return name


def _norm_name(name: str, config: CoMPTConfig) -> str:
    if config.norm == "scale":
        return re.sub(r"weight$", "scale", name)
    return re.sub(r"bias$", "b_2", re.sub(r"weight$", "a_2", name))


def build_from_released(model_class, state_dict: dict[str, Tensor], hparams: dict[str, Any]):
    """See :meth:`CoMPTForPropertyPrediction.from_released`."""
    own_fields = {f.name for f in fields(CoMPTConfig)}
    released = {**_DEFAULTS, **{k: v for k, v in hparams.items() if k in _DEFAULTS or k in _FROM_WEIGHTS}}
    overrides = {k: v for k, v in hparams.items() if k in own_fields}
    for name in hparams:
        if name not in released and name not in own_fields:
            close = get_close_matches(name, [*_DEFAULTS, *_FROM_WEIGHTS, *own_fields], n=1)
            hint = f". Did you mean {close[0]!r}?" if close else ""
            raise InvalidArgumentError(f"from_released has no argument {name!r}{hint}")
    check_choice("aggregation_type", released["aggregation_type"], _READOUTS)
    for name in ("pos_embed.pe.weight", "node_embed.lut.weight", "edge_embed.lut.weight"):
        if name not in state_dict:
            raise InvalidArgumentError(f"state_dict has no {name!r}: it is not the state of a released CoMPT model")
    rows = state_dict["pos_embed.pe.weight"].shape[0]
    d_edge = released.get("d_edge", state_dict["edge_embed.lut.weight"].shape[1])
    settings = {
        "hidden_size": released["d_model"],
        "num_hidden_layers": released["N"],
        "num_attention_heads": released["h"],
        "num_dense_layers": released["N_dense"],
        "num_head_layers": released["n_generator_layers"],
        "distance_kernel": released["distance_matrix_kernel"],
        "norm": "scale" if released["scale_norm"] else "layer",
        "dense_activation": released["dense_output_nonlinearity"],
        "leaky_relu_slope": released["leaky_relu_slope"],
        "dropout": released["dropout"],
        "initial_lambda": released["attenuation_lambda"],
        "lambda_constraint": "free",
        "readout": _READOUTS[released["aggregation_type"]],
        "max_position_embeddings": released.get("max_length", rows - 1),
        "unknown_bond": "as-aromatic" if d_edge == 13 else "own-slot",
        "node_feature_size": released.get("d_atom", state_dict["node_embed.lut.weight"].shape[1]),
        "edge_feature_size": d_edge,
        "keep_dead_parameters": True,
        "task_names": [f"task_{i}" for i in range(released["n_output"])],
    }
    if overrides.get("pad_to") is not None and settings["readout"] == "gru":
        settings["readout"] = "gru-released"
    config = CoMPTConfig(**{**settings, **overrides})
    model = model_class(config)
    _load(model, state_dict, config)
    return model.eval()


def _load(model, state_dict: dict[str, Tensor], config: CoMPTConfig) -> None:
    own = model.state_dict()
    names = {name: released_name(name, config) for name in own}
    missing = [theirs for theirs in names.values() if theirs not in state_dict]
    unexpected = sorted(set(state_dict) - set(names.values()))
    if not config.keep_dead_parameters:
        unexpected = [name for name in unexpected if ".self_attn.linears.4." not in name]
    wrong = [
        f"{theirs} {tuple(state_dict[theirs].shape)} instead of {tuple(own[name].shape)}"
        for name, theirs in names.items()
        if theirs in state_dict and state_dict[theirs].shape != own[name].shape
    ]
    problems = [
        f"{kind}: {', '.join(found)}"
        for kind, found in (("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong))
        if found
    ]
    if problems:
        raise InvalidArgumentError(f"state_dict does not fit these hyper-parameters; {'; '.join(problems)}")
    model.load_state_dict({name: state_dict[theirs] for name, theirs in names.items()}, strict=True)
