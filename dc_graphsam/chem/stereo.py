"""Stereochemistry that depends neither on RDKit's switch nor on how a SMILES is written.

RDKit has two ways of perceiving it, chosen for the whole process by ``Chem.SetUseLegacyStereoPerception`` or by
``RDK_USE_LEGACY_STEREO_PERCEPTION``. With the older one, the default, a double bond is STEREOE or STEREOZ; with the newer
it is STEREOTRANS or STEREOCIS, which means something else: on which side of the bond the first *written* neighbours are.
The features are those of the older one. The switch belongs to the caller and to all threads, so it is only read here.
"""

from __future__ import annotations

import logging
from typing import Any

from rdkit import Chem
from rdkit.Chem import rdCIPLabeler

__all__ = ["CIP_LABELS", "NO_LABEL", "assign_double_bonds", "cip_codes"]

NO_LABEL = "none"
#: R and S; r and s, which a mirror leaves as they are; and no label: no stereocentre, or none that is specified.
CIP_LABELS = ("R", "S", "r", "s", NO_LABEL)
_CODE = {label: code for code, label in enumerate(CIP_LABELS)}
_NONE = _CODE[NO_LABEL]
_MOST_STEPS = 1_250_000  # of the CIP rules: about a second. Only cages of high symmetry take more

_Stereo, _Dir = Chem.BondStereo, Chem.BondDir
_DIRECTED = (_Dir.ENDUPRIGHT, _Dir.ENDDOWNRIGHT)
logger = logging.getLogger(__name__)


def assign_double_bonds(molecule: Chem.Mol) -> None:
    """Give double bonds the label that RDKit's older perception gives: STEREOE, STEREOZ, STEREOANY or STEREONONE.

    Parameters
    ----------
    molecule
        Sanitized, with the directions of its single bonds as they were written and without perceived stereochemistry.

    Examples
    --------
    >>> parameters = Chem.SmilesParserParams()
    >>> parameters.sanitize = parameters.removeHs = False
    >>> molecule = Chem.MolFromSmiles("F/C(C)=C/F", parameters)
    >>> _ = Chem.SanitizeMol(molecule)
    >>> assign_double_bonds(molecule)
    >>> molecule.GetBondWithIdx(2).GetStereo().name
    'STEREOE'
    """
    ranks: list[int] = []  # once they are needed
    labels: dict[int, Any] = {}
    undecided: list[int] = []
    for bond in molecule.GetBonds():
        if bond.GetBondType() != Chem.BondType.DOUBLE:
            continue
        if bond.GetBondDir() == _Dir.EITHERDOUBLE or bond.GetStereo() == _Stereo.STEREOANY or _is_wavy(bond):
            labels[bond.GetIdx()] = _Stereo.STEREOANY
            continue
        ends = _directed_ends(bond)
        if ends is None:
            labels[bond.GetIdx()] = _Stereo.STEREONONE
            continue
        ranks = ranks or list(Chem.ComputeAtomCIPRanks(molecule))
        if any(len(end) == 2 and end[0][1] == end[1][1] for end in ends):  # directions contradict each other
            labels[bond.GetIdx()] = _Stereo.STEREONONE
        elif any(len(end) == 2 and ranks[end[0][0]] == ranks[end[1][0]] for end in ends):
            undecided.append(bond.GetIdx())
        else:
            first, second = (max(end, key=lambda entry: ranks[entry[0]])[1] for end in ends)
            labels[bond.GetIdx()] = _Stereo.STEREOZ if first == second else _Stereo.STEREOE
    if undecided:  # neighbours that differ in nothing but stereochemistry
        labels.update(_by_the_full_rules(molecule, undecided))
    for index, label in labels.items():
        bond = molecule.GetBondWithIdx(index)
        if label in (_Stereo.STEREOE, _Stereo.STEREOZ):
            first, second = (max(end, key=lambda entry: ranks[entry[0]])[0] for end in _directed_ends(bond))
            bond.SetStereoAtoms(first, second)
        bond.SetStereo(label)


def _atoms(bond: Chem.Bond) -> tuple[Chem.Atom, Chem.Atom]:
    return bond.GetBeginAtom(), bond.GetEndAtom()


def _has_two_sides(bond: Chem.Bond) -> bool:
    rings = bond.GetOwningMol().GetRingInfo()
    if rings.NumBondRings(bond.GetIdx()) and rings.MinBondRingSize(bond.GetIdx()) < 8:
        return False
    return all(atom.GetDegree() in (2, 3) for atom in _atoms(bond))


def _is_wavy(bond: Chem.Bond) -> bool:
    """Whether a neighbouring bond says that the sides are not known: the extension |w:…|."""
    around = (other for atom in _atoms(bond) for other in atom.GetBonds())
    return _has_two_sides(bond) and any(o.GetBondDir() == _Dir.UNKNOWN or o.HasProp("_UnknownStereo") for o in around)


def _directed_ends(bond: Chem.Bond) -> list[list[tuple[int, bool]]] | None:
    """For each end of a double bond its other neighbours, as (atom, which side), or ``None`` if no sides are written."""
    if not _has_two_sides(bond):
        return None
    given = bond.GetStereo() in (_Stereo.STEREOCIS, _Stereo.STEREOTRANS)  # by an extension: |c:1|
    stereo_atoms = list(bond.GetStereoAtoms()) if given else []
    ends = []
    for number, atom in enumerate(_atoms(bond)):
        end: list[tuple[int, bool | None]] = []
        for other in atom.GetBonds():
            if other.GetIdx() == bond.GetIdx():
                continue
            neighbour = other.GetOtherAtomIdx(atom.GetIdx())
            side = None
            if given:
                if neighbour in stereo_atoms:
                    side = number == 1 and bond.GetStereo() == _Stereo.STEREOTRANS
            elif other.GetBondDir() in _DIRECTED:
                side = (other.GetBondDir() == _Dir.ENDUPRIGHT) == (other.GetBeginAtomIdx() == atom.GetIdx())
            end.append((neighbour, side))
        known = [side for _, side in end if side is not None]
        if not known:
            return None
        ends.append([(neighbour, (not known[0]) if side is None else side) for neighbour, side in end])
    return ends


def _by_the_full_rules(molecule: Chem.Mol, bonds: list[int]) -> dict[int, Any]:
    """Labels of these bonds where the rest of the molecule decides.

    The older perception goes from what is decided to what follows from it. A bond and an atom of a ring that are stereocentres
    only because of each other (4-ethylidenecyclohexanol) never get there, and neither do two such bonds.
    """
    decided: dict[int, Any] = {}
    while True:
        found = {}
        for bond in bonds:
            if bond not in decided:
                label = _label_of(molecule, bond, [other for other in bonds if other not in decided])
                if label is not None:
                    found[bond] = label
        if not found:
            return {bond: decided.get(bond, _Stereo.STEREONONE) for bond in bonds}
        decided.update(found)


def _label_of(molecule: Chem.Mol, bond: int, undecided: list[int]) -> Any | None:
    """Label of one bond, if it has one without the others that are not decided."""
    copy = Chem.Mol(molecule)
    Chem.SetBondStereoFromDirections(copy)
    given = copy.GetBondWithIdx(bond)
    stereo, stereo_atoms = given.GetStereo(), tuple(given.GetStereoAtoms())
    for other in undecided:
        copy.GetBondWithIdx(other).SetStereo(_Stereo.STEREONONE)
    _label(copy)
    for atom in copy.GetAtoms():
        if not atom.HasProp("_CIPCode"):  # a stereocentre because of this bond, or none
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    if len(stereo_atoms) == 2:
        given.SetStereoAtoms(*stereo_atoms)
        given.SetStereo(stereo)
    _label(copy)
    labels = {"E": _Stereo.STEREOE, "Z": _Stereo.STEREOZ, "e": _Stereo.STEREOE, "z": _Stereo.STEREOZ}
    return labels.get(given.GetProp("_CIPCode") if given.HasProp("_CIPCode") else "")


def _label(molecule: Chem.Mol) -> bool:
    """Let RDKit apply the CIP rules; false if they take too long."""
    try:
        rdCIPLabeler.AssignCIPLabels(molecule, maxRecursiveIterations=_MOST_STEPS)
    except RuntimeError:  # MaxIterationsExceeded
        return False
    return True


def cip_codes(molecule: Chem.Mol) -> bytes:
    """CIP label of every atom, as its place in :data:`CIP_LABELS`.

    They come from RDKit's implementation of the CIP rules of 2013 (``rdCIPLabeler``), not from the property ``_CIPCode``
    that reading a SMILES leaves: that one follows an approximation of the rules, gives ring stereocentres no label, and is
    the opposite for an atom with a lone pair (a sulfoxide) when it is assigned once more.

    Parameters
    ----------
    molecule
        With perceived stereochemistry, so that tags on atoms that are no stereocentres are gone. Its ``_CIPCode``s change.

    Examples
    --------
    >>> [CIP_LABELS[code] for code in cip_codes(Chem.MolFromSmiles("C[C@H](N)C(=O)O"))]
    ['none', 'S', 'none', 'none', 'none', 'none']
    """
    total = molecule.GetNumAtoms()
    tagged = [atom for atom in molecule.GetAtoms() if atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED]
    codes = bytearray([_NONE]) * total
    if not tagged:
        return bytes(codes)
    if not _label(molecule):
        logger.warning("stereocentres of %s get no label: the CIP rules take too long", Chem.MolToSmiles(molecule))
        return bytes(codes)
    for atom in tagged:
        if atom.HasProp("_CIPCode"):
            codes[atom.GetIdx()] = _CODE.get(atom.GetProp("_CIPCode"), _NONE)
    return bytes(codes)
