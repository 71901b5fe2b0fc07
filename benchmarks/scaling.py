"""Cost of a training pass per molecule against its number of atoms: no faster than atoms squared.

    python benchmarks/scaling.py

Chains of 10 to 400 carbon atoms with a ring every ten, batches of 8, released BBBP settings; time of forward and backward
(best of several, sizes taking turns) and the fitted exponent between neighbouring sizes. Written to results/scaling.json.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import common

SIZES = (10, 25, 50, 100, 200, 400)
BATCH = 8


def molecule(atoms: int) -> str:
    rings, rest = divmod(atoms, 10)
    return "C1CCCCC1CCCC" * rings + "C" * rest


def main(repeats: int = 7) -> None:
    import torch

    from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction
    from dc_graphsam.chem import featurize
    from dc_graphsam.data import MoleculeCollator
    from dc_graphsam.models.common.cpu_memory import keep_freed_memory

    keep_freed_memory()
    torch.manual_seed(0)
    model = CoMPTForPropertyPrediction(CoMPTConfig.released("bbbp", max_position_embeddings=max(SIZES)))
    batches = {}
    for size in SIZES:
        graph = featurize(molecule(size))
        if graph.num_nodes != size:
            raise SystemExit(f"molecule of {size} atoms came out with {graph.num_nodes}")
        batches[size] = {"labels": torch.ones(BATCH, 1), **MoleculeCollator()([graph] * BATCH)}
    best = dict.fromkeys(SIZES, math.inf)
    for _ in range(repeats):
        for size, batch in batches.items():
            start = time.perf_counter()
            model(**batch).loss.backward()
            best[size] = min(best[size], time.perf_counter() - start)
    rows, before = [], None
    print(f"{'atoms':>6s} {'ms/molecule':>12s} {'exponent':>9s}")
    for size in SIZES:
        per_molecule = best[size] / BATCH * 1e3
        exponent = None if before is None else math.log(best[size] / best[before]) / math.log(size / before)
        rows.append(
            {"atoms": size, "ms_per_molecule": round(per_molecule, 3), "exponent": exponent and round(exponent, 2)}
        )
        print(f"{size:6d} {per_molecule:12.2f} {exponent if exponent is not None else float('nan'):9.2f}")
        before = size
    common.write(
        "scaling", {"what": __doc__.splitlines()[0], "machine": common.machine(), "batch": BATCH, "rows": rows}
    )


if __name__ == "__main__":
    main()
