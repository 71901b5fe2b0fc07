"""Predict SMILES with a trained model, without a table and without the command line.

    python examples/predict_smiles.py --model runs/demo CCO "c1ccccc1C(=O)O" "not a molecule"

``--tiny`` takes a small untrained model instead of a run folder.
"""

from __future__ import annotations

import argparse

from dc_graphsam.hf import load_run, predict_smiles


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("smiles", nargs="*", default=["CCO", "c1ccccc1C(=O)O", "not a molecule"])
    parser.add_argument("--model", default="runs/demo", help="run folder")
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args(arguments)

    if given.tiny:
        from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction

        config = CoMPTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, task_names=["pAct"])
        model, processor = CoMPTForPropertyPrediction(config), None
    else:
        run = load_run(given.model)
        model, processor = run.model, run.processor
    rows = predict_smiles(model, processor, given.smiles)
    for smiles, row in zip(given.smiles, rows, strict=True):
        print(f"{smiles:20} {row}")
    return rows


if __name__ == "__main__":
    main()
