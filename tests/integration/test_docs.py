"""The documentation: it is built strictly and without the network, its code runs, and what it says of the code is so."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dc_graphsam.catalogue import METHODS
from dc_graphsam.data import DATASETS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.M | re.S)
# Titles, which the page shows above the block, of code that is not run here.
NOT_RUN = {"needs the network", "in a clone; needs the network"}


def blocks(path: Path) -> list[tuple[str, str, str]]:
    """(language, title, code) of a page, in order."""
    return [(language, title or "", code) for language, title, code in BLOCK.findall(path.read_text())]


# ---- code


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_code_blocks_are_run_or_say_why_not(path):
    fences = re.findall(r"^```.+$", path.read_text(), flags=re.M)
    assert len(fences) == len(blocks(path)), fences
    for language, title, code in blocks(path):
        assert language in ("python", "console"), (language, code)
        assert not title or title in NOT_RUN, title
        if language == "console" and not title:
            for line in code.splitlines():
                assert shlex.split(line)[0] in ("dc-graphsam", "printf"), line


RUNNER = """
import json, os, shlex, subprocess, sys, traceback

from dc_graphsam.cli.main import main

errors = {}
here = os.getcwd()
for page, blocks in json.load(open("pages.json")).items():
    os.mkdir(os.path.join(here, page))
    os.chdir(os.path.join(here, page))
    names = {"__name__": "__main__"}
    try:
        for language, code in blocks:
            if language == "python":
                exec(compile(code, page + ".md", "exec"), names)
                continue
            for line in code.splitlines():
                words = shlex.split(line)
                if words[0] == "dc-graphsam":
                    code = main(words[1:])
                    assert code == 0, (line, code)
                else:
                    subprocess.run(line, shell=True, check=True)
        errors[page] = None
    except BaseException:
        errors[page] = traceback.format_exc()
os.chdir(here)
json.dump(errors, open("errors.json", "w"))
"""
RUN_PAGES = [path for path in PAGES if any(not title for _, title, _ in blocks(path))]


@pytest.fixture(scope="module")
def errors(tmp_path_factory) -> dict[str, str | None]:
    """Page → what went wrong. All pages in one process, which imports torch and transformers once, but each in a folder and
    with names of its own."""
    folder = tmp_path_factory.mktemp("pages")
    wanted = {
        path.stem: [(language, code) for language, title, code in blocks(path) if not title]
        for path in RUN_PAGES
        if path.stem != "deepchem" or find_spec("deepchem") is not None
    }
    (folder / "pages.json").write_text(json.dumps(wanted))
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (folder / "errors.json").is_file(), done.stderr[-3000:]
    found = json.loads((folder / "errors.json").read_text())
    assert (folder / "getting-started/predicted.csv").is_file() or found["getting-started"]
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", RUN_PAGES, ids=lambda path: path.stem)
def test_code_of_a_page_runs_in_order(path, errors):
    """Python blocks one after another, and between them the commands of the console blocks."""
    if path.stem not in errors:
        pytest.skip("DeepChem is not installed here")
    assert errors[path.stem] is None, errors[path.stem]


def test_commands_of_blocks_that_are_not_run_are_understood():
    """What needs the network is at least read by the parser."""
    from dc_graphsam.cli.parser import build_parser
    from dc_graphsam.cli.settings import read_words

    parser, parsers = build_parser()
    seen = set()
    for path in TEXTS:
        for language, _, code in blocks(path):
            for line in code.splitlines() if language == "console" else ():
                words = shlex.split(line, comments=True)
                if words[:1] == ["dc-graphsam"]:
                    arguments, extras = parser.parse_known_args(words[1:])
                    assert arguments.command in parsers, line
                    if arguments.command in ("train", "demo"):
                        read_words(extras)
                    else:
                        assert not extras, line
                    seen.add(arguments.command)
    assert {"train", "evaluate", "predict", "publish", "datasets"} <= seen


# ---- the built pages


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    blocked = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, **blocked, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert not done.stderr.strip(), done.stderr
    return folder


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if values.get("id"):
            self.anchors.add(values["id"])
        if tag in ("script", "img", "iframe", "source") and values.get("src"):
            self.loads.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "preload", "preconnect", "icon"):
            self.loads.append(values["href"])
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Reader]:
    found = {}
    for path in site.rglob("*.html"):
        found[path] = reader = Reader()
        reader.feed(path.read_text(encoding="utf-8"))
    return found


def test_nothing_is_fetched_when_a_page_is_read(pages, site):
    assert len(pages) > 20
    for path, reader in pages.items():
        for address in reader.loads:
            parts = urlsplit(address)
            assert not parts.scheme and not parts.netloc, f"{path.name} loads {address}"
            aim = site / parts.path.lstrip("/") if parts.path.startswith("/") else path.parent / parts.path
            assert aim.is_file(), f"{path.name}: {address}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?https?:|@import ['\"]?https?:", style.read_text(encoding="utf-8")), style


def test_links_lead_somewhere(pages, site):
    for path, reader in pages.items():
        for link in reader.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https"):
                assert re.fullmatch(r"[\w.-]+\.[a-z]{2,}", parts.hostname or ""), f"{path.name}: {link}"
                continue
            if parts.scheme == "mailto" or path.name == "404.html":
                continue
            assert not parts.scheme, f"{path.name}: {link}"
            aim = (path.parent / parts.path).resolve() if parts.path else path
            aim = aim / "index.html" if aim.is_dir() else aim
            assert aim in pages or aim.is_file(), f"{path.name}: {link}"
            if parts.fragment and aim in pages:
                assert parts.fragment in pages[aim].anchors | {"__toc"}, f"{path.name}: {link}"


def test_links_of_the_texts_in_the_repository_lead_somewhere():
    """README and CONTRIBUTING are read on a page of files; docs/*.md there, too."""
    for path in TEXTS:
        for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", path.read_text()):
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme == "https" and parts.hostname, link
            elif parts.path and not parts.path.startswith("api/"):  # these pages are made at the build
                assert (path.parent / parts.path).exists(), f"{path.name}: {link}"


def test_every_public_name_has_its_place(site):
    for room in ("chem", "data", "models", "optim", "metrics", "processing", "hf", "dc"):
        package = import_module(f"dc_graphsam.{room}")
        text = (site / "api" / f"{room}.html").read_text(encoding="utf-8")
        for name in package.__all__:
            assert re.search(rf"\b{name}\b", text), f"{room}: {name}"


def test_docstrings_are_readable(site):
    """No reStructuredText is left over, and equations have become MathML."""
    for path in (site / "api").glob("*.html"):
        text = re.sub(r"<(code|pre)\b.*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.S)
        left = re.findall(r":(?:class|func|meth|mod|data|attr|exc|math):|\.\. \w+::|=====|\\\(|\\frac", text)
        assert not left and not re.search("<mi>&(?:amp;)?</mi>", text), (path.name, left[:5])
    assert (site / "api/optim.html").read_text(encoding="utf-8").count("<math") > 20
    assert "<math" in (site / "optimizers.html").read_text(encoding="utf-8")


def test_arguments_described_together_have_their_own_defaults(site):
    import inspect

    from dc_graphsam.optim import AESAM

    text = re.sub(r"<[^>]+>", "", (site / "api/optim.html").read_text(encoding="utf-8"))
    for name in ("lambda_1", "lambda_2"):
        default = inspect.signature(AESAM).parameters[name].default
        assert re.search(rf"{name}\s*\(\s*float\s*, default:\s*{re.escape(str(default))}\s*\)", text), name


def test_the_page_of_the_command_line_is_that_of_the_parser(site):
    from dc_graphsam.cli.fields import training_fields
    from dc_graphsam.cli.options import RUN_FIELDS
    from dc_graphsam.cli.parser import COMMANDS

    text = html.unescape((site / "command-line.html").read_text(encoding="utf-8"))
    for name, summary in COMMANDS.items():
        assert f'id="{name}"' in text and summary in text
    for option in [f.option for f in RUN_FIELDS.values()] + [training_fields()["rho"].option, "--hidden-size"]:
        assert f"{option}<" in text, option
    assert all(f"<code>{name}</code>" in (site / "data.html").read_text() for name in DATASETS)


# ---- what pages say of the code


def test_the_table_of_optimizers_is_that_of_the_catalogue():
    rows = {}
    for line in (DOCS / "optimizers.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0].startswith("`"):
            rows[cells[0].strip("`")] = (cells[2], cells[3])
    assert rows == {m.name: (m.passes, str(m.extra_copies)) for m in METHODS.values()}


def paths_in(path: Path) -> set[str]:
    """Paths of the repository in a text, in backquotes."""
    found = re.findall(r"`([\w./-]+/[\w./-]*|[\w-]+\.(?:py|md|yml|cfg|txt|ipynb))`", path.read_text())
    return {name for name in found if not name.startswith(("runs/", "../", "~", "site/"))}


def test_paths_of_the_architecture_exist():
    paths = paths_in(DOCS / "architecture.md")
    assert len(paths) > 50
    missing = [name for name in sorted(paths) if not (ROOT / name).exists()]
    assert not missing
    rooms = {p.name for p in (ROOT / "dc_graphsam").iterdir() if (p / "__init__.py").is_file()}
    assert not {room for room in rooms if f"dc_graphsam/{room}/" not in paths}, "a room is not on the page"
    lines = (DOCS / "architecture.md").read_text().splitlines()
    assert len(lines) < 110, "one page"


def test_paths_of_contributing_exist():
    paths = {name for name in paths_in(ROOT / "CONTRIBUTING.md") if "<" not in name}
    assert len(paths) > 10
    assert not [name for name in sorted(paths) if not (ROOT / name).exists()]
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for title in ("Add an optimizer", "Add a network", "Add a data set"):
        part = text.split(f"## {title}\n")[1].split("\n## ")[0]
        assert 1 <= len(re.findall(r"^\d\. `", part, flags=re.M)) <= 3


def test_make_docs_builds_into_a_folder_that_git_ignores():
    makefile = (ROOT / "Makefile").read_text()
    assert "mkdocs build --strict" in makefile and "/site/" in (ROOT / ".gitignore").read_text().split()
