"""A model as one file: what it predicts, and what stands in the way."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dc_graphsam import optional
from dc_graphsam.chem import featurize
from dc_graphsam.cli.main import main
from dc_graphsam.cli.parser import EXPORT_FORMATS as OFFERED
from dc_graphsam.data.collate import MoleculeCollator
from dc_graphsam.exceptions import DCGraphSAMError, InvalidArgumentError, MissingPackageError
from dc_graphsam.models import CoMPTConfig, CoMPTForPropertyPrediction
from dc_graphsam.predict import export
from dc_graphsam.predict.export import EXPORT_FORMATS, INPUTS, export_model
from dc_graphsam.predict.loading import load_run
from dc_graphsam.processing import MoleculeProcessor

SMALL = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, label_mean=[3.0], label_std=[2.0])


def make(**settings):
    torch.manual_seed(0)
    return CoMPTForPropertyPrediction(CoMPTConfig(**SMALL, **settings)).eval()


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    model = make(task_names=["logS"])
    model.save_pretrained(folder)
    MoleculeProcessor.for_model(model).save_pretrained(folder)
    return folder


def test_the_command_writes_onnx_that_predicts_as_the_model(run, tmp_path, capsys):
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    code = main(["export", "--model", str(run), "--output", str(path)])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "largest difference from the model:" in said.out and "onnx, opset" in said.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "run"]  # one file
    session = ort.InferenceSession(str(path))
    model = load_run(run).model
    for smiles in (["CC(=O)Oc1ccccc1C(=O)O", "C"], ["C"], ["[Na+].[Cl-]", "CCO", "CCCCCCCCCCCCCCCCCCCC", "N"]):
        batch = MoleculeCollator()([featurize(one) for one in smiles])
        (logits,) = session.run(["logits"], {name: batch[name].numpy() for name in INPUTS})
        np.testing.assert_allclose(logits, model(**batch).logits.detach().numpy(), atol=1e-5, rtol=1e-5)
    about = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    assert json.loads(about["task_names"]) == ["logS"] and about["feature_set"] == model.config.feature_set


@pytest.mark.parametrize("settings", [{}, dict(position="rwse", readout="attention")])
def test_torchscript(settings, tmp_path):
    model = make(**settings).train()
    done = export_model(model, tmp_path / "model.pt", format="torchscript")
    assert done.difference <= 1e-5 and model.training
    loaded = torch.jit.load(str(done.path))
    batch = MoleculeCollator()([featurize(smiles) for smiles in ("CCO", "c1ccccc1")])
    expected = model.eval()(**batch).logits
    torch.testing.assert_close(loaded(*(batch[name] for name in INPUTS)), expected, atol=1e-5, rtol=1e-5)


def test_the_parser_offers_what_there_is():
    assert OFFERED == EXPORT_FORMATS


def test_a_file_that_predicts_something_else_is_not_left(tmp_path, monkeypatch):
    write, run = export._FORMATS["torchscript"]
    monkeypatch.setitem(export._FORMATS, "torchscript", (write, lambda *a: [logits + 1 for logits in run(*a)]))
    with pytest.raises(InvalidArgumentError, match="differs from the model by 1"):
        export_model(make(), tmp_path / "model.pt", format="torchscript")
    assert not list(tmp_path.iterdir())


def test_what_stands_in_the_way_is_said(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    with pytest.raises(InvalidArgumentError, match="position is 'laplacian'.*accepted: a model with position 'index'"):
        export_model(make(position="laplacian"), path)
    with pytest.raises(InvalidArgumentError, match="opset is 20; accepted only with format='onnx'"):
        export_model(make(), path, format="torchscript", opset=20)
    with pytest.raises(InvalidArgumentError, match="format is 'onx'.*Did you mean 'onnx'"):
        export_model(make(), path, format="onx")
    with pytest.raises(InvalidArgumentError, match="there is no folder"):
        export_model(make(), tmp_path / "no" / "model.onnx")
    path.write_text("kept")
    with pytest.raises(InvalidArgumentError, match="is there already"):
        export_model(make(), path)
    assert path.read_text() == "kept"
    path.unlink()
    monkeypatch.setattr(optional, "is_installed", lambda package: package != "onnx")
    with pytest.raises(
        MissingPackageError, match=r"needs onnx, which is not installed: pip install 'dc_graphsam\[onnx\]'"
    ) as error:
        export_model(make(), path)
    assert isinstance(error.value, ImportError) and isinstance(error.value, DCGraphSAMError)
