import dataclasses

import numpy as np
import pytest
from rdkit import Chem

from dc_graphsam.chem.atom_table import AtomBondTable, read_molecules
from dc_graphsam.chem.rdkit_binary import read_binaries

READABLE = [
    "C",
    "c1ccccc1C1CC1",
    "[Na+].[Cl-]",
    "[13CH3][C@H](F)Cl",
    "[NH4+]",
    "[2H]C",
    "C/C=C/C",
    "C/C=C\\C=C\\Cl",
    "N->[Fe]",
    "[CH3]",
    "[H][H]",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "FS(F)(F)(F)(F)F",
    "C12C3C4C1C5C2C3C45",
    "[O-][n+]1ccccc1",
    "C" * 255,
]
UNREADABLE = ["[CH3:7]C", "*C", "C" * 256, "C1" + "C" * 255 + "1"]


def parse(smiles):
    return Chem.MolFromSmiles(smiles)


def assert_equal_tables(table, other):
    for field in dataclasses.fields(AtomBondTable):
        np.testing.assert_array_equal(getattr(table, field.name), getattr(other, field.name), err_msg=field.name)


@pytest.mark.parametrize("smiles", READABLE)
def test_one_molecule_equals_what_rdkit_answers(smiles):
    molecule = parse(smiles)
    table, readable = read_binaries([molecule.ToBinary(0)])
    assert readable.all(), "this release of RDKit writes another format: featurizing is correct, but slow"
    assert_equal_tables(table, read_molecules([molecule]))


def test_molecules_that_cannot_be_read_are_left_out_and_named():
    molecules = [parse(smiles) for pair in zip(READABLE, UNREADABLE * 4, strict=True) for smiles in pair]
    table, readable = read_binaries([molecule.ToBinary(0) for molecule in molecules])
    assert readable.tolist() == [True, False] * len(READABLE)
    assert_equal_tables(table, read_molecules(molecules[::2]))


def test_nothing_readable():
    table, readable = read_binaries([parse(smiles).ToBinary(0) for smiles in UNREADABLE])
    assert table is None
    assert not readable.any()


def test_no_molecules():
    table, readable = read_binaries([])
    assert table is None
    assert readable.shape == (0,)


def test_another_format_version_is_not_read():
    binary = bytearray(parse("CCO").ToBinary(0))
    binary[8] += 1  # major version
    assert read_binaries([bytes(binary)])[1].tolist() == [False]


def test_properties_at_the_end_are_not_read():
    molecule = parse("CCO")
    molecule.SetProp("name", "ethanol")
    assert read_binaries([molecule.ToBinary(int(Chem.PropertyPickleOptions.AllProps))])[1].tolist() == [False]


def test_damaged_bytes_never_leave_the_buffer():
    generator = np.random.default_rng(0)
    whole = parse("CN1C=NC2=C1C(=O)N(C(=O)N2C)C").ToBinary(0)
    for _ in range(1000):
        binary = bytearray(whole)
        for place in generator.integers(20, len(binary), 3):
            binary[place] = generator.integers(256)
        table, readable = read_binaries([bytes(binary), whole])
        assert readable[1]
        assert len(table.num_atoms) == readable.sum()


def test_tables_append():
    one, two = read_molecules([parse("CCO")]), read_molecules([parse("C#N"), parse("[Na+]")])
    assert_equal_tables(one.append(two), read_molecules([parse("CCO"), parse("C#N"), parse("[Na+]")]))
