"""SMILES in, numbers out."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, MissingColumnError, MissingDataError
from dc_graphsam.hf import MoleculePredictor, MoleculeProcessor, predict_smiles
from dc_graphsam.hf.pipeline import pipeline
from dc_graphsam.repository.bundled import BUNDLED, bundled_models

TASK = "measured log solubility in mols per litre"
SMILES = ["CCO", "c1ccccc1C(=O)O", "CCCCCCCCCCCC", "O=C(O)CC(O)(C(=O)O)CC(=O)O"]


@pytest.fixture(scope="module")
def predict():
    return pipeline(device="cpu")


def test_one_smiles_a_list_and_a_generator(predict):
    rows = predict(SMILES)
    assert [list(row) for row in rows] == [[TASK]] * 4
    assert predict(SMILES[0])[TASK] == pytest.approx(rows[0][TASK], abs=1e-5)
    stream = predict(text for text in SMILES)
    assert not isinstance(stream, list)
    assert [row[TASK] for row in stream] == pytest.approx([row[TASK] for row in rows], abs=1e-5)
    assert predict([]) == []
    assert predict(tuple(SMILES)) == rows


def same_values(rows, expected):
    return [row[TASK] for row in rows] == pytest.approx([row[TASK] for row in expected], abs=1e-5)


def test_data_sets_and_tables(predict):
    import numpy as np
    import pandas
    import torch
    import transformers
    from datasets import Dataset
    from transformers.pipelines.pt_utils import KeyDataset

    expected = predict(SMILES)
    data = Dataset.from_dict({"id": [1, 2, 3, 4], "SMILES": SMILES, "name": list("abcd")})

    class Places(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, place):
            return SMILES[place]

    frame = pandas.DataFrame({"id": [1, 2, 3, 4], "SMILES": SMILES}, index=[7, 7, 8, 9])
    for given in (
        KeyDataset(data, "SMILES"),
        data,
        data["SMILES"],
        Places(),
        frame,
        frame["SMILES"],
        np.array(SMILES),
        [{"canonical_smiles": text, "x": 1} for text in SMILES],
    ):
        rows = predict(given)
        assert isinstance(rows, list) and same_values(rows, expected), type(given)
    stream = predict(data.to_iterable_dataset())
    assert not isinstance(stream, list) and same_values(list(stream), expected)
    theirs = transformers.pipeline(
        "molecular-property-prediction", model=str(BUNDLED / "compt-esol-small"), device="cpu"
    )
    assert same_values(list(theirs(KeyDataset(data, "SMILES"))), expected)
    assert same_values(list(theirs(frame)), expected)


def test_a_table_without_smiles(predict):
    import pandas

    with pytest.raises(MissingColumnError, match="has no column 'smiles'. It has: id, name"):
        predict(pandas.DataFrame({"id": [1], "name": ["a"]}))
    with pytest.raises(InvalidArgumentError, match="smiles is of type dict; accepted: str, list, generator, data set"):
        predict({"smiles": ["CCO"]})


def test_enantiomers_are_not_told_apart_in_silence(predict, caplog, regression_data, make_compt):
    pair = ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"]
    for call in (
        lambda: predict(pair * 3),
        lambda: predict(pair[0]),
        lambda: predict_smiles(predict.model, None, pair),
    ):
        caplog.clear()
        call()
        (record,) = caplog.records
        assert (
            "R and S are asked for (e.g. C[C@H](N)C(=O)O), but the model's features (compt-own-slot)" in record.message
        )
    caplog.clear()
    predict(["CCO", "C[C@H](C)O", "C/C=C/C", "C[C@H"])
    chiral = pipeline(model=make_compt(regression_data, feature_set="compt-chiral"), device="cpu")
    left, right = chiral(pair)
    assert not caplog.records and abs(left["size"] - right["size"]) > 1e-6
    left, right = predict(pair)
    assert left[TASK] == pytest.approx(right[TASK], abs=1e-5)


def test_the_bundled_model_knows_chemistry(predict):
    """Dodecane is far less soluble than ethanol and citric acid; the ESOL paper's values are −7.5, 1.1 and about 0."""
    values = [row[TASK] for row in predict(SMILES)]
    assert values[2] < -5 < -1 < min(values[0], values[3])


def test_invalid_ones_keep_their_place(predict):
    rows = predict(["CCO", "C1CC", "", None, 7, "CCN"])
    assert [math.isnan(row[TASK]) for row in rows] == [False, True, True, True, True, False]
    assert rows[1]["error"] == "cannot be parsed: unclosed ring" and all("error" in row for row in rows[1:5])
    assert "error" not in rows[0] and "error" not in rows[5]
    assert math.isnan(predict("C1CC")[TASK])


def test_a_generator_is_read_piece_by_piece(predict):
    taken = []

    def source():
        for number in range(100):
            taken.append(number)
            yield "C" * (1 + number % 9)

    stream = predict(source(), batch_size=2)
    next(stream)
    assert len(taken) == 8  # four batches of two
    assert len(list(stream)) == 99


def test_batch_size_changes_nothing_but_rounding(predict):
    rows = predict(SMILES, batch_size=1)
    assert [row[TASK] for row in rows] == pytest.approx([row[TASK] for row in predict(SMILES, batch_size=4)], abs=1e-5)
    with pytest.raises(InvalidArgumentError, match="batch_size is 0"):
        predict(SMILES, batch_size=0)


def test_progress(predict, capfd):
    predict(SMILES, progress=True)
    assert "4/4" in capfd.readouterr().err
    predict(SMILES)
    assert capfd.readouterr().err == ""


def test_classification_gives_probabilities(classification_data, make_compt):
    model = make_compt(classification_data)
    rows = MoleculePredictor(model)(SMILES)
    assert all(0 < row["has_oxygen"] < 1 for row in rows)
    assert rows == predict_smiles(model, None, SMILES)
    assert not model.training


def test_several_tasks(regression_data, make_compt):
    rows = pipeline(model=make_compt(regression_data), device="cpu")(["CCO", "C1CC"])
    assert [list(row) for row in rows] == [["size", "oxygens"], ["size", "oxygens", "error"]]
    assert math.isnan(rows[1]["size"]) and math.isnan(rows[1]["oxygens"])


@pytest.mark.parametrize("words", [(), ("molecular-property-prediction",), ("compt-esol-small",)])
def test_ways_to_name_the_bundled_model(words, predict):
    assert pipeline(*words, device="cpu")("CCO") == predict("CCO")


def test_a_folder_and_its_processor(tmp_path, regression_data, make_compt):
    model = make_compt(regression_data, unknown_bond="as-aromatic")
    model.save_pretrained(tmp_path)
    without = pipeline(str(tmp_path), device="cpu")
    assert without.processor is None and without.feature_set == "compt"
    MoleculeProcessor("compt-own-slot").save_pretrained(tmp_path)  # a wider set, which this model can fold
    assert pipeline(tmp_path, device="cpu").feature_set == "compt-own-slot"
    other = make_compt(regression_data)
    with pytest.raises(
        FeatureSetError, match="the processor makes features 'compt' but the model reads 'compt-own-slot'"
    ):
        pipeline(model=other, processor=MoleculeProcessor("compt"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"task": "text-classification", "model": "x"},
            InvalidArgumentError,
            "task is 'text-classification'; accepted",
        ),
        ({"model": 7}, InvalidArgumentError, "model is of type int; accepted: a name, or a molecular model"),
        ({"model": "not-there"}, MissingDataError, "neither a folder nor a repository"),
        ({"device": "tpu"}, InvalidArgumentError, "device is 'tpu'"),
    ],
)
def test_wrong_use(arguments, error, message):
    with pytest.raises(error, match=message):
        pipeline(**arguments)


def test_smiles_of_a_wrong_type(predict):
    with pytest.raises(
        InvalidArgumentError, match="smiles is of type int; accepted: str, list, generator, data set, DataFrame"
    ):
        predict(7)


def test_the_bundled_model_is_small_whole_and_has_a_card():
    from dc_graphsam.hub.card import ModelCard
    from dc_graphsam.repository.files import sums_of

    assert bundled_models() == ["compt-esol-small"]
    folder = BUNDLED / "compt-esol-small"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2 << 20
    assert sums_of(folder) == (folder / "SHA256SUMS").read_text()
    assert ModelCard.read(folder).facts["name"] == "compt-esol-small"


def test_the_test_metric_of_the_bundled_model(moleculenet_dir):
    """What the card prints is what the weights give, to the last digit printed."""
    from dc_graphsam.hub.card import ModelCard
    from dc_graphsam.runs.evaluate import evaluate_run
    from dc_graphsam.wording import number

    folder = BUNDLED / "compt-esol-small"
    found = evaluate_run(folder, data_dir=moleculenet_dir)["metrics"]
    text = ModelCard.read(folder).text
    assert f"```text\nRMSE {number(found['rmse'])}\nMAE {number(found['mae'])}\nR² {number(found['r2'])}\n```" in text


REGISTERED = """
import sys
{imports}
assert transformers.AutoConfig.for_model("compt").model_type == "compt"
folder = {folder!r}
assert type(transformers.AutoConfig.from_pretrained(folder)).__name__ == "CoMPTConfig"
assert type(transformers.AutoModel.from_pretrained(folder)).__name__ == "CoMPTEncoder"
assert type(transformers.AutoProcessor.from_pretrained(folder)).__name__ == "MoleculeProcessor"
predict = transformers.pipeline("molecular-property-prediction", model=folder, device="cpu", batch_size=2)
rows = predict(["CCO", "C1CC", "CCN"])
assert rows[1]["error"] == "cannot be parsed: unclosed ring", rows
assert predict("CCO").keys() == rows[0].keys()
assert [row.keys() for row in predict(text for text in ["CCO"])] == [rows[0].keys()]
assert predict.postprocess(predict.forward(predict.preprocess("CCO"))).keys() == rows[0].keys()
import dc_graphsam
assert dc_graphsam.pipeline(folder, device="cpu")(["CCO", "C1CC", "CCN"])[0] == rows[0]
print("registered")
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import dc_graphsam\nassert 'transformers' not in sys.modules and 'torch' not in sys.modules\nimport transformers",
        "import transformers\nfrom transformers import AutoModel, pipeline\nimport dc_graphsam",
    ],
    ids=["ours first", "theirs first"],
)
def test_transformers_knows_the_models_whichever_is_imported_first(imports):
    code = REGISTERED.format(imports=imports, folder=str(BUNDLED / "compt-esol-small"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().endswith("registered"), done.stderr[-3000:]


def test_first_prediction_takes_little():
    """Processor time of a new process from the import to the first prediction, and none of the large packages it could do
    without."""
    code = (
        "import os, sys, time\n"
        "import dc_graphsam\n"
        f"predict = dc_graphsam.pipeline({str(BUNDLED / 'compt-esol-small')!r}, device='cpu')\n"
        "row = predict('CCO')\n"
        "print(len(row), sum(os.times()[:2]), *{m.split('.')[0] for m in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, seconds, *loaded = done.stdout.split()
    assert int(count) == 1
    assert not {"deepchem", "dgl", "datasets", "sklearn", "pandas", "matplotlib", "evaluate"} & set(loaded)
    assert float(seconds) < 20, seconds  # 3 s on a quiet machine; a loaded one counts more


def test_auto_class():
    from dc_graphsam import AutoModelForPropertyPrediction

    model = AutoModelForPropertyPrediction.from_pretrained(BUNDLED / "compt-esol-small")
    assert type(model).__name__ == "CoMPTForPropertyPrediction"
    assert type(AutoModelForPropertyPrediction.from_config(model.config)) is type(model)
    with pytest.raises(InvalidArgumentError, match="is made with from_pretrained"):
        AutoModelForPropertyPrediction()
    with pytest.raises(InvalidArgumentError, match="config is of model_type None; accepted: 'compt'"):
        AutoModelForPropertyPrediction.from_config(object())
    with pytest.raises(
        InvalidArgumentError, match="model_type of CoMPTConfig is 'compt'; accepted: one not in use yet"
    ):
        AutoModelForPropertyPrediction.register(type(model.config), type(model))
    assert Path(model.name_or_path).name == "compt-esol-small"
