"""Training and inference throughput of CoMPT at the released BBBP settings, for Adam, SAM and GraphSAM.

    python benchmarks/throughput.py [--windows 7] [--threads 2] [--quick]

Windows of one epoch, in which the methods take turns of ten steps; the first warms up. Printed and written to
results/throughput.json: graphs per second (median of windows), ratio to Adam, inference, peak memory of a process that
trains with that method alone, and the share of the machine's matrix-multiply rate that the model's own operations reach.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import common

METHODS = ("adam", "sam", "graphsam")


def make(method: str):
    """Model and optimizer, equal at the start for every method."""
    import torch

    from dc_graphsam import SAM, CoMPTConfig, CoMPTForPropertyPrediction, GraphSAM

    torch.manual_seed(0)
    model = CoMPTForPropertyPrediction(CoMPTConfig.released("bbbp"))
    base = {"lr": 1e-4, "fused": True}
    if method == "adam":
        return model, torch.optim.Adam(model.parameters(), **base)
    wrapper = {"sam": SAM, "graphsam": GraphSAM}[method]
    # constant ρ: the perturbation stays on, whatever epoch the window is
    return model, wrapper(model.parameters(), torch.optim.Adam, rho=0.05, rho_schedule="constant", **base)


class Training:
    """One epoch per call, step by step."""

    def __init__(self, method: str, batches: list[dict], autocast: bool) -> None:
        self.model, self.optimizer = make(method)
        self.batches, self.autocast, self.epoch, self.passes = batches, autocast, 0, 0

    def __call__(self) -> Iterator[int]:
        if hasattr(self.optimizer, "set_epoch"):
            self.optimizer.set_epoch(self.epoch)
        batches = common.beginning_elsewhere(self.batches, self.epoch)
        self.epoch += 1
        for batch in batches:
            self.optimizer.step(lambda batch=batch: self.closure(batch))
            yield len(batch["labels"])

    def closure(self, batch: dict):
        import torch

        self.passes += 1
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if self.autocast else contextlib.nullcontext():
            loss = self.model(**batch).loss
        loss.backward()
        return loss


def operations_per_graph(batches: list[dict]) -> float:
    """Floating-point operations of the matrix products of one forward and backward pass, per molecule."""
    from torch.utils.flop_counter import FlopCounterMode

    training = Training("adam", batches, autocast=False)
    with FlopCounterMode(display=False) as counter:
        for batch in batches:
            training.closure(batch)
    return counter.get_total_flops() / sum(len(batch["labels"]) for batch in batches)


def inference(batches: list[dict]):
    import torch

    model = make("adam")[0].eval()

    def run() -> Iterator[int]:
        for batch in batches:
            with torch.no_grad():
                model(**{key: value for key, value in batch.items() if key != "labels"})
            yield len(batch["labels"])

    return run


def peak_memory(method: str, autocast: bool) -> int:
    """Peak resident memory in MB of a fresh process that loads the data and trains one epoch."""
    command = [sys.executable, __file__, "--memory-of", method, *(["--autocast"] if autocast else [])]
    return int(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=7)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--quick", action="store_true", help="128 molecules and one window; nothing is written")
    parser.add_argument("--memory-of", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--autocast", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()

    import torch

    from dc_graphsam.models.common.cpu_memory import keep_freed_memory

    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    batches = common.bbbp_batches(molecules=128 if options.quick else None)
    if options.memory_of:
        sum(Training(options.memory_of, batches, options.autocast)())
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return

    graphs = sum(len(batch["labels"]) for batch in batches)
    atoms = sum(int(batch["node_mask"].sum()) for batch in batches) / graphs
    operations = operations_per_graph(batches)
    result = {
        "what": "CoMPT, released BBBP settings, batch 32, like-sized batches; graphs per second, median of windows of one epoch",
        "machine": common.machine(),
        "molecules": graphs,
        "steps_per_epoch": len(batches),
        "atoms_per_molecule": round(atoms, 2),
        "parameters": sum(p.numel() for p in make("adam")[0].parameters()),
        "operations_per_graph_and_pass": round(operations),
        "windows": options.windows,
        "training": {},
    }
    windows = 1 if options.quick else options.windows
    for precision, autocast in (("float32", False), ("bfloat16 autocast", True)):
        peak = common.peak_matmul_rate(torch.bfloat16 if autocast else torch.float32)
        tasks = {method: Training(method, batches, autocast) for method in METHODS}
        rates = common.interleaved(tasks, windows)
        print(f"\n{precision}: matrix products at best {peak / 1e9:.0f} GFLOP/s")
        print(f"{'':10s} {'graphs/s':>9s} {'of Adam':>8s} {'passes/step':>12s} {'of matmul rate':>15s} {'peak MB':>8s}")
        rows = {}
        for method, values in rates.items():
            passes = tasks[method].passes / (len(batches) * (windows + 1))
            row = common.summary(values)
            row["of_adam"] = common.ratio(values, rates["adam"])
            row["passes_per_step"] = round(passes, 3)
            row["share_of_matmul_rate"] = round(row["median"] * passes * operations / peak, 3)
            row["peak_memory_mb"] = peak_memory(method, autocast) if not options.quick else 0
            rows[method] = row
            print(
                f"{method:10s} {row['median']:9.1f} {row['of_adam']:8.3f} {passes:12.3f} "
                f"{row['share_of_matmul_rate']:15.3f} {row['peak_memory_mb']:8d}"
            )
        result["training"][precision] = {"matmul_gflops": round(peak / 1e9, 1), **rows}
    rates = common.interleaved({"inference": inference(batches)}, windows)["inference"]
    result["inference_float32"] = common.summary(rates)
    print(f"\ninference, float32: {result['inference_float32']['median']:.0f} graphs/s")
    if not options.quick:
        print(f"written: {common.write('throughput', result).name}")


if __name__ == "__main__":
    main()
