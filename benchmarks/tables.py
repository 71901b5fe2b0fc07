"""The tables of docs/measured.md and the one of the README, from the files under results/.

python benchmarks/tables.py            rewrite both
python benchmarks/tables.py --check    exit with 1 if one is out of date
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- measured: begin (written by benchmarks/tables.py) -->"
END = "<!-- measured: end -->"
METRICS = {"roc_auc": "ROC-AUC ↑", "rmse": "RMSE ↓", "mae": "MAE ↓"}


def load(name: str) -> dict | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def throughput(result: dict) -> str:
    machine = result["machine"]
    lines = [
        f"Training, CoMPT at the released BBBP settings, batch 32, {machine['threads']} cores "
        f"({machine['processor']}, {machine['vector']}), in turns of ten steps (`benchmarks/throughput.py`):",
        "",
        "| precision | optimizer | graphs/s | of Adam | passes/step | of the matmul rate | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    names = {"adam": "Adam", "sam": "SAM", "graphsam": "GraphSAM"}
    for precision, rows in result["training"].items():
        for method, row in rows.items():
            if method in names:
                lines.append(
                    f"| {precision} | {names[method]} | {row['median']:.0f} | {row['of_adam']:.2f} | {row['passes_per_step']:.2f} "
                    f"| {row['share_of_matmul_rate']:.0%} | {row['peak_memory_mb'] / 1024:.2f} GB |"
                )
    lines += ["", f"Inference, float32: {result['inference_float32']['median']:.0f} graphs/s."]
    return "\n".join(lines)


def accuracy(result: dict) -> str:
    lines = [
        "Test metric, released settings, random split by the seed, same schedule for both (`benchmarks/hub_cards.py`; mean ± "
        "standard deviation over the seeds; the runs' own files stand under `hub_cards/`):",
        "",
        "| data set | metric | method | test | runs | epochs |",
        "|---|---|---|---|---|---|",
    ]
    names = {"adam": "Adam", "sam": "SAM", "graphsam": "GraphSAM", "graphsam-released": "GraphSAM, preset `released`"}
    for dataset, methods in result["results"].items():
        for method in sorted(methods, key=list(names).index):
            row = methods[method]
            spread = "" if row["standard_deviation"] is None else f" ± {row['standard_deviation']:.3f}"
            metric = METRICS[row["metric"]]
            lines.append(
                f"| {dataset} | {metric} | {names[method]} | {row['mean']:.3f}{spread} | {row['runs']} | {row['epochs']} |"
            )
    return "\n".join(lines)


def scaling(result: dict) -> str:
    cells = " · ".join(f"{row['atoms']} atoms {row['ms_per_molecule']:.1f} ms" for row in result["rows"])
    worst = max(row["exponent"] for row in result["rows"] if row["exponent"] is not None)
    return (
        f"Forward and backward per molecule (`benchmarks/scaling.py`): {cells}. The steepest step between neighbouring sizes "
        f"grows with atoms to the power {worst:.2f}."
    )


def featurization(result: dict) -> str:
    rows = result["results"]
    ours = next(row for name, row in rows.items() if name.startswith("dc_graphsam, 1 worker"))
    speed = ours["per_second_and_core"]
    return (
        f"SMILES to graph, parsing included, one core, {result['corpus']} (`benchmarks/featurize.py`): "
        f"{speed['median']:,} molecules/s (median of windows; best {speed['best']:,})."
    )


def messages(result: dict) -> str:
    cells = ", ".join(f"{name} {row['best_ms']:.2f} ms" for name, row in result["rows"].items())
    return (
        f"Sum over bonds, and a whole layer, forward and backward, {result['nodes']} atoms, {result['edges']} directed "
        f"bonds (`benchmarks/message_passing.py`, best of many): {cells}."
    )


def optimizers(result: dict) -> str:
    lines = [
        "Every method, CoMPT/BBBP, same machine, in turns of ten steps (`benchmarks/optimizers.py`, rows from two sittings where "
        "`--only` measured some anew, each beside Adam):",
        "",
        "| method | of Adam's speed | passes/step | extra memory, copies of the weights |",
        "|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        lines.append(f"| {name} | {row['of_adam']:.2f} | {row['passes_per_step']:.2f} | {row['extra_copies']:.2f} |")
    return "\n".join(lines)


def bookkeeping(result: dict) -> str:
    adam, graphsam, allowed = result["parts"]["adam"], result["parts"]["graphsam"], result["of_adam"]
    names = {"add_lists": "perturbation", "sum_of_squares": "norm", "adam_lists": "Adam's step with the moving average"}
    streams = ", ".join(f"{text} {graphsam[name]:.2f}" for name, text in names.items() if name in graphsam)
    by_hand = f"{allowed['by_hand']:.3f}" if "by_hand" in allowed else "(not measured: no compiler)"
    return (
        f"What a step takes beside its pass (`benchmarks/bookkeeping.py`, milliseconds, a pass {adam['pass']:.1f}): Adam "
        f"{adam['_fused_adam_']:.2f} in torch's fused kernel and {adam['rest']:.2f} around it; GraphSAM {streams}, and "
        f"{graphsam['rest']:.2f} around them. Of Adam's speed GraphSAM's passes alone allow {allowed['passes_allow']:.3f}, the same "
        f"kernels in a step written out by hand, with nothing verified, {by_hand}, and the package reaches "
        f"{allowed['reached']:.3f}."
    )


SECTIONS = {
    "throughput": throughput,
    "optimizers": optimizers,
    "bookkeeping": bookkeeping,
    "accuracy": accuracy,
    "scaling": scaling,
    "featurize": featurization,
    "message_passing": messages,
}


def section() -> str:
    """Everything."""
    parts = [make(result) for name, make in SECTIONS.items() if (result := load(name)) is not None]
    return "\n\n".join(parts)


def summary() -> str:
    """What a newcomer wants to know: speed, and whether it is worth it."""
    speed, accurate = load("throughput"), load("accuracy")
    lines = [
        "| what | Adam | GraphSAM | program |",
        "|---|---|---|---|",
    ]
    if speed is not None:
        for precision, rows in speed["training"].items():
            adam, ours = rows["adam"], rows["graphsam"]
            lines.append(
                f"| training, {precision}, graphs/s | {adam['median']:.0f} | {ours['median']:.0f} ({ours['of_adam']:.2f} of Adam's) "
                "| `benchmarks/throughput.py` |"
            )
    for dataset, methods in (accurate or {"results": {}})["results"].items():
        if methods.get("graphsam", {}).get("runs", 0) > 1:
            cells = [
                f"{methods[name]['mean']:.3f} ± {methods[name]['standard_deviation']:.3f}"
                for name in ("adam", "graphsam")
            ]
            metric, runs = METRICS[methods["graphsam"]["metric"]], methods["graphsam"]["runs"]
            lines.append(
                f"| {dataset}, test {metric}, {runs} seeds | {cells[0]} | {cells[1]} | `benchmarks/hub_cards.py` |"
            )
    where = ""
    if speed is not None:
        machine = speed["machine"]
        where = f"CoMPT at the released settings; speed on {machine['threads']} cores ({machine['processor']}). "
    return (
        "\n".join(lines)
        + f"\n\n{where}All figures, other methods, other data sets: [docs/measured.md](docs/measured.md)."
    )


PAGES = {ROOT / "README.md": summary, ROOT / "docs" / "measured.md": section}


def main() -> int:
    late = []
    for path, make in PAGES.items():
        text = path.read_text()
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        new = f"{before}{BEGIN}\n\n{make()}\n\n{END}{after}"
        if new != text:
            late.append(path)
            if "--check" not in sys.argv:
                path.write_text(new)
    return int(bool(late) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
