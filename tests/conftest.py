"""Where the tests find real data and recorded outputs, and what they do without them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that needs a hub starts one of its own
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# A shell that starts the tests in the background ignores Ctrl-C, and so would the processes that are tested with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

VARIABLE = "DC_GRAPHSAM_SHARED"
SHARED = Path(os.environ.get(VARIABLE, Path(__file__).resolve().parents[2] / "shared"))


def _folder(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"{path.name}/ is not on this machine; set {VARIABLE} to the folder that holds it")
    return path


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    return _folder(SHARED)


@pytest.fixture(scope="session")
def moleculenet_dir() -> Path:
    return _folder(SHARED / "moleculenet")


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    return _folder(SHARED / "golden")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Features are cached in a folder of the test run, not in the user's."""
    previous = os.environ.get("DC_GRAPHSAM_CACHE")
    os.environ["DC_GRAPHSAM_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if previous is None:
        del os.environ["DC_GRAPHSAM_CACHE"]
    else:
        os.environ["DC_GRAPHSAM_CACHE"] = previous
