"""Packages that are not there: one class, one line, the way to get them."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dc_graphsam import optional
from dc_graphsam.exceptions import DCGraphSAMError, MissingPackageError

HIDING = Path(__file__).parents[1] / "reference" / "without"
NAMED = "pip install --ignore-requires-python --no-deps deepchem==2.8.0"

GRAPH = "from dc_graphsam.chem import featurize; graph = featurize('CCO')\n"
TABLE = "from dc_graphsam.data import load_moleculenet\ntest = load_moleculenet('freewilson', progress=False)['test']\n"
BONDS = """
import torch
from dc_graphsam.models.common.message_passing import BondGraph, u_mul_e_sum
bonds = BondGraph(torch.tensor([0, 1]), torch.tensor([1, 0]), 2)
"""
ASKED = {  # package, code that asks for it
    "the door": ("deepchem", "import dc_graphsam.dc"),
    "a name of the door": ("deepchem", "from dc_graphsam.dc import CoMPTModel"),
    "register": ("deepchem", "from dc_graphsam.dc import register"),
    "a module of the door": ("deepchem", "import dc_graphsam.dc.graph_model"),
    "import_deepchem": ("deepchem", "from dc_graphsam.data import import_deepchem; import_deepchem()"),
    "graph": ("deepchem", GRAPH + "graph.to_deepchem()"),
    "metric": ("deepchem", "from dc_graphsam.metrics import dc_metric; dc_metric('rmse')"),
    "data": (
        "deepchem",
        TABLE + "from dc_graphsam.data import dataset_to_deepchem; dataset_to_deepchem(test, in_memory=True)",
    ),
    "graph to dgl": ("dgl", GRAPH + "graph.to_dgl()"),
    "bonds to dgl": ("dgl", BONDS + "bonds.to_dgl()"),
    "engine": ("dgl", BONDS + "u_mul_e_sum(bonds, torch.ones(2, 1, 1), torch.ones(2, 1), 'dgl')"),
    "evaluate": ("evaluate", "from dc_graphsam.metrics import load_metric; load_metric('masked_rmse')"),
}


def without(package: str, code: str, cwd: Path) -> subprocess.CompletedProcess:
    paths = [str(HIDING), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "DC_GRAPHSAM_TESTS_WITHOUT": package, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=200, cwd=cwd, env=environment
    )


@pytest.mark.parametrize("package", ["deepchem", "dgl", "evaluate"])
def test_a_missing_package_is_one_error_that_names_the_way(package, tmp_path):
    asked = {what: code for what, (wanted, code) in ASKED.items() if wanted == package}
    code = f"""
for what, code in {asked!r}.items():
    try:
        exec(code, {{}})
    except Exception as error:
        print(what, type(error).__name__, error, sep="|")
    else:
        print(what, "nothing", "", sep="|")
"""
    run = without(package, code, tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    said = dict(line.split("|", 1) for line in run.stdout.splitlines())
    assert said.keys() == asked.keys()
    pattern = r"MissingPackageError\|.+ needs {}, which is not installed: {}"
    for what, line in said.items():
        assert re.fullmatch(pattern.format(package, re.escape(optional.how_to_get(package))), line), (what, line)


def test_the_rest_does_not_ask(tmp_path):
    """Every other room can be imported, and load_moleculenet reads the files itself."""
    (tmp_path / "BBBP.csv").write_text(
        "num,name,p_np,smiles\n" + "".join(f"1,x,{n % 2},{'C' * n}\n" for n in range(1, 11))
    )
    code = """
import importlib, pkgutil, dc_graphsam
from dc_graphsam.data import load_moleculenet
modules = [m.name for m in pkgutil.walk_packages(dc_graphsam.__path__, "dc_graphsam.", onerror=lambda name: None)]
modules = [m for m in modules if not m.startswith(("dc_graphsam.dc", "dc_graphsam.metrics.modules"))]
for module in modules:
    importlib.import_module(module)
data = load_moleculenet("bbbp", data_dir=".", progress=False)
print(len(modules) > 100, sum(map(len, data.values())))
"""
    run = without("deepchem,dgl,optuna,gradio,peft", code, tmp_path)
    assert run.stdout.split() == ["True", "10"], run.stderr[-2000:]


def test_the_command_line_says_it_in_one_line(tmp_path):
    (tmp_path / "my.csv").write_text("smiles,y\n" + "".join(f"{'C' * n}O,{n}\n" for n in range(1, 21)))
    words = [
        "train",
        "--data",
        "my.csv",
        "--epochs",
        "1",
        "--hidden-size",
        "8",
        "--message-engine",
        "dgl",
        "--output",
        "run",
    ]
    code = f"import sys; from dc_graphsam.cli.main import main; sys.exit(main({words!r}))"
    run = without("dgl", code, tmp_path)
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert (
        run.stderr.strip()
        .splitlines()[-1]
        .startswith("dc-graphsam: message_engine='dgl' needs dgl, which is not installed: ")
    )


def test_what_is_said_of_each_python():
    for python in ((3, 10), (3, 11, 7)):
        assert optional.how_to_get("deepchem", python) == "pip install deepchem==2.8.0"
        assert optional.how_to_get("dgl", python) == "pip install dgl==1.1.3"
    for python in ((3, 12), (3, 14, 0)):
        assert optional.how_to_get("deepchem", python).startswith(NAMED)
        assert "message_engine='torch'" in optional.how_to_get("dgl", python)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import tensorflow_of_long_ago", r"deepchem, which cannot be imported \(No module named 'tensorflow_of"),
        ("import joblib_, numpy; numpy.no_such_name", r"cannot be imported \(No module named 'joblib_'\)"),
        ("import numpy; numpy.no_such_name", r"cannot be imported \(module 'numpy' has no attribute 'no_such_name'\)"),
        ("raise OSError('no library')", r"cannot be imported \(no library\)"),
    ],
)
def test_a_package_that_is_there_but_broken(tmp_path, monkeypatch, content, words):
    (tmp_path / "deepchem.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "deepchem"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingPackageError, match=words) as error:
        optional.require("deepchem", "this test")
    assert str(error.value).endswith(optional.how_to_get("deepchem")) and error.value.package == "deepchem"


def test_it_is_an_error_of_this_package_and_an_import_error():
    error = MissingPackageError("dgl", "it", "pip install dgl")
    assert isinstance(error, DCGraphSAMError) and isinstance(error, ImportError)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.package, again.way) == (str(error), "dgl", "pip install dgl")
