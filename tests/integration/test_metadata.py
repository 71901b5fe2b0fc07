"""What the package asks for on each Python, by its own metadata, and whether pip finds it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
NO_LATER = {"deepchem": "2.8.0", "dgl": "1.1.3"}


@pytest.fixture(scope="module")
def settings() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    return parser


def requirements(text: str, python: str) -> dict[str, str]:
    """Name → versions, of the lines that hold on a Python."""
    lines = (line for line in text.strip().splitlines() if not line.startswith(("#", "%")))
    found = [Requirement(line) for line in lines]
    on = {"python_version": python, "python_full_version": f"{python}.0"}
    return {r.name: str(r.specifier) for r in found if r.marker is None or r.marker.evaluate(on)}


@pytest.mark.parametrize("python", PYTHONS)
def test_deepchem_and_dgl_are_asked_for_where_they_end(settings, python):
    assert SpecifierSet(settings["options"]["python_requires"]).contains(f"{python}.0")
    assert f"Programming Language :: Python :: {python}" in settings["metadata"]["classifiers"].splitlines()
    asked = requirements(settings["options"]["install_requires"], python)
    early = python in ("3.10", "3.11")
    for name, version in NO_LATER.items():
        assert (asked.get(name) == f"=={version}") if early else (name not in asked)
        extra = requirements(settings["options.extras_require"][name], python)
        assert extra == {name: f"=={version}"}  # the same on any Python: pip refuses, and does not install nothing
    assert {"torch", "transformers", "datasets", "rdkit"} <= asked.keys()


def test_other_pythons_are_refused(settings):
    accepted = SpecifierSet(settings["options"]["python_requires"])
    assert not any(accepted.contains(version) for version in ("3.9.18", "3.15.0"))


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_pin_a_package_once(python):
    """pip takes two pins of one package for a contradiction."""
    lines = (ROOT / "constraints.txt").read_text().split("\n")
    on = {"python_version": python, "python_full_version": f"{python}.0"}
    pins = [r for r in map(Requirement, filter(None, lines)) if r.marker is None or r.marker.evaluate(on)]
    names = [r.name.lower().replace("_", "-") for r in pins]
    assert len(names) == len(set(names)) and {"torch", "transformers", "numpy"} <= set(names)
    assert ("dgl" in names) == (python in ("3.10", "3.11"))


def later_python() -> str | None:
    """An interpreter of 3.12 or later that runs and has pip. A shim on the path may stand for none."""
    shims = Path.home() / ".pyenv" / "versions"
    for version in reversed(PYTHONS[2:]):
        for path in (shutil.which(f"python{version}"), *sorted(shims.glob(f"{version}.*/bin/python"))):
            if path and not subprocess.run([path, "-m", "pip", "--version"], capture_output=True).returncode:
                return str(path)
    return None


def test_pip_of_a_later_python_accepts_it(tmp_path):
    """The wheel, and those of its requirements that weigh little, resolved by a real pip; torch and its like are taken out."""
    python = later_python()
    if python is None:
        pytest.skip("there is no Python 3.12 or later on this machine")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = tmp_path.glob("*.whl")
    pip = [python, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
    alone = subprocess.run([*pip, "--no-index", str(wheel)], capture_output=True, text=True, timeout=120)
    assert alone.returncode == 0, alone.stderr  # Requires-Python is met

    light = [
        "-c",
        str(ROOT / "constraints.txt"),
        "--only-binary",
        ":all:",
        "filelock",
        "jinja2",
        "pyyaml",
        "tqdm",
        "evaluate",
    ]
    found = subprocess.run([*pip, *light], capture_output=True, text=True, timeout=200)
    if re.search(r"from versions: none|Connection|timed out|Temporary failure", found.stderr):
        pytest.skip(f"no package index can be reached: {found.stderr.strip().splitlines()[-1][:200]}")
    assert found.returncode == 0, found.stderr
    refused = subprocess.run([*pip, "deepchem==2.8.0"], capture_output=True, text=True, timeout=120)
    assert refused.returncode == 1 and "2.8.0 Requires-Python" in refused.stderr  # why it has a marker
