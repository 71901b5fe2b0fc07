"""Train CoMPT with GraphSAM on BBBP (blood-brain barrier penetration), with the settings of the published code.

    python examples/train_bbbp.py --data-dir FOLDER_WITH_BBBP.csv

``--tiny`` takes a small model, a small table made on the spot, and one epoch: a check that everything is in place.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dc_graphsam.hf import RunSettings, train_run


def tiny_table(folder: Path) -> Path:
    """Chains that end in an acid or an amine, and whether they are longer than ten atoms."""
    folder.mkdir(parents=True, exist_ok=True)
    chains = [("C" * n + end, n) for n in range(1, 21) for end in ("C(=O)O", "N", "O")]
    path = folder / "tiny.csv"
    path.write_text("smiles,p_np\n" + "".join(f"{smiles},{int(n > 10)}\n" for smiles, n in chains))
    return path


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder with BBBP.csv; it is downloaded if it is not there")
    parser.add_argument("--output", default="runs/bbbp")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args(arguments)

    if given.tiny:
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        table = tiny_table(Path(given.output).parent)
        settings = RunSettings(
            data=str(table), target="p_np", model_options=small, training_options={"num_train_epochs": 1}
        )
    else:
        settings = RunSettings(
            dataset="bbbp",
            data_dir=given.data_dir,
            split="random",
            released=True,
            optimizer="graphsam",
            seed=given.seed,
            training_options={"num_train_epochs": 30},
        )
    result = train_run(settings, given.output, progress=True, notify=print)
    print(
        f"ROC-AUC on the test split: {result.metrics['test']['roc_auc']:.3f}; report: {result.folder / 'report.html'}"
    )
    return result.metrics


if __name__ == "__main__":
    main()
