"""The feature set with R and S, from the command line's settings to the card."""

from __future__ import annotations

import csv

import pytest

from dc_graphsam.cli.main import main
from dc_graphsam.hub.card import ModelCard

ROWS = [f"{'C' * n}[C{mark}H](F)Cl,{sign * n}" for n in range(1, 13) for mark, sign in (("@", 1), ("@@", -1))]
SMALL = (
    "--split random --epochs 1 --no-baselines --no-report --hidden-size 8 --num-hidden-layers 1 --num-attention-heads 2"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chiral")
    (folder / "pairs.csv").write_text("smiles,rotation\n" + "\n".join(ROWS) + "\n")
    return folder


@pytest.mark.parametrize("feature_set", ["compt-own-slot", "compt-chiral"])
def test_train_predict_and_card(feature_set, folder, capsys):
    run, out = folder / feature_set, folder / f"{feature_set}.csv"
    words = ["train", "--data", str(folder / "pairs.csv"), "--output", str(run), "--feature-set", feature_set]
    assert main([*words, *SMALL.split()]) == 0
    capsys.readouterr()
    assert main(["predict", "--model", str(run), "--input", str(folder / "pairs.csv"), "--output", str(out)]) == 0
    said = capsys.readouterr().err
    with open(out) as file:
        values = [float(row["rotation_predicted"]) for row in csv.DictReader(file)]
    differ = max(abs(left - right) for left, right in zip(values[::2], values[1::2], strict=True))
    text = ModelCard.from_runs([run], "x").text
    blind = feature_set == "compt-own-slot"
    assert (differ < 1e-5) == blind
    assert said.count("R and S are asked for (e.g. C[C@H](F)Cl), but the model's features") == blind
    assert ("do not tell R from S: both enantiomers of a molecule get one estimate." in text) == blind
