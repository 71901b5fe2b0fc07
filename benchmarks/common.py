"""What the benchmarks share: the data, interleaved windows, and a description of the machine without its name."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SHARED = Path(os.environ.get("DC_GRAPHSAM_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def machine() -> dict[str, Any]:
    """Processor, threads and versions: what a figure depends on."""
    import torch

    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processor": _processor(),
        "vector": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "transformers", "dgl", "rdkit", "numpy")},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def peak_matmul_rate(dtype, size: int = 1024, repeats: int = 15) -> float:
    """Best rate of a square matrix product, in floating-point operations per second."""
    import torch

    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


TURN = 10  # steps


def interleaved(tasks: dict[str, Callable[[], Iterator[int]]], windows: int) -> dict[str, list[float]]:
    """Items per second of each task in each window, in turns of a few steps, so that a slow moment hits all of them.

    A call of a task gives the steps of one window; each does its work when asked for and gives its number of items. Turns are
    short beside the drift of a machine, and long enough for a model's weights to be in the cache. Their order alternates. One more
    window of each runs first and is not counted.
    """
    rates: dict[str, list[float]] = {name: [] for name in tasks}
    for window in range(windows + 1):
        steps = {name: task() for name, task in tasks.items()}
        items, seconds = dict.fromkeys(tasks, 0), dict.fromkeys(tasks, 0.0)
        order = list(tasks)
        while order:
            for name in list(order):
                start = time.perf_counter()
                done = list(islice(steps[name], TURN))
                seconds[name] += time.perf_counter() - start
                items[name] += sum(done)
                if len(done) < TURN:
                    order.remove(name)
            order.reverse()
        if window:
            for name in tasks:
                rates[name].append(items[name] / seconds[name])
    return rates


def beginning_elsewhere(batches: list[dict], epoch: int) -> list[dict]:
    """The batches of an epoch, another one first each time: a method's extra pass there is to cost what an average pass does."""
    first = 11 * epoch % len(batches)
    return batches[first:] + batches[:first]


def summary(rates: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(rates), 1), "best": round(max(rates), 1), "worst": round(min(rates), 1)}


def ratio(rates: list[float], reference: list[float]) -> float:
    """Median of the ratios window by window."""
    return round(statistics.median(a / b for a, b in zip(rates, reference)), 3)


def write(name: str, result: dict[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return path


def bbbp_batches(batch_size: int = 32, molecules: int | None = None) -> list[dict]:
    """BBBP (or, where its file is not found, the embedded data set) as batches of like-sized molecules, in mixed order."""
    import torch

    from dc_graphsam import load_moleculenet
    from dc_graphsam.data import MoleculeCollator, MoleculeTable

    folder = SHARED / "moleculenet"
    if (folder / "BBBP.csv").exists():
        data = load_moleculenet("bbbp", split="random", seed=0, data_dir=folder, progress=False)["train"]
    else:
        data = load_moleculenet("freewilson", split="random", seed=0, progress=False)["train"]
    table, collate = MoleculeTable(data), MoleculeCollator()
    order = sorted(range(len(table)), key=lambda i: int(table.num_nodes[i]))[:molecules]
    batches = [collate([table[i] for i in order[k : k + batch_size]]) for k in range(0, len(order), batch_size)]
    mixed = torch.randperm(len(batches), generator=torch.Generator().manual_seed(0)).tolist()
    return [batches[i] for i in mixed]
