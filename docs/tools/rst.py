"""Docstrings are written in reStructuredText; pages are Markdown. This translates what our docstrings use of it."""

from __future__ import annotations

import re
import textwrap
from importlib import import_module

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc|obj):`(~?)([^`<]+?)(?:\s*<([^>]+)>)?`")
# "a, b : type" and what is said of them: griffe would give both the type and the default of the first.
_TOGETHER = re.compile(r"^((?:\*{0,2}\w+, )+\*{0,2}\w+)( : .*)?\n((?:[ ]{4}.*(?:\n|$)|\n(?=[ ]{4}))+)", re.M)
_TABLE = re.compile(r"^([ ]*)(=+(?:[ ]+=+)+)\n(?:([^\n]*)\n\1\2\n)?(.*?)\n\1\2$", re.M | re.S)


def to_markdown(text: str) -> str:
    """Roles, equations, simple tables and literal blocks of a docstring, in Markdown.

    >>> to_markdown("See :math:`\\\\rho`::\\n\\n    x = 1")
    'See $\\\\rho$:\\n\\n    x = 1'
    """
    text = _equations(_TABLE.sub(_table, text))
    text = re.sub(r":math:`([^`]+)`", r"$\1$", text)
    text = _ROLE.sub(_link, text)
    text = _TOGETHER.sub(_apart, text)
    return re.sub(r"::$", ":", text, flags=re.M)


def _apart(match: re.Match) -> str:
    names, kind, said = match.groups()
    return "".join(f"{name}{kind or ''}\n{said.rstrip()}\n" for name in names.split(", ")) + "\n" * said.count(
        "\n\n", -2
    )


def _link(match: re.Match) -> str:
    short, text, target = match.groups()
    name = target or text
    shown = name.rpartition(".")[2] if short else text
    found = _full_name(name)
    code = f"`{shown}`" if target is None else shown
    # optional: a name that has no section of its own stays text
    return (
        f'<autoref optional identifier="{found}">{code.replace("`", "<code>", 1).replace("`", "</code>", 1)}</autoref>'
    )


def _full_name(name: str) -> str:
    """Where ``dc_graphsam.hf.GraphSAMTrainer`` is defined; also of a bare name that is public somewhere."""
    from dc_graphsam._lazy import HOMES

    package, _, last = name.rpartition(".")
    if not package:
        homes = {home[name] for home in HOMES.values() if name in home}
        package = next(iter(sorted(homes, key=len, reverse=True)), "")
        if not package:
            return name
    elif package.rpartition(".")[2][:1].isupper():  # a method
        return f"{_full_name(package)}.{last}"
    while package in HOMES and last in HOMES[package]:
        package = HOMES[package][last]
        if package not in HOMES and package.count(".") == 1 and package.startswith("dc_graphsam."):
            import_module(package)
    return f"{package}.{last}"


def _equations(text: str) -> str:
    lines, out, at = text.split("\n"), [], 0
    while at < len(lines):
        line = lines[at]
        if not line.lstrip().startswith(".. math::"):
            out.append(line)
            at += 1
            continue
        margin = len(line) - len(line.lstrip())
        tex = [line.split("::", 1)[1]]
        at += 1
        while at < len(lines) and (not lines[at].strip() or len(lines[at]) - len(lines[at].lstrip()) > margin):
            tex.append(lines[at])
            at += 1
        body = textwrap.dedent("\n".join(tex)).strip()
        body = "\n".join(row.strip() for row in body.split("\n") if row.strip())
        out += ["", *(" " * margin + row for row in ("$$", *body.split("\n"), "$$")), ""]
    return "\n".join(out)


def _table(match: re.Match) -> str:
    margin, rule, head, body = match.groups()
    starts = [piece.start() for piece in re.finditer(r"=+", rule)]

    def cells(line: str) -> list[str]:
        line = line[len(margin) :]
        return [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None])]

    rows: list[list[str]] = []
    for line in body.split("\n"):
        pieces = cells(line)
        if rows and not pieces[0]:  # goes on from the line above
            rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1], pieces)]
        else:
            rows.append(pieces)
    lines = [cells(head) if head else [""] * len(starts), ["---"] * len(starts), *rows]
    return "\n".join(f"{margin}| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in lines)


class DocstringsToMarkdown(griffe.Extension):
    """Translates the docstring of every object that is loaded."""

    def on_object(self, *, obj: griffe.Object, **_) -> None:
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
