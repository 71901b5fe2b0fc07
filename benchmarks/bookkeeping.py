"""Where the part of a step goes that is no forward or backward pass: GraphSAM beside Adam, CoMPT, released BBBP settings.

    python benchmarks/bookkeeping.py [--epochs 5] [--threads 2] [--quick]

Steps of the two take turns, batch by batch. Printed and written to results/bookkeeping.json, in milliseconds (medians over
steps; an anchor's second pass is counted by ``passes``, its step is left out): the pass, each stream over memory that the
optimizer's kernels make, and what remains, which is Python and torch's own bookkeeping. From these follow the share of Adam's speed
that GraphSAM's passes allow, the one that passes and streams allow together, and the one reached.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
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
    """Median milliseconds of each part for both methods, and GraphSAM's passes per step."""
    import throughput
    import torch

    from dc_graphsam.optim import streams

    library, clock = streams._library(), Clock()
    for name in STREAMS if library else ():
        clock.watch(library, name)
    tasks = {name: throughput.Training(name, batches, autocast=False) for name in ("adam", "graphsam")}
    for task in tasks.values():
        clock.watch(task, "closure")
    clock.watch(torch, "_fused_adam_")
    parts = {name: defaultdict(list) for name in tasks}
    passes = steps = 0
    for epoch in range(epochs + 1):  # the first warms up
        tasks["graphsam"].optimizer.set_epoch(epoch)
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

    from dc_graphsam.models.cpu_memory import keep_freed_memory

    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    batches = common.bbbp_batches(*((4, 12) if options.quick else ()))
    parts, passes = measure(batches, 1 if options.quick else options.epochs)
    for name, found in parts.items():
        print(f"{name}, ms per step")
        for part, ms in found.items():
            print(f"  {part:16s} {ms:8.3f}   {STREAMS.get(part, '')}")
    adam, graphsam = parts["adam"], parts["graphsam"]
    whole = sum(adam.values())
    own = sum(ms for part, ms in graphsam.items() if part in STREAMS)
    extra = (passes - 1) * adam["pass"]
    ratios = {
        "passes_allow": whole / (whole + extra),
        # the pass at other weights, and no Python at all beside the kernels
        "passes_and_streams_allow": whole / (graphsam["pass"] + extra + own),
        "reached": whole / (sum(graphsam.values()) + extra),
    }
    ratios = {name: round(value, 3) for name, value in ratios.items()}
    print(f"passes per step {passes:.3f}; of Adam's speed: {ratios}")
    result = {
        "what": "CoMPT, released BBBP settings, batch 32, float32: median milliseconds per step, steps of both taking turns",
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
