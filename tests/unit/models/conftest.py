"""Small molecules and models for the model tests."""

from __future__ import annotations

import pytest
import torch

from dc_graphsam.chem import featurize
from dc_graphsam.data.collate import MoleculeCollator

# chains, rings, aromatic, a dative bond, one atom, no bonds, salts
SMILES = [
    "CCO",
    "c1ccccc1C(=O)O",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "C",
    "[Na+].[Cl-]",
    "CC(=O)[O-].[Na+]",
    "C/C=C/C",
    "[NH3]->[Fe]",
]


@pytest.fixture(scope="session")
def graphs():
    return [featurize(smiles) for smiles in SMILES]


@pytest.fixture(scope="session")
def batch(graphs):
    return MoleculeCollator()(graphs)


@pytest.fixture
def batch64(batch):
    return {key: value.double() if value.is_floating_point() else value for key, value in batch.items()}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
