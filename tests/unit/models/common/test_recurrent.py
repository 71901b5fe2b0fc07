import pytest
import torch

from dc_graphsam.models.common.recurrent import BidirectionalGRU, PackedOrder


@pytest.mark.parametrize("lengths", [[3, 1, 5, 5, 2], [1], [4, 4], [1, 1, 1], [2, 7]])
def test_equals_torch_gru_sequence_by_sequence(lengths):
    """Forward, and every gradient, against torch.nn.GRU fed one unpadded sequence at a time."""
    torch.manual_seed(0)
    d, lengths = 6, torch.tensor(lengths)
    gru = BidirectionalGRU(d).double()
    reference = torch.nn.GRU(d, d, batch_first=True, bidirectional=True).double()
    reference.load_state_dict(gru.state_dict())
    x = torch.randn(int(lengths.sum()), d, dtype=torch.float64, requires_grad=True)
    h0 = torch.randn(len(lengths), d, dtype=torch.float64, requires_grad=True)

    order = PackedOrder.from_lengths(lengths)
    packed = torch.cat(gru(x, h0, order), dim=1)
    got = torch.empty_like(packed).index_copy(0, order.forward, packed)
    rows = [
        reference(part.unsqueeze(0), start.expand(2, 1, d).contiguous())[0][0]
        for part, start in zip(x.split(lengths.tolist()), h0, strict=True)
    ]
    expected = torch.cat(rows)
    torch.testing.assert_close(got, expected, atol=1e-14, rtol=1e-13)

    weights = torch.randn_like(expected)
    own = dict(
        zip(["x", "h0", *dict(gru.named_parameters())], torch.autograd.grad(got, [x, h0, *gru.parameters()], weights))
    )
    theirs = dict(
        zip(
            ["x", "h0", *dict(reference.named_parameters())],
            torch.autograd.grad(expected, [x, h0, *reference.parameters()], weights),
        )
    )
    assert own.keys() == theirs.keys()
    for name in own:
        torch.testing.assert_close(own[name], theirs[name], atol=1e-12, rtol=1e-12, msg=name)


def test_autocast_stays_close():
    torch.manual_seed(0)
    gru, order = BidirectionalGRU(16), PackedOrder.from_lengths(torch.tensor([5, 3]))
    x, h0 = torch.randn(8, 16), torch.zeros(2, 16)
    exact = torch.cat(gru(x, h0, order))
    with torch.autocast("cpu", torch.bfloat16):
        low = torch.cat(gru(x, h0, order))
    low.sum().backward()
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, exact, atol=3e-2, rtol=3e-2)
    assert not torch.equal(low, exact)


def test_packed_order_meets_every_row_once():
    order = PackedOrder.from_lengths(torch.tensor([2, 4, 1]))
    for rows in (order.forward, order.backward, order.backward_of_forward):
        assert sorted(rows.tolist()) == list(range(7))
    assert torch.equal(order.backward[order.backward_of_forward], order.forward)
    assert order.step_sizes == [3, 2, 1, 1]
