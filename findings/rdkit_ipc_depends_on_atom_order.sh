#!/usr/bin/env bash
# RDKit 2026.9.1: the 2D descriptor "Ipc" (and "AvgIpc") of a large molecule depends on the order of its atoms.
#
# Behaviour: GraphDescriptors.Ipc is the information content of the coefficients of the characteristic polynomial of the
# adjacency matrix. For about 75 atoms and more the coefficients exceed what a double holds exactly, so that two SMILES of one
# molecule give other values. For the cyclic peptide of 100 atoms below, the canonical and three random orders lie a factor of
# two or more apart; for aspirin they are equal. Other 2D descriptors of the same molecules (here MolWt, TPSA, BertzCT) agree to
# 1e-9 relative. It matters for models on "all RDKit descriptors": one column then tells how a SMILES was written, and its size
# (1e24) swamps unscaled columns.
#
# Seen, as "largest / smallest value over four orders": Ipc of the peptide 10.0, of aspirin 1.000000.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check rdkit==2026.9.1 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
from rdkit import Chem
from rdkit.Chem import Descriptors, GraphDescriptors

large = (
    "CCC(C)C(N)C1=NC(C(=O)N[C@@H](CC(C)C)C(=O)N[C@H](CCC(=O)O)C(=O)N[C@H](C(=O)NCCCC[C@@H]2NC(=O)[C@H](CC(N)=O)NC(=O)"
    "[C@@H](CC(=O)O)NC(=O)[C@H](Cc3cnc[nH]3)NC(=O)[C@@H](Cc3ccccc3)NC(=O)[C@H]([C@@H](C)CC)NC(=O)[C@@H](CCCN)NC2=O)"
    "[C@@H](C)CC)CS1"
)


def spread(function, smiles):
    molecule = Chem.MolFromSmiles(smiles)
    orders = [Chem.MolToSmiles(molecule), *Chem.MolToRandomSmilesVect(molecule, 3, randomSeed=1)]
    assert len({Chem.CanonSmiles(text) for text in orders}) == 1  # one molecule
    values = [function(Chem.MolFromSmiles(text)) for text in orders]
    return max(values) / min(values)


found = spread(GraphDescriptors.Ipc, large)
print(f"Ipc, 100 atoms: largest / smallest over four atom orders {found:.3f}")
small = spread(GraphDescriptors.Ipc, "CC(=O)Oc1ccccc1C(=O)O")
print(f"Ipc, aspirin: {small:.6f}")
for name in ("MolWt", "TPSA", "BertzCT"):
    other = spread(getattr(Descriptors, name), large)
    print(f"{name}, 100 atoms: {other:.9f}")
    assert abs(other - 1) < 1e-9
assert found > 1.5, "Ipc no longer depends on the order of the atoms"
assert abs(small - 1) < 1e-9
PY
echo "as described"
