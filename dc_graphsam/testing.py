"""Assertions on molecular models, for our tests and for those of users.

>>> from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction
>>> from dc_graphsam.chem import featurize
>>> model = CoMPTForPropertyPrediction(CoMPTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2))
>>> assert_padding_has_no_influence(model, [featurize("CCO"), featurize("c1ccccc1")])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dc_graphsam.chem.molgraph import MolGraph
from dc_graphsam.chem.parallel import featurize_many
from dc_graphsam.data.collate import MoleculeCollator
from dc_graphsam.exceptions import InvalidSmilesError

__all__ = [
    "assert_batch_composition_has_no_influence",
    "assert_padding_has_no_influence",
    "assert_permutation_invariant",
    "assert_rewriting_has_no_influence",
    "permute_atoms",
]


def _predict(model, graphs: Sequence[MolGraph], pad_to: int | None = None):
    """Logits [B, T] in evaluation mode; the mode of the model is put back."""
    import torch

    parameter = next(model.parameters())
    batch = MoleculeCollator(pad_to=pad_to)(list(graphs))
    batch = {k: v.to(parameter.dtype) if v.is_floating_point() else v for k, v in batch.items()}
    batch = {k: v.to(parameter.device) for k, v in batch.items()}
    training = model.training
    try:
        with torch.no_grad():
            return model.eval()(**batch).logits
    finally:
        model.train(training)


def _assert_close(got, expected, what: str, tolerance: float) -> None:
    error = float((got - expected).abs().max())
    if not error <= tolerance:  # also when it is NaN
        raise AssertionError(f"{what} changes a prediction by {error:.2e}, more than {tolerance:.0e}")


def assert_padding_has_no_influence(model, graphs: Sequence[MolGraph], extra: int = 7, tolerance: float = 1e-5) -> None:
    """Predictions are the same when every molecule is padded ``extra`` rows further.

    Parameters
    ----------
    model
        A property prediction model; evaluated, on its own device.
    graphs
        Molecules of one batch.
    extra
        Rows of padding to add.
    tolerance
        Largest absolute difference of a logit.

    Raises
    ------
    AssertionError
        With the difference found.
    """
    largest = max(graph.num_nodes for graph in graphs)
    _assert_close(_predict(model, graphs, largest + extra), _predict(model, graphs), "padding", tolerance)


def assert_batch_composition_has_no_influence(model, graphs: Sequence[MolGraph], tolerance: float = 1e-5) -> None:
    """Predictions are the same one by one, in one batch, and in the reverse batch. Parameters as above."""
    import torch

    together = _predict(model, graphs)
    alone = torch.cat([_predict(model, [graph]) for graph in graphs])
    _assert_close(together, alone, "batch composition", tolerance)
    _assert_close(_predict(model, graphs[::-1]).flip(0), alone, "the order of the batch", tolerance)


def assert_permutation_invariant(model, graphs: Sequence[MolGraph], seed: int = 0, tolerance: float = 1e-5) -> None:
    """Predictions are the same when the atoms of every molecule are renumbered at random.

    Models that read the order of the atoms (CoMPT with ``position="index"`` or a recurrent read-out) do not pass.
    """
    rng = np.random.default_rng(seed)
    renumbered = [permute_atoms(graph, rng.permutation(graph.num_nodes)) for graph in graphs]
    _assert_close(_predict(model, renumbered), _predict(model, graphs), "renumbering the atoms", tolerance)


def permute_atoms(graph: MolGraph, order: np.ndarray) -> MolGraph:
    """The same molecule with atom ``order[i]`` at place i.

    >>> from dc_graphsam.chem import featurize
    >>> permute_atoms(featurize("CO"), np.array([1, 0])).atom_index.tolist()
    [1, 0]
    """
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return replace(
        graph,
        node_features=graph.node_features[order],
        edge_index=place[graph.edge_index],
        distance=graph.distance[np.ix_(order, order)],
        atom_index=graph.atom_index[order],
    )


def assert_rewriting_has_no_influence(
    model,
    smiles: Sequence[str],
    rewrites: int = 3,
    tolerance: float = 1e-5,
    atom_order: str = "as-written",
    seed: int = 0,
) -> None:
    """Predictions are the same for every SMILES of a molecule: canonical, and in random orders of the atoms.

    Parameters
    ----------
    model
        A property prediction model; evaluated, on its own device.
    smiles
        Molecules.
    rewrites
        Random orders of each.
    tolerance
        Largest difference of a logit.
    atom_order
        In which the atoms are numbered before they are featurized, see :func:`dc_graphsam.chem.featurize`.
    seed
        Of the orders.

    Examples
    --------
    >>> from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction
    >>> sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> model = CoMPTForPropertyPrediction(CoMPTConfig(position="rwse", readout="attention", **sizes))
    >>> assert_rewriting_has_no_influence(model, ["CC(=O)Oc1ccccc1C(=O)O", "CC(=O)[O-].[Na+]"])
    """
    from dc_graphsam.check.characters import rewrite
    from dc_graphsam.check.rewriting import random_writings

    def predict(texts: Sequence[str]):
        graphs = featurize_many(texts, model.config.feature_set, 0, atom_order=atom_order)
        for graph in graphs:
            if isinstance(graph, InvalidSmilesError):
                raise graph
        return _predict(model, graphs)

    expected = predict(list(smiles))
    _assert_close(predict(rewrite(smiles, "canonical")), expected, "writing a SMILES canonically", tolerance)
    for texts in random_writings(smiles, rewrites, seed):
        _assert_close(predict(texts), expected, "another order of the atoms in a SMILES", tolerance)
