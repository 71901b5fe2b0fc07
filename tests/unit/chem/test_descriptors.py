"""Descriptors and counts belong to the molecule."""

from __future__ import annotations

import numpy as np
import pytest

from dc_graphsam.chem.descriptors import canonical_smiles, descriptor_names, descriptors, morgan_counts
from dc_graphsam.exceptions import InvalidArgumentError, InvalidSmilesError

MOLECULES = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "C[C@H](N)C(=O)O",
    "C/C=C/C(=O)[O-].[Na+]",
    "[2H]C([2H])([2H])O",
    "CCC(C)C(N)C1=NC(C(=O)NC(CC(C)C)C(=O)NC(CCC(=O)O)C(=O)O)CS1",
    "[NH3]->[Fe]",
    "C",
]


def others(smiles, count=3):
    from rdkit import Chem

    return Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), count, randomSeed=11)


@pytest.mark.parametrize("smiles", MOLECULES)
def test_every_writing_gives_the_same_numbers(smiles):
    table = descriptors([smiles, *others(smiles)])
    assert all(np.array_equal(table[0], row, equal_nan=True) for row in table[1:])
    counts = morgan_counts([smiles, *others(smiles)])
    assert (counts == counts[0]).all()


def test_atom_maps_and_written_hydrogens_change_nothing():
    table = descriptors(["CCO", "[CH3:7][CH2:3][OH:1]", "[H]OC([H])([H])C"])
    assert np.array_equal(table[0], table[1]) and np.array_equal(table[0], table[2])


def test_columns_are_rdkits():
    from rdkit import Chem
    from rdkit.Chem import Descriptors

    aspirin = Chem.MolFromSmiles(canonical_smiles(MOLECULES[0]))
    row = dict(zip(descriptor_names(), descriptors([MOLECULES[0]])[0], strict=True))
    assert set(row) == {name for name, _ in Descriptors.descList} - {"Ipc", "AvgIpc"}
    for name in ("MolWt", "TPSA", "MolLogP", "BertzCT", "fr_ester"):
        assert row[name] == pytest.approx(getattr(Descriptors, name)(aspirin))


def test_what_has_no_number_is_nan_and_nothing_is_infinite():
    table = descriptors(["[NH3]->[Fe]", "CCO"])
    assert np.isnan(table[0]).any() and not np.isnan(table[1]).any()
    assert not np.isinf(table).any()


def test_processes_change_nothing():
    smiles = [text for text in MOLECULES for _ in range(40)]
    assert np.array_equal(descriptors(smiles), descriptors(smiles, num_workers=2), equal_nan=True)


def test_wrong_use():
    with pytest.raises(InvalidSmilesError, match="C1CC"):
        descriptors(["CCO", "C1CC"])
    with pytest.raises(InvalidSmilesError, match="not text"):
        morgan_counts(["CCO", None])
    with pytest.raises(InvalidArgumentError, match="num_workers is -1"):
        descriptors(["CCO"], num_workers=-1)
