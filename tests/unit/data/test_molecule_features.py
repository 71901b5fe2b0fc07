"""Descriptors on disk."""

from __future__ import annotations

import numpy as np

from dc_graphsam.chem import descriptors as chem
from dc_graphsam.data.molecule_features import molecule_features

SMILES = ["CCO", "c1ccccc1", "[NH3]->[Fe]"]


def test_the_second_time_nothing_is_computed(tmp_path, monkeypatch):
    first = molecule_features(SMILES, tmp_path)
    monkeypatch.setattr(chem, "descriptors", None)
    second = molecule_features(SMILES, tmp_path)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True))


def test_a_broken_file_and_another_order_are_computed_anew(tmp_path):
    first = molecule_features(SMILES, tmp_path)
    (path,) = (tmp_path / "molecules").glob("*.npz")
    path.write_bytes(path.read_bytes()[:100])
    again = molecule_features(SMILES, tmp_path)
    assert np.array_equal(first[0], again[0], equal_nan=True)
    turned = molecule_features(SMILES[::-1], tmp_path)
    assert np.array_equal(first[1], turned[1][::-1])


def test_without_a_place_to_write_it_computes(tmp_path):
    (tmp_path / "file").write_text("")
    assert molecule_features(SMILES, tmp_path / "file")[1].shape == (3, 2048)
