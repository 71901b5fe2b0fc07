"""A run folder as the report reads it: what is absent is empty."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dc_graphsam.exceptions import MissingColumnError, RunFolderError
from dc_graphsam.run_folder import RunFolder
from dc_graphsam.tasks import TaskSpec

__all__ = ["RunRecord"]


@dataclass(frozen=True)
class RunRecord:
    """Contents of a run folder; the files are described in :mod:`dc_graphsam.report.page`.

    Attributes
    ----------
    folder
        Where it was read.
    run, metrics, splits
        ``run.json``, ``metrics.json``, ``splits.json``; optional ones are ``{}`` if absent.
    spec
        The tasks of the run.
    history, dropped
        Records of ``history.jsonl`` and ``dropped.csv``.
    rows, smiles
        Columns of ``predictions_test.csv``, M entries each.
    predictions, labels
        float64 [M, T], NaN for empty cells. Of several classes ``labels`` are their numbers, and ``predictions`` [M, ΣC] the
        probability of each.
    """

    folder: Path
    run: dict[str, Any]
    spec: TaskSpec
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    splits: dict[str, Any]
    dropped: list[dict[str, str]]
    rows: list[str]
    smiles: list[str]
    predictions: np.ndarray
    labels: np.ndarray

    @classmethod
    def read(cls, folder: str | Path) -> RunRecord:
        """Read a folder.

        Raises
        ------
        RunFolderError
            ``run.json`` is absent or does not say what was predicted, or a file cannot be read.
        MissingColumnError
            ``predictions_test.csv`` lacks a task.
        """
        files = RunFolder(folder)
        run = files.read_json("run.json")
        try:
            spec = TaskSpec(**run["task"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunFolderError(
                f"{files / 'run.json'} does not say what was predicted under 'task': {error}"
            ) from None
        table = _read_csv(files / "predictions_test.csv")
        return cls(
            folder=files.path,
            run=run,
            spec=spec,
            metrics=files.read_json("metrics.json") if files.has("metrics.json") else {},
            history=_read_lines(files / "history.jsonl"),
            splits=files.read_json("splits.json") if files.has("splits.json") else {},
            dropped=_read_csv(files / "dropped.csv"),
            rows=[record.get("row") or "" for record in table],
            smiles=[record.get("smiles") or "" for record in table],
            predictions=_columns(table, spec.output_names),
            labels=_classes(table, spec)
            if spec.task_type == "multiclass"
            else _columns(table, [f"{name}_label" for name in spec.task_names]),
        )

    @property
    def known_labels(self) -> np.ndarray:
        """Labels of the molecules that have a prediction, NaN for the others: float64 [M, T]."""
        known = np.isfinite(self.predictions)
        if self.spec.class_counts is not None and len(known):
            starts = np.cumsum((0, *self.spec.class_counts))[:-1]
            known = np.logical_and.reduceat(known, starts, axis=1)
        return np.where(known, self.labels, np.nan) if known.shape == self.labels.shape else self.labels


def _read_lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                records.append(dict(json.loads(line)))
            except (ValueError, TypeError):
                raise RunFolderError(f"{path}, line {number}, is not a JSON object: {line[:40]!r}") from None
    return records


def _read_csv(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _columns(table: list[dict[str, str]], names) -> np.ndarray:
    """float64 [M, T]; cells that hold no number are NaN."""
    for name in names:
        if table and name not in table[0]:
            raise MissingColumnError("predictions_test.csv", name, table[0])
    return np.array([[_number(record[name]) for name in names] for record in table]).reshape(len(table), len(names))


def _classes(table: list[dict[str, str]], spec: TaskSpec) -> np.ndarray:
    """Numbers of the classes that the cells name, float64 [M, T]."""
    names = [f"{task}_label" for task in spec.task_names]
    for name in names:
        if table and name not in table[0]:
            raise MissingColumnError("predictions_test.csv", name, table[0])
    places = [{label: float(i) for i, label in enumerate(own)} for own in spec.class_names or ()]
    rows = [[own.get(record[name], math.nan) for name, own in zip(names, places, strict=True)] for record in table]
    return np.array(rows, np.float64).reshape(len(table), len(names))


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan
