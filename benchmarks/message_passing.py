"""The sum over bonds by engine, and a whole layer of CoMPT around it; forward and backward.

    python benchmarks/message_passing.py

One batch of 32 BBBP-like molecules, d 256 in 4 heads, engines taking turns, best and median of 100. The weighted sum alone
runs on DGL's kernel, on embedding_bag, and as gather and index_add; the graph object is made anew each time, as in training.
The layer runs with either engine, and with the fused kernel, which is what a model on a CPU uses unless its configuration
names an engine. Written to results/message_passing.json.
"""

from __future__ import annotations

import statistics
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import common


def layers(batch: dict) -> dict:
    """One layer at the released BBBP settings, forward and backward, by engine."""
    import torch

    from dc_graphsam.models import CoMPTConfig, CoMPTEncoder

    def run(encoder):
        encoder(**batch).last_hidden_state.sum().backward()

    names = {"layer, fused": "auto", "layer, torch": "torch", "layer, dgl": "dgl"}
    runs = {}
    for name, engine in names.items():
        torch.manual_seed(0)
        config = CoMPTConfig.released("bbbp", num_hidden_layers=1, message_engine=engine)
        runs[name] = partial(run, CoMPTEncoder(config))
    return runs


def main(repeats: int = 100) -> None:
    import torch

    from dc_graphsam.models.common.message_passing import BondGraph, u_mul_e_sum
    from dc_graphsam.models.common.packing import Packing

    batch = common.bbbp_batches()[0]
    packing = Packing.from_mask(batch["node_mask"])
    graph, _ = packing.bond_graph(batch["edge_index"])
    source, target, n = graph.source, graph.target, graph.num_nodes
    torch.manual_seed(0)
    v = torch.randn(n, 4, 64, requires_grad=True)
    w = torch.rand(graph.num_edges, 4, requires_grad=True)
    grad = torch.randn(n, 4, 64)

    def gather(graph, v, w):
        return torch.zeros_like(v).index_add(0, graph.target, v[graph.source] * w.unsqueeze(-1))

    engines = {
        "torch (embedding_bag)": lambda g: u_mul_e_sum(g, v, w, "torch"),
        "dgl (u_mul_e_sum)": lambda g: u_mul_e_sum(g, v, w, "dgl"),
        "gather + index_add": lambda g: gather(g, v, w),
    }
    runs = {
        name: lambda engine=engine: engine(BondGraph(source, target, n)).backward(grad)
        for name, engine in engines.items()
    }
    runs |= layers(batch)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    rows = {}
    for name, values in times.items():
        rows[name] = {"best_ms": round(min(values) * 1e3, 3), "median_ms": round(statistics.median(values) * 1e3, 3)}
        print(f"{name:24s} best {rows[name]['best_ms']:.3f} ms, median {rows[name]['median_ms']:.3f} ms")
    size = {"nodes": n, "edges": graph.num_edges}
    common.write(
        "message_passing", {"what": __doc__.splitlines()[0], "machine": common.machine(), **size, "rows": rows}
    )


if __name__ == "__main__":
    main()
