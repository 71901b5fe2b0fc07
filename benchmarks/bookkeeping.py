"""Where the part of a step goes that is no forward or backward pass: GraphSAM beside Adam, CoMPT, released BBBP settings.

    python benchmarks/bookkeeping.py [--epochs 5] [--threads 2] [--quick]

Steps take turns, batch by batch. Printed and written to results/bookkeeping.json, in milliseconds (medians over steps; an
anchor's second pass is counted by ``passes``, its step is left out): the pass, each stream over memory that the optimizer's kernels
make, and what remains, which is Python and torch's own bookkeeping. From these follow the share of Adam's speed that GraphSAM's
passes allow, the one that passes and streams allow together, the one that a step reaches which is written out by hand for this
very model (the same kernels; nothing is verified, recorded or could be otherwise), and the one that the package reaches.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import statistics
import sys
import time
from array import array
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import common

STREAMS = {
    "add_lists": "perturb: reads θ and ε, writes θ + ε̂",
    "copy_lists": "short tensors saved and restored",
    "sum_of_squares": "norm: reads ω",
    "adam_lists": "Adam and average: reads θ, ω, m, v, ε, writes θ, m, v, ε",
}


class ByHand:
    """GraphSAM's step between two anchors, written out for one float32 block on a CPU under torch's fused Adam.

    It takes over after a first epoch of ``optimizer`` and goes on with its state.
    """

    def __init__(self, optimizer) -> None:
        import torch

        from dc_graphsam.optim.memory import adam, beside, streams

        base, (block,) = optimizer.base_optimizer, optimizer._layout.blocks
        self.zero_grad, self.library, self.lanes = optimizer.zero_grad, streams._library(), adam.lanes()
        self.params, views = block.params, block.views("saved")
        self.weights = [p.data for p in self.params]
        far = [p.numel() >= beside.LONG for p in self.params]
        near = [i for i, long in enumerate(far) if not long]
        self.moved = [
            m for m, long in zip(zip(self.params, views, self.weights, strict=True), far, strict=True) if long
        ]
        targets = [view if long else weight for view, weight, long in zip(views, self.weights, far, strict=True)]
        states = [base.state[p] for p in self.params]
        moments = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
        of = streams.Addresses.of
        self.p, self.target, self.e = of(self.weights), of(targets), of(block.views("epsilon"))
        self.short, self.copy = of([self.weights[i] for i in near]), of([views[i] for i in near])
        self.m, self.v, self.t = map(of, moments)
        self.sizes = list(map(torch.Tensor.numel, self.params))
        group = base.param_groups[0]
        self.rho, self.beta = group["rho"], optimizer.beta
        self.options = array("d", (group["lr"], *group["betas"], group["eps"], group["weight_decay"]))
        self.scale, self.square = optimizer._epsilon.scale, optimizer._epsilon.squares()[0]

    def step(self, closure):
        import torch

        from dc_graphsam.optim.memory.streams import Addresses

        library, p, e, result = self.library, self.p, self.e, ctypes.c_double()
        threads, short, copy = library.threads, self.short, self.copy
        factor = self.rho / math.sqrt(self.square)
        library.copy_lists(short.count, short.pointers, copy.pointers, short.sizes)
        library.add_lists(p.count, p.pointers, e.pointers, self.target.pointers, p.sizes, p.total, factor, threads)
        for parameter, view, _ in self.moved:
            parameter.data = view
        torch.autograd.graph.increment_version(self.params)
        for parameter in self.params:
            parameter.grad = None
        loss = closure()
        library.copy_lists(short.count, copy.pointers, short.pointers, short.sizes)
        for parameter, _, weight in self.moved:
            parameter.data = weight
        g = Addresses([parameter.grad.data_ptr() for parameter in self.params], self.sizes)
        library.sum_of_squares(g.count, g.pointers, g.sizes, g.total, ctypes.byref(result), threads)
        share = (1.0 - self.beta) / math.sqrt(result.value)
        self.scale = self.beta * self.scale + share
        library.adam_lists(
            p.count,
            p.pointers,
            g.pointers,
            self.m.pointers,
            self.v.pointers,
            self.t.pointers,
            e.pointers,
            p.sizes,
            p.total,
            self.options.buffer_info()[0],
            False,
            self.lanes,
            share / self.scale,
            ctypes.byref(result),
            threads,
        )
        self.square = result.value
        torch.autograd.graph.increment_version(self.params)
        return loss


class Clock:
    """Adds up the time that calls of some functions take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    def watch(self, owner, name: str) -> None:
        function = getattr(owner, name)

        def timed(*args, **kwargs):
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] += time.perf_counter() - start
                self.calls[name] += 1

        setattr(owner, name, timed)

    def reset(self) -> None:
        self.seconds.clear()
        self.calls.clear()


def measure(batches: list[dict], epochs: int) -> tuple[dict[str, dict[str, float]], float]:
    """Median milliseconds of each part for each contestant, and GraphSAM's passes per step."""
    import throughput
    import torch

    from dc_graphsam.optim.memory import streams

    library, clock = streams._library(), Clock()
    for name in STREAMS if library else ():
        clock.watch(library, name)
    tasks = {name: throughput.Training(name, batches, autocast=False) for name in ("adam", "graphsam")}
    if library:
        tasks["by hand"] = throughput.Training("graphsam", batches, autocast=False)
    for task in tasks.values():
        clock.watch(task, "closure")
    clock.watch(torch, "_fused_adam_")
    parts = {name: defaultdict(list) for name in tasks}
    passes = steps = 0
    for epoch in range(epochs + 1):  # the first warms up
        if epoch == 1 and library:
            tasks["by hand"].optimizer = ByHand(tasks["by hand"].optimizer)
        for task in tasks.values():
            if hasattr(task.optimizer, "set_epoch"):
                task.optimizer.set_epoch(epoch)
        for batch in batches:
            for name, task in tasks.items():
                clock.reset()
                start = time.perf_counter()
                task.optimizer.step(lambda task=task, batch=batch: task.closure(batch))
                whole = time.perf_counter() - start
                if not epoch:
                    continue
                if name == "graphsam":
                    passes, steps = passes + clock.calls["closure"], steps + 1
                if clock.calls["closure"] > 1:
                    continue
                found = {("pass" if part == "closure" else part): s for part, s in clock.seconds.items()}
                found["rest"] = whole - sum(found.values())
                for part, seconds in found.items():
                    parts[name][part].append(1e3 * seconds)
    medians = {name: {part: statistics.median(v) for part, v in each.items()} for name, each in parts.items()}
    return medians, passes / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--quick", action="store_true", help="three batches of four, one epoch; nothing is written")
    options = parser.parse_args()

    import torch

    from dc_graphsam.models.common.cpu_memory import keep_freed_memory

    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    batches = common.bbbp_batches(*((4, 12) if options.quick else ()))
    parts, passes = measure(batches, 1 if options.quick else options.epochs)
    for name, found in parts.items():
        print(f"{name}, ms per step")
        for part, ms in found.items():
            print(f"  {part:16s} {ms:8.3f}   {STREAMS.get(part, '')}")
    # one pass for all: it is the same computation, and from one set of weights to the next it differs by more than what is sought
    a_pass = statistics.mean(found["pass"] for found in parts.values())
    beside_it = {name: sum(found.values()) - found["pass"] for name, found in parts.items()}
    streams = sum(ms for part, ms in parts["graphsam"].items() if part in STREAMS)
    kinds = {"passes_allow": beside_it["adam"], "passes_and_streams_allow": streams}
    kinds |= {"by_hand": beside_it["by hand"]} if "by hand" in parts else {}
    kinds["reached"] = beside_it["graphsam"]
    ratios = {name: (a_pass + beside_it["adam"]) / (a_pass * passes + own) for name, own in kinds.items()}
    ratios = {name: round(value, 3) for name, value in ratios.items()}
    print(f"passes per step {passes:.3f}; of Adam's speed: {ratios}")
    result = {
        "what": "CoMPT, released BBBP settings, batch 32, float32: median milliseconds per step, steps taking turns",
        "machine": common.machine(),
        "steps_per_epoch": len(batches),
        "parts": {name: {part: round(ms, 3) for part, ms in found.items()} for name, found in parts.items()},
        "passes_per_step": round(passes, 4),
        "of_adam": ratios,
    }
    if not options.quick:
        print(f"written: {common.write('bookkeeping', result).name}")


if __name__ == "__main__":
    main()
