"""The wheel is built, installed into an empty folder, and imported from there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_wheel_is_built_installed_and_imported(tmp_path):
    # --no-isolation: the build backend of the test environment, so that no network is needed
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "dc_graphsam/py.typed" in names
    assert any(name.startswith("dc_graphsam/metrics/modules/") for name in names)
    assert not any(name.startswith(("tests/", "examples/", "benchmarks/")) for name in names)

    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True, text=True)
    code = "import dc_graphsam, pathlib; print(pathlib.Path(dc_graphsam.__file__).parent); dc_graphsam.CoMPTConfig()"
    environment = {**os.environ, "PYTHONPATH": str(target)}
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert result.stdout.strip() == str(target / "dc_graphsam")
    script = target / "bin" / "dc-graphsam"
    version = subprocess.run(
        [sys.executable, str(script), "--version"], check=True, capture_output=True, text=True, env=environment
    )
    assert "0.1.0" in version.stdout
