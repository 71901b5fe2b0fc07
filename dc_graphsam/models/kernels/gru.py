"""The bidirectional GRU, and the read-out of CoMPT around it, over the fused kernels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dc_graphsam.models.kernels.binding import call, library, lower, product_dtype
from dc_graphsam.models.kernels.derivatives import first_derivative_only

__all__ = ["FusedGRU", "FusedReadout", "ReadoutOrder"]


def run_forward(gates_in: Tensor, h0: Tensor, w_hh: Tensor, b_hh: Tensor, step_sizes: list[int], keep: bool):
    """Hidden states [2, n, d] and, to ``keep`` for the way back, gates [2, n, 4d] and previous states [2, n, d].

    One product and one kernel a time step, for both directions. gates_in [2, n, 3d], h0 [2, B, d], w_hh [2, 3d, d],
    b_hh [2, 3d]; see :mod:`dc_graphsam.models.common.recurrent`.
    """
    kernels = library()
    step, threads = kernels.gru_forward, kernels.threads
    n, d = gates_in.shape[1], gates_in.shape[2] // 3
    low = product_dtype()
    w_t, bias = lower(low, w_hh)[0].transpose(1, 2), b_hh.unsqueeze(1)
    hidden = gates_in.new_empty(2, n, d)
    saved = previous = None
    if keep:
        saved, previous = gates_in.new_empty(2, n, 4 * d), torch.empty_like(hidden)
    room = gates_in.new_empty(2 * step_sizes[0] * 3 * d)
    inputs, outputs = gates_in.data_ptr(), (_address(saved), hidden.data_ptr(), _address(previous))
    h, before, stride, start = h0, h0.data_ptr(), h0.shape[1] * d, 0
    for size in step_sizes:
        gates = room[: 6 * size * d].view(2, size, 3 * d)
        if low is None:
            torch.baddbmm(bias, h[:, :size], w_t, out=gates)
        else:
            torch.add(bias, torch.bmm(h[:, :size].to(low), w_t), out=gates)
        step(room.data_ptr(), inputs, before, stride, *outputs, n, start, size, d, threads)
        h = hidden[:, start : start + size]
        before, stride, start = outputs[1] + 4 * start * d, n * d, start + size
    return hidden, saved, previous


def run_backward(grad: Tensor, w_hh: Tensor, saved: Tensor, previous: Tensor, step_sizes: list[int], low=None):
    """Gradients of gates_in, h0, w_hh and b_hh from that of the hidden states [2, n, d]; products in ``low``."""
    (w_hh,) = lower(low, w_hh)
    kernels = library()
    step, threads = kernels.gru_backward, kernels.threads
    _, n, d = grad.shape
    gates, new = grad.new_empty(2, n, 3 * d), torch.empty_like(grad)
    most = 2 * step_sizes[0] * d
    kept, carries = grad.new_empty(most), (grad.new_empty(most), grad.new_empty(most))
    fixed = (saved.data_ptr(), previous.data_ptr(), gates.data_ptr(), new.data_ptr(), kept.data_ptr())
    carry, later, stop = None, 0, n
    for turn, size in enumerate(reversed(step_sizes)):
        start = stop - size
        step(grad.data_ptr(), _address(carry), later, *fixed, n, start, size, d, threads)
        carry = carries[turn % 2][: 2 * size * d].view(2, size, d)
        rest = kept[: 2 * size * d].view(2, size, d)
        if low is None:
            torch.baddbmm(rest, gates[:, start:stop], w_hh, out=carry)
        else:
            torch.add(rest, torch.bmm(gates[:, start:stop].to(low), w_hh), out=carry)
        later, stop = size, start
    gates_, previous = lower(low, gates, previous)
    d_w = torch.bmm(gates_.transpose(1, 2), previous).float()  # [2, 3d, d]
    d_b = _column_sums(gates)
    gates[:, :, 2 * d :] = new  # on the input side the new gate is not multiplied by r
    return gates, carry, d_w, d_b


def _column_sums(x: Tensor) -> Tensor:
    """[2, n, m] → [2, m]"""
    kernels, total = library(), x.new_zeros(2, x.shape[2])
    for part, result in zip(x, total, strict=True):
        call(kernels.column_sums, part, result, x.shape[1], x.shape[2], kernels.threads)
    return total


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


class FusedGRU(torch.autograd.Function):
    """The recurrent half alone: gates_in [2, n, 3d], h0 [2, B, d], w_hh [2, 3d, d], b_hh [2, 3d] → hidden [2, n, d]."""

    @staticmethod
    def forward(ctx, gates_in: Tensor, h0: Tensor, w_hh: Tensor, b_hh: Tensor, step_sizes: list[int]) -> Tensor:
        keep = any(ctx.needs_input_grad[:4])
        hidden, saved, previous = run_forward(gates_in.contiguous(), h0.contiguous(), w_hh, b_hh, step_sizes, keep)
        if keep:
            ctx.save_for_backward(w_hh, saved, previous)
            ctx.step_sizes, ctx.low = step_sizes, product_dtype()
        return hidden

    @staticmethod
    @first_derivative_only
    def backward(ctx, grad: Tensor):
        gates, d_h0, d_w, d_b = run_backward(grad.contiguous(), *ctx.saved_tensors, ctx.step_sizes, ctx.low)
        return gates, d_h0.clone(), d_w, d_b, None


@dataclass
class ReadoutOrder:
    """Where the atoms of a batch stand in the packed order of the GRU.

    Attributes
    ----------
    start
        int64 [B + 1], first atom of each molecule.
    place
        int64 [B], position of each molecule among those sorted by length.
    forward, backward
        int64 [n], atom of each packed row, reading from the first and from the last.
    row_forward, row_backward
        int64 [n], the inverse: packed row of each atom.
    backward_of_forward, forward_of_backward
        int64 [n], for a packed row of one direction the row where the other meets the same atom.
    molecule
        int64 [n], molecule of each packed row.
    share
        float32 [B], 1 / number of atoms.
    step_sizes
        Molecules running at each step.
    """

    start: Tensor
    place: Tensor
    forward: Tensor
    backward: Tensor
    row_forward: Tensor
    row_backward: Tensor
    backward_of_forward: Tensor
    forward_of_backward: Tensor
    molecule: Tensor
    share: Tensor
    step_sizes: list[int]


class FusedReadout(torch.autograd.Function):
    """Read-out of CoMPT: x [n, d] → z [B, d], see :class:`dc_graphsam.models.common.readout.GRUReadout` for the equations.

    ``w_ih`` … are those of the two directions; ``w`` [d, 2d] and ``c`` [d] project the states, ``bias`` [d] starts them.
    """

    @staticmethod
    def forward(ctx, x, bias, w_ih, w_ih_r, w_hh, w_hh_r, b_ih, b_ih_r, b_hh, b_hh_r, w, c, order: ReadoutOrder):
        kernels, x = library(), x.contiguous()
        threads, (n, d), molecules, low = kernels.threads, x.shape, len(order.place), product_dtype()
        h0, winner = x.new_empty(2, molecules, d), torch.empty(molecules, d, dtype=torch.int32)
        call(kernels.start_forward, x, bias, order.start, order.place, h0, winner, molecules, d, threads)
        both, gates_in = x.new_empty(2, n, d), x.new_empty(2, n, 3 * d)
        for i, (rows, weight, term) in enumerate(((order.forward, w_ih, b_ih), (order.backward, w_ih_r, b_ih_r))):
            torch.index_select(x, 0, rows, out=both[i])
            if low is None:
                torch.addmm(term, both[i], weight.t(), out=gates_in[i])
            else:
                torch.add(term, both[i].to(low) @ weight.t().to(low), out=gates_in[i])
        recurrent = torch.stack((w_hh, w_hh_r))
        keep = any(ctx.needs_input_grad)
        hidden, saved, previous = run_forward(
            gates_in, h0, recurrent, torch.stack((b_hh, b_hh_r)), order.step_sizes, keep
        )
        first, met, w_ = lower(low, hidden[0], hidden[1].index_select(0, order.backward_of_forward), w)
        y = torch.mm(first, w_[:, :d].t()).addmm_(met, w_[:, d:].t()).float()
        pooled = x.new_empty(molecules, d)
        call(kernels.mean_forward, y, c, order.molecule, order.share, pooled, n, molecules, d, threads)
        if keep:
            ctx.save_for_backward(
                *(x, bias, w_ih, w_ih_r, recurrent, w, c, winner, both, first, saved, previous, met, y)
            )
            ctx.order, ctx.low = order, low
        return pooled

    @staticmethod
    @first_derivative_only
    def backward(ctx, grad: Tensor):
        x, bias, w_ih, w_ih_r, recurrent, w, c, winner, both, first, saved, previous, met, y = ctx.saved_tensors
        order, kernels, grad, low = ctx.order, library(), grad.contiguous(), ctx.low
        threads, (n, d), molecules = kernels.threads, x.shape, len(order.place)
        d_bias, d_c = grad.new_zeros(2, d)
        dy = torch.empty_like(y)
        call(kernels.mean_backward, grad, y, c, order.molecule, order.share, dy, d_c, n, d, threads)
        dy_, w_ = lower(low, dy, w)
        d_w = torch.cat((dy_.t() @ first, dy_.t() @ met), 1).to(w.dtype)
        d_hidden = x.new_empty(2, n, d)
        d_hidden[0] = dy_ @ w_[:, :d]
        d_hidden[1] = (dy_ @ w_[:, d:]).index_select(0, order.forward_of_backward)
        gates, d_h0, d_hh, d_bh = run_backward(d_hidden, recurrent, saved, previous, order.step_sizes, low)
        gates_, both, *weights = lower(low, gates, both, w_ih, w_ih_r)
        d_ih = [(gates_[i].t() @ both[i]).float() for i in (0, 1)]
        d_bi = _column_sums(gates)
        for i, weight in enumerate(weights):
            d_hidden[i] = gates_[i] @ weight
        dx = torch.empty_like(x)
        call(
            kernels.start_backward,
            *(d_h0, x, bias, order.start, order.place, winner, d_hidden, order.row_forward, order.row_backward),
            *(dx, d_bias, n, molecules, d, threads),
        )
        return dx, d_bias, *d_ih, *d_hh, *d_bi, *d_bh, d_w, d_c, None
