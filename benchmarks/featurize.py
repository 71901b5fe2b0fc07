"""How fast SMILES become graphs.

    python benchmarks/featurize.py [--windows 5] [--output benchmarks/results/featurize.json]

Parsing included, complete ``MolGraph`` with distance matrix. The corpus is MUV (``moleculenet/muv.csv.gz`` below the
folder ``DC_GRAPHSAM_SHARED``, default ``../shared``) or, where that is absent, the series CHEMBL2321810 that comes with
RDKit. Rates are molecules per second and core, the median and the best of some windows: of wall-clock time, and where
this process does the work, of the processor time it took, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import rdkit
from rdkit import RDConfig

from dc_graphsam.chem import MolGraph, featurize_many, usable_cpu_count

ROOT = Path(__file__).resolve().parents[1]


def load_corpus() -> tuple[str, list[str]]:
    """Name and SMILES of the corpus."""
    muv = Path(os.environ.get("DC_GRAPHSAM_SHARED", ROOT.parent / "shared"), "moleculenet", "muv.csv.gz")
    if muv.is_file():
        with gzip.open(muv, "rt", encoding="utf-8") as file:
            return "MUV", [row["smiles"] for row in csv.DictReader(file)]
    series = Path(RDConfig.RDContribDir, "FreeWilson", "data", "CHEMBL2321810.smi")
    return "CHEMBL2321810", [line.split()[0] for line in series.read_text().splitlines() if line.strip()]


def pick(smiles: list[str], count: int) -> list[str]:
    """``count`` molecules spread evenly over the corpus, repeated if there are too few."""
    step = max(1, len(smiles) // count)
    spread = smiles[::step]
    return (spread * -(-count // len(spread)))[:count]


def measure(tasks: dict[str, tuple[Callable[[list[str]], object], list[str], int]], windows: int) -> dict[str, dict]:
    """Run the tasks in turn ``windows`` times; each is a function, its molecules, and the cores it takes."""
    wall: dict[str, list[float]] = {name: [] for name in tasks}
    processor: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(windows + 1):
        for name, (function, smiles, cores) in tasks.items():
            start, start_processor = time.perf_counter(), time.process_time()
            function(smiles)
            if number:  # the first round is a warm-up
                wall[name].append(len(smiles) / (time.perf_counter() - start) / cores)
                processor[name].append(len(smiles) / (time.process_time() - start_processor))
    results = {}
    for name, (_, smiles, cores) in tasks.items():
        results[name] = {"molecules": len(smiles), "cores": cores, "per_second_and_core": summary(wall[name])}
        if cores == 1:
            results[name]["per_processor_second"] = summary(processor[name])
    return results


def summary(rates: list[float]) -> dict[str, object]:
    return {
        "median": round(statistics.median(rates)),
        "best": round(max(rates)),
        "windows": [round(rate) for rate in rates],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=5, help="timed rounds (default: %(default)s)")
    parser.add_argument(
        "--molecules", type=int, default=8000, help="molecules per core and round (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "featurize.json")
    arguments = parser.parse_args()

    logging.disable(logging.WARNING)  # deepchem names the optional packages it does not find
    import deepchem

    featurizer = deepchem.feat.MolGraphConvFeaturizer(use_edges=True)
    corpus, smiles = load_corpus()
    few = pick(smiles, 500)

    def ours(workers: int) -> Callable[[list[str]], object]:
        return lambda molecules: featurize_many(molecules, num_workers=workers)

    results = measure(
        {
            "dc_graphsam, 500 molecules": (ours(1), few, 1),
            "deepchem MolGraphConvFeaturizer, 500 molecules": (featurizer.featurize, few, 1),
        },
        arguments.windows,
    )
    bulk = {"dc_graphsam, 1 worker": (ours(1), pick(smiles, arguments.molecules), 1)}
    if usable_cpu_count() >= 2:
        bulk["dc_graphsam, 2 workers"] = (ours(2), pick(smiles, 2 * arguments.molecules), 2)
    results |= measure(bulk, arguments.windows)

    sample = [graph for graph in featurize_many(few) if isinstance(graph, MolGraph)]
    report = {
        "corpus": corpus,
        "mean_atoms": round(statistics.mean(graph.num_nodes for graph in sample), 1),
        "usable_cpus": usable_cpu_count(),
        "versions": {
            "python": platform.python_version(),
            "rdkit": rdkit.__version__,
            "numpy": numpy.__version__,
            "deepchem": deepchem.__version__,
        },
        "results": results,
    }
    print(f"{corpus}, {report['mean_atoms']} atoms on average; molecules per second and core")
    print(f"{'':48}{'wall clock':>18}{'processor time':>18}")
    print(f"{'':48}{'median':>9}{'best':>9}{'median':>9}{'best':>9}")
    for name, result in results.items():
        rates = [result[key] for key in ("per_second_and_core", "per_processor_second") if key in result]
        print(f"{name:48}" + "".join(f"{rate['median']:9,}{rate['best']:9,}" for rate in rates))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
