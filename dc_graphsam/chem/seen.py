"""What the molecules of a training set had, and what another molecule has besides: the borders of a model's knowledge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dc_graphsam.chem.feature_blocks import FeatureBlock
from dc_graphsam.chem.feature_sets import get_feature_set

__all__ = ["Seen"]

# Of the numbers and flags only these: others follow from them, or have no borders.
_COUNTED = {"node": ("formal_charge", "aromatic", "in_ring"), "edge": ("bond_type_other",)}
_WORDS = {
    "atomic_number": "element",
    "hybridization": "hybridization",
    "formal_charge": "charge",
    "bond_type": "bond type",
    "stereo": "bond stereo",
}
_FLAGS = {
    "aromatic": "aromatic atoms",
    "in_ring": "rings",
    "bond_type_other": "a bond that is none of the listed types",
}
_IMPLIED = ("bond type AROMATIC", _FLAGS["in_ring"], "hybridization SP2")  # by aromatic atoms


class Seen:
    """The largest molecule, the elements, charges, hybridizations, bond types and so on of a training set.

    Parameters
    ----------
    feature_set
        Name of the feature set of the molecules.
    record
        What :meth:`to_dict` gave, to go on from there.

    Examples
    --------
    >>> from dc_graphsam.chem import featurize
    >>> seen = Seen("compt-own-slot")
    >>> seen.add([featurize("CCO"), featurize("CC#N")])
    >>> seen.to_dict()["atoms"], seen.to_dict()["node"]["atomic_number"], seen.to_dict()["edge"]["bond_type"]
    (3, ['6', '7', '8'], ['SINGLE', 'TRIPLE'])
    >>> seen.beyond([featurize("CCO"), featurize("CC[Se-]")])
    [[], ['element Se', 'charge -1']]
    """

    def __init__(self, feature_set: str, record: dict[str, Any] | None = None) -> None:
        self.feature_set = feature_set
        self._features = get_feature_set(feature_set)
        record = record or {}
        self.atoms = int(record.get("atoms", 0))
        self._values: dict[str, dict[str, set]] = {
            kind: {block.name: set(record.get(kind, {}).get(block.name, ())) for block in self._blocks(kind)}
            for kind in _COUNTED
        }

    @property
    def widths(self) -> tuple[int, int]:
        """Columns of the features of atoms and of bonds."""
        return self._features.node_feature_size, self._features.edge_feature_size

    def _blocks(self, kind: str) -> list[FeatureBlock]:
        blocks = getattr(self._features, f"{kind}_blocks")
        return [block for block in blocks if block.values or block.name in _COUNTED[kind]]

    def _columns(self, kind: str, block: FeatureBlock) -> slice:
        return getattr(self._features, f"{kind}_slice")(block.name)

    def to_dict(self) -> dict[str, Any]:
        """JSON types: ``atoms``, and per block of the feature set the values that occurred, of atoms and bonds."""
        out: dict[str, Any] = {"atoms": self.atoms}
        for kind in _COUNTED:
            out[kind] = {}
            for block in self._blocks(kind):
                values = self._values[kind][block.name]
                out[kind][block.name] = [v for v in block.values if v in values] if block.values else sorted(values)
        return out

    def add(self, graphs: Sequence[Any]) -> None:
        """Take note of molecules: objects with ``node_features`` [N, F] and ``edge_features`` [2E, Fe]."""
        if len(graphs):
            nodes = np.concatenate([graph.node_features for graph in graphs])
            edges = np.concatenate([graph.edge_features for graph in graphs])
            self.add_arrays(max(len(graph.node_features) for graph in graphs), nodes, edges)

    def add_arrays(self, atoms: int, nodes: np.ndarray, edges: np.ndarray) -> None:
        """Take note of the features of all atoms and bonds of some molecules, the largest of which has ``atoms`` atoms."""
        self.atoms = max(self.atoms, int(atoms))
        for kind, rows in (("node", nodes), ("edge", edges)):
            used = (rows != 0).any(axis=0) if len(rows) else np.zeros(rows.shape[1], bool)
            for block in self._blocks(kind):
                columns = self._columns(kind, block)
                if block.values:
                    found = {block.values[i] for i in np.flatnonzero(used[columns])}
                else:
                    found = set(np.unique(_whole(rows[:, columns.start], block)).tolist())
                self._values[kind][block.name] |= found

    def beyond(self, graphs: Sequence[Any]) -> list[list[str]]:
        """What each molecule has that none of the training set had, in words.

        Parameters
        ----------
        graphs
            Featurized molecules; their feature set may be another that shares block names with this one.

        Returns
        -------
        list of list of str
            Such as ``["element Se"]``; mostly empty. The size is not among them: see ``atoms``.
        """
        out: list[list[str]] = [[] for _ in graphs]
        if not self.atoms or not len(graphs):
            return out
        features = get_feature_set(graphs[0].feature_set)
        for kind in _COUNTED:
            arrays = [getattr(graph, f"{kind}_features") for graph in graphs]
            rows = np.concatenate(arrays)
            weights = np.zeros(rows.shape[1], np.float32)
            checks = []
            for block in getattr(features, f"{kind}_blocks"):
                known = self._values[kind].get(block.name)
                if known is None:
                    continue
                columns = getattr(features, f"{kind}_slice")(block.name)
                if block.values:
                    weights[columns] = [value not in known for value in block.values]
                elif block.name in _FLAGS:
                    weights[columns] = 1 not in known
                checks.append((block, columns, known))
            # One product instead of a look at each column: a hundredth of the time of a prediction.
            strange = (rows @ weights) != 0
            for block, columns, known in checks:
                if not block.values and block.name not in _FLAGS:
                    strange |= ~np.isin(_whole(rows[:, columns.start], block), list(known))
            if strange.any():
                ends = np.cumsum([len(array) for array in arrays])
                for place in np.unique(np.searchsorted(ends, np.flatnonzero(strange), side="right")).tolist():
                    out[place] += _words(arrays[place], checks)
        return [[w for w in words if w not in _IMPLIED] if _FLAGS["aromatic"] in words else words for words in out]


def _whole(values: np.ndarray, block: FeatureBlock) -> np.ndarray:
    return np.rint(values * block.scale).astype(np.int64)


def _words(rows: np.ndarray, checks: list[tuple[FeatureBlock, slice, set]]) -> list[str]:
    words = []
    for block, columns, known in checks:
        if block.values:
            used = np.flatnonzero((rows[:, columns] != 0).any(axis=0))
            values = [block.values[i] for i in used if block.values[i] not in known]
        else:
            values = [v for v in np.unique(_whole(rows[:, columns.start], block)).tolist() if v not in known]
        for value in values:
            word = _word(block.name, value)
            if word is not None:
                words.append(word)
    return words


def _word(block: str, value: str | int) -> str | None:
    if block in _FLAGS:
        return _FLAGS[block] if value else None
    if block == "atomic_number" and str(value).isdecimal():
        from rdkit.Chem import GetPeriodicTable

        value = GetPeriodicTable().GetElementSymbol(int(value))
    elif block == "formal_charge":
        value = f"{value:+d}"
    elif block == "stereo":
        value = str(value).removeprefix("STEREO")
    elif value == "other":
        return f"an unlisted {_WORDS.get(block, block)}"
    return f"{_WORDS.get(block, block)} {value}"
