"""Which atoms a prediction rests on: a number per atom, and a drawing of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dc_graphsam.exceptions import InvalidArgumentError, InvalidSmilesError, check_choice
from dc_graphsam.predict.molecules import BATCH_SIZE, like_sized_batches, valid_text
from dc_graphsam.predict.named import logit_names

if TYPE_CHECKING:
    from dc_graphsam.chem import MolGraph

__all__ = ["METHODS", "AtomScores", "draw_atom_scores", "explain_atoms"]

#: Method → what its scores are, in a line.
METHODS = {
    "occlusion": "how much the prediction falls when the features of the atom and of its bonds are set to zero",
    "gradient": "gradient × input: the slope of the prediction along the features of the atom, times the features",
}
_UP, _DOWN = (0.84, 0.19, 0.15), (0.13, 0.40, 0.67)  # red raises, blue lowers: told apart by the colour-blind, too


@dataclass(frozen=True)
class AtomScores:
    """Contributions of the N atoms of a molecule to its T predictions.

    Attributes
    ----------
    smiles
        The molecule as given.
    task_names
        The tasks; of a multiclass model ``task=class`` for each class of each task.
    prediction : float32 [T]
        Log-odds of class 1, or value in label units; of a class of several, its log-odds against all others.
    scores : float32 [N, T]
        One row per atom in RDKit's order, in the unit of ``prediction``; above 0: the atom raises it.
    method
        How they were computed, a key of ``METHODS``.
    """

    smiles: str
    task_names: tuple[str, ...]
    prediction: np.ndarray
    scores: np.ndarray
    method: str

    def of(self, task: str | None = None) -> np.ndarray:
        """Scores of one task, float32 [N]; ``None`` takes the first."""
        if task is None:
            return self.scores[:, 0]
        return self.scores[:, self.task_names.index(check_choice("task", task, self.task_names))]


def explain_atoms(
    model: Any, smiles: str, *, method: str = "occlusion", processor: Any = None, batch_size: int = BATCH_SIZE
) -> AtomScores:
    """Score the atoms of a molecule.

    ``"occlusion"``: s_i = f(x) − f(x without atom i), where the features of atom i and of its bonds are zero; the graph and
    its distances stay. N + 1 molecules are predicted. ``"gradient"``: s_i = Σ_k a_ik ∂f/∂a_ik over the features a of the
    atom; one backward pass per task.

    Parameters
    ----------
    model
        A property prediction model, or a predictor that :func:`dc_graphsam.pipeline` made.
    smiles
        One molecule.
    method
        ``"occlusion"`` or ``"gradient"``.
    processor
        The model's; ``None`` takes the feature set from the model.
    batch_size
        Molecules per batch of the model.

    Returns
    -------
    AtomScores

    Raises
    ------
    InvalidSmilesError
        If the SMILES cannot be used.
    InvalidArgumentError
        If there is no such method, or the model refuses the molecule.

    Notes
    -----
    Both say how the model reacts, not what a chemist could measure. They need not add up to the prediction.

    Examples
    --------
    >>> from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction
    >>> config = CoMPTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, task_names=["logS", "logP"])
    >>> found = explain_atoms(CoMPTForPropertyPrediction(config), "CCO")
    >>> found.scores.shape, found.of("logP").shape
    ((3, 2), (3,))
    """
    check_choice("method", method, METHODS)
    if processor is None:
        processor = getattr(model, "processor", None)
    model = getattr(model, "model", model) if hasattr(model, "featurize") else model
    from dc_graphsam.chem import featurize

    if not isinstance(smiles, str):
        raise InvalidArgumentError(f"smiles is of type {type(smiles).__name__}; accepted: one SMILES")
    graph = featurize(valid_text(smiles), model.config.feature_set if processor is None else processor.feature_set)
    was_training = model.training
    model.eval()
    try:
        score = _occlusion if method == "occlusion" else _gradient
        prediction, scores = score(model, graph, batch_size)
    finally:
        model.train(was_training)
    in_order = np.empty_like(scores)
    in_order[graph.atom_index] = scores
    return AtomScores(smiles, logit_names(model.config), prediction, in_order, method)


def _batch(model: Any, graphs: list[Any]) -> dict[str, Any]:
    from dc_graphsam.data import MoleculeCollator

    parameter = next(model.parameters())
    batch = MoleculeCollator()(graphs)
    batch.pop("labels", None)
    return {
        name: tensor.to(parameter.device, parameter.dtype if tensor.is_floating_point() else None)
        for name, tensor in batch.items()
    }


def _explained(model: Any, batch: list[Any] | dict[str, Any]) -> Any:
    """What is explained: logits [B, T]; of several classes the log-odds of each against all others of its task, [B, ΣC]."""
    logits = model(**(batch if isinstance(batch, dict) else _batch(model, batch))).logits
    if model.config.task_type != "multiclass":
        return logits
    from dc_graphsam.models.common.classes import class_log_odds

    return class_log_odds(logits, model.config.class_counts)


def _occlusion(model: Any, graph: MolGraph, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    from dataclasses import replace

    import torch

    graphs = [graph]
    for atom in range(graph.num_nodes):
        nodes, edges = graph.node_features.copy(), graph.edge_features.copy()
        nodes[atom] = 0
        edges[(graph.edge_index == atom).any(axis=0)] = 0
        graphs.append(replace(graph, node_features=nodes, edge_features=edges))
    out = np.empty((len(graphs), len(logit_names(model.config))), np.float32)
    with torch.inference_mode():
        for places in like_sized_batches([graph.num_nodes] * len(graphs), batch_size):
            out[places] = _explained(model, [graphs[i] for i in places]).float().cpu().numpy()
    return out[0], out[0] - out[1:]


def _gradient(model: Any, graph: MolGraph, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    import torch

    batch = _batch(model, [graph])
    nodes = batch["node_features"].requires_grad_()
    with torch.enable_grad():
        logits = _explained(model, batch)[0]  # [T]
        scores = []
        for task in range(len(logits)):
            (slope,) = torch.autograd.grad(logits[task], nodes, retain_graph=task + 1 < len(logits))
            scores.append((slope * nodes)[0].sum(dim=-1))  # [N]
    stacked = torch.stack(scores, dim=1).detach().float().cpu().numpy()
    return logits.detach().float().cpu().numpy(), stacked


def draw_atom_scores(
    smiles: str, scores: Sequence[float], *, width: int = 420, height: int = 300, limit: float | None = None
) -> str:
    """Draw a molecule with a disc behind every atom: red where the score is above 0, blue below, strong where it is large.

    Parameters
    ----------
    smiles
        The molecule.
    scores : float [N]
        One per atom, in RDKit's order.
    width, height
        In pixels.
    limit
        Score that gets the strongest colour; ``None``: the largest of this molecule.

    Returns
    -------
    str
        An SVG image.

    Raises
    ------
    InvalidSmilesError
        If the SMILES cannot be parsed.
    InvalidArgumentError
        If there are not as many scores as atoms, or they are not finite.

    Examples
    --------
    >>> draw_atom_scores("CCO", [0.1, 0.0, -0.4])[:5]
    '<?xml'
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem.Draw import rdMolDraw2D

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None or not mol.GetNumAtoms():
            raise InvalidSmilesError(smiles, "it cannot be drawn")
        values = np.asarray(scores, dtype=np.float64).reshape(-1)
        if len(values) != mol.GetNumAtoms() or not np.isfinite(values).all():
            raise InvalidArgumentError(
                f"scores holds {len(values)} numbers, {int(np.isfinite(values).sum())} of them finite; accepted: one for "
                f"each of the {mol.GetNumAtoms()} atoms"
            )
        largest = float(np.abs(values).max()) if limit is None else float(limit)
        colours, radii = {}, {}
        for atom, value in enumerate(values.tolist()):
            share = 0.0 if largest <= 0 or math.isnan(largest) else min(abs(value) / largest, 1.0)
            strong = _UP if value > 0 else _DOWN
            colours[atom] = tuple(1 - share * (1 - part) * 0.85 for part in strong)
            radii[atom] = 0.42
        drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
        options = drawer.drawOptions()
        options.clearBackground = False
        options.useBWAtomPalette()  # colour means the score and nothing else
        options.padding = 0.08
        options.fixedBondLength = 36  # small molecules are not blown up
        rdMolDraw2D.PrepareAndDrawMolecule(
            drawer,
            mol,
            highlightAtoms=list(colours),
            highlightAtomColors=colours,
            highlightAtomRadii=radii,
            highlightBonds=[],
        )
        drawer.FinishDrawing()
    return drawer.GetDrawingText()
