"""Every kind of mistake: one line that names the thing, and exit code 2; failures at work give 1."""

from __future__ import annotations

import json
import shutil

import pytest

from dc_graphsam.cli.main import main


@pytest.fixture
def here(tmp_path, monkeypatch, table):
    """A folder with a table in it, as the working directory."""
    shutil.copy(table, tmp_path / "my.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here):
    """A run folder with a small untrained model."""
    from dc_graphsam.hf import MoleculeProcessor
    from dc_graphsam.models import CoMPTConfig, CoMPTForPropertyPrediction

    config = CoMPTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, task_names=["pIC50"])
    CoMPTForPropertyPrediction(config).save_pretrained("run")
    MoleculeProcessor(config.feature_set).save_pretrained("run")
    return here / "run"


def refused(capsys, command: str, code: int = 2) -> str:
    """The one line that a command ends with."""
    assert main(command.split()) == code
    said = capsys.readouterr()
    line = said.err.rstrip("\n").splitlines()[-1]
    assert line.startswith("dc-graphsam: ") and said.err.count("\n") == len(said.err.splitlines())
    assert "Traceback" not in said.err and not said.out
    return line


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", "a command is needed: train, evaluate, predict, export, publish, datasets, demo"),
        ("trian --dataset bbbp", "there is no command 'trian'. Did you mean 'train'?"),
        ("--vresion", "has no option '--vresion'. Did you mean '--version'?"),
        ("train", "train needs --dataset NAME (see dc-graphsam datasets) or --data FILE"),
        ("train --dataset bbbp --data my.csv", "--dataset and --data are both given"),
        ("train --dataset bbpb", "Did you mean 'bbbp'?"),
        ("train --data no.csv", "there is no file no.csv"),
        ("train --config no.yaml", "there is no file no.yaml (--config)"),
        ("train --dataset bbbp --rho big", "--rho is 'big'; accepted: a number"),
        ("demo --dataset bbbp", "demo has its own data"),
        ("predict --model run --input my.csv", "the following arguments are required: --output"),
        ("predict --model run --input my.csv --output o.csv --smiles-colum x", "Did you mean '--smiles-column'?"),
        ("predict --model run --input no.csv --output o.csv", "there is no file no.csv"),
        ("predict --model no --input my.csv --output o.csv", "no has no config.json: there is no such folder"),
        ("predict --model . --input my.csv --output o.csv", "it is not a folder that dc-graphsam train has written"),
        ("predict --model run --input my.csv --output my.csv", "is the input itself"),
        ("predict --model run --input my.csv --output o.csv --batch-size x", "'x' is not a whole number"),
        (
            "predict --model run --input my.csv --output o.csv --device gpu",
            "device is 'gpu'; accepted: auto, cpu, cuda",
        ),
        ("evaluate --model run --split tests", "Did you mean 'test'?"),
        ("datasets --jsn", "Did you mean '--json'?"),
    ],
)
def test_mistakes_that_need_no_model(here, capsys, command, words):
    assert words in refused(capsys, command)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--target pic50", "my.csv has no column 'pic50'. It has: id, SMILES, pIC50, active. Did you mean 'pIC50'?"),
        ("--target pIC50 --smiles-column smi", "has no column 'smi'. It has: id, SMILES, pIC50, active"),
        ("--target pIC50 --task-type classification", "a classification task has 0 and 1"),
        ("--target pIC50 --metric roc_auc", "metric of regression is 'roc_auc'; accepted: 'rmse', 'mae'"),
        ("--target pIC50 --fold 9", "fold is 9"),
        ("--target pIC50 --split random --fold 1", "--fold is 1 but --split is 'random'"),
        ("--target pIC50 --sizes 0.5 0.1 0.1", "three fractions"),
        ("--target pIC50 --sizes 1 0 0", "the split has no rows in 'validation'"),
        ("--target pIC50 --splits-file no.json", "there is no file no.json with splits"),
        ("--target pIC50 --max-atoms 0", "--max-atoms is 0"),
        ("--target pIC50 --seed -1", "seed is -1"),
        ("--target pIC50 --released", "released is for built-in data sets"),
        ("--target pIC50 --hidden-size 10 --num-attention-heads 4", "a multiple of num_attention_heads"),
        ("--target pIC50 --norm batch", "norm is 'batch'; accepted: 'layer', 'scale'"),
        ("--target pIC50 --feature-set grover", "'grover'"),
        ("--target pIC50 --beta 2", "beta is 2.0; accepted: a number in [0, 1)"),
        ("--target pIC50 --optimizer none --beta 0.9", "beta is no option of sam='none'"),
        ("--target pIC50 --lr-scheduler-type wavy", "--lr-scheduler-type is 'wavy'; accepted: 'linear', 'cosine', "),
        ("--target pIC50 --optim adamw_torh", "Did you mean 'adamw_torch'?"),
        (
            "--target pIC50 --eval-strategy sometimes",
            "--eval-strategy is 'sometimes'; accepted: 'no', 'steps', 'epoch'",
        ),
        ("--target pIC50 --batch-size 0", "--per-device-train-batch-size is 0"),
        ("--target pIC50 --epochs 0", "--num-train-epochs is 0"),
        ("--target pIC50 --lr -1", "--learning-rate is -1"),
        ("", "name the column(s) to predict"),
    ],
)
def test_mistakes_that_need_the_data(here, capsys, options, words):
    assert words in refused(capsys, f"train --data my.csv --output out {options}")
    assert not list(here.glob("out/checkpoint-*"))


def test_an_output_that_is_there(here, run, capsys):
    (here / "mine").mkdir()
    (here / "mine" / "thesis.txt").write_text("years of work")
    command = "train --data my.csv --target pIC50 --output mine"
    assert "mine exists and is not empty; name another folder" in refused(capsys, command)
    assert "holds no run of this program: it is not overwritten" in refused(capsys, f"{command} --overwrite")
    assert (here / "mine" / "thesis.txt").read_text() == "years of work"
    assert "my.csv is a file; name a folder" in refused(capsys, "train --data my.csv --target pIC50 --output my.csv")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("config.json", {"model_type": "bert"}, "run holds a model of type 'bert'; this program reads 'compt'"),
        ("config.json", {"hidden_size": 16}, "are not those of a CoMPTForPropertyPrediction with its configuration"),
        ("config.json", {"feature_set": "grover"}, "run cannot be loaded: run reads the feature set 'grover'"),
        ("config.json", {"format_version": 99}, "install a newer one"),
        (
            "processor_config.json",
            {"feature_set": "grover"},
            "makes the features 'grover', its model reads 'compt-own-slot'",
        ),
        ("processor_config.json", {"feature_set": "compt"}, "the files come from different runs"),
        ("model.safetensors", None, "run has no model.safetensors"),
        ("processor_config.json", None, "run has no processor_config.json"),
        ("config.json", "{", "config.json cannot be read as JSON"),
        ("model.safetensors", "not tensors", "run cannot be loaded"),
    ],
)
def test_run_folders_that_do_not_fit(run, capsys, name, change, words):
    path = run / name
    if change is None:
        path.unlink()
    elif isinstance(change, str):
        path.write_text(change)
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert words in refused(capsys, "predict --model run --input my.csv --output o.csv")


@pytest.mark.parametrize("command", ["predict --model run --input x.csv --output o.csv", "train --data x.csv"])
def test_binary_files_and_hostile_names_put_no_control_characters_on_the_terminal(run, capsys, command):
    import lzma

    file = run.parent / "x.csv"
    file.write_bytes(lzma.compress(b"smiles,pIC50\nCCO,1\n"))
    assert "x.csv is not a text table; accepted: .csv, .tsv" in refused(capsys, command)
    file.write_text('"\x1b[31mred","a\x9bb","\u202eevil"\n1,2,3\n', encoding="utf-8")
    line = refused(capsys, command)
    assert line.isprintable() and "\\x1b[31mred, a\\x9bb, \\u202eevil" in line


def test_hostile_cells_put_no_control_characters_on_the_terminal(run, capsys):
    (run.parent / "x.csv").write_text("smiles,y\nCC \x1b[31mred,1\nC\x1bC,2\n\x07,3\nCCO,4\n")
    assert main(["predict", "--model", "run", "--input", "x.csv", "--output", "o.csv"]) == 0
    said = capsys.readouterr()
    assert all(line.isprintable() for line in (said.out + said.err).splitlines())
    cells = [line.split(",", 3)[3] for line in (run.parent / "o.csv").read_text().splitlines()]
    assert all(cell.isprintable() for cell in cells)
    main(["train", "--data", "x.csv", "--target", "y", "--output", "out", "--epochs", "1"])
    said = capsys.readouterr()
    assert all(line.isprintable() for line in (said.out + said.err).splitlines())


def test_evaluate_needs_labels_and_data(run, capsys):
    assert "does not say which data it was trained on" in refused(capsys, "evaluate --model run")
    (run.parent / "other.csv").write_text("smiles,y\nC,1\n")
    words = refused(capsys, "evaluate --model run --data other.csv")
    assert "other.csv has no column 'pIC50'. It has: smiles, y" in words


def test_a_failure_at_work_is_one_line_too_and_debug_shows_more(run, capsys, monkeypatch):
    from dc_graphsam.predict import table as predict

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "o.csv.part")

    monkeypatch.setattr(predict, "predict_graphs", full)
    command = "predict --model run --input my.csv --output o.csv"
    assert refused(capsys, command, code=1) == "dc-graphsam: o.csv.part: No space left on device"
    with pytest.raises(OSError, match="No space left"):
        main([*command.split(), "--debug"])


def test_help_says_what_there_is(capsys):
    for command in ("--help", "train --help", "predict --help", "evaluate --help", "datasets --help", "demo --help"):
        assert main(command.split()) == 0
        assert "dc-graphsam" in capsys.readouterr().out
    assert main(["train", "--help-all"]) == 0
    said = capsys.readouterr().out
    assert (
        all(f"--{name} " in said for name in ("hidden-size", "rho", "weight-decay")) and "--learning-rate, --lr" in said
    )


def test_datasets_lists_them_and_says_which_files_are_here(tmp_path, capsys):
    (tmp_path / "BBBP.csv").write_text("num,name,p_np,smiles\n")
    assert main(["datasets", "--data-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    of = {line.split()[0]: line for line in lines if line.strip()}
    assert of["bbbp"].endswith("BBBP.csv") and "not here" in of["esol"] and "comes with RDKit" in of["freewilson"]
    assert main(["datasets", "--json", "--data-dir", str(tmp_path)]) == 0
    assert {row["name"]: row["here"] for row in json.loads(capsys.readouterr().out)}["bbbp"] is True
