"""MoleculeNet through DeepChem's loaders, and what the DeepChem door costs beside the Hugging Face door.

    python benchmarks/deepchem_door.py [--sets bbbp,tox21,…] [--molecules N] [--windows 3] [--threads 2] [--quick]

Every data set: load with ``dc.molnet``, one epoch of CoMPT with GraphSAM, DeepChem's own metrics on the test split, save,
restore, equal predictions. Then BBBP through both doors: SMILES to features on disk, and epochs of training that take turns.
Written to results/deepchem_door.json. ``--molecules`` takes the first rows of every file, ``--quick`` a small model.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import common

# DeepChem's name: file, name of the released settings
SETS = {
    "bbbp": ("BBBP.csv", "bbbp"),
    "tox21": ("tox21.csv.gz", "tox21"),
    "sider": ("sider.csv.gz", "sider"),
    "clintox": ("clintox.csv.gz", "clintox"),
    "bace_classification": ("bace.csv", "bace"),
    "delaney": ("delaney-processed.csv", "esol"),
    "lipo": ("Lipophilicity.csv", "lipophilicity"),
    "freesolv": ("freesolv.csv.gz", "freesolv"),
}
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}


def files(molecules: int | None, scratch: Path) -> Path:
    """Folder of the raw files: the original one, or copies of their first rows."""
    source = common.SHARED / "moleculenet"
    if molecules is None:
        return source
    for name, _ in SETS.values():
        opener = gzip.open if name.endswith(".gz") else open
        with opener(source / name, "rt", newline="") as text, opener(scratch / name, "wt", newline="") as out:
            rows = csv.writer(out)
            for i, row in enumerate(csv.reader(text)):
                if i > molecules:
                    break
                rows.writerow(row)
    return scratch


def load(name: str, folder: Path, scratch: Path, featurizer):
    import deepchem as dc
    import numpy as np

    np.random.seed(0)
    splitter = dc.splits.RandomSplitter()
    return getattr(dc.molnet, f"load_{name}")(
        featurizer=featurizer, splitter=splitter, data_dir=str(folder), save_dir=str(scratch), reload=False
    )


def make_model(settings: str, n_tasks: int, quick: bool, **options):
    import torch

    from dc_graphsam.dc import CoMPTModel, GraphSAMOptimizer

    torch.manual_seed(0)
    names = {"task_names": [f"task_{i}" for i in range(n_tasks)]}
    small = SMALL if quick else {}
    optimizer = GraphSAMOptimizer(learning_rate=1e-4, rho=0.05)
    return CoMPTModel.released(settings, optimizer=optimizer, unknown_bond="own-slot", **names, **small, **options)


def one_set(name: str, folder: Path, scratch: Path, quick: bool) -> dict:
    import deepchem as dc
    import numpy as np

    from dc_graphsam.dc import GraphTransformerFeaturizer
    from dc_graphsam.metrics import dc_metric

    featurizer = GraphTransformerFeaturizer()
    start = time.perf_counter()
    tasks, (train, valid, test), transformers = load(name, folder, scratch, featurizer)
    loading = time.perf_counter() - start
    mode = "regression" if SETS[name][1] in ("esol", "lipophilicity", "freesolv") else "classification"
    model_dir = str(scratch / name)
    model = make_model(SETS[name][1], len(tasks), quick, model_dir=model_dir)
    start = time.perf_counter()
    loss = model.fit(train, nb_epoch=1)
    fitting = time.perf_counter() - start
    if mode == "regression":
        metrics = [dc.metrics.Metric(dc.metrics.rms_score), dc.metrics.Metric(dc.metrics.mean_absolute_error)]
    else:
        metrics = [dc_metric("roc_auc"), dc.metrics.Metric(dc.metrics.accuracy_score, np.mean)]
        if len(tasks) == 1:
            metrics.append(dc.metrics.Metric(dc.metrics.roc_auc_score, np.mean))
    scores = {key: round(float(value), 4) for key, value in model.evaluate(test, metrics, transformers).items()}
    again = make_model(SETS[name][1], len(tasks), quick, model_dir=model_dir)
    again.restore()
    return {
        "tasks": len(tasks),
        "molecules": [len(train), len(valid), len(test)],
        "could not be featurized": len(featurizer.failures),
        "missing labels": int((train.w == 0).sum()),
        "seconds to load": round(loading, 2),
        "seconds of the epoch": round(fitting, 2),
        "steps": model.get_global_step(),
        "passes": model.passes,
        "loss": round(float(loss), 4),
        "test": scores,
        "equal after restore": bool(np.array_equal(again.predict(valid), model.predict(valid))),
    }


def both_doors(folder: Path, scratch: Path, windows: int, quick: bool) -> dict:
    """Seconds of featurizing and of an epoch, and the ratios."""
    import torch

    from dc_graphsam import (
        CoMPTConfig,
        CoMPTForPropertyPrediction,
        GraphSAMTrainer,
        GraphSAMTrainingArguments,
        load_moleculenet,
    )
    from dc_graphsam.dc import GraphTransformerFeaturizer

    features: dict[str, list[float]] = {"deepchem": [], "hugging face": []}
    for window in range(windows):
        start = time.perf_counter()
        tasks, (train, _, _), _ = load("bbbp", folder, scratch, GraphTransformerFeaturizer())
        features["deepchem"].append(time.perf_counter() - start)
        start = time.perf_counter()
        data = load_moleculenet(
            "bbbp", split="random", seed=0, data_dir=folder, cache_dir=scratch / f"cache{window}", progress=False
        )
        features["hugging face"].append(time.perf_counter() - start)

    model = make_model("bbbp", len(tasks), quick, model_dir=str(scratch / "cost"))
    torch.manual_seed(0)
    config = CoMPTConfig.for_dataset(data, released=True, unknown_bond="own-slot", **(SMALL if quick else {}))
    args = GraphSAMTrainingArguments(
        str(scratch / "trainer"),
        sam="graphsam",
        rho=0.05,
        learning_rate=1e-4,
        num_train_epochs=1,
        per_device_train_batch_size=32,
        max_grad_norm=0.0,
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        report_to=[],
    )
    trainer = GraphSAMTrainer(CoMPTForPropertyPrediction(config), args, train_dataset=data["train"])

    def deepchem_epoch() -> Iterator[int]:
        model.fit(train, nb_epoch=1, checkpoint_interval=0)
        yield len(train)

    def trainer_epoch() -> Iterator[int]:
        trainer.train()
        yield len(data["train"])

    rates = common.interleaved({"deepchem": deepchem_epoch, "hugging face": trainer_epoch}, windows)
    seconds = {door: min(values) for door, values in features.items()}
    epoch = {door: len(data["train"]) / common.summary(values)["median"] for door, values in rates.items()}
    total = {door: seconds[door] + epoch[door] for door in seconds}
    return {
        "seconds to featurize": {door: round(value, 2) for door, value in seconds.items()},
        "molecules per second of training": {door: common.summary(values) for door, values in rates.items()},
        "ratio of an epoch": round(1 / common.ratio(rates["deepchem"], rates["hugging face"]), 3),
        "ratio of featurizing and one epoch": round(total["deepchem"] / total["hugging face"], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--molecules", type=int)
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()

    import torch

    from dc_graphsam.data import import_deepchem

    import_deepchem()
    logging.getLogger("dc_graphsam").setLevel(logging.ERROR)  # counted below
    if given.threads:
        torch.set_num_threads(given.threads)
    result: dict = {"machine": common.machine(), "small model": given.quick, "first rows": given.molecules, "sets": {}}
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        folder = files(given.molecules, scratch)
        for name in filter(None, given.sets.split(",")):
            result["sets"][name] = one_set(name, folder, scratch, given.quick)
            print(name, result["sets"][name], flush=True)
        result["bbbp through both doors"] = both_doors(folder, scratch, given.windows, given.quick)
        print(result["bbbp through both doors"])
    if given.quick or given.molecules:
        print("not written: --quick or --molecules")
    else:
        print(common.write("deepchem_door", result))


if __name__ == "__main__":
    main()
