import subprocess
import sys

import pytest
from rdkit import Chem, rdBase

from dc_graphsam.chem.parse import MAX_ATOMS, parse_smiles
from dc_graphsam.exceptions import InvalidSmilesError


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        (None, "it is not text but NoneType"),
        (float("nan"), "it is not text but float"),
        (7, "it is not text but int"),
        (b"CCO", "it is not text but bytes"),
        ("", "it is empty"),
        ("   ", "it is blank"),
        ("\t\n", "it is blank"),
        ("not a molecule", "cannot be parsed: syntax error around position 3"),
        ("C1CC", "cannot be parsed: unclosed ring"),
        ("C)C", "cannot be parsed: extra close parentheses around position 2"),
        ("[Xx]", "cannot be parsed: syntax error around position 2"),
        ("c1cccc1", "cannot be parsed: Can't kekulize mol.  Unkekulized atoms: 0 1 2 3 4"),
        ("CO(C)C", "cannot be parsed: Explicit valence for atom # 1 O, 3, is greater than permitted"),
        ("[#130]", "cannot be parsed: Atomic number not found"),
        ("C" * (MAX_ATOMS + 1), "it has 10,001 atoms, at most 10,000 are accepted"),
    ],
)
def test_bad_input_says_why(smiles, reason):
    with rdBase.BlockLogs(), pytest.raises(InvalidSmilesError) as caught:
        parse_smiles(smiles)
    assert caught.value.reason == reason
    assert caught.value.smiles is smiles
    assert "\n" not in str(caught.value)


def test_text_that_is_no_unicode_is_refused():
    with rdBase.BlockLogs(), pytest.raises(InvalidSmilesError, match="cannot be parsed: 'utf-8' codec can't encode"):
        parse_smiles("C\udc00")


@pytest.mark.parametrize(
    "smiles",
    [
        "CCO",
        "C/C=C\\C",
        "C[C@H](N)C(=O)O",
        "[H]C([H])O",
        "[2H]C",
        "[H][H]",
        "[#1]C",
        "[H+].[Cl-]",
        "[Hg]",
        "c1cc[nH]c1",
        "CCO ethanol",
        " CCO",
        "CC |$a;b$|",
        "N->[Fe]",
        "[O-][N+](=O)c1ccccc1",
        "Cn(c)=O",
        "C[N]=O",
    ],
)
def test_result_is_that_of_the_complete_parser(smiles):
    with rdBase.BlockLogs():
        expected = Chem.MolFromSmiles(smiles)
        if expected is None:
            with pytest.raises(InvalidSmilesError):
                parse_smiles(smiles)
        else:
            assert Chem.MolToSmiles(parse_smiles(smiles)) == Chem.MolToSmiles(expected)


def test_nothing_reaches_the_terminal():
    code = (
        "from dc_graphsam.chem import featurize_many\n"
        "featurize_many(['c1cccc1', 'C1CC', '[#130]', 'CO(C)C', '[Fe]', '*', '[H]', '[H][Fe]'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
