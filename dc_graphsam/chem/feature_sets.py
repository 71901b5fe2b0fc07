"""The feature sets that are registered by name: which numbers describe an atom and a bond, in which order."""

from __future__ import annotations

from dc_graphsam.chem.feature_blocks import FeatureBlock, FeatureSet
from dc_graphsam.chem.table_feature_sets import is_table_feature_set, table_feature_set
from dc_graphsam.exceptions import check_choice

__all__ = ["DEFAULT_FEATURE_SET", "FEATURE_SETS", "fits", "get_feature_set"]

DEFAULT_FEATURE_SET = "compt-own-slot"
OTHER = "other"


_ATOM_BLOCKS = (
    FeatureBlock("atomic_number", (*map(str, range(1, 101)), OTHER), fallback=OTHER),
    FeatureBlock("hybridization", ("SP", "SP2", "SP3", "SP3D", "SP3D2", OTHER), fallback=OTHER),
    FeatureBlock("total_hydrogens", scale=8),
    FeatureBlock("degree", scale=4),
    FeatureBlock("formal_charge", scale=8),
    FeatureBlock("total_valence", scale=8),
    FeatureBlock("gasteiger_charge"),
    FeatureBlock("gasteiger_hydrogen_charge"),
    FeatureBlock("aromatic"),
    FeatureBlock("in_ring"),
)
_CHIRALITY = FeatureBlock("chirality", ("R", "S", "r", "s", "none"), fallback="none")
_BOND_TYPES = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
_BOND_TYPE_AS_AROMATIC = FeatureBlock("bond_type", _BOND_TYPES, fallback="AROMATIC")
_BOND_TYPE_LISTED = FeatureBlock("bond_type", _BOND_TYPES)
_STEREO = FeatureBlock(
    "stereo",
    ("STEREOANY", "STEREOCIS", "STEREOE", "STEREONONE", "STEREOTRANS", "STEREOZ"),
    fallback="STEREOZ",  # what the released code does with e.g. atropisomers
)
_BOND_FLAGS = (FeatureBlock("conjugated"), FeatureBlock("aromatic"), FeatureBlock("in_ring"))
_BONDS_OWN_SLOT = (_BOND_TYPE_LISTED, _STEREO, *_BOND_FLAGS, FeatureBlock("bond_type_other"))

#: All registered feature sets by name. ``compt`` is what the released CoMPT computes (``dataset_graph.py:22-85``): a
#: bond of an unlisted type, e.g. dative, looks aromatic. ``compt-own-slot`` gives such bonds a column of their own, the
#: last. ``compt-chiral`` adds the CIP label of every atom to that, so that a model can tell enantiomers apart.
FEATURE_SETS: dict[str, FeatureSet] = {
    feature_set.name: feature_set
    for feature_set in (
        FeatureSet("compt", _ATOM_BLOCKS, (_BOND_TYPE_AS_AROMATIC, _STEREO, *_BOND_FLAGS)),
        FeatureSet("compt-own-slot", _ATOM_BLOCKS, _BONDS_OWN_SLOT),
        FeatureSet("compt-chiral", (*_ATOM_BLOCKS, _CHIRALITY), _BONDS_OWN_SLOT),
    )
}


def get_feature_set(name: str = DEFAULT_FEATURE_SET) -> FeatureSet:
    """Return the feature set registered as ``name``, or the one that a name such as ``table-9-3`` describes.

    Raises
    ------
    InvalidArgumentError
        If there is none of that name.

    Examples
    --------
    >>> get_feature_set("compt-own-slot").edge_feature_names[-1]
    'bond_type_other'
    """
    if is_table_feature_set(name):
        return table_feature_set(name)
    return FEATURE_SETS[check_choice("feature_set", name, FEATURE_SETS)]


def fits(wanted: str, given: str) -> bool:
    """Whether a model of feature set ``wanted`` can read features of the set ``given``.

    >>> fits("compt", "compt-own-slot"), fits("compt-own-slot", "compt")
    (True, False)
    """
    return given == wanted or (wanted, given) == ("compt", "compt-own-slot")
