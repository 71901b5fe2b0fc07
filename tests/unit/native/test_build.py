"""Compiling the kernels: once, whole, and without trouble where it cannot be done."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from dc_graphsam.models.kernels.binding import SIGNATURES, SOURCE
from dc_graphsam.native import Library, find_or_build, load

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (cc), there is none here")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DC_GRAPHSAM_CACHE", str(tmp_path))


def test_made_once(tmp_path):
    first = find_or_build(SOURCE)
    made = first.stat().st_mtime_ns
    assert find_or_build(SOURCE) == first and first.stat().st_mtime_ns == made
    left = {path.name for path in (tmp_path / "kernels").iterdir()}
    assert left == {first.name, first.with_suffix(".sha256").name}, "nothing else is left behind"
    Library(first, SIGNATURES)


@pytest.mark.parametrize("value", ["off", "0", "OFF"])
def test_switched_off(value, tmp_path, monkeypatch):
    monkeypatch.setenv("DC_GRAPHSAM_KERNELS", value)
    assert find_or_build(SOURCE) is None and not list(tmp_path.iterdir())


@pytest.mark.parametrize("compiler", ["/nonexistent/cc", shutil.which("false")])
def test_no_compiler_that_works(compiler, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CC", compiler)
    with caplog.at_level("INFO", logger="dc_graphsam"):
        assert find_or_build(SOURCE) is None
    assert "plain torch" in caplog.text


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DC_GRAPHSAM_CACHE", str(tmp_path / "file"))
    assert find_or_build(SOURCE) is None


def test_a_library_that_was_cut_off_is_built_anew():
    path = find_or_build(SOURCE)
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:1000])
    assert find_or_build(SOURCE) == path and path.stat().st_size == whole
    Library(path, SIGNATURES)


def test_a_library_of_something_else():
    assert load(SOURCE, {**SIGNATURES, "no_such_function": ()}) is None


@pytest.mark.parametrize("first", ["import sklearn.metrics", ""])
def test_another_openmp_in_the_process_takes_no_threads_away(first):
    """scikit-learn, which transformers imports, brings one of its own."""
    code = f"""
import torch
{first}
from pathlib import Path
from dc_graphsam.models.kernels.binding import SIGNATURES, SOURCE
from dc_graphsam.native import load
torch.set_num_threads(3)
library = load(SOURCE, SIGNATURES)
maps = Path("/proc/self/maps").read_text()
shared = {{line.split()[-1] for line in maps.splitlines() if "libgomp" in line}}
print(library.threads, len(shared))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    threads, pools = map(int, done.stdout.split())
    if first and pools < 2:
        pytest.skip("scikit-learn brings no OpenMP of its own here")
    assert threads == 3
