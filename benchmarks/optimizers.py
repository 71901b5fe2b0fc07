"""Step time and memory of every sharpness-aware method beside Adam: CoMPT, released BBBP settings, batch 32.

    python benchmarks/optimizers.py [--windows 5] [--threads 2] [--bookkeeping-steps 200] [--only METHOD ...] [--quick]

Windows of one epoch of n = 50 steps, in which the methods take turns of ten steps; the first warms up. Printed and written to
results/optimizers.json, for every method: graphs per second (median of windows), the same over Adam's and over what its
passes allow, passes per step, bytes held beyond the parameters, their gradients and Adam's moments (in copies of the
weights), and the time of the optimizer's step alone, without forward and backward, beside Adam's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import common

STEPS = 50  # of an epoch
# constant ρ: the perturbation stays on, whatever epoch the window is
METHODS = {
    "Adam": ("none", {}),
    "Adam, by our kernel": ("kernel", {}),  # what of the others' speed is the kernel's
    "SAM": ("sam", {}),
    # at its own ρ of 0.5 the released settings, which leave λ free, overflow on molecules of several fragments
    "ASAM": ("asam", {"rho": 0.05}),
    "SAM-One": ("sam-one", {}),
    "SAM-k (8)": ("sam-k", {"k": 8}),
    "LookSAM (8)": ("looksam", {"k": 8}),
    "AE-SAM": ("ae-sam", {}),
    "RST": ("rst", {}),
    "ESAM (0.6)": ("esam", {"weight_share": 0.6}),
    "GraphSAM": ("graphsam", {"rho_schedule": "constant"}),
    "GraphSAM, in-stream": ("graphsam", {"rho_schedule": "constant", "anchor": "in-stream"}),
    "GraphSAM, preset released": (
        "graphsam",
        {"preset": "released", "rho_schedule": "constant", "radius_schedule": "constant"},
    ),
    "MomentumSAM": ("momentum-sam", {}),
}


def build(name: str, params, total_steps: int):
    import torch

    from dc_graphsam.optim import build_optimizer

    method, options = METHODS[name]
    if method == "kernel":
        return KernelAdam(params)
    if method == "ae-sam":
        options = {**options, "total_steps": total_steps}
    return build_optimizer(method, params, torch.optim.Adam, lr=1e-4, fused=True, **options)


class KernelAdam:
    """torch's fused Adam, its step made by the kernel that the methods use: the same bits."""

    def __init__(self, params) -> None:
        import torch

        from dc_graphsam.optim.memory.adam import AdamStep

        self.base = torch.optim.Adam(params, lr=1e-4, fused=True)
        self.by_kernel, self.zero_grad = AdamStep(self.base), self.base.zero_grad

    def step(self, closure):
        loss = closure()
        if not self.by_kernel():
            self.base.step()
        return loss


class Training:
    """One epoch per call, step by step."""

    def __init__(self, name: str, batches: list[dict], windows: int) -> None:
        import torch

        from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction

        torch.manual_seed(0)
        self.model = CoMPTForPropertyPrediction(CoMPTConfig.released("bbbp"))
        self.optimizer = build(name, self.model.parameters(), len(batches) * (windows + 1))
        self.batches, self.epoch, self.passes, self.steps = batches, 0, 0, 0

    def __call__(self) -> Iterator[int]:
        if hasattr(self.optimizer, "set_epoch"):
            self.optimizer.set_epoch(self.epoch)
        batches = common.beginning_elsewhere(self.batches, self.epoch)
        self.epoch += 1
        for batch in batches:
            self.optimizer.step(lambda batch=batch: self.closure(batch))
            self.steps += 1
            yield len(batch["labels"])

    def closure(self, batch: dict):
        self.passes += 1
        self.optimizer.zero_grad()
        loss = self.model(**batch).loss
        loss.backward()
        return loss

    def extra_bytes(self) -> int:
        """What the method holds beyond parameters, gradients and Adam's state: counted, vector by vector."""
        blocks = getattr(getattr(self.optimizer, "_layout", None), "blocks", [])
        return sum(flat.numel() * flat.element_size() for block in blocks for flat, _ in block.vectors.values())


class Bookkeeping:
    """Steps with gradients that are there already: what the optimizer itself takes."""

    def __init__(self, name: str, model, steps: int) -> None:
        import torch

        torch.manual_seed(0)
        self.params = [torch.nn.Parameter(p.detach().clone()) for p in model.parameters() if p.grad is not None]
        self.gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        self.optimizer, self.steps = build(name, self.params, 10**6), steps
        if hasattr(self.optimizer, "set_epoch"):
            self.optimizer.set_epoch(0)
        self.elsewhere = torch.zeros(8 * 2**20)  # 32 MB, which forward and backward would push through the cache
        for _ in range(3):
            self.optimizer.step(self.closure)

    def closure(self):
        import torch

        for p, gradient in zip(self.params, self.gradients, strict=True):
            p.grad = gradient
        return torch.zeros(())

    def __call__(self) -> float:
        """Milliseconds of the median step."""
        times = []
        for _ in range(self.steps):
            self.elsewhere.add_(1.0)
            start = time.perf_counter()
            self.optimizer.step(self.closure)
            times.append(time.perf_counter() - start)
        return statistics.median(times) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--bookkeeping-steps", type=int, default=200)
    parser.add_argument(
        "--only", nargs="+", choices=list(METHODS), help="measure these anew, beside Adam; other rows stay"
    )
    parser.add_argument("--quick", action="store_true", help="three batches of four, one window; nothing is written")
    options = parser.parse_args()

    import torch

    from dc_graphsam.models.common.cpu_memory import keep_freed_memory

    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    windows = 1 if options.quick else options.windows
    batches = common.bbbp_batches(*((4, 12) if options.quick else ()))
    batches = (batches * (1 + STEPS // len(batches)))[: 3 if options.quick else STEPS]
    graphs = sum(len(batch["labels"]) for batch in batches)
    names = ["Adam", *(name for name in METHODS if name in options.only)] if options.only else list(METHODS)
    tasks = {name: Training(name, batches, windows) for name in names}
    rates = common.interleaved(tasks, windows)
    weights = sum(p.numel() * p.element_size() for p in tasks["Adam"].model.parameters())

    steps = 5 if options.quick else options.bookkeeping_steps
    alone = {name: Bookkeeping(name, tasks["Adam"].model, max(steps // 10, 1)) for name in names}
    rounds = [{name: task() for name, task in alone.items()} for _ in range(1 if options.quick else 10)]
    rows = {}
    print(
        f"{'':26s} {'graphs/s':>9s} {'of Adam':>8s} {'allowed':>8s} {'passes':>7s} {'copies':>7s} {'step, ms':>9s} {'of Adam':>8s}"
    )
    for name, task in tasks.items():
        passes, extra = task.passes / task.steps, task.extra_bytes()
        row = common.summary(rates[name])
        row["of_adam"] = common.ratio(rates[name], rates["Adam"])
        row["passes_per_step"] = round(passes, 3)
        row["of_what_passes_allow"] = round(row["of_adam"] * passes, 3)
        row["ms_per_step"] = round(1e3 * graphs / len(batches) / statistics.median(rates[name]), 2)
        row["extra_bytes"] = extra
        row["extra_copies"] = round(extra / weights, 3)
        row["optimizer_ms"] = round(statistics.median(r[name] for r in rounds), 3)
        row["optimizer_of_adam"] = round(statistics.median(r[name] / r["Adam"] for r in rounds), 2)
        rows[name] = row
        print(
            f"{name:26s} {row['median']:9.1f} {row['of_adam']:8.3f} {1 / passes:8.3f} {passes:7.3f} {row['extra_copies']:7.2f} "
            f"{row['optimizer_ms']:9.2f} {row['optimizer_of_adam']:8.2f}"
        )
    result = {
        "what": f"CoMPT, released BBBP settings, batch 32, {len(batches)} steps an epoch, float32; graphs per second, median "
        "of windows of one epoch; extra_copies in units of the trainable weights",
        "machine": common.machine(),
        "molecules_per_epoch": graphs,
        "steps_per_epoch": len(batches),
        "parameters": sum(p.numel() for p in tasks["Adam"].model.parameters()),
        "windows": windows,
        "rows": rows,
    }
    if options.only:
        before = json.loads((common.RESULTS / "optimizers.json").read_text())
        own = {name: {**rows[name], "sitting": "of its own"} for name in names if name != "Adam"}
        result = {**before, "rows": {name: own.get(name, row) for name, row in before["rows"].items()}}
    if not options.quick:
        print(f"written: {common.write('optimizers', result).name}")


if __name__ == "__main__":
    main()
