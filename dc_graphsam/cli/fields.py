"""Names, types and defaults of dataclass fields, read from source text.

Importing ``transformers`` takes seconds, and a mistyped option should be answered at once; parsing the module that
declares the options takes some milliseconds.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from dc_graphsam.catalogue import NETWORKS

__all__ = ["Field", "model_fields", "training_fields"]

_PARAMETERS = re.compile(r"^(\w+(?:, \w+)*)(?: : .*)?\n((?:    .*\n?)+)", re.MULTILINE)
_SCALARS = ("int", "float", "bool", "str")
_LISTS = ("list", "List", "tuple", "Tuple", "Sequence", "Iterable", "set")
_DICTS = ("dict", "Dict", "Mapping")


@dataclass(frozen=True)
class Field:
    """One thing that can be set.

    Attributes
    ----------
    name
        In snake case.
    group
        ``"model"``, ``"training"`` or ``"run"``.
    kinds
        What it may hold: of ``int, float, bool, str, list, dict, none, any``.
    items
        For a list, kinds of its elements.
    choices
        Accepted values, empty if there is no list of them.
    default
        Source text of the default.
    help
        What it means; may be empty.
    """

    name: str
    group: str
    kinds: frozenset[str]
    items: frozenset[str] = frozenset({"str"})
    choices: tuple = ()
    default: str = ""
    help: str = ""

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def is_flag(self) -> bool:
        """Stands without a value on the command line."""
        return "bool" in self.kinds and not self.kinds & {"str", "int", "float", "dict", "list", "any"}


@lru_cache(maxsize=1)
def model_fields() -> dict[str, Field]:
    """Fields of the networks' configurations; of a name that several have, those of the first."""
    fields: dict[str, Field] = {}
    for network in NETWORKS.values():
        for f in _read(*_find("models", network.classes[0]), "model"):
            fields.setdefault(f.name, f)
    return fields


@lru_cache(maxsize=1)
def training_fields() -> dict[str, Field]:
    """Fields of ``GraphSAMTrainingArguments``, inherited ones included."""
    transformers = find_spec("transformers")
    fields: dict[str, Field] = {}
    if transformers is not None and transformers.submodule_search_locations:
        inherited = Path(transformers.submodule_search_locations[0], "training_args.py")
        fields.update((f.name, f) for f in _read(inherited, "TrainingArguments", "training"))
    fields.update((f.name, f) for f in _read(*_find("hf", "GraphSAMTrainingArguments"), "training"))
    return fields


def _find(subpackage: str, class_name: str) -> tuple[Path, str]:
    """The module of a subpackage of ours that declares a class."""
    folder = Path(__file__).resolve().parents[1] / subpackage
    declares = f"\nclass {class_name}("
    paths = sorted(folder.rglob("*.py"))
    return next(path for path in paths if declares in path.read_text(encoding="utf-8")), class_name


def _read(path: Path, class_name: str, group: str) -> list[Field]:
    """Annotated names in the body of a class, and the parameters of its ``__init__``."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    body = next(node for node in module.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    found: list[Field] = []
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append(_field(node.target.id, node.annotation, node.value, group))
        elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
            arguments = node.args
            names = [*arguments.args[1:], *arguments.kwonlyargs]
            required = [None] * (len(arguments.args) - 1 - len(arguments.defaults))
            defaults = [*required, *arguments.defaults, *arguments.kw_defaults]
            found += [_field(a.arg, a.annotation, default, group) for a, default in zip(names, defaults, strict=True)]
    explained = _explained(ast.get_docstring(body) or "")
    return [
        f if f.help else replace(f, help=explained.get(f.name, ""))
        for f in found
        if not f.name.startswith("_") and "classvar" not in f.kinds
    ]


def _explained(docstring: str) -> dict[str, str]:
    """Parameter → what a docstring in numpydoc form says of it."""
    notes: dict[str, str] = {}
    for names, text in _PARAMETERS.findall(docstring):
        for name in names.split(", "):
            notes[name] = " ".join(text.replace("``", "").split())
    return notes


@dataclass
class _Type:
    kinds: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)
    choices: list = field(default_factory=list)
    plain: bool = False  # admits all values of some type, whatever literals there are


def _field(name: str, annotation: ast.expr | None, default: ast.expr | None, group: str) -> Field:
    of = _Type()
    _collect(annotation, of)
    text, metadata = _default(default)
    choices = tuple(metadata.get("choices", ())) or (() if of.plain else tuple(of.choices))
    return Field(
        name, group, frozenset(of.kinds), frozenset(of.items or {"str"}), choices, text, metadata.get("help", "")
    )


def _collect(node: ast.expr | None, of: _Type) -> None:
    """Add what an annotation admits to ``of``."""
    if node is None:
        of.kinds.add("any")
    elif isinstance(node, ast.Constant):
        if node.value is None:
            of.kinds.add("none")
        elif isinstance(node.value, str):
            _collect(ast.parse(node.value, mode="eval").body, of)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        _collect(node.left, of)
        _collect(node.right, of)
    elif isinstance(node, ast.Subscript):
        _collect_subscript(_name(node.value), node.slice, of)
    else:
        name = _name(node)
        if name in _SCALARS:
            of.kinds.add(name)
            of.plain = True
        elif name in _LISTS:
            of.kinds.add("list")
        elif name in _DICTS:
            of.kinds.add("dict")
        elif name == "Any":
            of.kinds.add("any")
        elif name == "ClassVar":
            of.kinds.add("classvar")
        else:
            of.kinds.add("str")  # an enumeration: its class says what it accepts


def _collect_subscript(name: str, inner: ast.expr, of: _Type) -> None:
    members = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name in ("Optional", "Union"):
        for member in members:
            _collect(member, of)
        if name == "Optional":
            of.kinds.add("none")
    elif name == "Literal":
        for member in members:
            value = ast.literal_eval(member)
            of.choices.append(value)
            of.kinds.add("none" if value is None else type(value).__name__)
    elif name in _LISTS:
        of.kinds.add("list")
        element = _Type()
        for member in members:
            if not (isinstance(member, ast.Constant) and member.value is Ellipsis):
                _collect(member, element)
        of.items |= element.kinds
    elif name in _DICTS:
        of.kinds.add("dict")
    elif name == "ClassVar":
        of.kinds.add("classvar")
    else:
        of.kinds.add("any")


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _default(node: ast.expr | None) -> tuple[str, dict]:
    """Source text of a default, and the ``metadata`` of ``field(…)`` where it is written out."""
    if not (isinstance(node, ast.Call) and _name(node.func) == "field"):
        return ("" if node is None else ast.unparse(node)), {}
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    metadata = {}
    if isinstance(given.get("metadata"), ast.Dict):
        for key, value in zip(given["metadata"].keys, given["metadata"].values, strict=True):
            try:
                metadata[ast.literal_eval(key)] = ast.literal_eval(value)
            except ValueError:
                continue  # computed at import
    if "default" in given:
        return ast.unparse(given["default"]), metadata
    factory = given.get("default_factory")
    return ("" if factory is None else ast.unparse(factory) + "()"), metadata
