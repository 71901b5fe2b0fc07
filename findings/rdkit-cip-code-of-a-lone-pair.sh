#!/bin/bash
# RDKit 2026.9.1: the CIP label that reading a SMILES leaves on a centre with a lone pair is the opposite of what the CIP
# rules give.
#
# Chem.MolFromSmiles, with the perception of stereochemistry that is the default, writes the property _CIPCode. For carbon it
# is what rdCIPLabeler.AssignCIPLabels finds, too. For a sulfoxide, a sulfonium ion or a phosphine, which have a lone pair
# as fourth neighbour, it is R where the labeler says S, and the reverse. By hand, for C[S@](=O)c1ccccc1: seen from the
# methyl group, lone pair, O and phenyl follow each other counterclockwise ("@", the lone pair standing where an implicit H
# stands); the order of priority is O, phenyl, methyl, lone pair; seen with the lone pair behind, O, phenyl, methyl run
# counterclockwise: S. (This is the case of esomeprazole, the S form.) With Chem.SetUseLegacyStereoPerception(False) reading
# leaves no _CIPCode at all, so the same program then sees other labels or none.
#
# Prints (seen):
#   alanine        read S   labeler S   newer perception -
#   sulfoxide      read R   labeler S   newer perception -
#   esomeprazole   read R   labeler S   newer perception -
#   sulfonium      read R   labeler S   newer perception -
#   phosphine      read S   labeler R   newer perception -
# Exits non-zero if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rdkit==2026.9.1 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from rdkit import Chem
from rdkit.Chem import rdCIPLabeler

MOLECULES = {
    "alanine": "C[C@H](N)C(=O)O",
    "sulfoxide": "C[S@](=O)c1ccccc1",
    "esomeprazole": "CC1=CN=C(C(=C1OC)C)C[S@](=O)C2=NC3=C(N2)C=C(C=C3)OC",
    "sulfonium": "CC[S@+](C)CCC",
    "phosphine": "C[P@](F)Cl",
}


def label(molecule):
    return "".join(a.GetProp("_CIPCode") for a in molecule.GetAtoms() if a.HasProp("_CIPCode")) or "-"


seen = []
for name, smiles in MOLECULES.items():
    Chem.SetUseLegacyStereoPerception(True)
    molecule = Chem.MolFromSmiles(smiles)
    read = label(molecule)
    rdCIPLabeler.AssignCIPLabels(molecule)
    rules = label(molecule)
    Chem.SetUseLegacyStereoPerception(False)
    newer = label(Chem.MolFromSmiles(smiles))
    seen.append((read, rules, newer))
    print(f"{name:14s} read {read}   labeler {rules}   newer perception {newer}")
expected = [("S", "S", "-"), ("R", "S", "-"), ("R", "S", "-"), ("R", "S", "-"), ("S", "R", "-")]
sys.exit(seen != expected)
PYTHON
