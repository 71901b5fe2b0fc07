"""Metrics of a trained model, on its own data or on other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dc_graphsam.exceptions import InvalidArgumentError, MissingDataError, RunFolderError, check_choice, check_whole
from dc_graphsam.predict.loading import load_run
from dc_graphsam.runs.scoring import evaluate_model, rewriting_of, stored_batch_size
from dc_graphsam.runs.settings import RunSettings, read_run_yaml

__all__ = ["evaluate_run"]


def evaluate_run(
    path: str | Path,
    *,
    dataset: str | None = None,
    data: str | Path | None = None,
    smiles_column: str | None = None,
    split: str | None = None,
    data_dir: str | Path | None = None,
    positive: str | list[str] | None = None,
    validation_data: str | Path | None = None,
    test_data: str | Path | None = None,
    batch_size: int | None = None,
    rewrite: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Metrics of a trained model.

    Parameters
    ----------
    path
        Run folder.
    dataset, data
        Labelled data that the run has not seen; all of its rows count. Without them, the run's own.
    smiles_column, data_dir, positive
        As in :class:`~dc_graphsam.runs.settings.RunSettings`.
    split
        ``"train"``, ``"validation"`` or ``"test"`` of the run's own data (``data`` then says where they lie now), or
        ``"all"``. By default ``"test"`` of the own data, ``"all"`` of others.
    validation_data, test_data
        Where those tables of the run lie now, if it had them.
    batch_size
        Molecules per batch; by default as in training, which gives the numbers of ``metrics.json`` again.
    rewrite
        Also predict every molecule written canonically and in so many random orders of its atoms; 0: do not.
    progress
        Whether to show progress bars while data are read.

    Returns
    -------
    dict
        ``data``, ``split``, ``molecules``, ``dropped`` and ``metrics``; ``rewriting`` if it was asked for: a
        :meth:`~dc_graphsam.check.RewritingCheck.record`.
    """
    from dc_graphsam.data import dropped_rows
    from dc_graphsam.runs.data import load_all_rows, load_data

    check_whole("rewrite", rewrite, 0)
    split = split or ("test" if dataset is None and data is None else "all")
    check_choice("split", split, ("train", "validation", "test", "all"))
    if dataset is not None and data is not None:
        raise InvalidArgumentError("dataset and data are both given; name one", arguments=("dataset", "data"))
    run = load_run(path)
    own = RunSettings.from_flat(read_run_yaml(run.folder / "run.yaml")) if run.folder.has("run.yaml") else None
    is_own = split != "all" or (dataset is None and data is None)
    if is_own:
        if own is None:
            raise RunFolderError(
                f"{run.folder} does not say which data it was trained on; name them with --dataset or --data"
            )
        if (dataset is not None and dataset != own.dataset) or (data is not None and own.data is None):
            raise InvalidArgumentError(
                f"split is {split!r}, a part of the run's own data, which are {own.name!r}", arguments=("split",)
            )
        moved = {"data": str(data)} if data is not None else {}
        others = {"data_dir": data_dir, "validation_data": validation_data, "test_data": test_data}
        for name, path in others.items():
            if name != "data_dir" and path is not None and getattr(own, name) is None:
                raise InvalidArgumentError(f"{name} is given and the run had none", arguments=(name,))
        moved.update((name, str(path)) for name, path in others.items() if path is not None)
        own = replace(own, **moved)
        if own.data is not None and not Path(own.data).exists():
            raise MissingDataError(
                f"the data of the run, {own.data}, is not here; say where it is: --data FILE --split {split}"
            )
        for name in ("validation_data", "test_data"):
            path = getattr(own, name)
            if path is not None and not Path(path).exists():
                raise MissingDataError(
                    f"a table of the run, {path}, is not here; say where it is with {name}", arguments=(name,)
                )
        parts = load_data(own, splits=run.folder / "splits.json", progress=progress)
        if split == "all":
            from datasets import concatenate_datasets

            rows = concatenate_datasets(list(parts.values()))
            dropped = len(dropped_rows(parts))
        else:
            rows, dropped = parts[split], len(dropped_rows(parts))
        name = own.name
    else:
        rows = load_all_rows(
            run.model.config,
            dataset=dataset,
            data=data,
            smiles_column=smiles_column,
            data_dir=data_dir,
            positive=positive,
            progress=progress,
        )
        dropped, name = len(dropped_rows(rows)), dataset or Path(data).name
    if batch_size is None:
        batch_size = stored_batch_size(run.folder)
    metrics, _ = evaluate_model(run.model, rows, batch_size)
    found = {"data": name, "split": split, "molecules": len(rows), "dropped": dropped, "metrics": metrics}
    if rewrite:
        found["rewriting"] = rewriting_of(run.model, rows, batch_size, rewrite).record()
    return found
