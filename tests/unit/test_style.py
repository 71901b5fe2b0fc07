"""ruff, with the settings that stand in setup.cfg."""

from __future__ import annotations

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def ruff_options() -> tuple[list[str], list[str]]:
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    section = settings["tool:ruff"]
    return [
        "--isolated",
        "--no-cache",
        "--config",
        f"line-length={section['line-length']}",
        "--config",
        f'target-version="{section["target-version"]}"',
    ], [
        "--select",
        section["select"],
        "--ignore",
        section["ignore"],
        "--per-file-ignores",
        ",".join(
            f"{pattern}:{rule}"
            for pattern, rules in (item.split(":") for item in section["per-file-ignores"].split())
            for rule in rules.split(",")
        ),
    ]


@pytest.mark.parametrize("command", ["check", "format"])
def test_ruff(command):
    common, rules = ruff_options()
    extra = rules if command == "check" else ["--check", "--diff"]
    result = subprocess.run(
        [sys.executable, "-m", "ruff", command, *common, *extra, "."], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
