"""SMILES to model inputs."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

from dc_graphsam.chem import FEATURE_SETS, featurize
from dc_graphsam.data import MoleculeCollator
from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, InvalidSmilesError, MissingDataError
from dc_graphsam.hf import MoleculeProcessor


@pytest.mark.parametrize("feature_set", list(FEATURE_SETS))
def test_batch_is_that_of_featurizer_and_collator(feature_set):
    processor = MoleculeProcessor(feature_set)
    batch = processor(["CCO", "c1ccccc1"])
    expected = MoleculeCollator(feature_set)([featurize("CCO", feature_set), featurize("c1ccccc1", feature_set)])
    assert list(batch) == list(expected) == processor.model_input_names
    assert all(torch.equal(batch[name], expected[name]) for name in expected)
    assert batch["edge_features"].shape[2] == processor.edge_feature_size
    assert batch["node_features"].shape[2] == processor.node_feature_size
    assert batch.to("cpu")["distance"].dtype == torch.uint8


def test_numpy_and_single_smiles():
    batch = MoleculeProcessor()("CCO", return_tensors="np")
    assert all(isinstance(array, np.ndarray) for array in batch.values())
    assert batch["node_features"].shape == (1, 3, 115)


def test_model_takes_the_batch(regression_data, make_compt):
    model = make_compt(regression_data).eval()
    processor = MoleculeProcessor.for_model(model)
    logits = model(**processor(["CCO", "[Na+].[Cl-]"])).logits
    assert logits.shape == (2, 2)
    assert MoleculeProcessor.for_model(model.config) == processor


def test_invalid_smiles(caplog):
    processor = MoleculeProcessor()
    with pytest.raises(InvalidSmilesError, match="'C1CC' cannot be used: cannot be parsed"):
        processor(["CCO", "C1CC"])
    with caplog.at_level(logging.WARNING):
        batch = processor(["CCO", "C1CC", None, "N"], on_invalid="skip")
    assert batch["node_features"].shape[0] == 2
    assert [error is None for error in batch.errors] == [True, False, False, True]
    assert "2 of 4 SMILES left out: 1 (cannot be parsed" in caplog.text
    with pytest.raises(InvalidSmilesError):
        processor(["C1CC"], on_invalid="skip")  # nothing is left
    with pytest.raises(InvalidSmilesError):
        processor(17)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"smiles": []}, "smiles is empty; accepted: at least one SMILES"),
        ({"smiles": "C", "return_tensors": "tf"}, "return_tensors is 'tf'; accepted: 'pt', 'np'"),
        ({"smiles": "C", "on_invalid": "ignore"}, "on_invalid is 'ignore'; accepted: 'raise', 'skip'"),
    ],
)
def test_bad_options(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        MoleculeProcessor()(**arguments)


def test_save_and_load(tmp_path):
    processor = MoleculeProcessor("compt")
    (path,) = processor.save_pretrained(tmp_path / "run")
    loaded = MoleculeProcessor.from_pretrained(tmp_path / "run")
    assert loaded == processor == MoleculeProcessor.from_pretrained(path)
    assert loaded != MoleculeProcessor("compt-own-slot")
    assert len({loaded, processor}) == 1
    assert repr(loaded) == "MoleculeProcessor(feature_set='compt')"
    record = json.loads((tmp_path / "run" / "processor_config.json").read_text())
    assert record["node_feature_size"] == 115
    assert record["edge_feature_size"] == 13
    assert record["format_version"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format_version": 9},
            "has format version 9, this version of dc_graphsam reads up to 1; install a newer dc_graphsam",
        ),
        (
            {"feature_set": "ogb"},
            "feature_set is 'ogb', which this version of dc_graphsam does not have; it has: compt, compt-own",
        ),
        ({"edge_feature_size": 99}, "says edge_feature_size 99, feature set 'compt' has 13"),
        ({"feature_set": None}, "feature_set is None, which|does not describe"),
    ],
)
def test_records_of_other_versions(tmp_path, change, message):
    processor = MoleculeProcessor("compt")
    processor.save_pretrained(tmp_path)
    path = tmp_path / "processor_config.json"
    record = {**json.loads(path.read_text()), **change}
    if change.get("feature_set", "") is None:
        del record["feature_set"]
    path.write_text(json.dumps(record))
    with pytest.raises(FeatureSetError, match=message):
        MoleculeProcessor.from_pretrained(tmp_path)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(
        MissingDataError, match=r"has no processor_config.json; save a processor there, or make one with"
    ):
        MoleculeProcessor.from_pretrained(tmp_path)
    (tmp_path / "processor_config.json").write_text("[]")
    with pytest.raises(FeatureSetError, match="does not describe a molecule processor"):
        MoleculeProcessor.from_pretrained(tmp_path)
    with pytest.raises(MissingDataError, match="is neither a folder nor a repository"):
        MoleculeProcessor.from_pretrained("nobody/nothing", local_files_only=True)
    with pytest.raises(InvalidArgumentError, match="save_directory is the file"):
        MoleculeProcessor().save_pretrained(tmp_path / "processor_config.json")


def test_for_model_wants_a_molecular_model():
    with pytest.raises(InvalidArgumentError, match="Linear does not name a feature set; accepted: a molecular model"):
        MoleculeProcessor.for_model(torch.nn.Linear(1, 1))


def test_text_behind_a_smiles_is_reported_and_a_piece_of_one_is_refused(caplog):
    batch = MoleculeProcessor()(["CCO ethanol", "CC"])
    assert batch["node_mask"].sum(1).tolist() == [3, 2]
    assert "text behind 1 of 2 SMILES ignored: 0 ('ethanol')" in caplog.text
    with pytest.raises(InvalidSmilesError, match="reads like its continuation"):
        MoleculeProcessor()(["COC =cO)C"])
