"""Tracing, export, transforms of ``torch.func``, and tensors that are no plain tensors: the same predictions, without kernels."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.func import functional_call, grad, jvp, stack_module_state, vmap

from dc_graphsam.chem import featurize
from dc_graphsam.data.collate import MoleculeCollator
from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.models import CoMPTConfig, CoMPTForPropertyPrediction

SMALL = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, label_mean=[1.0], label_std=[2.0])
VARIANTS = {
    "default": {},
    "rwse-attention": dict(position="rwse", readout="attention"),
    "none-mean-dgl-engine": dict(position="none", readout="mean", message_engine="dgl"),
    "gru-released": dict(readout="gru-released", pad_to=20),
    "dense": dict(attention="dense", edge_update=True, norm="scale", distance_kernel="softmax"),
    "last-position": dict(max_position_embeddings=4, position_overflow="last", num_dense_layers=2),
}
OTHERS = (["CC(=O)Oc1ccccc1C(=O)O", "C"], ["C"], ["CC"] * 3, ["CCCCCCCCC", "[Na+].[Cl-]", "O", "CCO", "C1CC1"])


def make(name: str) -> CoMPTForPropertyPrediction:
    torch.manual_seed(1)
    return CoMPTForPropertyPrediction(CoMPTConfig(**SMALL, **VARIANTS[name])).eval()


def other_batches():
    return [MoleculeCollator()([featurize(smiles) for smiles in row]) for row in OTHERS]


@pytest.fixture
def padded(monkeypatch):
    """The padded path, outside of any tracing."""
    monkeypatch.setattr("dc_graphsam.models.common.packing._must_be_fixed", lambda mask: True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_padded_path_is_the_packed_one(variant, batch64, request):
    """Logits, states, attentions and all gradients agree in double precision, whatever stands in padded places."""
    results = []
    for _ in range(2):
        model = make(variant).double()
        inputs = dict(batch64)
        if results:
            request.getfixturevalue("padded")
            absent = inputs["edge_index"][:, 0] < 0
            inputs["edge_features"] = inputs["edge_features"].masked_fill(absent.unsqueeze(-1), 7.0)
            inputs["node_features"] = inputs["node_features"].masked_fill(~inputs["node_mask"].unsqueeze(-1), 3.0)
        output = model(**inputs, output_hidden_states=True, output_attentions=True)
        output.logits.square().sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        mask = batch64["node_mask"]
        states = [state[mask] for state in (*output.hidden_states, output.node_states)]
        pairs = mask.unsqueeze(1).unsqueeze(3) & mask.unsqueeze(1).unsqueeze(2)
        results.append((output.logits, states, [a.masked_fill(~pairs, 0) for a in output.attentions], gradients))
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_traced_model_predicts_the_same_on_batches_of_other_sizes(variant, batch):
    model = make(variant)
    traced = torch.jit.trace(model, example_kwarg_inputs=batch, strict=False, check_trace=False)
    for other in (batch, *other_batches()):
        torch.testing.assert_close(traced(**other)["logits"], model(**other).logits, atol=1e-5, rtol=1e-5)


def test_an_exported_model_predicts_the_same_on_batches_of_other_sizes(batch):
    model = make("default")
    free = torch.export.Dim.DYNAMIC
    axes = dict(node_features=(0, 1), node_mask=(0, 1), edge_index=(0, 2), edge_features=(0, 1), distance=(0, 1, 2))
    shapes = {name: dict.fromkeys(axes[name], free) for name in batch}
    exported = torch.export.export(model, (), batch, dynamic_shapes=shapes, strict=False).module()
    for other in (batch, *other_batches()):
        torch.testing.assert_close(exported(**other).logits, model(**other).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_ensemble_under_vmap(variant, batch):
    models = [make(variant) for _ in range(3)]
    for i, model in enumerate(models):
        for parameter in model.parameters():
            parameter.data += 0.01 * i
    parameters, buffers = stack_module_state(models)
    with torch.no_grad():
        stacked = vmap(lambda p, b: functional_call(models[0], (p, b), kwargs=batch).logits)(parameters, buffers)
        single = torch.stack([model(**batch).logits for model in models])
    torch.testing.assert_close(stacked, single, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("variant", ["default", "rwse-attention", "dense"])
def test_gradients_per_molecule_under_vmap_and_grad(variant, batch64):
    model = make(variant).double()
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def score(parameters, molecule):
        one = {name: tensor.unsqueeze(0) for name, tensor in molecule.items()}
        return functional_call(model, parameters, kwargs=one).logits.sum()

    each = vmap(grad(score), in_dims=(None, 0))(parameters, batch64)
    for i in range(len(batch64["node_mask"])):
        model.zero_grad()
        model(**{name: tensor[i : i + 1] for name, tensor in batch64.items()}).logits.sum().backward()
        for name, parameter in model.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(each[name][i], expected, msg=lambda text, name=name: f"{name}: {text}")


def test_forward_mode_gives_the_slope_of_reverse_mode(batch64):
    model = make("default").double()
    x = batch64["node_features"]
    direction = torch.randn_like(x)
    rest = {name: tensor for name, tensor in batch64.items() if name != "node_features"}
    slope = jvp(lambda x: model(node_features=x, **rest).logits.sum(), (x,), (direction,))[1]
    leaf = x.clone().requires_grad_()
    model(node_features=leaf, **rest).logits.sum().backward()
    torch.testing.assert_close(slope, (leaf.grad * direction).sum())
    from torch.autograd import forward_ad

    with forward_ad.dual_level():
        logits = model(node_features=forward_ad.make_dual(x, direction), **rest).logits.sum()
        torch.testing.assert_close(forward_ad.unpack_dual(logits).tangent, slope)


def test_fake_tensors_meta_tensors_and_make_fx(batch):
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    model = make("default")
    expected = model(**batch).logits
    mode = FakeTensorMode()
    weights, tensors = ({k: mode.from_tensor(v) for k, v in given.items()} for given in (model.state_dict(), batch))
    with mode:
        logits = functional_call(model, weights, kwargs=tensors).logits
    assert logits.shape == expected.shape
    meta = copy.deepcopy(model).to("meta")
    logits = meta(**{name: tensor.to("meta") for name, tensor in batch.items()}).logits
    assert (logits.shape, logits.device.type) == (expected.shape, "meta")
    names = list(batch)
    graph = make_fx(lambda *tensors: model(**dict(zip(names, tensors, strict=True))).logits)(*batch.values())
    shifted = {**batch, "node_features": batch["node_features"] * 0.5}
    torch.testing.assert_close(graph(*shifted.values()), model(**shifted).logits, atol=1e-5, rtol=1e-5)


def test_subclasses_of_tensor_and_counters_of_operations(batch):
    from torch.utils.flop_counter import FlopCounterMode

    class Marked(torch.Tensor):
        pass

    model = make("default")
    expected = model(**batch).logits
    for name in batch:
        marked = {**batch, name: batch[name].as_subclass(Marked)}
        torch.testing.assert_close(
            torch.Tensor(model(**marked).logits.detach()), expected.detach(), atol=1e-5, rtol=1e-5
        )
    with FlopCounterMode(display=False) as counter:
        model(**batch)
    # at least value, output and dense map of each layer
    atoms, layers, d = int(batch["node_mask"].sum()), 2, 16
    assert counter.get_total_flops() > layers * 3 * 2 * atoms * d * d


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype, batch):
    model = make("default").to(dtype)
    expected = make("default")(**batch).logits
    found = model(**{k: v.to(dtype) if v.is_floating_point() else v for k, v in batch.items()}).logits
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=1e-5 if dtype == torch.float64 else 0.2, rtol=0)


def test_what_cannot_be_traced_says_so(batch):
    torch.manual_seed(1)
    model = CoMPTForPropertyPrediction(CoMPTConfig(**SMALL, position="laplacian")).eval()
    with pytest.raises(
        InvalidArgumentError, match="position is 'laplacian'.*cannot be traced.*accepted: position 'index'"
    ):
        torch.jit.trace(model, example_kwarg_inputs=batch, strict=False)
    with pytest.raises(InvalidArgumentError, match="laplacian"):
        vmap(lambda p: functional_call(model, p, kwargs=batch).logits)(stack_module_state([model])[0])


@pytest.mark.parametrize("name", ["node_mask", "edge_index", "distance"])
def test_tensors_of_different_batches_are_refused(name, batch):
    with pytest.raises(ValueError, match=f"{name} has shape"):
        make("default")(**{**batch, name: batch[name][:2]})
