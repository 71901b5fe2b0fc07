"""Imports point one way, and importing the package is cheap."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import dc_graphsam
from dc_graphsam._lazy import HOMES

PACKAGE = Path(dc_graphsam.__file__).parent

# Rooms by floor, from the ground; a room imports from floors below its own, and from nothing else. A room is a folder, or
# a file that lies beside the folders. ``open`` is for all.
OPEN = {"_lazy", "_version", "catalogue", "exceptions", "native", "optional", "progress"}
FLOORS = (
    {"chem", "tasks", "run_folder", "wording", "optim.memory", "optim.rho"},
    {"optim.perturbed", "repository"},
    {"optim.looking", "data", "models.kernels", "metrics"},
    {"optim.stepping", "data.deepchem", "data.hub", "models.common"},
    {"optim.methods", "data.moleculenet", "models.compt", "processing", "report", "check"},
    {"optim", "models", "testing"},
    {"predict"},
    {"dc", "hf", "explain"},
    {"runs"},
    {"hub"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# What may not be imported although it lies below: parts that must be usable, and readable, without each other.
APART = {
    "optim": {"chem", "tasks", "data", "models", "metrics", "repository", "run_folder", "wording"},
    "data": {"models", "metrics", "repository", "optim"},
    "models": {"data", "metrics", "optim"},
    "metrics": {"chem", "data", "models", "optim", "repository"},
    "report": {"data", "models", "optim", "chem"},
    "predict": {"optim", "metrics", "report"},
    "dc": {"processing", "report", "run_folder", "wording"},
}
HEAVY = {"torch", "deepchem", "dgl", "transformers", "datasets", "sklearn", "matplotlib", "rdkit", "pandas"}


def module_of(path: Path) -> str:
    pieces = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(pieces[:-1] if pieces[-1] == "__init__" else pieces)


# The evaluate modules are loaded as files, by ``evaluate``, and are no room.
MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if "modules" not in path.parts}
IS_FACE = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def room_of(module: str) -> str:
    if module in IS_FACE:
        return module
    return module.rpartition(".")[0] or module


def exported(face: str) -> dict[str, str]:
    """Name → module, as the ``exports(...)`` of a package's face says."""
    package = f"dc_graphsam.{face}".removesuffix(".")
    importlib.import_module(package)
    return {name: module.removeprefix("dc_graphsam.") for name, module in HOMES.get(package, {}).items()}


EXPORTED = {face: exported(face) for face in IS_FACE}


def home_of(module: str, name: str) -> str:
    """Module that defines what ``from dc_graphsam.<module> import <name>`` gives."""
    below = f"{module}.{name}".removeprefix(".")
    if below in MODULES:
        return below
    while name in EXPORTED.get(module, {}):
        module = EXPORTED[module][name]
    return module


def imported(path: Path):
    """(module of ours, line) for every import of a file, those inside functions and for types only included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dc_graphsam":
            module = node.module.removeprefix("dc_graphsam").removeprefix(".")
            for alias in node.names:
                yield home_of(module, alias.name), node.lineno
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("dc_graphsam."):
                    yield alias.name.removeprefix("dc_graphsam."), node.lineno


ARROWS = {name: dict(imported(path)) for name, path in MODULES.items() if name not in IS_FACE}


def test_every_file_is_in_a_room_with_a_floor():
    rooms = {room_of(name) for name in ARROWS}
    assert rooms == set(FLOOR) | OPEN, (rooms - set(FLOOR) - OPEN, (set(FLOOR) | OPEN) - rooms)


@pytest.mark.parametrize("module", sorted(ARROWS))
def test_imports_follow_the_arrow(module):
    room = room_of(module)
    for target, line in ARROWS[module].items():
        aim = room_of(target)
        if aim == room or aim in OPEN or not aim:  # the face of the whole package hands names on
            continue
        assert room not in OPEN, f"{module}, line {line}: {target}; {room} is open to all and may import nothing"
        assert FLOOR[aim] < FLOOR[room], f"{module}, line {line}: {target} is not on a floor below"
        whole = room.partition(".")[0]
        assert aim.partition(".")[0] not in APART.get(whole, set()), f"{module}, line {line}: {target} is kept apart"


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Nodes that remain when those without arrows are taken away again and again."""
    left = {node: set(targets) - {node} for node, targets in arrows.items()}
    while ends := [node for node, targets in left.items() if not targets & left.keys()]:
        for node in ends:
            del left[node]
    return sorted(left)


def test_no_circle_among_files():
    assert not circles({module: set(targets) for module, targets in ARROWS.items()})


def test_no_circle_among_rooms():
    rooms: dict[str, set[str]] = {}
    for module, targets in ARROWS.items():
        rooms.setdefault(room_of(module), set()).update(room_of(target) for target in targets)
    assert not circles(rooms)


def test_a_circle_would_be_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["a", "b", "c", "d"]
    assert not circles({"a": {"b"}, "b": {"c"}, "c": set()})


@pytest.mark.parametrize("door", ["hf", "dc"])
def test_a_door_is_no_house(door):
    lines = sum(len(path.read_text().splitlines()) for path in (PACKAGE / door).rglob("*.py"))
    assert lines < 3000


def test_only_message_passing_imports_dgl():
    importers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(a.name.split(".")[0] == "dgl" for a in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dgl")
        or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require" and "'dgl" in ast.unparse(node))
    }
    assert importers == {"models/common/message_passing.py", "chem/molgraph.py"}


def fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_of_the_package_pulls_in_nothing_heavy():
    loaded = fresh("import sys, dc_graphsam; print(*{m.split('.')[0] for m in sys.modules})").split()
    assert not HEAVY & set(loaded)


@pytest.mark.parametrize(
    "module",
    [
        "dc_graphsam.models",
        "dc_graphsam.data",
        "dc_graphsam.hf",
        "dc_graphsam.chem",
        "dc_graphsam.metrics",
        "dc_graphsam.cli.main",
    ],
)
def test_import_of_a_part_is_light(module):
    loaded = fresh(f"import sys, {module}; print(*{{m.split('.')[0] for m in sys.modules}})").split()
    assert not {"deepchem", "dgl", "datasets", "matplotlib", "sklearn", "rdkit"} & set(loaded)


def test_training_runs_on_torch_and_transformers_with_prepared_features():
    """No rdkit, deepchem, dgl or datasets: a machine that only trains."""
    code = """
import sys
for name in ("rdkit", "deepchem", "dgl", "datasets", "sklearn", "pandas", "matplotlib"):
    sys.modules[name] = None
import torch
from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction, GraphSAMTrainer, GraphSAMTrainingArguments
features = dict(node_features=torch.randn(3, 115), num_nodes=3, labels=torch.tensor([1.0]))
item = dict(labels=torch.tensor([1.0]), node_features=torch.randn(3, 115), node_mask=torch.ones(3, dtype=torch.bool),
    edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), edge_features=torch.randn(4, 14), distance=torch.tensor([[0, 1, 2], [1, 0, 1], [2, 1, 0]], dtype=torch.uint8))
model = CoMPTForPropertyPrediction(CoMPTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2))
collate = lambda items: {k: torch.stack([i[k] for i in items]) for k in items[0]}
import tempfile
args = GraphSAMTrainingArguments(tempfile.mkdtemp(), num_train_epochs=1, per_device_train_batch_size=2, save_strategy="no", use_cpu=True)
before = model.classifier.weight.detach().clone()
GraphSAMTrainer(model, args, train_dataset=[item] * 4, data_collator=collate).train()
assert not torch.equal(before, model.classifier.weight)
print("trained")
"""
    assert "trained" in fresh(code)
