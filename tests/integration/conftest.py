"""Small tables, and the program as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def molecules() -> list[tuple[str, float]]:
    """SMILES and a number that follows from them."""
    heads = {"C": 0.0, "N": 1.0, "O": 2.0, "c1ccccc1": 3.0, "C1CC1": 4.0, "Cl": 5.0}
    return [(f"{head}{'C' * n}", round(value + 0.25 * n, 3)) for n in range(1, 21) for head, value in heads.items()]


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Path:
    """120 molecules in a folder of its own, some rows of which cannot be used."""
    path = tmp_path_factory.mktemp("data") / "my.csv"
    rows = [f"{i},{smiles},{value},{int(value > 3)}" for i, (smiles, value) in enumerate(molecules())]
    rows[17] = "17,C1CC,1.0,0"
    rows[40] = "40,CCO,inf,0"
    rows[41] = "41,,1.0,1"
    path.write_text("id,SMILES,pIC50,active\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


class Program:
    """``dc-graphsam`` in a process of its own, on one thread, so that equal runs give equal bits."""

    path = str(Path(sys.executable).with_name("dc-graphsam"))

    def start(self, *words, cwd: Path) -> subprocess.Popen:
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        return subprocess.Popen(
            [self.path, *map(str, words)],
            cwd=cwd,
            env={**os.environ, **threads},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words, cwd: Path) -> subprocess.CompletedProcess:
        process = self.start(*words, cwd=cwd)
        out, said = process.communicate(timeout=200)
        return subprocess.CompletedProcess(words, process.returncode, out, said)


@pytest.fixture(scope="session")
def program() -> Program:
    return Program()
