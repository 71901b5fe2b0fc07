"""The fused kernels against the same equations in plain torch, in double precision (which the kernels do not know)."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys

import pytest
import torch

from dc_graphsam.chem import featurize
from dc_graphsam.data import MoleculeCollator
from dc_graphsam.models import CoMPTConfig, CoMPTForPropertyPrediction
from dc_graphsam.models.common.layers import LayerNorm, ScaleNorm, bias_mish
from dc_graphsam.models.common.recurrent import BidirectionalGRU, PackedOrder
from dc_graphsam.models.kernels import library, usable

SMILES = ["CCO", "C", "[Na+].[Cl-]", "c1ccccc1C(=O)[O-].[NH4+]", "CC(C)Cc1ccc(cc1)C(C)C(=O)O", "C" * 70, "O=C=O", "C#N"]

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None, reason="the kernels need a C compiler (cc), there is none here"
)


def test_they_are_compiled_here():
    assert library() is not None and usable(torch.zeros(1))


def difference(got, expected) -> float:
    """‖got − expected‖/‖expected‖"""
    return float((got.double() - expected).norm() / expected.norm().clamp(min=1e-12))


@pytest.mark.parametrize("make", [LayerNorm, ScaleNorm])
@pytest.mark.parametrize(("rows", "size", "scale"), [(5, 7, 1.0), (130, 256, 1.0), (6, 40, 1e-6), (6, 40, 1e3)])
def test_norms(make, rows, size, scale):
    torch.manual_seed(0)
    norm = make(size)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter, 1)
    exact = copy.deepcopy(norm).double()
    x = (torch.randn(rows, size) * scale).requires_grad_()
    y = x.detach().double().requires_grad_()
    weight = torch.randn(rows, size)
    got, expected = norm(x), exact(y)
    got.backward(weight)
    expected.backward(weight.double())
    assert difference(got.detach(), expected.detach()) < 1e-5
    pairs = [(x, y), *zip(norm.parameters(), exact.parameters(), strict=True)]
    assert max(difference(a.grad, b.grad) for a, b in pairs) < 2e-5


def test_norm_of_a_constant_row_and_of_nothing():
    x = torch.cat((torch.full((1, 4), 3.0), torch.zeros(1, 4))).requires_grad_()
    for norm in (LayerNorm(4), ScaleNorm(4)):
        norm(x).sum().backward()
        assert torch.isfinite(x.grad).all()
    assert LayerNorm(4)(torch.zeros(0, 4)).shape == (0, 4)


def test_mish_with_a_bias_over_its_whole_range():
    y = torch.cat([torch.linspace(-100, 100, 401), torch.linspace(-3, 3, 103)]).view(-1, 8)
    bias = torch.randn(8)
    a, b = y.clone().requires_grad_(), y.double().requires_grad_()
    c, e = bias.clone().requires_grad_(), bias.double().requires_grad_()
    got, expected = bias_mish(a, c), torch.nn.functional.mish(b + e)
    torch.testing.assert_close(got.double(), expected, atol=2e-7, rtol=1e-6)
    weight = torch.randn_like(y)
    got.backward(weight)
    expected.backward(weight.double())
    torch.testing.assert_close(a.grad.double(), b.grad, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(c.grad.double(), e.grad, atol=1e-5, rtol=1e-5)
    assert torch.isnan(bias_mish(torch.full((1, 8), float("nan")), bias)).all()


def test_gru_equals_the_plain_one():
    torch.manual_seed(0)
    lengths = torch.tensor([3, 1, 9, 9, 2])
    gru = BidirectionalGRU(24)
    exact, order = copy.deepcopy(gru).double(), PackedOrder.from_lengths(lengths)
    x, h0 = torch.randn(24, 24), torch.randn(5, 24)
    results = []
    for module, dtype in ((gru, torch.float32), (exact, torch.float64)):
        inputs = [t.detach().to(dtype, copy=True).requires_grad_() for t in (x, h0)]
        out = torch.cat(module(*inputs, order), 1)
        out.backward(torch.cos(torch.arange(out.numel()).view_as(out)).to(dtype))
        results.append([out.detach(), *(t.grad for t in inputs), *(p.grad for p in module.parameters())])
    assert max(difference(a, b) for a, b in zip(*results, strict=True)) < 1e-5
    with torch.no_grad():
        torch.testing.assert_close(torch.cat(gru(x, h0, order), 1), results[0][0], atol=0, rtol=0)


def model_and_batch(settings: dict, smiles=SMILES, spread=0.05):
    torch.manual_seed(0)
    model = CoMPTForPropertyPrediction(CoMPTConfig(**settings))
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * spread)
    graphs = [featurize(s, feature_set=model.config.feature_set) for s in smiles]
    return model, MoleculeCollator()(graphs)


def run(model, batch, dtype):
    """Logits, and the gradient of each parameter."""
    batch = {key: value.to(dtype) if value.is_floating_point() else value for key, value in batch.items()}
    model.zero_grad()
    logits = model(**batch).logits
    logits.backward(torch.linspace(-1, 1, logits.numel(), dtype=dtype).view_as(logits))
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


SETTINGS = {
    "layer norm, exp": dict(hidden_size=64, num_attention_heads=2),
    "scale norm, softmax": dict(hidden_size=64, num_attention_heads=4, norm="scale", distance_kernel="softmax"),
    "widths that are no multiple of 16": dict(hidden_size=36, num_attention_heads=3, distance_kernel="softmax"),
    "wide heads": dict(hidden_size=224, num_attention_heads=2, num_hidden_layers=2),
    "no decay": dict(hidden_size=32, num_attention_heads=2, initial_lambda=0.0, lambda_constraint="free"),
    "sum": dict(hidden_size=32, num_attention_heads=2, readout="sum", position="none"),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_whole_models_and_their_gradients(settings):
    model, batch = model_and_batch({"num_hidden_layers": 3, "task_names": ["a", "b"], **settings})
    for layer in model.encoder.layers:
        raw = layer.attention.raw_lambda
        raw.data.abs_() if settings.get("initial_lambda") != 0.0 else raw.data.zero_()
    exact = copy.deepcopy(model).double()
    logits, gradients = run(model, batch, torch.float32)
    expected, true = run(exact, batch, torch.float64)
    assert difference(logits, expected) < 1e-5
    assert gradients.keys() == true.keys()
    total = sum(float(g.square().sum()) for g in true.values()) ** 0.5
    for name, gradient in gradients.items():
        # sums that nearly cancel are held to the size of the whole gradient
        error = float((gradient.double() - true[name]).norm())
        assert error < 5e-5 * float(true[name].norm()) + 2e-6 * total, name


def test_every_layer_goes_through_them(monkeypatch):
    from dc_graphsam.models.kernels import layer

    calls = []
    original = layer.FusedLayer.forward
    monkeypatch.setattr(layer.FusedLayer, "forward", staticmethod(lambda *a: (calls.append(1), original(*a))[1]))
    model, batch = model_and_batch(dict(hidden_size=32, num_attention_heads=2, num_hidden_layers=3))
    model(**batch)
    assert len(calls) == 3
    model(**batch, output_attentions=True)
    with torch.autocast("cpu", torch.float16):
        model(**batch)
    assert len(calls) == 3, "what the kernels do not know goes through plain torch"


@pytest.mark.parametrize("norm", ["layer", "scale"])
def test_autocast_rounds_the_products_alone(norm):
    """Errors are those of a product in bfloat16 (3 digits), in logits and gradients; no value turns into NaN."""
    model, batch = model_and_batch(dict(hidden_size=64, num_attention_heads=2, num_hidden_layers=2, norm=norm))
    exact, true = run(copy.deepcopy(model).double(), batch, torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(**batch).logits
    model.zero_grad()
    logits.backward(torch.linspace(-1, 1, logits.numel()).view_as(logits))
    assert logits.dtype == torch.float32
    error = float((logits.detach().double() - exact).abs().max())
    assert 1e-5 < error < 0.05 * float(exact.abs().max())
    gradient = torch.cat([p.grad.double().flatten() for p in model.parameters() if p.grad is not None])
    expected = torch.cat([true[name].flatten() for name, p in model.named_parameters() if p.grad is not None])
    assert difference(gradient, expected) < 0.05


@pytest.mark.parametrize("changes", [dict(dropout=0.3), dict(num_dense_layers=2), dict(dense_activation="relu")])
def test_layers_they_do_not_know(changes):
    model, batch = model_and_batch(dict(hidden_size=32, num_attention_heads=2, num_hidden_layers=1, **changes))
    model.train()
    loss = model(**batch).logits.sum()
    loss.backward()
    assert torch.isfinite(loss)


def test_a_negative_decay_goes_through_plain_torch():
    model, batch = model_and_batch(
        dict(hidden_size=32, num_attention_heads=2, lambda_constraint="free"), ["CCO", "C"], 0.0
    )
    for layer in model.encoder.layers:
        layer.attention.raw_lambda.data.fill_(-0.1)
    exact = copy.deepcopy(model).double()
    assert difference(run(model, batch, torch.float32)[0], run(exact, batch, torch.float64)[0]) < 1e-5


def test_outputs_do_not_depend_on_the_number_of_threads():
    model, batch = model_and_batch(dict(hidden_size=64, num_attention_heads=2, num_hidden_layers=2))
    threads, results = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            results.append(run(model, batch, torch.float32))
    finally:
        torch.set_num_threads(threads)
    for logits, gradients in results[1:]:
        torch.testing.assert_close(logits, results[0][0], atol=1e-6, rtol=1e-6)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, results[0][1][name], atol=1e-5, rtol=1e-4, msg=name)


def test_a_molecule_that_is_not_a_number_spoils_no_other():
    model, batch = model_and_batch(dict(hidden_size=32, num_attention_heads=2))
    clean = model(**batch).logits
    batch["node_features"] = batch["node_features"].clone()
    batch["node_features"][1, 0, 0] = float("nan")
    spoilt = model(**batch).logits
    assert torch.isnan(spoilt[1]).all()
    rest = [i for i in range(len(SMILES)) if i != 1]
    torch.testing.assert_close(spoilt[rest], clean[rest])


def test_frozen_parameters_and_a_frozen_encoder():
    model, batch = model_and_batch(dict(hidden_size=32, num_attention_heads=2))
    all_gradients = run(model, batch, torch.float32)[1]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("layers.1" in name or "classifier" in name)
    for name, gradient in run(model, batch, torch.float32)[1].items():
        torch.testing.assert_close(gradient, all_gradients[name], msg=name)


def test_edges_in_any_order():
    """The kernels sort; a batch whose edges are shuffled gives the same numbers."""
    model, batch = model_and_batch(dict(hidden_size=32, num_attention_heads=2))
    order = torch.randperm(batch["edge_index"].shape[2])
    shuffled = {
        **batch,
        "edge_index": batch["edge_index"][:, :, order],
        "edge_features": batch["edge_features"][:, order],
    }
    torch.testing.assert_close(model(**shuffled).logits, model(**batch).logits, atol=1e-6, rtol=1e-6)


def test_a_process_without_them_predicts_the_same(tmp_path):
    script = (
        "import torch; from tests_of_kernels import model_and_batch\n"
        "model, batch = model_and_batch(dict(hidden_size=32, num_attention_heads=2))\n"
        f"torch.save(model(**batch).logits, {str(tmp_path / 'logits.pt')!r})\n"
    )
    shutil.copy(__file__, tmp_path / "tests_of_kernels.py")
    environment = {
        **os.environ,
        "DC_GRAPHSAM_KERNELS": "off",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
    }
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    model, batch = model_and_batch(dict(hidden_size=32, num_attention_heads=2))
    plain = torch.load(tmp_path / "logits.pt", weights_only=True)
    torch.testing.assert_close(model(**batch).logits, plain, atol=1e-5, rtol=1e-5)
    assert not torch.equal(model(**batch).logits, plain)
