"""Messages of the command line name its options, whatever the library calls them."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import dc_graphsam
from dc_graphsam.cli.main import main
from dc_graphsam.cli.names import in_options, option_of
from dc_graphsam.data import load_csv
from dc_graphsam.runs.settings import RunSettings

PACKAGE = Path(dc_graphsam.__file__).parent
LOADING = [
    *(PACKAGE / "data" / f"{name}.py" for name in
      ("assemble", "cache", "featurized", "given_splits", "join_tables", "label_words", "partition", "splits", "tables",
       "user_table")),
    *(PACKAGE / "runs" / f"{name}.py" for name in ("data", "settings", "evaluate")),
]  # fmt: skip
ARGUMENTS = {
    *inspect.signature(load_csv).parameters,
    *RunSettings.__dataclass_fields__,
} - {"path", "model", "model_options", "training_options"}


def raised(path: Path):
    """(line, text with {} for what is filled in, names it declares) of every error of ours that a module raises."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            name = getattr(node.exc.func, "id", "")
            if name.endswith("Error") and name != "MissingColumnError":  # which takes the name apart from the message
                parts = [_text(arg) for arg in node.exc.args]
                declared = {
                    c.value for keyword in node.exc.keywords if keyword.arg == "arguments"
                    for c in ast.walk(keyword.value) if isinstance(c, ast.Constant)
                }  # fmt: skip
                dynamic = any(keyword.arg in ("arguments", None) for keyword in node.exc.keywords) and not declared
                yield node.lineno, " ".join(parts), declared, dynamic


def _text(node) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return "{}"


def spoken_of(text: str) -> set[str]:
    """Arguments that a message speaks of: names with an underscore, and plain words where they stand as names."""
    found = set()
    for name in ARGUMENTS:
        plain = rf"(?<![\w.'-]){name}(?: is (?:\{{\}}|None|')|=| \{{\}} of)"
        anywhere = rf"(?<![\w.'-]){name}(?![\w'-])"
        if re.search(anywhere if "_" in name else plain, text):
            found.add(name)
    return found


@pytest.mark.parametrize("path", LOADING, ids=lambda path: path.stem)
def test_every_error_says_which_arguments_it_speaks_of(path):
    silent = [
        f"{path.name}:{line}: {sorted(spoken_of(text) - declared)} in {text!r}"
        for line, text, declared, dynamic in raised(path)
        if not dynamic and not spoken_of(text) <= declared
    ]
    assert not silent, "\n".join(silent)


def test_the_check_above_sees_something():
    texts = [text for path in LOADING for _, text, declared, _ in raised(path) if spoken_of(text)]
    assert len(texts) > 20 and spoken_of("task_columns is None and {} has") == {"task_columns"}


def test_every_argument_of_loading_has_an_option():
    without = {name for name in ARGUMENTS if option_of(name) is None}
    assert without == {"cache_dir", "class_names", "num_workers", "progress"}


@pytest.mark.parametrize(
    ("message", "arguments", "expected"),
    [
        ("splits is 3", ["splits"], "--splits-file is 3"),
        (
            "data/split.csv: split is 'x'; split-like 'split'",
            ["split"],
            "data/split.csv: --split is 'x'; split-like 'split'",
        ),
        ("pass positive='a b' or positive='c'.", ["positive"], "pass --positive 'a b' or --positive c."),
        ("fold is None; split='kfold' needs one", ["fold", "split"], "--fold is not given; --split kfold needs one"),
        ("metric of multiclass is 'rmse'", ["metric of multiclass"], "--metric of multiclass is 'rmse'"),
        ("Which one it is says smiles_column.", ["smiles_column"], "Which one it is says --smiles-column."),
        ("nothing is unknown", ["unknown"], "nothing is unknown"),
    ],
)
def test_names_and_nothing_else_are_put_into_other_words(message, arguments, expected):
    assert in_options(message, arguments) == expected


TABLE = "smiles,a,b,word,grade,day,set\n" + "".join(
    f"{'C' * n},{n}.5,{n % 2},{('red', 'blue')[n % 2]},{('x', 'y', 'z')[n % 3]},0{n % 9 + 1}/02/2020,tset\n"
    for n in range(1, 21)
)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", "--target is not given and my.csv has several columns with numbers"),
        ("--target smiles", "--target has 'smiles', which holds the SMILES"),
        ("--target word", "say which of them is class 1: --positive blue or --positive red"),
        ("--target word --positive green", "--positive is 'green', which is nowhere"),
        (
            "--target word --task-type multiclass --positive red",
            "--positive is ('red',) and --task-type is 'multiclass'",
        ),
        ("--target grade", "pass --task-type multiclass to tell them apart"),
        ("--target a b", "--task-type is not given and only some columns"),
        ("--target a --split kfold", "--fold is not given; --split kfold needs one of"),
        ("--target a --fold 1 --split random", "--fold is 1 but --split is 'random'; folds belong to --split kfold"),
        ("--target a --sizes 0.5 0.5", "--sizes is (0.5, 0.5); accepted: three fractions"),
        ("--target a --max-atoms 0", "--max-atoms is 0; accepted"),
        ("--target a --split-column set", "--split-column 'set' of my.csv holds 'tset' (20)"),
        ("--target a --time-column day", "--time-column 'day' of my.csv holds '02/02/2020' in row 0"),
        ("--target a --group-column b", "--group-column is given but 2 groups leave nothing"),
        ("--target a --group-column b --time-column day", "--group-column and --time-column both say how to divide"),
        ("--target a --splits-file s.json --split-column set", "--splits-file and --split-column both say"),
        ("--target a --test-data my.csv", "--test-data is 'my.csv', which is given already"),
        ("--target a --splits-file two.json", "holds 2 divisions; say which with --fold, 0 to 1"),
        ("--target a --metric roc_auc", "--metric of regression is 'roc_auc'"),
        ("--target a --class-names x", "--class-names cannot be set: it follows from the labels"),
        ("--target a --smiles-column Smiles", "has no column 'Smiles'"),
    ],
)
def test_mistakes_with_data(tmp_path, monkeypatch, capsys, command, words):
    monkeypatch.chdir(tmp_path)
    Path("my.csv").write_text(TABLE)
    Path("two.json").write_text('[{"train": [0]}, {"train": [1]}]')
    assert main(["train", "--data", "my.csv", *command.split()]) == 2
    line = capsys.readouterr().err.rstrip("\n").splitlines()[-1]
    assert line.startswith("dc-graphsam: ") and words in line
    python_names = {name for name in ARGUMENTS if "_" in name and name != "class_names"}
    assert not {name for name in python_names if re.search(rf"\b{name}\b", line)}


def test_notes_on_the_way_name_options_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("my.csv").write_text("smiles,y\n" + "".join(f"{'C' * n},{n % 3}\n" for n in range(1, 21)))
    main(["train", "--data", "my.csv", "--metric", "roc_auc"])  # stops at the metric
    assert "for classes pass --task-type multiclass" in capsys.readouterr().err
    Path("no.csv").write_text("name,y\nethane,1\n")
    main(["train", "--data", "no.csv"])
    assert "Which one it is says --smiles-column." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("predict --model compt-esol-small --input in.csv --output out.csv --num-workers -1", "--num-workers is -1"),
        ("predict --model compt-esol-small --input in.csv --output out.csv --batch-size 0", "--batch-size is 0"),
        ("datasets --check nope", "'nope'; accepted: 'freewilson'"),
        ("datasets --positive a", "--positive belongs to --data FILE"),
    ],
)
def test_a_command_calls_things_by_its_own_options(tmp_path, monkeypatch, capsys, words, said):
    from dc_graphsam.cli.main import main
    from dc_graphsam.repository.bundled import BUNDLED

    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("smiles\nCO\n")
    words = words.replace("compt-esol-small", str(BUNDLED / "compt-esol-small"))
    assert main(words.split()) == 2
    assert said in capsys.readouterr().err
