"""The demo, in a small size: it replaces its own folder and no other."""

from __future__ import annotations

import json

from dc_graphsam.cli.main import main

SMALL = [
    "--hidden-size",
    "8",
    "--num-hidden-layers",
    "1",
    "--num-attention-heads",
    "2",
    "--max-steps",
    "2",
    "--no-report",
]


def test_demo_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", *SMALL]) == 0
    said = capsys.readouterr()
    assert "freewilson: 1,017 molecules, 1 regression task, split 813/102/102, 0 left out" in said.err
    assert all(name in said.out for name in ("predict the mean", "random forest", "CoMPT + GraphSAM", "runs/demo"))
    assert main(["demo", *SMALL, "--seed", "1", "--no-baselines"]) == 0
    assert json.loads((tmp_path / "runs" / "demo" / "run.json").read_text())["training"]["seed"] == 1


def test_demo_leaves_other_folders_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "mine.txt").write_text("x")
    assert main(["demo", *SMALL]) == 2
    assert "exists and is not empty" in capsys.readouterr().err
