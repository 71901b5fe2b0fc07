"""Where the tests find real data and recorded outputs, and what they do without them."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that needs a hub starts one of its own
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# A shell that starts the tests in the background ignores Ctrl-C, and so would the processes that are tested with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

VARIABLE = "DC_GRAPHSAM_SHARED"
SHARED = Path(os.environ.get(VARIABLE, Path(__file__).resolve().parents[2] / "shared"))


def pytest_make_parametrize_id(val, argname):
    """Bytes give a test no name: a compressed file holds the second it was made in, and every pytest process collects
    for itself."""
    return argname if isinstance(val, bytes) else None


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


@pytest.fixture(scope="session")
def hub_tools():
    """``HubServer``, ``HubClient`` and ``ClientError``: see tests/reference/hub_server.py and hub_client.py."""
    tools: dict[str, object] = {}
    for name in ("hub_server", "hub_client"):
        spec = importlib.util.spec_from_file_location(
            f"dc_graphsam_tests_{name}", Path(__file__).parent / "reference" / f"{name}.py"
        )
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        tools |= vars(module)
    return SimpleNamespace(**tools)


@pytest.fixture
def hub(hub_tools):
    """An empty Hub on the loopback interface, with the users ann (token hf_ann) and bob (hf_bob)."""
    yield from hub_tools.serve()
