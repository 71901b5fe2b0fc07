"""Words of ``dc-graphsam publish``."""

from __future__ import annotations

import pytest

from dc_graphsam.cli.main import main
from dc_graphsam.cli.parser import build_parser
from dc_graphsam.repository.bundled import BUNDLED

RUN = str(BUNDLED / "compt-esol-small")


def test_words():
    parser, _ = build_parser()
    found = parser.parse_args(["publish", "runs/a", "--repo", "me/x", "--with", "runs/b", "runs/c", "--dry-run"])
    assert (found.run, found.repo, found.others, found.dry_run) == ("runs/a", "me/x", ["runs/b", "runs/c"], True)
    assert not found.private and found.license == "apache-2.0" and found.write is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["publish"], "the following arguments are required: RUN, --repo"),
        (["publish", RUN, "--repo", "me/x", "--privat"], "Did you mean '--private'?"),
        (["publish", RUN, "--repo", "x"], "repo is 'x'; accepted: 'owner/name'"),
        (["publish", "no-such-run", "--repo", "me/x"], "no-such-run has no run.json: there is no such folder"),
    ],
)
def test_mistakes_take_one_line(words, message, capsys):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_writing_instead_of_pushing(tmp_path, capsys):
    """A run with all its files: the one that the tiny training of the tests leaves."""
    from dc_graphsam.hf import RunSettings, train_run

    settings = {"dataset": "freewilson", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    train_run(
        RunSettings.from_flat({**settings, "max_steps": 2, "baselines": False, "report": False}), tmp_path / "run"
    )
    capsys.readouterr()
    assert main(["publish", str(tmp_path / "run"), "--repo", "me/x", "--write", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    written = sorted(
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    assert [line.split()[0] for line in said.out.splitlines()[1:]] == written and "nothing was pushed" in said.err
