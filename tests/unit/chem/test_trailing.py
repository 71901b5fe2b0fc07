"""What stands behind a SMILES."""

from __future__ import annotations

import pytest
from rdkit import Chem, rdBase

from dc_graphsam.chem import featurize_many
from dc_graphsam.chem.parse import parse_smiles
from dc_graphsam.chem.trailing import ignored_text, looks_like_smiles
from dc_graphsam.exceptions import InvalidSmilesError

NAMES = [
    "ethanol",
    "acetic acid",
    "CHEMBL25",
    "12",
    "(R)-ibuprofen",
    "1,2-dichloroethane",
    "Z1 & co",
    "ünïcode",
    "[1,1'-x]",
    "C1",
    "b",
    "Cocoon",
]
PIECES = ["=cO)C(C)C", "O", "CC", "c1ccccc1", ")C", "]C", "(C", "/C=C/C", "-C", "[Na+]", "O C C", "C1CC1 C", "c1cccc"]


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\r\n", "\xa0", "\u3000", "\u200b", "  "])
def test_a_piece_of_smiles_behind_a_blank_is_refused_and_a_name_is_not(blank):
    with rdBase.BlockLogs():
        for piece in PIECES:
            with pytest.raises(InvalidSmilesError, match="reads like its continuation") as caught:
                parse_smiles(f"COC{blank}{piece}")
            assert str(caught.value).isprintable() or "\xa0" not in str(caught.value)
        for name in NAMES:
            assert parse_smiles(f"COC{blank}{name}").GetNumAtoms() == 3
            assert ignored_text(f"COC{blank}{name}") == name


@pytest.mark.parametrize("text", ["{}", " {}", "{}\n", "\xa0{}\u200b", "\ufeff{} ", "\t{}\x1a"])
def test_blanks_around_a_smiles_do_no_harm(text):
    with rdBase.BlockLogs():
        assert Chem.MolToSmiles(parse_smiles(text.format("OCC"))) == "CCO"
    assert ignored_text(text.format("OCC")) is None


def test_cxsmiles_blocks_are_read():
    with rdBase.BlockLogs():
        radical = parse_smiles("CC |^1:0|")
        assert radical.GetAtomWithIdx(0).GetNumRadicalElectrons() == 1
        assert parse_smiles("C[C@H](O)F |&1:1| my name").GetNumAtoms() == 4
        for text, words in (("CC |bad|", "its CXSMILES block '|bad|' cannot be read"), ("CC |$a", "no CXSMILES block")):
            with pytest.raises(InvalidSmilesError) as caught:
                parse_smiles(text)
            assert words in caught.value.reason
    assert ignored_text("CC |$a;b$|") is None and ignored_text("CC |$a;b$| x") == "x"


def test_what_is_wrong_with_the_molecule_itself_is_said_first():
    (error,) = featurize_many(["C1CC =O"])
    assert error.reason == "cannot be parsed: unclosed ring"


@pytest.mark.parametrize(
    "smiles", ["CCO", "[13CH3][C@@H]1CC%12CC%12N1", "C/C=C\\\\Cl", "[Na+].[Cl-]", "N->[Fe]", "*C~C", "[#6]"]
)
def test_real_smiles_look_like_smiles(smiles):
    assert looks_like_smiles(smiles)
