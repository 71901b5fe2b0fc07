import pytest
import torch

from dc_graphsam.exceptions import InvalidArgumentError, MissingPackageError
from dc_graphsam.models.common.message_passing import BondGraph, dgl_is_available, u_mul_e_sum


def example(dtype=torch.float64):
    torch.manual_seed(0)
    source, target = torch.tensor([0, 1, 1, 2, 4, 2, 0]), torch.tensor([1, 0, 2, 1, 2, 4, 2])
    graph = BondGraph(source, target, num_nodes=6)  # node 3 and node 5 have no edges
    v = torch.randn(6, 2, 3, dtype=dtype, requires_grad=True)
    w = torch.randn(7, 2, dtype=dtype, requires_grad=True)
    return graph, v, w


def slow(graph, v, w):
    out = [torch.zeros_like(v[0]) for _ in range(graph.num_nodes)]
    for e, (j, i) in enumerate(zip(graph.source.tolist(), graph.target.tolist(), strict=True)):
        out[i] = out[i] + w[e].unsqueeze(-1) * v[j]
    return torch.stack(out)


@pytest.mark.parametrize("engine", ["torch", "dgl", "auto"])
def test_engines_equal_the_definition(engine):
    if engine == "dgl" and not dgl_is_available():
        pytest.skip("DGL is not installed here")
    graph, v, w = example()
    weights = torch.randn(6, 2, 3, dtype=v.dtype)
    got, expected = u_mul_e_sum(graph, v, w, engine), slow(graph, v, w)
    torch.testing.assert_close(got, expected, atol=1e-14, rtol=1e-13)
    torch.testing.assert_close(
        torch.autograd.grad(got, (v, w), weights),
        torch.autograd.grad(expected, (v, w), weights),
        atol=1e-13,
        rtol=1e-13,
    )


@pytest.mark.parametrize("engine", ["torch", "dgl"])
def test_no_edges(engine):
    if engine == "dgl" and not dgl_is_available():
        pytest.skip("DGL is not installed here")
    none = torch.zeros(0, dtype=torch.long)
    v = torch.randn(2, 1, 3, requires_grad=True)
    y = u_mul_e_sum(BondGraph(none, none, 2), v, torch.zeros(0, 1, requires_grad=True), engine)
    assert torch.equal(y, torch.zeros(2, 1, 3))
    y.sum().backward()
    assert torch.equal(v.grad, torch.zeros_like(v))


def test_unknown_engine_is_named():
    graph, v, w = example()
    with pytest.raises(InvalidArgumentError, match="message_engine is 'cuda'; accepted: 'auto', 'torch', 'dgl'"):
        u_mul_e_sum(graph, v, w, "cuda")


def test_without_dgl_the_error_says_what_is_left(monkeypatch):
    graph, v, w = example()
    monkeypatch.setattr("dc_graphsam.optional.is_installed", lambda package: False)
    with pytest.raises(MissingPackageError, match="message_engine='dgl' needs dgl, which is not installed: "):
        u_mul_e_sum(graph, v, w, "dgl")
