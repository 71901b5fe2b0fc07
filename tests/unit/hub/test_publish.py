"""What is published of a run, and what never is."""

from __future__ import annotations

import csv
import json
import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from dc_graphsam.exceptions import DCGraphSAMError, InvalidArgumentError, RunFolderError
from dc_graphsam.hub.card import ModelCard
from dc_graphsam.hub.publish import fetch_run, prepare_publication, publish_run
from dc_graphsam.repository.push import check_repo_name, refuse_secrets

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def run(tmp_path_factory, regression_csv):
    """A run on somebody's own table, which lies under an absolute path."""
    from dc_graphsam.hf import RunSettings, train_run

    settings = RunSettings.from_flat(
        {"data": str(regression_csv), "target": ["size", "oxygens"], "task_type": "regression", "hidden_size": 8}
        | {"num_hidden_layers": 1, "num_attention_heads": 2, "num_train_epochs": 1.0, "baselines": False}
    )
    folder = tmp_path_factory.mktemp("publish") / "own"
    train_run(settings, folder)
    return folder


def test_no_molecule_of_the_data_is_published(run, regression_csv):
    files = prepare_publication(run, "ann/own").files
    with regression_csv.open() as file:
        smiles = [row["smiles"] for row in csv.DictReader(file) if len(row["smiles"]) > 6]
    (run / "predictions_test.csv").read_text().index("smiles")  # it is there, and stays there
    text = b"".join(data for path, data in files.items() if path != "model.safetensors" and not path.endswith(".svg"))
    assert not [one for one in smiles if f'"{one}"'.encode() in text or f",{one},".encode() in text]
    assert not {"predictions_test.csv", "dropped.csv", "report.html"} & set(files)
    assert str(regression_csv.parent).encode() not in text and b"toy.csv" in text


def test_the_list_is_whole_and_checked(run, tmp_path):
    found = prepare_publication(run, "ann/own")
    sums = dict(line.split("  ")[::-1] for line in found.files["SHA256SUMS"].decode().splitlines())
    assert {path: digest for path, _, digest in found.listing() if path != "SHA256SUMS"} == sums
    found.write(tmp_path / "out")
    assert ModelCard.read(tmp_path / "out") == found.card
    with pytest.raises(InvalidArgumentError, match="exists and is not an empty folder"):
        found.write(tmp_path / "out")
    assert found.files == prepare_publication(run, "ann/own").files  # nothing in it depends on the moment
    assert {"figures/parity.svg", "figures/loss.svg"} <= set(found.files)
    assert not [path for path in found.files if path.startswith(".eval_results")]  # no data set of the Hub


def test_a_published_folder_is_a_run_folder(run, tmp_path, regression_csv):
    from dc_graphsam.runs.evaluate import evaluate_run

    folder = prepare_publication(run, "ann/own").write(tmp_path / "out")
    metrics = json.loads((run / "metrics.json").read_text())["test"]
    assert evaluate_run(folder, data=regression_csv, split="test")["metrics"] == pytest.approx(metrics, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"data": "/srv/lab/molecules.csv"}', "run.json holds the absolute path '/srv/lab/molecules.csv'"),
        ('{"data": "C:\\\\Users\\\\ann\\\\x.csv"}', "run.json holds the absolute path 'C:"),
        ('{"hub_token": "hf_abcdefghijklmnopqrstuvwx"}', "run.json holds an access token; it is not published"),
    ],
)
def test_secrets_stop_a_publication(text, message, run, tmp_path):
    with pytest.raises(InvalidArgumentError, match=message):
        refuse_secrets({"run.json": text.encode()})
    folder = tmp_path / "copy"
    shutil.copytree(run, folder)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "command": json.loads(text)}))
    with pytest.raises(InvalidArgumentError, match=message):
        prepare_publication(folder, "ann/own")


def test_the_token_of_this_machine_is_known(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "quite-another-form")
    with pytest.raises(InvalidArgumentError, match="holds an access token"):
        refuse_secrets({"a.txt": b"quite-another-form"})


@pytest.mark.parametrize(
    "text", ["3,115 mol/s", "F/C=C/F and C/C=C\\C", "https://example.org/a/b", "and/or", "± 0.1 / 0.2"]
)
def test_what_only_looks_like_a_path_passes(text):
    refuse_secrets({"README.md": text.encode()})


@pytest.mark.parametrize("name", ["tiny", "ann/", "/tiny", "ann/ti ny", "ann/x/y", "ann/x.git", "ann/a--b", "../x"])
def test_names_of_repositories(name):
    with pytest.raises(InvalidArgumentError, match="accepted: 'owner/name'"):
        check_repo_name(name)


def test_without_a_connection(run):
    import huggingface_hub.constants

    assert huggingface_hub.constants.HF_HUB_OFFLINE  # as all tests run
    with pytest.raises(DCGraphSAMError, match="ann/own cannot be written: the Hub cannot be reached"):
        publish_run(run, "ann/own")


def test_unfinished_run(tmp_path):
    (tmp_path / "run.yaml").write_text("dataset: bbbp\n")
    with pytest.raises(RunFolderError):
        prepare_publication(tmp_path, "ann/x")


def test_fetch_run_leaves_folders_alone(run):
    assert fetch_run(run) == run
    assert fetch_run("compt-esol-small").parent.name == "bundled"
    assert fetch_run("not there") == Path("not there")


def test_the_program_that_fills_hub_cards(tmp_path, monkeypatch, moleculenet_dir, capsys):
    """benchmarks/hub_cards.py from training to card, at a tiny scale; what is finished is not trained again."""
    spec = spec_from_file_location("hub_cards_program", ROOT / "benchmarks" / "hub_cards.py")
    program = module_from_spec(spec)
    spec.loader.exec_module(program)
    monkeypatch.chdir(tmp_path)
    small = ["hidden_size=8", "num_hidden_layers=1", "num_attention_heads=2", "num_train_epochs=1", "baselines=false"]
    words = [
        "--cards",
        "esol",
        "--seeds",
        "0",
        "1",
        "--runs",
        "runs",
        "--output",
        "cards",
        "--data-dir",
        str(moleculenet_dir),
    ]
    program.main([*words, "--set", *small, "report=false"])
    first = capsys.readouterr().out
    folder = tmp_path / "cards" / "compt-esol-graphsam"
    card = ModelCard.read(folder)
    assert [method["name"] for method in card.facts["methods"]] == ["GraphSAM", "Adam"]
    assert all(len(method["runs"]) == 2 for method in card.facts["methods"]) and card.facts["chosen"]["runs"] == 2
    assert sorted(path.name for path in (folder / "results").iterdir()) == [
        "adam-seed0",
        "adam-seed1",
        "graphsam-seed0",
        "graphsam-seed1",
    ]
    assert not [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".csv")]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    program.main([*words, "--set", *small, "report=false"])
    again = capsys.readouterr().out
    assert "[3/3] training" in first and "[3/3] training" not in again and again.count("finished") == 4
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit, match="was trained with another hidden_size"):
        program.main([*words, "--set", "hidden_size=16"])
    program.main(
        ["--bundled", "--runs", "runs", "--output", "bundled", "--data-dir", str(moleculenet_dir), "--set", *small]
    )
    assert ModelCard.read(tmp_path / "bundled" / "compt-esol-small").facts["source"] == "compt-esol-small"
