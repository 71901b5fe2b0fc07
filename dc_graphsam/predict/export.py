"""A trained model as one file for other runtimes: ONNX, TorchScript or a program of ``torch.export``."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dc_graphsam.exceptions import InvalidArgumentError, MissingPackageError, check_choice, check_whole

__all__ = ["EXPORT_FORMATS", "Exported", "export_model"]

EXPORT_FORMATS = ("onnx", "torchscript", "torch-export")
INPUTS = ("node_features", "node_mask", "edge_index", "edge_features", "distance")
OUTPUT = "logits"
TOLERANCE = 1e-4  # of the largest difference, in units of the largest score; rounding stays a hundred times below
_DYNAMIC = {
    "node_features": {0: "molecules", 1: "atoms"},
    "node_mask": {0: "molecules", 1: "atoms"},
    "edge_index": {0: "molecules", 2: "edges"},
    "edge_features": {0: "molecules", 1: "edges"},
    "distance": {0: "molecules", 1: "atoms", 2: "atoms"},
}
# (molecules, atoms of the largest): the first is exported with, the others are of other sizes in every direction
_SIZES = ((3, 7), (1, 1), (1, 9), (5, 2), (8, 24))
_ONE_FILE = 1_900_000_000  # bytes of weights; a protobuf file ends at 2 GiB


@dataclass(frozen=True)
class Exported:
    """What was written, and how it compares.

    Attributes
    ----------
    path
        The file.
    format
        One of :data:`EXPORT_FORMATS`.
    opset
        Of ONNX; ``None`` otherwise.
    difference
        Largest difference between a logit of the file and of the model, in label units.
    scale
        Largest size of a logit among them.
    batches
        (molecules, atoms) of the batches they were compared on.
    """

    path: Path
    format: str
    opset: int | None
    difference: float
    scale: float
    batches: tuple[tuple[int, int], ...]


def export_model(
    model: Any, output: str | Path, format: str = "onnx", opset: int | None = None, overwrite: bool = False
) -> Exported:
    """Write a model as one file that predicts without this package, and compare it with the model.

    The file takes the padded batch of :class:`~dc_graphsam.data.MoleculeCollator` (``node_features`` float [B, N, F],
    ``node_mask`` bool [B, N], ``edge_index`` int64 [B, 2, E], ``edge_features`` float [B, E, Fe], ``distance`` uint8 [B, N, N];
    B, N and E are free) and gives ``logits`` [B, T]: label units for a regression, log-odds for a classification.

    Parameters
    ----------
    model
        A :class:`~dc_graphsam.models.CoMPTForPropertyPrediction`.
    output
        The file to write.
    format
        ``"onnx"`` (checked with onnxruntime), ``"torchscript"`` (``torch.jit.load``) or ``"torch-export"`` (``torch.export.load``).
    opset
        Of ONNX, at least 18; ``None``: what torch takes by default.
    overwrite
        Replace a file that is there.

    Returns
    -------
    Exported

    Raises
    ------
    InvalidArgumentError
        The output is there, an option does not fit, the model cannot be exported, or the file predicts something else.
    MissingPackageError
        ``onnx``, ``onnxscript`` or ``onnxruntime`` is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from dc_graphsam.models import CoMPTConfig, CoMPTForPropertyPrediction
    >>> model = CoMPTForPropertyPrediction(CoMPTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = export_model(model, f"{folder}/model.pt", format="torchscript")
    >>> done.format, done.difference < 1e-5, len(done.batches)
    ('torchscript', True, 5)
    """
    check_choice("format", format, EXPORT_FORMATS)
    output = Path(output)
    if opset is not None:
        check_whole("opset", opset, 18)
        if format != "onnx":
            raise InvalidArgumentError(f"opset is {opset}; accepted only with format='onnx', got {format!r}")
    if output.is_dir() or (output.exists() and not overwrite):
        raise InvalidArgumentError(f"{output} is there already; name another file, or overwrite it (--overwrite)")
    if not output.parent.is_dir():
        raise InvalidArgumentError(f"there is no folder {output.parent} for {output.name}; make it first")
    if model.config.position == "laplacian":
        raise InvalidArgumentError(
            "position is 'laplacian', whose eigenvectors are found one molecule at a time, which no exported graph can hold; "
            "accepted: a model with position 'index', 'rwse' or 'none'"
        )
    if format == "onnx":
        _need_onnx()
    import torch

    device, training = next(model.parameters()).device, model.training
    sizes = _sizes_for(model.config)
    batches = [random_batch(model.config, *size, seed=i) for i, size in enumerate(sizes)]
    partial = output.with_name(f".{output.name}.partial")
    try:
        with torch.no_grad(), _quiet():
            wrapped = _logits_module(model.cpu().eval())
            expected = [wrapped(*batch) for batch in batches]
            write, run = _FORMATS[format]
            options = {} if format != "onnx" else {"opset": opset}
            opset = write(wrapped, batches[0], partial, **options)
            found = run(partial, batches)
        difference = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))
        scale = max(float(b.abs().max()) for b in expected)
        if not difference <= TOLERANCE * max(scale, 1.0):
            raise InvalidArgumentError(
                f"the {format} file differs from the model by {difference:.3g} (largest logit {scale:.3g}); nothing was written. "
                f"accepted: at most {TOLERANCE:g} of the largest logit"
            )
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
        model.to(device).train(training)
    return Exported(output, format, opset, difference, scale, tuple(sizes))


def random_batch(config: Any, molecules: int, atoms: int, seed: int = 0) -> tuple:
    """The five input tensors for random trees with some rings, the first of them with ``atoms`` atoms."""
    import torch

    from dc_graphsam.models.common.graph_input import shortest_paths

    generator = torch.Generator().manual_seed(seed)

    def below(end: int) -> int:
        return int(torch.randint(end, (1,), generator=generator))

    counts = [atoms, *(1 + below(atoms) for _ in range(molecules - 1))]
    bonds = []
    for count in counts:
        found = {(below(atom), atom) for atom in range(1, count)}
        found |= {tuple(sorted((below(count), below(count)))) for _ in range(count // 4)}
        bonds.append(sorted((a, b) for a, b in found if a != b))
    edges = 2 * max(map(len, bonds))
    mask = torch.arange(atoms) < torch.tensor(counts).unsqueeze(1)
    index = torch.full((molecules, 2, edges), -1)
    bond_features = torch.zeros(molecules, edges, config.edge_feature_size)
    for row, pairs in enumerate(bonds):
        for k, (a, b) in enumerate(pairs):
            index[row, :, 2 * k : 2 * k + 2] = torch.tensor([[a, b], [b, a]])
            kind = (torch.rand(config.edge_feature_size, generator=generator) < 0.3).float()
            bond_features[row, 2 * k : 2 * k + 2] = kind
    atom_features = (torch.rand(molecules, atoms, config.node_feature_size, generator=generator) < 0.1).float()
    return atom_features * mask.unsqueeze(-1), mask, index, bond_features, shortest_paths(mask, index)


def _sizes_for(config: Any) -> list[tuple[int, int]]:
    """Batch sizes that the model accepts."""
    most = 10**6
    if config.position == "index" and config.position_overflow == "error":
        most = config.max_position_embeddings
    if config.readout == "gru-released" and config.pad_to is not None:
        most = min(most, config.pad_to)
    return [(molecules, min(atoms, most)) for molecules, atoms in _SIZES]


def _logits_module(model: Any) -> Any:
    from torch import nn

    class Logits(nn.Module):
        """The five tensors → logits, and nothing else."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, node_features, node_mask, edge_index, edge_features, distance):
            return self.model(
                node_features=node_features,
                node_mask=node_mask,
                edge_index=edge_index,
                edge_features=edge_features,
                distance=distance,
                output_hidden_states=False,
                output_attentions=False,
            ).logits

    return Logits().eval()


def _need_onnx() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f'export to ONNX needs {", ".join(missing)}, not installed here; pip install "dc-graphsam[onnx]"'
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the remarks of the exporters about their own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _write_onnx(module: Any, batch: tuple, path: Path, opset: int | None) -> int:
    import torch

    program = torch.onnx.export(
        module,
        batch,
        dynamo=True,
        input_names=list(INPUTS),
        output_names=[OUTPUT],
        dynamic_shapes=_dynamic_shapes(),
        opset_version=opset,
        verbose=False,
    )
    config = module.model.config
    program.model.metadata_props.update(
        {
            "model_type": config.model_type,
            "feature_set": config.feature_set,
            "task_type": config.task_type,
            "task_names": json.dumps(list(config.task_names)),
        }
    )
    size = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    if size > _ONE_FILE:
        raise InvalidArgumentError(
            f"the weights take {size:,} bytes, one ONNX file holds less than 2 GiB; accepted: format 'torch-export'"
        )
    program.save(str(path), external_data=False)
    return int(program.model.opset_imports[""])


def _run_onnx(path: Path, batches: list[tuple]) -> list[Any]:
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    taken = {given.name for given in session.get_inputs()}
    return [
        torch.from_numpy(
            session.run([OUTPUT], {name: t.numpy() for name, t in zip(INPUTS, batch, strict=True) if name in taken})[0]
        )
        for batch in batches
    ]


def _dynamic_shapes() -> tuple[dict[int, Any], ...]:
    import torch

    sizes = dict.fromkeys(("molecules", "atoms", "edges"), torch.export.Dim.DYNAMIC)
    return tuple({axis: sizes[size] for axis, size in _DYNAMIC[name].items()} for name in INPUTS)


def _write_torchscript(module: Any, batch: tuple, path: Path) -> None:
    import torch

    torch.jit.save(torch.jit.trace(module, batch, check_trace=False), str(path))


def _run_torchscript(path: Path, batches: list[tuple]) -> list[Any]:
    import torch

    loaded = torch.jit.load(str(path))
    return [loaded(*batch) for batch in batches]


def _write_program(module: Any, batch: tuple, path: Path) -> None:
    import torch

    program = torch.export.export(module, batch, dynamic_shapes=_dynamic_shapes(), strict=False)
    with path.open("wb") as file:
        torch.export.save(program, file)


def _run_program(path: Path, batches: list[tuple]) -> list[Any]:
    import torch

    with path.open("rb") as file:
        loaded = torch.export.load(file).module()
    return [loaded(*batch) for batch in batches]


_FORMATS = {
    "onnx": (_write_onnx, _run_onnx),
    "torchscript": (_write_torchscript, _run_torchscript),
    "torch-export": (_write_program, _run_program),
}
