"""Commands and their options. Nothing heavy is imported here: help and mistakes are answered at once."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable

from dc_graphsam.cli.fields import Field, model_fields, training_fields
from dc_graphsam.cli.options import ALIASES, RUN_FIELDS, SET_BY_RUN
from dc_graphsam.cli.values import UsageError, did_you_mean, from_words

__all__ = ["COMMANDS", "build_parser"]

COMMANDS = {
    "train": "train a model on a data set and write a run folder",
    "evaluate": "metrics of a trained model, on its own test split or other data",
    "predict": "predictions for a table of SMILES, of any length",
    "export": "write a trained model as one file for other runtimes: ONNX and others",
    "publish": "push a run, with its card, to the Hugging Face Hub",
    "datasets": "list the built-in data sets, or look a data set through before training on it",
    "demo": "train on the data set that comes along, in about two minutes",
}
_EXAMPLES = {
    "train": (
        "dc-graphsam train --dataset bbbp --released --output runs/bbbp",
        "dc-graphsam train --data my.csv --target pIC50 --optimizer sam --rho 0.1 --hidden-size 128 --epochs 50",
        "dc-graphsam train --config runs/bbbp/run.yaml --seed 1 --output runs/bbbp-seed1",
    ),
    "evaluate": ("dc-graphsam evaluate --model runs/bbbp", "dc-graphsam evaluate --model runs/mine --data new.csv"),
    "predict": ("dc-graphsam predict --model runs/bbbp --input my.csv --output predicted.csv",),
    "export": ("dc-graphsam export --model runs/bbbp --format onnx --output bbbp.onnx",),
    "publish": (
        "dc-graphsam publish runs/bbbp --repo me/compt-bbbp --dry-run",
        "dc-graphsam publish runs/bbbp-0 --repo me/compt-bbbp --with runs/bbbp-1 runs/bbbp-adam-0 runs/bbbp-adam-1",
    ),
    "datasets": (
        "dc-graphsam datasets",
        "dc-graphsam datasets --check bbbp",
        "dc-graphsam datasets --data my.csv --target pIC50",
    ),
    "demo": ("dc-graphsam demo",),
}
EXPORT_FORMATS = ("onnx", "torchscript", "torch-export")
PARTS = ("train", "validation", "test", "all")


class _Parser(argparse.ArgumentParser):
    """Raises instead of printing usage over several lines, and knows what its options are called."""

    def error(self, message: str) -> None:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def options(self) -> list[str]:
        return [option for action in self._actions for option in action.option_strings if option.startswith("--")]

    def refuse(self, extras: list[str]) -> None:
        """Say what is wrong with words that no option takes."""
        word = extras[0].partition("=")[0]
        kind = "no option" if word.startswith("-") else "no use for"
        raise UsageError(f"{self.prog.split(maxsplit=1)[-1]} has {kind} {word!r}.{did_you_mean(word, self.options())}")


class _HelpAll(argparse.Action):
    def __init__(self, option_strings, dest, **kwargs) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help="every field that can be set, and exit")

    def __call__(self, parser, *_) -> None:
        sys.stdout.write(help_all())
        parser.exit()


def build_parser() -> tuple[_Parser, dict[str, _Parser]]:
    """The parser of the program, and those of its commands."""
    from dc_graphsam import __version__

    parser = _Parser(
        prog="dc-graphsam",
        description="Train molecular graph transformers with sharpness-aware optimizers, and use them.",
        epilog="dc-graphsam COMMAND --help says more. Exit codes: 0 fine, 2 wrong use, 1 failed, 130 after Ctrl-C.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"dc-graphsam {__version__}")
    _add_debug(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    parsers = {}
    for name, summary in COMMANDS.items():
        parsers[name] = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog="examples:\n" + "\n".join(f"  {example}" for example in _EXAMPLES[name]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name not in ("train", "demo"):
            _add_debug(parsers[name])
    for name in ("train", "demo"):
        _add_training(parsers[name], name)
    _add_evaluate(parsers["evaluate"])
    _add_predict(parsers["predict"])
    _add_export(parsers["export"])
    _add_publish(parsers["publish"])
    _add_datasets(parsers["datasets"])
    return parser, parsers


def _add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )


def _add_training(parser: _Parser, name: str) -> None:
    # The options themselves are read by cli.settings, for they include the fields of model and training arguments.
    parser.usage = f"dc-graphsam {name} [OPTION VALUE ...]"
    parser.add_argument("--help-all", action=_HelpAll)
    # Shown here, read elsewhere: with a value, --debug is a field of the training arguments.
    parser.epilog = f"{'  --debug':<26}show the traceback of an error\n\n{parser.epilog}"
    if name == "train":
        parser.add_argument("--config", metavar="RUN.YAML", help="read options from a file; those given here win")
    parser.description += "\n\n" + "\n\n".join(
        f"{title}:\n{_describe(field for field in RUN_FIELDS.values() if field.group == group)}"
        for group, title in (("data", "data"), ("run", "model and method"), ("control", "run folder"))
        if name == "train" or group != "data"
    )
    parser.description += (
        "\n\nEvery field of the model (--hidden-size 128) and of the training arguments (--rho 0.1, --learning-rate "
        "1e-4, --epochs 30,\n--batch-size 32) can be set, too, here and in the file: --help-all lists them."
    )


def _add_evaluate(parser: _Parser) -> None:
    parser.add_argument("--model", required=True, metavar="RUN", help="run folder, or owner/name of a published one")
    parser.add_argument("--dataset", help="a built-in data set instead of the run's own test split")
    parser.add_argument("--data", metavar="CSV", help="a table instead of the run's own test split")
    parser.add_argument("--smiles-column", metavar="NAME", help="column of --data with SMILES")
    parser.add_argument(
        "--positive", nargs="+", metavar="LABEL", help="label of --data that is class 1, if it is a word"
    )
    parser.add_argument("--split", type=_one_of("split", PARTS), help="part of the run's data, test by default; or all")
    for part in ("validation", "test"):
        parser.add_argument(f"--{part}-data", metavar="CSV", help=f"where the {part} table of the run lies now")
    parser.add_argument("--data-dir", metavar="FOLDER", help="of the built-in data sets' files")
    parser.add_argument("--batch-size", type=_whole, metavar="N", help="molecules per batch")
    parser.add_argument(
        "--rewrite",
        type=_whole,
        default=0,
        metavar="N",
        help="also predict every molecule written canonically and in N random orders of its atoms, and say what changes",
    )
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def _add_predict(parser: _Parser) -> None:
    parser.add_argument("--model", required=True, metavar="RUN", help="run folder, or owner/name of a published one")
    parser.add_argument("--input", required=True, metavar="IN.CSV", help="table with a column of SMILES, also .gz")
    parser.add_argument(
        "--output", required=True, metavar="OUT.CSV", help="its rows and columns, the predictions, error and note"
    )
    parser.add_argument("--smiles-column", metavar="NAME", help="by default the usual names are looked for")
    parser.add_argument("--batch-size", type=_whole, default=64, metavar="N", help="molecules per batch (64)")
    parser.add_argument(
        "--num-workers", type=_whole, metavar="N", help="processes that featurize; by default as many as help"
    )
    parser.add_argument(
        "--device", type=_one_of("device", ("auto", "cpu", "cuda")), default="auto", help="auto, cpu or cuda"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an output that is there")


def _add_export(parser: _Parser) -> None:
    parser.add_argument("--model", required=True, metavar="RUN", help="run folder, or owner/name of a published one")
    parser.add_argument("--output", required=True, metavar="FILE", help="file to write")
    parser.add_argument(
        "--format", type=_one_of("format", EXPORT_FORMATS), default="onnx", help=f"{', '.join(EXPORT_FORMATS)} (onnx)"
    )
    parser.add_argument("--opset", type=_whole, metavar="N", help="of ONNX, at least 18; by default torch's own")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that is there")


def _add_publish(parser: _Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="finished run folder")
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="repository; made if needed")
    parser.add_argument(
        "--with",
        dest="others",
        nargs="+",
        default=[],
        metavar="RUN",
        help="more runs of the same protocol for the card: other seeds, other optimizers",
    )
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--license", default="apache-2.0", metavar="ID", help="of the weights (apache-2.0)")
    parser.add_argument("--message", metavar="TEXT", help="of the commit")
    parser.add_argument("--dry-run", action="store_true", help="list exactly what would be pushed, and push nothing")
    parser.add_argument("--write", metavar="FOLDER", help="write these files into a folder, and push nothing")


def _add_datasets(parser: _Parser) -> None:
    parser.add_argument("--data-dir", metavar="FOLDER", help="where to look for files; by default DEEPCHEM_DATA_DIR")
    parser.add_argument(
        "--check", metavar="NAME", help="look one of them through: duplicates, leaks, labels that the typing tells"
    )
    parser.add_argument("--data", metavar="CSV", help="look a table of your own through")
    parser.add_argument("--target", nargs="+", metavar="COLUMN", help="columns of --data with labels")
    parser.add_argument("--smiles-column", metavar="NAME", help="column of --data with SMILES")
    parser.add_argument(
        "--task-type",
        type=_one_of("task_type", ("classification", "multiclass", "regression")),
        help="of --data: classification, multiclass or regression; by default what the labels look like",
    )
    parser.add_argument("--positive", metavar="WORD", help="which word of --target is class 1")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _one_of(name: str, choices: tuple[str, ...]):
    def convert(text: str) -> str:
        try:
            return from_words(Field(name, "", frozenset({"str"}), choices=choices), [text])
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _describe(fields: Iterable[Field]) -> str:
    lines = []
    for field in fields:
        value = "" if field.is_flag else " " + (field.name.split("_")[-1].upper() if not field.choices else "NAME")
        text = field.help + (f": {', '.join(map(str, field.choices))}" if field.choices else "")
        text += f" ({field.default})" if field.default and field.default not in ("None", "true") else ""
        head = f"  {field.option}{value}"
        wrapped = textwrap.wrap(text, 92) or [""]
        lines.append(f"{head:<26}{wrapped[0]}" if len(head) < 26 else f"{head}\n{'':26}{wrapped[0]}")
        lines += [f"{'':26}{line}" for line in wrapped[1:]]
    return "\n".join(lines)


def help_all() -> str:
    """Every option of ``train`` with its type and default."""
    short = {long: name for name, long in ALIASES.items()}
    sections = (("run", RUN_FIELDS), ("model", model_fields()), ("training", training_fields()))
    lines = ["Options of dc-graphsam train; in a --config file the same names without the dashes.\n"]
    seen: set[str] = set(SET_BY_RUN)
    for title, fields in sections:
        lines.append(f"\n{title}:\n")
        for field in fields.values():
            if field.name in seen or field.name in ALIASES:
                continue
            seen.add(field.name)
            types = "|".join(map(str, field.choices)) or " or ".join(sorted(field.kinds - {"none"}))
            also = f", --{short[field.name].replace('_', '-')}" if field.name in short else ""
            default = f" = {field.default}" if field.default else ""
            lines.append(f"  {field.option}{also} ({types}){default}\n")
            note = field.help.replace("%%", "%").split(". ")[0]
            lines += [f"{'':6}{line}\n" for line in textwrap.wrap(note, 112)]
    return "".join(lines)
