from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Every test featurizes for itself."""
    monkeypatch.setenv("DC_GRAPHSAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def table(tmp_path):
    """Write a table and return its path."""

    def write(text: str | bytes, name: str = "my.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


@pytest.fixture
def alkanes(table):
    """40 rows "C…C,number of carbon atoms"; the label of a molecule can be told from the molecule."""
    return table("smiles,carbons\n" + "".join(f"{'C' * n},{n}\n" for n in range(1, 41)), "alkanes.csv")
