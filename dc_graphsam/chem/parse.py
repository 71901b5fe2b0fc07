"""SMILES to RDKit molecule: what ``Chem.MolFromSmiles`` gives, sooner, and with the reason where it gives nothing."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any

from rdkit import Chem, rdBase

from dc_graphsam.chem.stereo import assign_double_bonds
from dc_graphsam.chem.trailing import damage, shown, split_smiles
from dc_graphsam.exceptions import InvalidSmilesError

__all__ = ["MAX_ATOMS", "parse_smiles"]

MAX_ATOMS = 10_000  # distance alone is then 100 MB

# Chem.MolFromSmiles spends half of its time on removing hydrogen atoms and on stereochemistry. Where no hydrogen atoms,
# no names or extensions after a space, and no directional bonds are written, these steps have nothing to do.
_NEEDS_ALL_STEPS = re.compile(r"[\s|]|\[\d*(?:H(?![a-z])|#)").search


def _parameters(sanitize: bool) -> Chem.SmilesParserParams:
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = parameters.allowCXSMILES = parameters.parseName = False
    parameters.sanitize = sanitize  # includes stereochemistry, which is no step of SanitizeMol
    return parameters


_PLAIN, _WITH_STEREO = _parameters(False), _parameters(True)
_AS_WRITTEN = Chem.SmilesParserParams()
_AS_WRITTEN.sanitize = _AS_WRITTEN.removeHs = False

_from_smiles = Chem.MolFromSmiles
_sanitize = Chem.SanitizeMol
_older_perception = Chem.GetUseLegacyStereoPerception
_PREFIX = re.compile(r"^\[[\d:]+\] |SMILES Parse Error: ")
_HEADLINES = ("Pre-condition Violation", "****")


def parse_smiles(smiles: Any, stereo: bool = False) -> Chem.Mol:
    """Parse and sanitize ``smiles``; atoms keep the order in which they are written.

    Call it inside ``rdBase.BlockLogs()``: RDKit logs its complaints, and they are in the error anyway.

    Parameters
    ----------
    smiles
        Text. Hydrogens stay implicit; explicit ones are merged or kept as ``Chem.MolFromSmiles`` does. Blanks around it
        do no harm. Behind a blank a CXSMILES block is read, and a name is ignored
        (:func:`~dc_graphsam.chem.trailing.ignored_text` says which).
    stereo
        Whether the tags of tetrahedral centres are needed; without them it is faster. Double bonds are always labelled, and
        as RDKit's older perception of stereochemistry does, whichever is switched on.

    Raises
    ------
    InvalidSmilesError
        If it is not text, empty, cannot be parsed or sanitized, has more than 10,000 atoms, or if what stands behind a
        blank is a piece of SMILES or an unreadable CXSMILES block.

    Examples
    --------
    >>> with rdBase.BlockLogs():
    ...     parse_smiles("CCO").GetNumAtoms()
    3
    """
    if not isinstance(smiles, str):
        raise InvalidSmilesError(smiles, f"it is not text but {type(smiles).__name__}")
    mol = None
    if _NEEDS_ALL_STEPS(smiles) is None:
        try:
            directional = "/" in smiles or "\\" in smiles
            if directional or (stereo and "@" in smiles):
                mol = _from_smiles(smiles, _WITH_STEREO)
                if mol is not None and directional and ("@" in smiles or not _older_perception()):
                    mol = _with_older_labels(mol, smiles, _PLAIN)
            else:
                mol = _from_smiles(smiles, _PLAIN)
                if mol is not None:
                    _sanitize(mol)
        except (ValueError, RuntimeError):  # RuntimeError: a failed check inside RDKit
            mol = None
    if mol is None:
        mol = _parse_in_full(smiles)
    num_atoms = mol.GetNumAtoms()
    if not num_atoms:
        raise InvalidSmilesError(smiles, "it is blank" if smiles else "it is empty")
    if num_atoms > MAX_ATOMS:
        raise InvalidSmilesError(smiles, f"it has {num_atoms:,} atoms, at most {MAX_ATOMS:,} are accepted")
    return mol


def _parse_in_full(smiles: str) -> Chem.Mol:
    if not smiles.strip():
        raise InvalidSmilesError(smiles, "it is blank" if smiles else "it is empty")
    core, extension, rest = split_smiles(smiles)
    mol = _complete(smiles, core)
    reason = damage(rest) if rest else None
    if reason is not None:  # of a molecule, or it would be another one
        raise InvalidSmilesError(smiles, f"cannot be parsed: {reason}")
    if not extension:
        return mol
    try:
        return _complete(smiles, f"{core} {extension}")
    except InvalidSmilesError:  # RDKit names a position, and not always
        raise InvalidSmilesError(smiles, f"its CXSMILES block {shown(extension)} cannot be read") from None


def _complete(smiles: str, text: str) -> Chem.Mol:
    """What ``Chem.MolFromSmiles`` makes of ``text``; errors show ``smiles``."""
    capture = getattr(rdBase, "CaptureErrorLog", nullcontext)  # missing in older releases
    raised = ""
    with capture() as log:
        try:
            mol = _from_smiles(text)
        except (ValueError, RuntimeError) as error:
            mol, raised = None, str(error)
    if mol is None:
        raise InvalidSmilesError(smiles, f"cannot be parsed: {_shorten(raised or getattr(log, 'messages', ''))}")
    if _older_perception() and not ("@" in text and ("/" in text or "\\" in text)):
        return mol
    return _with_older_labels(mol, smiles, _AS_WRITTEN)


def _with_older_labels(mol: Chem.Mol, smiles: str, parameters: Chem.SmilesParserParams) -> Chem.Mol:
    """The molecule as the older perception of stereochemistry gives it; ``mol`` is what the newer one gave.

    The newer one takes away directions that it has no use for, so they are read once more. Where a double bond may depend on
    tetrahedral centres, the older one's own labels are not taken either: it differs from the CIP rules in a few molecules whose
    ends differ in R and S alone, and features are to be the same whichever is switched on.
    """
    if all(bond.GetBondType() != Chem.BondType.DOUBLE for bond in mol.GetBonds()):
        return mol
    directed = _from_smiles(smiles, parameters)
    if parameters is not _PLAIN:
        directed = Chem.RemoveHs(directed, sanitize=False)
    _sanitize(directed)
    assign_double_bonds(directed)
    for bond, labelled in zip(mol.GetBonds(), directed.GetBonds(), strict=True):
        if labelled.GetStereoAtoms():
            bond.SetStereoAtoms(*labelled.GetStereoAtoms())
        bond.SetStereo(labelled.GetStereo())
    return mol


def _shorten(complaint: str) -> str:
    """One line out of RDKit's report."""
    lines = [_PREFIX.sub("", line).strip() for line in complaint.splitlines()]
    lines = [line for line in lines if line and line not in _HEADLINES]
    if not lines:
        return "RDKit gives no reason"
    cause = re.split(r" while parsing| for input", lines[0])[0]
    position = re.search(r"around position (\d+)", complaint)
    return f"{cause} around position {position[1]}" if position else cause
