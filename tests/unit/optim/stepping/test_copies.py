"""Copies of optimizers where memory has a story: weights beside, weights in one stretch, memory shared with other processes.

What holds for every method and state is in ``tests/contract/test_optimizer_copies.py``.
"""

from __future__ import annotations

import copy
import pickle
from multiprocessing.reduction import ForkingPickler

import pytest
import torch

from dc_graphsam.optim import SAM, build_optimizer

WIDE = 4000  # long enough for weights that move beside their memory


def by_pickle(thing):
    return pickle.loads(pickle.dumps(thing))


WAYS = [by_pickle, copy.deepcopy]


def build(method="graphsam", width=WIDE, flat=False):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(width, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    optimizer = build_optimizer(method, net.parameters(), torch.optim.Adam, lr=0.01, fused=True)
    if flat:
        optimizer.flatten_parameters()
    return net, optimizer


def passes(net, optimizer, step):
    x = torch.randn(4, net[0].in_features, generator=torch.Generator().manual_seed(step))

    def closure():
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        return loss

    return closure


def train(net, optimizer, first, last):
    for step in range(first, last):
        optimizer.set_epoch(step // 4)
        optimizer.step(passes(net, optimizer, step))
    return [p.detach().clone() for p in net.parameters()]


def equal(these, those):
    return all(map(torch.equal, these, those))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("width", [5, WIDE])
def test_a_copy_at_perturbed_weights_restores_the_clean_ones(width, flat, way):
    net, optimizer = build(width=width, flat=flat)
    train(net, optimizer, 0, 2)
    clean = [p.detach().clone() for p in net.parameters()]
    optimizer.ascend()
    moved = [p.detach().clone() for p in net.parameters()]
    twin, other = way((net, optimizer))
    assert other.perturbed and equal(twin.parameters(), moved) and not equal(moved, clean)
    ends = []
    for model, own in ((twin, other), (net, optimizer)):
        passes(model, own, 2)()
        own.restore()
        assert equal(model.parameters(), clean)
        own.step()
        ends.append(train(model, own, 3, 9))
    assert equal(*ends)


def test_a_pickle_holds_what_a_run_needs_and_no_scratch_memory():
    net, optimizer = build("sam")
    train(net, optimizer, 0, 3)
    weights = sum(4 * p.numel() for p in net.parameters())
    assert weights < len(pickle.dumps(net)) < 1.2 * weights
    assert len(pickle.dumps(optimizer)) < 3.3 * weights  # the weights and Adam's two moments


@pytest.mark.parametrize("method", ["graphsam", "looksam", "sam-k", "sam"])
def test_the_original_goes_on_after_it_was_sent_to_another_process(method):
    """Sending moves the sender's tensors into shared memory: what was known of their addresses is out of date."""
    net, optimizer = build(method)
    reference = train(*build(method), 0, 9)
    train(net, optimizer, 0, 6)
    before = net[0].weight.data_ptr()
    sent = ForkingPickler.dumps((net, optimizer))
    assert sent and net[0].weight.data_ptr() != before
    freed = [torch.full((3 * WIDE + 32,), torch.nan) for _ in range(20)]  # takes the memory that was left
    assert equal(train(net, optimizer, 6, 9), reference) and freed


def test_the_graph_of_a_loss_is_not_kept():
    net, _ = build(width=5)
    optimizer = SAM(net.parameters(), torch.optim.SGD, lr=0.1)
    x = torch.ones(1, 5)
    loss = net(x).sum()
    loss.backward()
    optimizer.ascend(loss=loss)
    again = net(x).sum()
    again.backward()
    optimizer.step(loss=again)
    assert copy.deepcopy(optimizer).last.loss_clean == loss and not optimizer.last.loss_clean.requires_grad


def test_hooks_stay_with_the_original_as_in_torch():
    net, optimizer = build(width=5)
    asked = []
    optimizer.register_step_post_hook(lambda *args: asked.append(args[0]))
    optimizer.register_state_dict_post_hook(lambda one, state: {**state, "more": 1})
    twin, other = by_pickle((net, optimizer))
    train(twin, other, 0, 1)
    train(net, optimizer, 0, 1)
    assert asked == [optimizer] and "more" in optimizer.state_dict() and "more" not in other.state_dict()
