"""SMILES → ``GraphData``: the featurizer of this package's models, for DeepChem's loaders."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from rdkit import Chem, rdBase

from dc_graphsam.chem import DEFAULT_FEATURE_SET, MolGraph, featurize, featurize_many, get_feature_set
from dc_graphsam.chem.trailing import ignored_text, shown
from dc_graphsam.data.deepchem.importing import import_deepchem
from dc_graphsam.data.dropped import DroppedRow
from dc_graphsam.dc.graphs import is_failure
from dc_graphsam.exceptions import InvalidSmilesError, check_range

deepchem = import_deepchem()

__all__ = ["GraphTransformerFeaturizer"]

logger = logging.getLogger(__name__)

_SHOWN = 5
_INDEX = "_dc_graphsam_index"


class GraphTransformerFeaturizer(deepchem.feat.MolecularFeaturizer):
    """Featurizer of :class:`~dc_graphsam.dc.CoMPTModel` and its like.

    Each molecule becomes a ``deepchem.feat.GraphData``: ``node_features`` float32 [N, F], ``edge_index`` int64 [2, 2E]
    (both directions of every bond), ``edge_features`` float32 [2E, Fe], and besides ``distance`` uint8 [N, N] (shortest path in
    bonds, 255 between fragments), ``atom_index`` int64 [N] (RDKit's atom of each node), ``smiles`` and ``feature_set``.

    Atoms keep the order in which they are written, or that of the RDKit molecule given: unlike DeepChem's other
    featurizers this one never renumbers them. A molecule that cannot be featurized becomes an empty array in its place, as
    DeepChem has it: ``CSVLoader`` and the ``dc.molnet`` loaders then leave its row out with its labels, ``InMemoryLoader``
    keeps it (see :func:`dc_graphsam.dc.drop_failed`). Which it was and why is logged and kept in ``failures``.

    Parameters
    ----------
    feature_set : str
        ``"compt-own-slot"`` (115 node and 14 edge features; what ``CoMPTModel`` reads by default) or ``"compt"`` (115 and 13,
        exactly as released; for ``CoMPTModel(unknown_bond="as-aromatic")``).
    max_atoms : int, optional
        Molecules with more atoms fail; None featurizes all.
    num_workers : int, optional
        Processes; None takes one per processor and thousand molecules, 0 and 1 none but this one.

    Attributes
    ----------
    failures : list of DroppedRow
        ``row``, ``smiles`` and ``reason`` of every molecule that failed. ``row`` counts all molecules this featurizer was given,
        from 0, so that after one ``CSVLoader`` or ``InMemoryLoader`` it is the row of the input; :meth:`reset` starts anew.

    Examples
    --------
    >>> featurizer = GraphTransformerFeaturizer()
    >>> graphs = featurizer.featurize(["CCO", "C1CC"])
    >>> graphs[0].node_features.shape, graphs[0].distance.tolist(), graphs[1].size
    ((3, 115), [[0, 1, 2], [1, 0, 1], [2, 1, 0]], 0)
    >>> featurizer.failures
    [DroppedRow(row=1, smiles='C1CC', reason='cannot be parsed: unclosed ring')]
    """

    def __init__(
        self, feature_set: str = DEFAULT_FEATURE_SET, max_atoms: int | None = None, *, num_workers: int | None = None
    ) -> None:
        super().__init__(use_original_atoms_order=True)
        self.feature_set = get_feature_set(feature_set).name
        self.max_atoms = max_atoms if max_atoms is None else check_range("max_atoms", max_atoms, 1)
        self.num_workers = num_workers if num_workers is None else check_range("num_workers", num_workers, 0)
        self.reset()

    def reset(self) -> None:
        """Empty ``failures`` and count rows from 0 again: call it before a second data set."""
        self.failures: list[DroppedRow] = []
        self._given = 0

    def featurize(self, datapoints: Any, log_every_n: int = 1000, **kwargs: Any) -> np.ndarray:
        """Featurize molecules.

        Parameters
        ----------
        datapoints : str, rdkit.Chem.Mol or iterable of them
            SMILES or RDKit molecules. Of a molecule with explicit hydrogens the hydrogens become part of the atoms they
            sit on, as in its SMILES; ``atom_index`` has the numbers of the atoms that remain.
        log_every_n
            As for DeepChem; not used.

        Returns
        -------
        numpy.ndarray
            object [n]: ``GraphData``, or an empty array where there is none.
        """
        molecules = [datapoints] if isinstance(datapoints, (str, Chem.Mol)) else list(datapoints)
        graphs = self._graphs(molecules)
        features = np.empty(len(graphs), dtype=object)
        failed = []
        for place, graph in enumerate(graphs):
            if isinstance(graph, MolGraph) and self.max_atoms is not None and graph.num_nodes > self.max_atoms:
                reason = f"it has {graph.num_nodes} atoms, more than max_atoms ({self.max_atoms})"
                graph = InvalidSmilesError(graph.smiles, reason)
            if isinstance(graph, InvalidSmilesError):
                failed.append((place, graph))
                features[place] = np.array([])
            else:
                features[place] = _to_graph_data(graph)
        self._report(failed, len(graphs))
        self._report_ignored(molecules, features)
        return features

    def _graphs(self, molecules: list[Any]) -> list[MolGraph | InvalidSmilesError]:
        if not any(isinstance(molecule, Chem.Mol) for molecule in molecules):
            return featurize_many(molecules, self.feature_set, num_workers=self.num_workers)
        graphs = []
        for molecule in molecules:
            try:
                of = _featurize_mol if isinstance(molecule, Chem.Mol) else featurize
                graphs.append(of(molecule, self.feature_set))
            except InvalidSmilesError as error:
                graphs.append(error)
        return graphs

    def _featurize(self, datapoint: Any, **kwargs: Any) -> Any:
        return self.featurize([datapoint])[0]

    def _report(self, failed: list[tuple[int, InvalidSmilesError]], given: int) -> None:
        rows = [DroppedRow(self._given + place, str(error.smiles), error.reason) for place, error in failed]
        self.failures += rows
        self._given += given
        if not failed:
            return
        shown = "; ".join(
            f"{place if given > 1 else row.row} ({row.smiles!r}: {row.reason})"
            for (place, _), row in list(zip(failed, rows, strict=True))[:_SHOWN]
        )
        more = f" and {len(failed) - _SHOWN} more, see failures" if len(failed) > _SHOWN else ""
        logger.warning("%d of %d molecules could not be featurized: index %s%s", len(failed), given, shown, more)

    def _report_ignored(self, molecules: list[Any], features: np.ndarray) -> None:
        """Names behind SMILES are no part of the molecule; a warning says so."""
        ignored = [
            f"{place} ({shown(text)})"
            for place, molecule in enumerate(molecules)
            if isinstance(molecule, str) and not is_failure(features[place])
            if (text := ignored_text(molecule)) is not None
        ]
        if ignored:
            more = f" and {len(ignored) - _SHOWN} more" if len(ignored) > _SHOWN else ""
            words = ", ".join(ignored[:_SHOWN])
            logger.warning(
                "text behind the SMILES ignored in %d of %d molecules: index %s%s",
                len(ignored),
                len(molecules),
                words,
                more,
            )


def _to_graph_data(graph: MolGraph) -> Any:
    """Own, writable arrays: those of ``graph`` are read-only slices of a buffer that many molecules share."""
    return deepchem.feat.GraphData(
        node_features=graph.node_features.copy(),
        edge_index=graph.edge_index.copy(),
        edge_features=graph.edge_features.copy(),
        distance=graph.distance.copy(),
        atom_index=graph.atom_index.copy(),
        smiles=graph.smiles,
        feature_set=graph.feature_set,
    )


def _featurize_mol(molecule: Chem.Mol, feature_set: str) -> MolGraph:
    """Through SMILES, which is what features are defined on, and back to the order of the molecule's atoms."""
    with rdBase.BlockLogs():
        try:
            tagged = Chem.Mol(molecule)
            for atom in tagged.GetAtoms():
                atom.SetIntProp(_INDEX, atom.GetIdx())
            heavy = Chem.RemoveHs(tagged)
            smiles = Chem.MolToSmiles(heavy)
        except (ValueError, RuntimeError) as error:
            raise InvalidSmilesError(repr(molecule), f"RDKit cannot write it: {str(error).splitlines()[0]}") from None
    graph = featurize(smiles, feature_set)
    if graph.num_nodes != heavy.GetNumAtoms():
        raise InvalidSmilesError(smiles, "the RDKit molecule has atoms that its SMILES does not have; pass the SMILES")
    written = np.array(list(heavy.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"]), np.int64)
    node_of = np.argsort(written)  # heavy atom → node of the graph
    original = np.array([atom.GetIntProp(_INDEX) for atom in heavy.GetAtoms()], np.int64)
    return MolGraph(
        smiles,
        graph.node_features[node_of],
        written[graph.edge_index],
        graph.edge_features,
        graph.distance[np.ix_(node_of, node_of)],
        original,
        feature_set,
    )
