"""The catalogue says what is there, and everything that lists networks or optimizers follows it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import dc_graphsam
from dc_graphsam.catalogue import METHODS, NETWORKS
from dc_graphsam.cli.options import MODELS, OPTIMIZERS

PACKAGE = Path(dc_graphsam.__file__).parent


@pytest.mark.parametrize("network", NETWORKS.values(), ids=lambda network: network.name)
def test_a_network_has_its_files_and_classes(network):
    for cls in network.classes:
        found = getattr(dc_graphsam, cls)
        assert found.__module__ == f"dc_graphsam.models{network.homes[cls]}"
    assert getattr(dc_graphsam, network.classes[0]).model_type == network.name
    assert network.name in MODELS


@pytest.mark.parametrize("method", [m for m in METHODS.values() if m.cls], ids=lambda method: method.name)
def test_a_method_has_its_file_and_class(method):
    import dc_graphsam.optim

    found = getattr(dc_graphsam.optim, method.cls)
    assert found.method == method.name and found.__module__ == f"dc_graphsam.optim.methods.{method.module}"
    assert method.name in OPTIMIZERS


def test_every_file_of_a_method_is_entered():
    there = {path.stem for path in (PACKAGE / "optim/methods").glob("*.py")} - {"__init__"}
    assert there == {method.module for method in METHODS.values() if method.module}


NEW_METHOD = """
import sys, types
import torch
import dc_graphsam.catalogue as catalogue

catalogue.METHODS = {**catalogue.METHODS, "half": catalogue.Method("half", "Half-SAM", "half", "Half", "2", 1)}
from dc_graphsam.optim.methods.sam import SAM

class Half(SAM):
    method = "half"

module = sys.modules["dc_graphsam.optim.methods.half"] = types.ModuleType("dc_graphsam.optim.methods.half")
module.Half = Half
"""
NEW_NETWORK = """
import dc_graphsam.catalogue as catalogue
catalogue.NETWORKS = {**catalogue.NETWORKS, "other": catalogue.Network("other", "Other")}
"""


def fresh(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_an_optimizer_that_is_entered_is_known_everywhere():
    """A file in ``optim/methods`` and an entry: exports, ``build_optimizer``, training arguments, command line and names in
    reports follow."""
    found = fresh(
        NEW_METHOD
        + """
import json, tempfile
from dc_graphsam import GraphSAMTrainingArguments
from dc_graphsam.cli.options import OPTIMIZERS
from dc_graphsam.optim import Half as exported, build_optimizer
from dc_graphsam.wording import NAMES
made = build_optimizer("half", [torch.nn.Parameter(torch.ones(2))], lr=0.1)
args = GraphSAMTrainingArguments(tempfile.mkdtemp(), sam="half")
print(json.dumps([type(made).__name__, exported is Half, "half" in OPTIMIZERS, NAMES["half"], args.sam]))
"""
    )
    assert found == ["Half", True, True, "Half-SAM", "half"]


def test_a_network_that_is_entered_is_known_everywhere():
    found = fresh(
        NEW_NETWORK
        + """
import json
import dc_graphsam.models, dc_graphsam.models.auto
from dc_graphsam.cli.options import MODELS
from dc_graphsam.wording import NAMES
print(json.dumps(["OtherConfig" in dir(dc_graphsam.models), dc_graphsam.models.auto.MODELS["other"][1], "other" in MODELS,
                  NAMES["other"]]))
"""
    )
    assert found == [True, "OtherEncoder", True, "Other"]


def test_deepchem_knows_what_is_entered():
    """A recipe and a ``TorchModel`` that nobody wrote down, from the catalogue alone; they can be pickled and trained."""
    pytest.importorskip("deepchem")
    found = fresh(
        NEW_METHOD
        + """
import json, pickle
from dc_graphsam.dc import GraphTransformerFeaturizer, HalfOptimizer, made
import deepchem as dc
recipe = pickle.loads(pickle.dumps(HalfOptimizer(rho=0.1)))
X = GraphTransformerFeaturizer().featurize(["CCO", "CCN", "c1ccccc1", "CC(=O)O"])
model = made.CoMPTModel(n_tasks=1, mode="regression", hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        max_position_embeddings=64, optimizer=recipe)
model.fit(dc.data.NumpyDataset(X, [[1.0], [2.0], [3.0], [4.0]]), nb_epoch=2)
print(json.dumps([type(recipe).__name__, model.passes, made.CoMPTModel.__module__, made.CoMPTModel is made.CoMPTModel]))
"""
    )
    assert found == ["HalfOptimizer", 4, "dc_graphsam.dc.made", True]
