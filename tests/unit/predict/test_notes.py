"""What is said of a prediction, through both doors and on the command line."""

from __future__ import annotations

import csv
import time

import pytest

from dc_graphsam.chem import featurize, featurize_many
from dc_graphsam.predict.molecules import predict_smiles
from dc_graphsam.predict.notes import notes_of

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TRAINING = ["C" * n for n in range(1, 11)] + ["CCO", "CC(=O)C", "CCN"] * 5


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from dc_graphsam.data import load_csv

    folder = tmp_path_factory.mktemp("seen")
    path = folder / "train.csv"
    path.write_text("smiles,y\n" + "".join(f"{s},{i}.5\n" for i, s in enumerate(TRAINING)) + "C[Se]C,1.5\n")
    splits = {"train": range(len(TRAINING)), "validation": [len(TRAINING)]}  # selenium is in validation only
    return load_csv(path, splits=splits, progress=False, num_workers=1, cache_dir=folder / "cache")


def model_of(data, **fields):
    from dc_graphsam.models import CoMPTConfig, CoMPTForPropertyPrediction

    return CoMPTForPropertyPrediction(CoMPTConfig.for_dataset(data, **{**SMALL, **fields}))


def test_a_configuration_records_its_training_split_and_no_other(data):
    seen = model_of(data).config.seen
    assert seen["atoms"] == 10 and seen["node"]["atomic_number"] == ["6", "7", "8"]
    assert seen["node"]["formal_charge"] == [0] and seen["node"]["aromatic"] == [0]
    assert seen["edge"]["bond_type"] == ["SINGLE", "DOUBLE"]


def test_rows_say_where_they_lie_beyond_training_also_after_saving(data, tmp_path):
    from dc_graphsam.models import CoMPTForPropertyPrediction

    model_of(data, position="none").save_pretrained(tmp_path)
    model = CoMPTForPropertyPrediction.from_pretrained(tmp_path)
    rows = predict_smiles(model, None, ["CCO", "C" * 12, "C[Se]C", "C[NH3+] amine", "C1CC"])
    assert [row.get("note") for row in rows] == [
        None,
        "12 atoms, training had at most 10",
        "element Se not seen in training",
        "'amine' behind the SMILES ignored; charge +1 not seen in training",
        None,  # no prediction, and the reason is the error
    ]
    assert "error" in rows[4]


def test_positions_that_never_learned_are_named_where_there_are_such(data):
    (row,) = predict_smiles(model_of(data, position="index"), None, ["C" * 12])
    assert row["note"] == "12 atoms, training had at most 10 (the positions beyond were never learned)"


def test_an_older_checkpoint_says_nothing(data):
    model = model_of(data, seen=None)
    assert model.config.seen is None
    assert "note" not in predict_smiles(model, None, ["[Se]" + "C" * 30])[0]


def test_of_many_strange_things_some_are_named(data):
    config = model_of(data).config
    notes = notes_of(config, [featurize("[Se+]#CS[Si](F)(Cl)Br")], [None])[0]
    assert len(notes) == 6 and notes[-1].text == "4 more things not seen in training"


def test_the_deepchem_door_records_what_it_is_fitted_on(tmp_path):
    dc = pytest.importorskip("deepchem")
    from dc_graphsam.dc import CoMPTModel, GraphTransformerFeaturizer
    from dc_graphsam.hf.pipeline import pipeline

    X = GraphTransformerFeaturizer().featurize(["CCO", "not one", "CCCC", "CC=O"])
    model = CoMPTModel(n_tasks=1, mode="regression", batch_size=2, position="none", **SMALL)
    model.fit(dc.data.NumpyDataset(X, [[1.0], [2.0], [3.0], [4.0]]), nb_epoch=2)
    assert model.config.seen["atoms"] == 4 and model.config.seen["node"]["atomic_number"] == ["6", "8"]
    model.fit(dc.data.NumpyDataset(GraphTransformerFeaturizer().featurize(["CN"]), [[1.0]]))
    assert model.config.seen["node"]["atomic_number"] == ["6", "7", "8"]
    model.save_pretrained(tmp_path)
    rows = pipeline(model=str(tmp_path), device="cpu")(["CCO", "CCCCCF"])
    assert "note" not in rows[0]
    assert rows[1]["note"] == "6 atoms, training had at most 4; element F not seen in training"


def test_notes_cost_little(data):
    """Below two hundredths of the time of a prediction by a model of ordinary size."""
    model = model_of(data, hidden_size=128, num_hidden_layers=3, num_attention_heads=4, position="none")
    smiles = ["CC(=O)Oc1ccccc1C(=O)O", "CCO", "Cc1ccccc1C(=O)NCC"] * 100
    started = time.process_time()
    predict_smiles(model, None, smiles)
    whole = time.process_time() - started
    graphs, reasons = featurize_many(["CCO", "CCCCCC", "CC(C)(C)C(=O)C"] * 100, num_workers=0), [None] * 300
    spent = []
    for _ in range(5):
        started = time.process_time()
        notes_of(model.config, graphs, reasons)
        spent.append(time.process_time() - started)
    print(f"notes {min(spent) / whole:.2%} of a prediction")
    assert min(spent) < 0.05 * whole  # 0.02, and room for a busy machine


def test_the_command_line_counts_notes_and_says_when_nothing_could_be_predicted(data, tmp_path, capsys, monkeypatch):
    from dc_graphsam.cli.main import main
    from dc_graphsam.hf import MoleculeProcessor

    monkeypatch.chdir(tmp_path)
    model = model_of(data, position="none")
    model.save_pretrained("run")
    MoleculeProcessor(model.config.feature_set).save_pretrained("run")
    command = ["predict", "--model", "run", "--output", "out.csv", "--overwrite", "--input"]
    (tmp_path / "in.csv").write_text("smiles\nCCO\nC[Se]C\nCC name\n")
    assert main([*command, "in.csv"]) == 0
    said = capsys.readouterr().err
    assert "note: 2 of 3 rows have a note (" in said and "1 × element Se not seen in training" in said
    (tmp_path / "bad.csv").write_text("smiles\nX\nnothing\n")
    assert main([*command, "bad.csv"]) == 1
    said = capsys.readouterr().err
    assert "warning: NOT ONE of 2 rows could be predicted (" in said
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["y"] for row in rows] == ["nan", "nan"] and all(row["error"] for row in rows)
    (tmp_path / "none.csv").write_text("smiles\n")
    assert main([*command, "none.csv"]) == 0
    assert "none.csv has no rows: there was nothing to predict" in capsys.readouterr().err
