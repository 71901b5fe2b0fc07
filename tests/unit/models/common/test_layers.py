import pytest
import torch

from dc_graphsam.models.common.layers import LayerNorm, ScaleNorm, mish


def gradients(output, inputs, seed=1):
    torch.manual_seed(seed)
    return torch.autograd.grad(output, inputs, torch.randn_like(output))


@pytest.mark.parametrize("dtype,tolerance", [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_mish_equals_torch(dtype, tolerance):
    x = torch.cat([torch.linspace(-100, 100, 401), torch.linspace(-3, 3, 101)]).to(dtype).requires_grad_()
    expected = x * torch.tanh(torch.nn.functional.softplus(x))
    torch.testing.assert_close(mish(x), expected, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(
        gradients(mish(x), x), gradients(torch.nn.functional.mish(x), x), atol=tolerance * 4, rtol=1e-5
    )


def test_layer_norm_equals_its_definition():
    x = torch.randn(5, 3, 7, dtype=torch.float64, requires_grad=True)
    norm = LayerNorm(7).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    expected = norm.weight * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + norm.bias
    inputs = (x, norm.weight, norm.bias)
    torch.testing.assert_close(norm(x), expected, atol=1e-13, rtol=1e-13)
    torch.testing.assert_close(gradients(norm(x), inputs), gradients(expected, inputs), atol=1e-12, rtol=1e-12)


def test_layer_norm_epsilon_matters_where_rows_are_nearly_constant():
    """With eps inside the variance, as torch has it, this row would come out a thousand times smaller or larger."""
    x = (torch.randn(2, 6, dtype=torch.float64) * 1e-6).requires_grad_()
    norm = LayerNorm(6).double()
    expected = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)
    torch.testing.assert_close(norm(x), expected, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(gradients(norm(x), x), gradients(expected, x), rtol=1e-8, atol=1e-6)


def test_norms_survive_a_constant_row():
    x = torch.full((1, 4), 3.0, requires_grad=True)
    y = LayerNorm(4)(x)
    y.sum().backward()
    assert torch.equal(y, torch.zeros_like(y))
    assert torch.isfinite(x.grad).all()


def test_scale_norm_has_a_floor():
    norm = ScaleNorm(4)
    torch.testing.assert_close(norm(torch.zeros(1, 4)), torch.zeros(1, 4))
    torch.testing.assert_close(norm(torch.full((1, 4), 1e-7)), torch.full((1, 4), 1e-7 * 2 / 1e-5))
