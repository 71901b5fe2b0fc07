"""Layers that are not plain do what they do: adapters, hooks, parametrizations, quantized layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dc_graphsam.models import CoMPTConfig, CoMPTForPropertyPrediction

SMALL = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4)
VARIANTS = {
    "default": {},
    "dense": dict(attention="dense"),
    "edge-update": dict(attention="dense", edge_update=True),
    "two-dense-maps": dict(num_dense_layers=2, norm="scale"),
    "no-dense-map": dict(num_dense_layers=0, num_head_layers=1),
    "rwse-attention": dict(position="rwse", readout="attention"),
    "laplacian-mean": dict(position="laplacian", readout="mean"),
    "none-sum": dict(position="none", readout="sum"),
    "gru-released": dict(readout="gru-released", pad_to=20, distance_kernel="softmax"),
    "torch-engine": dict(message_engine="torch"),
    "dgl-engine": dict(message_engine="dgl"),
    "dead-parameters": dict(keep_dead_parameters=True, lambda_constraint="free"),
}


def make(name: str) -> CoMPTForPropertyPrediction:
    torch.manual_seed(1)
    return CoMPTForPropertyPrediction(CoMPTConfig(**SMALL, **VARIANTS[name])).eval()


def called(model: nn.Module, kind: type | tuple[type, ...]) -> list[str]:
    """Names of the submodules of a kind that take part in a prediction."""
    return [name for name, part in model.named_modules() if name and isinstance(part, kind) and is_used(model, name)]


def is_used(model: nn.Module, name: str) -> bool:
    """Nobody reads the edge states of the last layer, nor any without edge updates; an empty block drops nothing out."""
    last = f"layers.{model.config.num_hidden_layers - 1}."
    if "edge_output" in name:
        return model.config.edge_update and last not in name
    return model.config.num_dense_layers > 0 or "feed_forward.dropout" not in name


class Beside(nn.Module):
    """What an adapter looks like: the layer inside, its ``weight`` on show, and a term of its own."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.base_layer = layer
        self.extra = nn.Linear(layer.in_features, layer.out_features, bias=False)

    @property
    def weight(self):
        return self.base_layer.weight

    @property
    def bias(self):
        return self.base_layer.bias

    def forward(self, x):
        return self.base_layer(x) + self.extra(x)

    def merged(self) -> nn.Linear:
        layer = copy.deepcopy(self.base_layer)
        layer.weight.data += self.extra.weight.data
        return layer


def replaced(model: nn.Module, name: str, part: nn.Module) -> nn.Module:
    other = copy.deepcopy(model)
    parent, _, child = name.rpartition(".")
    setattr(other.get_submodule(parent), child, part)
    return other


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_linear_layer_can_be_replaced_by_one_that_does_more(variant, batch):
    model = make(variant)
    plain = model(**batch).logits
    for name in called(model, nn.Linear):
        wrapper = Beside(copy.deepcopy(model.get_submodule(name)))
        wrapped = replaced(model, name, wrapper)
        logits = wrapped(**batch).logits
        merged = replaced(model, name, wrapper.merged())(**batch).logits
        torch.testing.assert_close(logits, merged, atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
        assert (logits - plain).abs().max() > 1e-6, name
        logits.square().sum().backward()
        assert wrapper.extra.weight.grad.abs().max() > 0, name
        assert wrapper.base_layer.weight.grad.abs().max() > 0, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_wrapped_layer_gets_the_gradient_of_the_plain_one(variant, batch64):
    """The called form and the folded form are one function: gradients of all parameters agree in double precision."""
    model = make(variant).double()
    wrapped = copy.deepcopy(model)
    for name in called(model, nn.Linear):
        wrapper = Beside(wrapped.get_submodule(name)).double()
        nn.init.zeros_(wrapper.extra.weight)
        parent, _, child = name.rpartition(".")
        setattr(wrapped.get_submodule(parent), child, wrapper)
    for each in (model, wrapped):
        each(**batch64).logits.square().sum().backward()
    theirs = {name.replace("base_layer.", ""): p.grad for name, p in wrapped.named_parameters()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(theirs[name], parameter.grad, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("variant", VARIANTS)
def test_hooks_of_every_submodule_fire(variant, batch):
    """A hook that changes nothing is seen, and leaves the prediction; backward hooks included."""
    model = make(variant)
    plain = model(**batch).logits
    for name, part in model.named_modules():
        if not name or isinstance(part, nn.ModuleList) or not is_used(model, name):
            continue
        seen = []
        hooked = copy.deepcopy(model)
        target = hooked.get_submodule(name)
        target.register_forward_pre_hook(lambda *_, seen=seen: seen.append("before"))
        target.register_forward_hook(lambda *_, seen=seen: seen.append("after"))
        logits = hooked(**batch).logits
        assert {"before", "after"} <= set(seen), name
        torch.testing.assert_close(logits, plain, atol=1e-5, rtol=1e-5)
    for name in called(model, nn.Linear):
        seen = []
        hooked = copy.deepcopy(model)
        hooked.get_submodule(name).register_full_backward_hook(lambda *_, seen=seen: seen.append("back"))
        hooked(**batch).logits.sum().backward()
        assert seen, name


def test_a_hook_that_changes_the_output_changes_the_prediction(batch):
    model = make("default")
    plain = model(**batch).logits
    for name in called(model, nn.Linear):
        hooked = copy.deepcopy(model)
        hooked.get_submodule(name).register_forward_hook(lambda _, __, output: output * 1.5)
        assert (hooked(**batch).logits - plain).abs().max() > 1e-6, name


def test_a_hook_on_the_encoder_changes_the_prediction(batch):
    model = make("default")
    plain = model(**batch, output_hidden_states=True)

    def double(_, __, output):
        output.last_hidden_state = output.last_hidden_state * 2
        return output

    model.encoder.register_forward_hook(double)
    hooked = model(**batch, output_hidden_states=True)
    assert (hooked.logits - plain.logits).abs().max() > 1e-4
    torch.testing.assert_close(hooked.hidden_states, plain.hidden_states)


def test_global_hooks_see_every_layer(batch):
    model = make("default")
    seen = set()
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.add(id(module)))
    try:
        model(**batch)
    finally:
        handle.remove()
    names = [name for name in called(model, nn.Linear) if id(model.get_submodule(name)) not in seen]
    assert not names


def test_dropout_switched_on_alone_is_felt(batch):
    """Monte Carlo dropout: the usual loop switches the dropout layers on, and nothing else."""
    torch.manual_seed(1)
    model = CoMPTForPropertyPrediction(CoMPTConfig(**SMALL, dropout=0.3, num_head_layers=1)).eval()
    model.encoder.dropout.p = 0.0
    for part in model.encoder.layers.modules():
        if isinstance(part, nn.Dropout):
            part.train()
    assert (model(**batch).logits - model(**batch).logits).abs().max() > 1e-5


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


@pytest.mark.parametrize("variant", ["default", "dense", "rwse-attention", "gru-released"])
def test_parametrizations_take_effect_and_learn(variant, batch):
    from torch.nn.utils import parametrize

    model = make(variant)
    places = [(name, "weight") for name in called(model, nn.Linear)]
    if hasattr(model.readout, "gru"):
        places += [("readout.gru", "weight_hh_l0"), ("readout.gru", "bias_ih_l0_reverse"), ("readout", "bias")]
    places += [("encoder.layers.0.norm", "weight"), ("encoder.layers.1.attention", "raw_lambda")]
    for name, tensor in places:
        halved = copy.deepcopy(model)
        getattr(halved.get_submodule(name), tensor).data /= 2
        adapted = copy.deepcopy(model)
        parametrize.register_parametrization(adapted.get_submodule(name), tensor, Halved())
        logits = adapted(**batch).logits
        torch.testing.assert_close(logits, halved(**batch).logits, atol=1e-5, rtol=1e-5)
        logits.sum().backward()
        assert getattr(adapted.get_submodule(name).parametrizations, tensor).original.grad.abs().max() > 0, name


@pytest.mark.parametrize("which", ["weight_norm", "old_weight_norm", "spectral_norm", "pruning"])
def test_weight_norm_spectral_norm_and_pruning(which, batch):
    from torch.nn.utils import parametrizations, prune, weight_norm

    model = make("default")
    plain = model(**batch).logits
    for name in called(model, nn.Linear):
        adapted = copy.deepcopy(model)
        layer = adapted.get_submodule(name)
        if which == "weight_norm":
            parametrizations.weight_norm(layer).parametrizations.weight.original0.data *= 1.5
        elif which == "old_weight_norm":
            with pytest.warns(FutureWarning):
                weight_norm(layer).weight_g.data *= 1.5
        elif which == "spectral_norm":
            parametrizations.spectral_norm(layer)
        else:
            prune.l1_unstructured(layer, "weight", 0.5)
        logits = adapted(**batch).logits
        assert (logits - plain).abs().max() > 1e-6, name
        logits.sum().backward()
        trained = [p for n, p in layer.named_parameters() if "weight" in n]
        assert trained and all(p.grad is not None and p.grad.abs().max() > 0 for p in trained), name


def test_dynamic_quantization_runs_and_predicts_closely(batch):
    model = CoMPTForPropertyPrediction(CoMPTConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4)).eval()
    for variant in (model, make("rwse-attention"), make("dense")):
        quantized = torch.ao.quantization.quantize_dynamic(variant, {nn.Linear})
        assert not isinstance(quantized.encoder.layers[0].attention.query, nn.Linear)
        expected = variant(**batch).logits
        assert 0 < (quantized(**batch).logits - expected).norm() < 0.1 * expected.norm()


peft = pytest.importorskip("peft", reason="peft is not installed")


def with_random_weights(model):
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and "magnitude" not in name:
            parameter.data.normal_(std=0.2)
    return model.eval()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_lora_on_all_layers_moves_the_prediction_as_merging_does(variant, kind, batch):
    config = peft.LoraConfig(target_modules="all-linear", r=4, use_dora=kind == "dora")
    model = make(variant)
    plain = model(**batch).logits
    adapted = with_random_weights(peft.get_peft_model(model, config))
    logits = adapted(**batch).logits
    assert (logits - plain).abs().max() > 1e-3
    logits.square().sum().backward()
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad and is_used(model, name):
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    merged = adapted.merge_and_unload()
    torch.testing.assert_close(merged(**batch).logits, logits, atol=1e-5, rtol=1e-5)


def test_ia3_and_lora_on_the_embedding_of_positions(batch):
    model = make("default")
    config = peft.IA3Config(target_modules=["key", "value", "output"], feedforward_modules=["output"])
    adapted = with_random_weights(peft.get_peft_model(model, config))
    logits = adapted(**batch).logits
    logits.sum().backward()
    assert all(p.grad.abs().max() > 0 for p in adapted.parameters() if p.requires_grad)
    torch.testing.assert_close(adapted.merge_and_unload()(**batch).logits, logits, atol=1e-5, rtol=1e-5)
    adapted = with_random_weights(peft.get_peft_model(make("default"), peft.LoraConfig(target_modules=["table"])))
    logits = adapted(**batch).logits
    torch.testing.assert_close(adapted.merge_and_unload()(**batch).logits, logits, atol=1e-5, rtol=1e-5)


def test_adapters_on_query_and_value_alone_train(batch):
    adapted = peft.get_peft_model(make("default"), peft.LoraConfig(target_modules=["query", "value"], lora_dropout=0.1))
    adapted.train()
    optimizer = torch.optim.Adam([p for p in adapted.parameters() if p.requires_grad], 0.05)
    before = {name: p.detach().clone() for name, p in adapted.named_parameters()}
    labels = torch.arange(len(batch["node_mask"])).float().unsqueeze(1)
    losses = []
    for _ in range(15):
        loss = adapted(**{**batch, "labels": labels}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    for name, parameter in adapted.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name
