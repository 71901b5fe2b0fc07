"""Molecules of which a feature set does not see all: R and S where it has no column for them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from rdkit import Chem, rdBase

from dc_graphsam.chem.feature_blocks import FeatureSet
from dc_graphsam.chem.feature_sets import get_feature_set
from dc_graphsam.chem.parse import parse_smiles
from dc_graphsam.chem.stereo import CIP_LABELS, NO_LABEL, cip_codes
from dc_graphsam.chem.table_feature_sets import is_table_feature_set
from dc_graphsam.exceptions import InvalidSmilesError

__all__ = ["ChiralityNotice", "chirality_is_lost", "differ_in_chirality"]

logger = logging.getLogger(__name__)


def _is_labelled(molecule: Chem.Mol) -> bool:
    return any(CIP_LABELS[code] != NO_LABEL for code in cip_codes(molecule))


def _parsed(smiles: Any) -> Chem.Mol | None:
    if not isinstance(smiles, str) or "@" not in smiles:
        return None
    with rdBase.BlockLogs():
        try:
            return parse_smiles(smiles, stereo=True)
        except InvalidSmilesError:
            return None


def chirality_is_lost(smiles: Any, feature_set: FeatureSet) -> bool:
    """Whether a SMILES says R or S of an atom and the feature set has no column for it.

    A model of such features gives both enantiomers one prediction. A SMILES without ``@`` costs nothing.

    Parameters
    ----------
    smiles
        Text; whatever cannot be parsed loses nothing.
    feature_set
        From :func:`dc_graphsam.chem.get_feature_set`.

    Examples
    --------
    >>> from dc_graphsam.chem import get_feature_set
    >>> alanine = "C[C@H](N)C(=O)O"
    >>> chirality_is_lost(alanine, get_feature_set()), chirality_is_lost(alanine, get_feature_set("compt-chiral"))
    (True, False)
    >>> chirality_is_lost("C[C@H](C)O", get_feature_set())
    False
    """
    if feature_set.has_chirality or is_table_feature_set(feature_set.name):
        return False
    molecule = _parsed(smiles)
    return molecule is not None and _is_labelled(molecule)


def differ_in_chirality(smiles: Iterable[Any]) -> list[list[int]]:
    """Rows that are the same molecule but for R and S, such as two enantiomers.

    Parameters
    ----------
    smiles
        Of the rows.

    Returns
    -------
    list of list of int
        Groups of rows, numbered from 0, of which at least two differ; rows that say nothing of R and S are in none.

    Examples
    --------
    >>> differ_in_chirality(["C[C@H](N)C(=O)O", "CCO", "C[C@@H](N)C(=O)O", "OC(=O)[C@@H](N)C"])
    [[0, 2, 3]]
    """
    groups: dict[str, list[int]] = {}
    full: dict[str, set[str]] = {}
    for row, text in enumerate(smiles):
        molecule = _parsed(text)
        if molecule is None or not _is_labelled(molecule):
            continue
        whole = Chem.MolToSmiles(molecule)
        for atom in molecule.GetAtoms():
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
        flat = Chem.MolToSmiles(molecule)
        groups.setdefault(flat, []).append(row)
        full.setdefault(flat, set()).add(whole)
    return [rows for flat, rows in groups.items() if len(full[flat]) > 1]


class ChiralityNotice:
    """Say once, in the log, that R and S are asked for and the features have no column for them.

    Parameters
    ----------
    feature_set
        Name of the features.

    Examples
    --------
    >>> notice = ChiralityNotice("compt-own-slot")
    >>> notice.look_at(["CCO", "C[C@H](N)C(=O)O"])
    >>> notice.said
    True
    """

    def __init__(self, feature_set: str) -> None:
        self.feature_set = get_feature_set(feature_set)
        self.said = False

    def look_at(self, smiles: Iterable[Any]) -> None:
        """See the next molecules of the request; a SMILES without ``@`` costs nothing, and none does after the first hit."""
        if self.said or self.feature_set.has_chirality:
            return
        found = next((text for text in smiles if chirality_is_lost(text, self.feature_set)), None)
        if found is not None:
            self.said = True
            logger.warning(
                "R and S are asked for (e.g. %s), but the model's features (%s) do not tell them: enantiomers get one "
                "prediction. A model trained on the feature set compt-chiral tells them",
                found if len(found) <= 80 else f"{found[:79]}…",
                self.feature_set.name,
            )
