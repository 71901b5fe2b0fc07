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


HIDING = Path(__file__).parent / "reference" / "without"
# What cannot even be imported, or makes no sense, without a package. Single tests say so with @pytest.mark.needs(package).
NEEDS = {
    "deepchem": (
        "unit/dc/",
        "unit/data/deepchem/",
        "unit/data/moleculenet/test_deepchem_loader.py",
        "unit/metrics/test_for_deepchem.py",
        "integration/test_deepchem_door.py",
    )
}
DOCTESTS = {
    "deepchem": (
        "dc_graphsam.chem.molgraph.MolGraph.to_deepchem",
        "dc_graphsam.data.deepchem.exchange.",
        "dc_graphsam.metrics.for_deepchem.",
    )
}


# Single tests and parameters of files that need it nowhere else.
TESTS = {
    "dgl": ("[dgl-engine]", "-dgl-engine]", "test_edges_stay_in_pairs"),
    "deepchem": (
        "test_deepchem_has_them_beside_y",
        "test_every_public_name_has_its_place",
        "test_a_package_that_is_there_but_broken",
    ),
}


def pytest_addoption(parser):
    parser.addoption(
        "--without",
        default="",
        metavar="PACKAGES",
        help="run as if these (deepchem,dgl) were not installed, here and in all processes that tests start",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(package): is skipped where an optional package is not installed")
    hidden = config.getoption("--without")
    if hidden:
        os.environ["DC_GRAPHSAM_TESTS_WITHOUT"] = hidden
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HIDING), os.environ.get("PYTHONPATH"))))
        exec((HIDING / "sitecustomize.py").read_text(), {})
        loaded = {name.partition(".")[0] for name in sys.modules} & set(hidden.split(","))
        if loaded:
            raise pytest.UsageError(f"--without comes too late for {', '.join(sorted(loaded))}")
    if is_absent("deepchem"):
        config.option.doctest_ignore_import_errors = True  # the modules of dc_graphsam.dc


def is_absent(package: str) -> bool:
    return importlib.util.find_spec(package) is None


class _Absent(pytest.File):
    """A file of tests for a package that is not here."""

    package = ""

    def collect(self):
        pytest.skip(f"{self.package} is not installed")


def pytest_pycollect_makemodule(module_path, parent):
    inside = module_path.relative_to(Path(__file__).parent).as_posix()
    for package, places in NEEDS.items():
        if inside.startswith(places) and inside.endswith(".py") and is_absent(package):
            module = _Absent.from_parent(parent, path=module_path)
            module.package = package
            return module
    return None


def pytest_collection_modifyitems(items):
    for item in items:
        wanted = {mark.args[0] for mark in item.iter_markers("needs")}
        if isinstance(item, pytest.DoctestItem):
            wanted |= {package for package, names in DOCTESTS.items() if item.name.startswith(names)}
        for package, parts in TESTS.items():
            if any(part in item.nodeid for part in parts):
                wanted.add(package)
        for package in filter(is_absent, sorted(wanted)):
            item.add_marker(pytest.mark.skip(reason=f"{package} is not installed"))


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
