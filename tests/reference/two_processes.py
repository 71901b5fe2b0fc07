"""One of two processes that train together; ``test_optimizers.py`` starts it and compares what it writes.

usage: two_processes.py RANK FOLDER ddp|fsdp
"""

from __future__ import annotations

import sys
from pathlib import Path
from runpy import run_path

import torch
import torch.distributed as dist
from torch import nn

WORLD = 2


class Network(nn.Module):
    """The 5-7-1 network of the table, as a module, with a layer that takes no part."""

    def __init__(self, start):
        super().__init__()
        self.first, self.second, self.unused = nn.Linear(5, 7), nn.Linear(7, 1), nn.Linear(3, 2)
        self.unused.requires_grad_(False)
        self.double()
        with torch.no_grad():
            for p, value in zip(self.trained(), start, strict=True):
                p.copy_(value)

    def trained(self):
        return [*self.first.parameters(), *self.second.parameters()]

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def shard(batch, rank):
    x, y = batch
    return x[rank::WORLD], y[rank::WORLD]


def run(member, problem, rank, kind):
    network = Network(problem.start)
    if kind == "ddp":
        model = nn.parallel.DistributedDataParallel(network)
    else:
        from torch.distributed.fsdp import fully_shard

        mesh = dist.init_device_mesh("cpu", (WORLD,))
        for part in (network.first, network.second, network):
            fully_shard(part, mesh=mesh)
        model = network
    optimizer = member.build(network.trained(), torch.optim.Adam, lr=0.01)
    norms = []
    for t, (epoch, i, batch) in enumerate(problem.stream):
        if i == 0:
            optimizer.set_epoch(epoch)
        x, y = shard(batch, rank)

        def closure(x=x, y=y, t=t):
            optimizer.zero_grad()
            halves = (slice(0, 2), slice(2, 4)) if t % 2 else (slice(None),)  # every other step accumulates
            total = 0.0
            for number, half in enumerate(halves):
                last = number == len(halves) - 1
                if kind == "ddp":
                    model.require_backward_grad_sync = last
                else:
                    model.set_requires_gradient_sync(last)
                loss = (model(x[half]) - y[half]).square().mean() / len(halves)
                loss.backward()
                total = total + loss.detach()
            return total

        optimizer.step(closure)
        norms.append(float(optimizer.last.perturbation_norm))
    weights = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in network.trained()]
    return {"weights": [w.detach().clone() for w in weights], "norms": norms}


def main():
    rank, folder, kind = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    table = run_path(str(Path(__file__).parents[1] / "contract" / "test_optimizers.py"))
    problem = table["make_problem"]()
    problem.stream = list(table["stream"](problem))
    results = {member.name: run(member, problem, rank, kind) for member in table["MEMBERS"]}
    torch.save(results, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
