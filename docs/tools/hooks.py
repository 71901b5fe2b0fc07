"""What MkDocs does beside copying pages: it writes those that follow from the code, and sets equations.

* ``api/*.md``: one page per package, a section per public name.
* ``command-line.md``: the place ``<!-- commands -->`` is taken by what the parser says of itself.
* ``data.md``: ``<!-- datasets -->`` by the table of built-in data sets; ``optimizers.md``: ``<!-- schedules -->``.
* TeX between dollars becomes MathML, which browsers draw themselves: no script, no fonts, no network.
"""

from __future__ import annotations

import html
import os
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

to_markdown = run_path(str(Path(__file__).with_name("rst.py")))["to_markdown"]

# Packages with public names, in the order in which a molecule passes them.
ROOMS = {
    "dc_graphsam.chem": "Molecules",
    "dc_graphsam.data": "Data",
    "dc_graphsam.models": "Models",
    "dc_graphsam.optim": "Optimizers",
    "dc_graphsam.metrics": "Metrics",
    "dc_graphsam.check": "Checks",
    "dc_graphsam.processing": "Processor",
    "dc_graphsam.hf": "Hugging Face",
    "dc_graphsam.dc": "DeepChem",
}
# Modules whose public names are read as a whole.
MODULES = {
    "dc_graphsam.catalogue": "Catalogue of names",
    "dc_graphsam.tasks": "Tasks",
    "dc_graphsam.exceptions": "Errors",
    "dc_graphsam.testing": "Assertions for tests",
}


def api_pages() -> dict[str, str]:
    """Path below docs/ → Markdown."""
    from dc_graphsam._lazy import HOMES

    pages, index = (
        {},
        ["# API\n", "Made from the docstrings. Every name can be imported from the package it stands under.\n"],
    )
    listed: dict[str, str] = {}
    for room, title in ROOMS.items():
        package = import_module(room)
        short = room.rpartition(".")[2]
        text = [f"# {title}: `{room}`\n", _plain(package.__doc__ or "")]
        for name in package.__all__:
            home = _defined_in(HOMES, room, name)
            if home in listed:  # a name that a door hands on
                text.append(f"\n`{name}`\n: see [{listed[home]}][{home}]\n")
                continue
            listed[home] = room
            if _is_written(home):
                text.append(f"\n::: {home}\n")
            else:  # made from the catalogue, so that there is no source to read
                text.append(f"\n## `{name}` {{ #{home} }}\n\n{to_markdown(getattr(package, name).__doc__ or '')}\n")
        pages[f"api/{short}.md"] = "\n".join(text)
        index.append(f"* [{title}]({short}.md): `{room}`")
    for module, title in MODULES.items():
        short = module.rpartition(".")[2]
        pages[f"api/{short}.md"] = (
            f"# {title}: `{module}`\n\n::: {module}\n    options:\n      show_root_toc_entry: false\n"
        )
        index.append(f"* [{title}]({short}.md): `{module}`")
    pages["api/index.md"] = "\n".join(index) + "\n"
    return pages


def _defined_in(homes: dict, package: str, name: str) -> str:
    """Full name where ``package.name`` is defined."""
    while name in homes.get(package, {}):
        package = homes[package][name]
        if package.startswith("dc_graphsam."):
            import_module(package.rpartition(".")[0])  # a face says where its names live when it is imported
    return f"{package}.{name}"


def _is_written(home: str) -> bool:
    """Whether the source of a module defines the name."""
    module, _, name = home.rpartition(".")
    source = Path(find_spec(module).origin).read_text(encoding="utf-8")
    return re.search(rf"^(?:(?:class|def)[ ]+{name}\b|{name}\s*[:=])", source, flags=re.M) is not None


def _plain(text: str) -> str:
    return re.sub(
        r"((?:^>>> .*\n?(?:^(?!\s*$).*\n?)*)+)",
        lambda m: f"\n```pycon\n{m[1].rstrip()}\n```\n",
        to_markdown(text),
        flags=re.M,
    )


def commands() -> str:
    """Every command with its help, and every field that can be set."""
    from dc_graphsam.cli.fields import model_fields, training_fields
    from dc_graphsam.cli.options import ALIASES, RUN_FIELDS, SET_BY_RUN
    from dc_graphsam.cli.parser import build_parser

    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        parser, parsers = build_parser()
        parts = [f"```text\n{parser.format_help().strip()}\n```"]
        parts += [f"## {name}\n\n```text\n{p.format_help().strip()}\n```" for name, p in parsers.items()]
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    parts.append(
        "## Every field of a run\n\nOn the command line as they stand here; in a `--config` file without the dashes, and with underscores."
    )
    short = {long: name.replace("_", "-") for name, long in ALIASES.items()}
    seen = set(SET_BY_RUN)
    for title, fields in (("Run", RUN_FIELDS), ("Model", model_fields()), ("Training", training_fields())):
        rows = ["| option | takes | default | meaning |", "|---|---|---|---|"]
        for field in fields.values():
            if field.name in seen or field.name in ALIASES:
                continue
            seen.add(field.name)
            takes = ", ".join(map(str, field.choices)) or " or ".join(sorted(field.kinds - {"none"}))
            also = f" `--{short[field.name]}`" if field.name in short else ""
            note = field.help.replace("%%", "%").split(". ")[0]
            rows.append(f"| `{field.option}`{also} | {_cell(takes)} | {_code(field.default)} | {_cell(note)} |")
        parts.append(f"### {title}\n\n" + "\n".join(rows))
    return "\n\n".join(parts)


def datasets() -> str:
    from dc_graphsam.data.moleculenet.registry import datasets_table

    rows = ["| name | molecules | tasks | kind | metric | split | what is predicted |", "|---|---|---|---|---|---|---|"]
    for row in datasets_table():
        rows.append(
            f"| `{row['name']}` | {row['rows']:,} | {row['tasks']} | {row['task_type']} | `{row['metric']}` | {row['split']} "
            f"| {_cell(str(row['description']))} |"
        )
    return "\n".join(rows)


GENERATED = {"<!-- commands -->": commands, "<!-- datasets -->": datasets}


def _cell(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "&#124;").replace("*", "&#42;").replace("_", "&#95;")


def _code(text: str) -> str:
    return f"<code>{_cell(text)}</code>" if text else ""


# ---- MkDocs calls these


def on_files(files, config):
    for path, text in api_pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    for place, make in GENERATED.items():
        if place in markdown:
            markdown = markdown.replace(place, make())
    return markdown


def on_page_content(content, page, config, files):
    return re.sub(
        r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>',
        lambda m: _math(html.unescape(m[3]), display=m[2] == "["),
        content,
        flags=re.S,
    )


def _math(tex: str, display: bool) -> str:
    tex = tex.strip()
    if display and re.search(r"&|\\\\", re.sub(r"\\begin\{(\w+)\}.*?\\end\{\1\}", "", tex, flags=re.S)):
        tex = rf"\begin{{split}}{tex}\end{{split}}"
    # latex2mathml draws a hat as a caret that MathML places badly when it is not told to stretch
    math = convert(tex, display="block" if display else "inline").replace("&#x0005E;", "&#x002C6;")
    return f'<div class="equation">{math}</div>' if display else math
