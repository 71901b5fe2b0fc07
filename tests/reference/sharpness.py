"""The sharpness-aware methods straight from their equations: slow, one tensor at a time, nothing shared with the package.

Each method is a function ``method(params, loss, base, **options)`` that returns a function ``step(batch, epoch, first)``;
``params`` is a list of tensors that the step replaces in place, ``loss(params, batch)`` a scalar, ``base(grads)`` makes the
descent step, ``first`` says that the step is the first of its epoch.
"""

from __future__ import annotations

import math
import random

import torch


def gradient(params, loss, batch):
    leaves = [p.detach().clone().requires_grad_() for p in params]
    value = loss(leaves, batch)
    return [g.detach() for g in torch.autograd.grad(value, leaves)], value.detach()


def norm(vector):
    return math.sqrt(sum(float((v.double() ** 2).sum()) for v in vector))


def gradient_at(params, move, loss, batch):
    return gradient([p + e for p, e in zip(params, move, strict=True)], loss, batch)


def scaled(vector, factor):
    return [factor * v for v in vector]


# -------------------------------------------------------------------- base optimizers
def sgd(params, lr, momentum=0.0):
    buffers = [None] * len(params)

    def base(grads):
        for i, (p, g) in enumerate(zip(params, grads, strict=True)):
            buffers[i] = g.clone() if buffers[i] is None or not momentum else momentum * buffers[i] + g
            p.sub_(lr * buffers[i])

    base.buffers = buffers
    return base


def adam(params, lr, betas=(0.9, 0.999), eps=1e-8):
    first = [torch.zeros_like(p) for p in params]
    second = [torch.zeros_like(p) for p in params]
    count = [0]

    def base(grads):
        count[0] += 1
        for p, g, m, v in zip(params, grads, first, second, strict=True):
            m.mul_(betas[0]).add_((1 - betas[0]) * g)
            v.mul_(betas[1]).add_((1 - betas[1]) * g * g)
            m_hat = m / (1 - betas[0] ** count[0])
            v_hat = v / (1 - betas[1] ** count[0])
            p.sub_(lr * m_hat / (v_hat.sqrt() + eps))

    base.buffers = first
    return base


# -------------------------------------------------------------------- methods
def sam(params, loss, base, rho):
    def step(batch, epoch, first):
        g, _ = gradient(params, loss, batch)
        w, _ = gradient_at(params, scaled(g, rho / norm(g)), loss, batch)
        base(w)

    return step


def asam(params, loss, base, rho, eta, weights):
    """``weights`` says of each tensor whether T = |θ| + η (else T = 1)."""

    def step(batch, epoch, first):
        g, _ = gradient(params, loss, batch)
        t = [p.abs() + eta if w else torch.ones_like(p) for p, w in zip(params, weights, strict=True)]
        tg = [a * b for a, b in zip(t, g, strict=True)]
        move = [rho * a * b / norm(tg) for a, b in zip(t, tg, strict=True)]
        w, _ = gradient_at(params, move, loss, batch)
        base(w)

    return step


def sam_k(params, loss, base, rho, k, stale="reuse"):
    state = {"t": 0}

    def step(batch, epoch, first):
        refresh = state["t"] % k == 0
        if refresh:
            state["e"], _ = gradient(params, loss, batch)
        if refresh or stale == "reuse":
            w, _ = gradient_at(params, scaled(state["e"], rho / norm(state["e"])), loss, batch)
        else:
            w, _ = gradient(params, loss, batch)
        base(w)
        state["t"] += 1

    return step


def sam_one(params, loss, base, rho):
    return sam_k(params, loss, base, rho, 10**9)


def looksam(params, loss, base, rho, alpha, k, scope="tensor"):
    state = {"t": 0}

    def step(batch, epoch, first):
        g, _ = gradient(params, loss, batch)
        parts = [[i] for i in range(len(g))] if scope == "tensor" else [list(range(len(g)))]
        if state["t"] % k == 0:
            w, _ = gradient_at(params, scaled(g, rho / norm(g)), loss, batch)
            gv = [None] * len(g)
            for part in parts:
                dot = sum(float((w[i] * g[i]).sum()) for i in part)
                for i in part:
                    gv[i] = w[i] - dot / norm([g[j] for j in part]) ** 2 * g[i]
            state["gv"] = gv
            d = w
        else:
            d = [None] * len(g)
            for part in parts:
                ratio = alpha * norm([g[i] for i in part]) / (norm([state["gv"][i] for i in part]) + 1e-8)
                for i in part:
                    d[i] = g[i] + ratio * state["gv"][i]
        base(d)
        state["t"] += 1

    return step


def ae_sam(params, loss, base, rho, total_steps, lambda_1, lambda_2, delta):
    state = {"t": 0, "mu": 0.0, "var": math.exp(-10)}

    def step(batch, epoch, first):
        g, _ = gradient(params, loss, batch)
        s = norm(g) ** 2
        state["mu"] = delta * state["mu"] + (1 - delta) * s
        state["var"] = delta * state["var"] + (1 - delta) * (s - state["mu"]) ** 2
        share = min(state["t"] / total_steps, 1.0)
        c = share * lambda_1 + (1 - share) * lambda_2
        if s >= state["mu"] + c * math.sqrt(state["var"]):
            g, _ = gradient_at(params, scaled(g, rho / norm(g)), loss, batch)
        base(g)
        state["t"] += 1

    return step


def rst(params, loss, base, rho, p, kappa=1.0, seed=0):
    state = {"t": 0}

    def step(batch, epoch, first):
        g, _ = gradient(params, loss, batch)
        if random.Random((seed << 40) + state["t"]).random() < p:
            w, _ = gradient_at(params, scaled(g, rho / norm(g)), loss, batch)
            g = [(1 - kappa) * a + kappa * b for a, b in zip(g, w, strict=True)]
        base(g)
        state["t"] += 1

    return step


def momentum_sam(params, loss, base, rho, sign=-1.0):
    state = {"t": 0}

    def step(batch, epoch, first):
        if state["t"]:
            w, _ = gradient_at(params, scaled(base.buffers, sign * rho / norm(base.buffers)), loss, batch)
        else:
            w, _ = gradient(params, loss, batch)
        base(w)
        state["t"] += 1

    return step


def paper_rho(rho, gamma, rho_update_epochs, epoch):
    for e in range(1, epoch + 1):  # Algorithm 1, lines 6-7: only when e mod λ = 0, and always from the initial radius
        if e % rho_update_epochs == 0:
            current = rho * gamma ** (e / rho_update_epochs)
    return rho if epoch < rho_update_epochs else current


def graphsam(params, loss, base, rho, beta, gamma=0.5, rho_update_epochs=1, every=1, in_stream=False, unit=False):
    """Algorithm 1; ``every`` is K; ``step.omegas`` keeps every ω since the last anchor, ``step.state`` has ε."""
    state = {}

    def step(batch, epoch, first):
        radius = paper_rho(rho, gamma, rho_update_epochs, epoch)
        anchor = first and epoch % every == 0
        if anchor:
            e, _ = gradient(params, loss, batch)
            state["e"] = scaled(e, 1 / norm(e)) if unit else e
            step.anchor, step.omegas = state["e"], []
            if in_stream:
                base(e)
                return
        w, _ = gradient_at(params, scaled(state["e"], radius / norm(state["e"])), loss, batch)
        step.omegas.append(w)
        state["e"] = [beta * e + (1 - beta) * v / norm(w) for e, v in zip(state["e"], w, strict=True)]
        base(w)

    step.state = state
    return step


def graphsam_released(
    params, loss, base, rho, beta, radius, gamma=0.5, rho_update_epochs=1, adaptive=True, weighted=True
):
    """The published code, with what it computes on a GPU (its scale between anchors is ρ/1e-12)."""
    state = {"rho": rho, "radius": radius}

    def step(batch, epoch, first):
        if first and epoch % rho_update_epochs == 0:  # compounds: from the current radius
            factor = gamma ** (epoch / rho_update_epochs)
            state["rho"], state["radius"] = state["rho"] * factor, state["radius"] * factor
        if first:
            state["e"], _ = gradient(params, loss, batch)
            size = norm([p.abs() * g for p, g in zip(params, state["e"], strict=True)] if adaptive else state["e"])
            scale = state["rho"] / (size + 1e-12)
        else:
            scale = state["rho"] / 1e-12
        move = [scale * (p * p if adaptive else 1.0) * e for p, e in zip(params, state["e"], strict=True)]
        move = [e * min(1.0, state["radius"] / norm([e])) if norm([e]) else e for e in move]
        step.move = move
        w, value = gradient_at(params, move, loss, batch)
        w = scaled(w, float(value)) if weighted else w
        state["e"] = [beta * e + (1 - beta) * v / norm([v + 1e-8]) for e, v in zip(state["e"], w, strict=True)]
        base(w)

    return step
