"""Molecules → predictions: what cannot be predicted is NaN with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dc_graphsam.exceptions import DCGraphSAMError, FeatureSetError, InvalidSmilesError, check_range
from dc_graphsam.predict.named import logit_names, named_result
from dc_graphsam.predict.notes import Note, note_text, notes_of

if TYPE_CHECKING:
    from dc_graphsam.chem import MolGraph

__all__ = ["BATCH_SIZE", "CHUNK_SIZE", "like_sized_batches", "predict_graphs", "predict_smiles"]

BATCH_SIZE = 64
CHUNK_SIZE = 1024  # molecules in hand at a time: some 15 MB of graphs
_MAX_PAIRS = 1 << 20  # atoms² in one batch of padded distance matrices; bounds memory where molecules are large


def like_sized_batches(sizes: Sequence[int], batch_size: int = BATCH_SIZE) -> list[np.ndarray]:
    """Batches of molecules of similar size, so that little is padded.

    Parameters
    ----------
    sizes
        Atoms of each of n molecules.
    batch_size
        Molecules in a batch at most; fewer where they are so large that their padded pairs of atoms exceed 2²⁰.

    Returns
    -------
    list of numpy.ndarray
        int64 positions in ``sizes``; each position is in one batch. The largest molecules come first.

    Examples
    --------
    >>> [batch.tolist() for batch in like_sized_batches([5, 30, 6, 29, 7], batch_size=2)]
    [[1, 3], [4, 2], [0]]
    """
    order = np.argsort(-np.asarray(sizes, dtype=np.int64), kind="stable")
    batches, start = [], 0
    while start < len(order):
        largest = int(sizes[order[start]])
        count = max(1, min(batch_size, _MAX_PAIRS // max(largest * largest, 1)))
        batches.append(order[start : start + count])
        start += count
    return batches


def predict_graphs(
    model,
    graphs: Sequence[MolGraph | InvalidSmilesError | Any],
    batch_size: int = BATCH_SIZE,
    *,
    logits: bool = False,
    feature_set: str | None = None,
) -> tuple[np.ndarray, list[str | None]]:
    """Predict featurized molecules.

    Parameters
    ----------
    model
        A property-prediction model; its ``config`` says which tasks there are.
    graphs
        n graphs, rows of a featurized data set, or errors in place of molecules that could not be featurized.
    batch_size
        See :func:`like_sized_batches`.
    logits
        Whether to leave logits of a classification as they are.
    feature_set
        Of the graphs, if it is another than the model's own that the model can read.

    Returns
    -------
    values : numpy.ndarray
        float32 [n, T]: probabilities of class 1, or values in label units; multiclass: [n, ΣC], one probability for each
        class of each task. NaN where there is a reason.
    reasons : list of (str or None)
        Why a molecule has no prediction.
    """
    import torch

    from dc_graphsam.data import MoleculeCollator

    config = model.config
    collate = MoleculeCollator(feature_set or config.feature_set)
    values = np.full((len(graphs), len(logit_names(config))), np.nan, np.float32)
    reasons: list[str | None] = [graph.reason if isinstance(graph, InvalidSmilesError) else None for graph in graphs]
    valid = [i for i, reason in enumerate(reasons) if reason is None]
    device = next(model.parameters()).device
    squash = _squash(config) if not logits else None

    def forward(places: np.ndarray) -> np.ndarray:
        batch = collate([graphs[i] for i in places])
        batch.pop("labels", None)
        out = model(**{name: tensor.to(device) for name, tensor in batch.items()}).logits.float()  # [B, T]
        return (out if squash is None else squash(out)).cpu().numpy()

    def one_by_one(places: np.ndarray) -> None:
        """Find those that the model refuses."""
        for i in places:
            try:
                values[i] = forward(np.array([i]))[0]
            except DCGraphSAMError as error:
                reasons[i] = str(error)
            except torch.OutOfMemoryError:
                reasons[i] = f"{_num_nodes(graphs[i])} atoms do not fit into the memory of {device}"

    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for batch in like_sized_batches([_num_nodes(graphs[i]) for i in valid], batch_size):
                places = np.array(valid)[batch]
                try:
                    values[places] = forward(places)
                except FeatureSetError:
                    raise
                except (DCGraphSAMError, torch.OutOfMemoryError):
                    one_by_one(places)
    finally:
        model.train(was_training)
    for i in np.flatnonzero(~np.isfinite(values).all(axis=1)):
        if reasons[i] is None:
            reasons[i] = "the model's output is not finite"
            values[i] = np.nan
    return values, reasons


def _squash(config: Any):
    """From logits to probabilities, or None for a regression."""
    import torch

    if config.task_type == "classification":
        return torch.sigmoid
    if config.task_type == "multiclass":
        from dc_graphsam.models.common.classes import class_probabilities

        return lambda logits: class_probabilities(logits, config.class_counts)
    return None


def _num_nodes(graph) -> int:
    return graph["num_nodes"] if isinstance(graph, dict) else graph.num_nodes


def predict_smiles(
    model, processor, smiles: Iterable[str], *, batch_size: int = BATCH_SIZE, num_workers: int = 0
) -> list[dict[str, Any]]:
    """Predict a list of SMILES.

    Parameters
    ----------
    model
        A property-prediction model.
    processor
        The model's :class:`~dc_graphsam.hf.MoleculeProcessor`, or ``None`` to take the feature set from the model.
    smiles
        n SMILES.
    batch_size
        Molecules per batch.
    num_workers
        Processes that featurize; 0 does it in this one.

    Returns
    -------
    list of dict
        In input order: task → probability of class 1, or value in label units; multiclass: task → name of the likeliest
        class, then ``"task=class"`` → probability of each. Where there is none, NaN (a class: ``None``) and an ``"error"``.
        Where something should be known about a prediction there is a ``"note"``
        (:func:`~dc_graphsam.predict.notes.notes_of`).

    Raises
    ------
    FeatureSetError
        If model and processor belong to different feature sets.

    Examples
    --------
    >>> from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction
    >>> config = CoMPTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, task_names=["logS"],
    ...                      task_type="regression", metric="rmse")
    >>> rows = predict_smiles(CoMPTForPropertyPrediction(config), None, ["CCO", "C1CC"])
    >>> list(rows[0]), rows[1]["error"]
    (['logS'], 'cannot be parsed: unclosed ring')
    """
    from dc_graphsam.chem import ChiralityNotice

    smiles = [smiles] if isinstance(smiles, str) else list(smiles)
    check_range("batch_size", batch_size, 1)
    feature_set = feature_set_of(model, processor)
    ChiralityNotice(feature_set).look_at(smiles)
    out: list[dict[str, Any]] = []
    for start in range(0, len(smiles), CHUNK_SIZE):
        graphs = _featurize(smiles[start : start + CHUNK_SIZE], feature_set, num_workers)
        values, reasons = predict_graphs(model, graphs, batch_size)
        notes = notes_of(model.config, graphs, reasons)
        out += named_rows(model.config, values, reasons, notes)
    return out


def named_rows(
    config: Any, values: np.ndarray, reasons: Sequence[str | None], notes: Sequence[Sequence[Note]]
) -> list[dict[str, Any]]:
    """Results by name for each molecule, with an ``"error"`` or a ``"note"`` where there is one."""
    out: list[dict[str, Any]] = []
    for row, reason, remarks in zip(values.tolist(), reasons, notes, strict=True):
        out.append(named_result(config, row))
        if reason is not None:
            out[-1]["error"] = reason
        if remarks:
            out[-1]["note"] = note_text(remarks)
    return out


def feature_set_of(model, processor) -> str:
    wanted = model.config.feature_set
    if processor is not None and processor.feature_set != wanted:
        raise FeatureSetError(
            f"the processor makes features {processor.feature_set!r} but the model was trained on {wanted!r}; "
            f"load both from the same folder"
        )
    return wanted


def _featurize(smiles: list[str], feature_set: str, num_workers: int = 0) -> list:
    from dc_graphsam.chem import featurize_many

    return featurize_many([valid_text(text) for text in smiles], feature_set, num_workers=num_workers)


def valid_text(text: Any) -> Any:
    """Bytes that are not UTF-8 came in as lone surrogates, which RDKit cannot be given."""
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) and not text.isascii() else text
