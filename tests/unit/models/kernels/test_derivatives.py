"""Second derivatives: right under torch.func, refused where the hand-written backward passes would leave out a part."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, grad, jvp

from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction
from dc_graphsam.chem import featurize
from dc_graphsam.data.collate import MoleculeCollator
from dc_graphsam.exceptions import InvalidArgumentError

SMILES = ("CCO", "c1ccccc1C(=O)O", "C", "CCN(C)C")


def model_and_batch(dtype, **options):
    torch.manual_seed(0)
    config = CoMPTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, dropout=0.0, **options)
    batch = {**MoleculeCollator()([featurize(smiles) for smiles in SMILES]), "labels": torch.arange(4.0)[:, None]}
    batch = {name: value.to(dtype) if value.is_floating_point() else value for name, value in batch.items()}
    return CoMPTForPropertyPrediction(config).to(dtype).eval(), batch


@pytest.mark.parametrize("options", [{}, {"readout": "mean"}, {"attention": "dense"}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_graph_of_the_gradient_is_refused(dtype, options):
    model, batch = model_and_batch(dtype, **options)
    parameters = list(model.parameters())
    with pytest.raises(InvalidArgumentError, match=r"create_graph is True.*torch\.func"):
        torch.autograd.grad(model(**batch).loss, parameters, create_graph=True, allow_unused=True)
    with pytest.raises(InvalidArgumentError, match="create_graph is True"):
        model(**batch).loss.backward(create_graph=True)
    assert any(g is not None for g in torch.autograd.grad(model(**batch).loss, parameters, allow_unused=True))


def test_a_hessian_vector_product_under_torch_func():
    model, batch = model_and_batch(torch.float64)
    weights = {name: p.detach() for name, p in model.named_parameters()}
    along = {name: torch.randn_like(p) for name, p in weights.items()}
    gradient = grad(lambda w: functional_call(model, w, kwargs=batch).loss)
    product = jvp(gradient, (weights,), (along,))[1]
    step = 1e-5
    ahead, behind = (gradient({n: w + s * along[n] for n, w in weights.items()}) for s in (step, -step))
    assert max(value.abs().max() for value in product.values()) > 1
    for name, value in product.items():
        torch.testing.assert_close(value, (ahead[name] - behind[name]) / (2 * step), rtol=1e-5, atol=1e-4)
