"""What is wrong with a table of molecules and labels, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dc_graphsam.check.characters import WRITINGS, CharacterBaseline, character_baseline
from dc_graphsam.exceptions import InvalidArgumentError, InvalidSmilesError

__all__ = ["DatasetCheck", "TaskCheck", "check_dataset"]

SPREAD = 0.1  # standard deviations between two values of one molecule that count as disagreement
RARE = 0.05  # share of a class that is called rare


@dataclass(frozen=True)
class TaskCheck:
    """One column of labels.

    Attributes
    ----------
    name, measured
        The task, and rows with a value.
    low, high, mean, deviation
        Of the values.
    positives
        Share of class 1 of two, or ``None``.
    commonest
        Of several classes: how many there are, and the share of the commonest; else ``None``.
    scaffold_share
        R² of predicting a molecule by the mean of the others of its Bemis–Murcko scaffold (leave one out; a scaffold of
        one molecule is predicted by the mean of all). NaN where no value differs.
    """

    name: str
    measured: int
    low: float
    high: float
    mean: float
    deviation: float
    positives: float | None
    scaffold_share: float
    commonest: tuple[int, float] | None = None


@dataclass(frozen=True)
class DatasetCheck:
    """What :func:`check_dataset` found; :meth:`lines` says it in words.

    Attributes
    ----------
    name, rows
        The table.
    unusable
        Row → why it cannot be used.
    duplicated_molecules, duplicated_rows, disagreeing
        Molecules that stand in the table more than once (canonical SMILES, stereo kept), the rows they take, and those
        of them whose labels differ: by class, or by more than a tenth of the task's standard deviation.
    same_without_stereo
        Molecules that more than one row has if configurations are left out.
    across
        Molecules that stand in more than one part of the split, or ``None`` without a split.
    scaffolds
        Number of scaffolds.
    tasks
        One record per column of labels.
    characters
        The character baseline, or ``None`` if it was not asked for.
    """

    name: str
    rows: int
    unusable: dict[int, str]
    duplicated_molecules: int
    duplicated_rows: int
    disagreeing: int
    same_without_stereo: int
    across: int | None
    scaffolds: int
    tasks: list[TaskCheck] = field(default_factory=list)
    characters: CharacterBaseline | None = None

    @property
    def reads_typing(self) -> bool:
        """See :attr:`CharacterBaseline.reads_typing`."""
        return self.characters is not None and self.characters.reads_typing

    def verdict(self) -> str:
        """One sentence."""
        faults = []
        if self.reads_typing:
            faults.append(
                "labels can be read off how the SMILES are typed: compare models on canonical or rewritten SMILES only"
            )
        if self.across:
            faults.append(
                f"{_count(self.across, 'molecule')} of the test or validation part {_is(self.across)} trained on, too"
            )
        if self.disagreeing:
            faults.append(
                f"{_count(self.disagreeing, 'molecule')} {_has(self.disagreeing)} labels that contradict each other"
            )
        if self.unusable:
            faults.append(f"{_count(len(self.unusable), 'row')} cannot be used")
        if not faults:
            return "Nothing found that would make a score look better than it is."
        return "Mind: " + "; ".join(faults) + "."

    def lines(self) -> list[str]:
        """The findings, one a line, the verdict last."""
        out = [f"{self.name}: {self.rows:,} rows, {self.rows - len(self.unusable):,} usable"]
        for reason, count in _common(self.unusable.values())[:3]:
            out.append(f"  {count:,} × {reason}")
        out.append(
            f"duplicates: {_count(self.duplicated_molecules, 'molecule')} in {self.duplicated_rows:,} rows, labels disagree for "
            f"{self.disagreeing:,}; without stereo {self.same_without_stereo:,}"
        )
        if self.across is not None:
            out.append(f"across parts of the split: {_count(self.across, 'molecule')}")
        out.append(f"scaffolds: {self.scaffolds:,}")
        for task in self.tasks[:12]:
            share = "–" if np.isnan(task.scaffold_share) else f"{100 * max(task.scaffold_share, 0):.0f} %"
            if task.commonest is not None:
                about = f"{task.commonest[0]} classes, the commonest {100 * task.commonest[1]:.1f} %"
            elif task.positives is None:
                about = (
                    f"{task.low:.4g} to {task.high:.4g}, mean {task.mean:.4g}, standard deviation {task.deviation:.4g}"
                )
            else:
                rare = min(task.positives, 1 - task.positives) < RARE
                about = f"{100 * task.positives:.1f} % of class 1{' (rare)' if rare else ''}"
            out.append(f"{task.name}: {task.measured:,} values, {about}; scaffolds explain {share}")
        if len(self.tasks) > 12:
            out.append(f"… and {len(self.tasks) - 12} more tasks")
        if self.characters is not None:
            title = "ROC-AUC" if self.characters.metric == "roc_auc" else "R²"
            if np.isnan(self.characters.scores["canonical"]):
                return [*out, "characters alone: too few labels to tell", self.verdict()]
            scores = ", ".join(f"{self.characters.scores[how]:.3f} {how}" for how in WRITINGS)
            out.append(
                f"characters alone, {title}: {scores}; trained as written, tested canonical {self.characters.transferred:.3f}"
            )
        return [*out, self.verdict()]

    def record(self) -> dict[str, Any]:
        """The findings as JSON types."""
        from dataclasses import asdict

        return {
            **asdict(self),
            "unusable": {str(row): why for row, why in self.unusable.items()},
            "reads_typing": self.reads_typing,
            "verdict": self.verdict(),
        }


def check_dataset(
    smiles: Sequence[Any],
    labels: np.ndarray,
    task_names: Sequence[str],
    task_type: str,
    *,
    name: str = "the table",
    problems: Mapping[int, str] | None = None,
    parts: Mapping[str, Sequence[int]] | None = None,
    characters: bool = True,
    seed: int = 0,
) -> DatasetCheck:
    """Look for what makes scores better than they deserve: duplicates, leaks between parts, labels told by the typing.

    Parameters
    ----------
    smiles
        M SMILES, as the table has them.
    labels
        float [M, T], NaN where nothing was measured.
    task_names, task_type
        Of the T columns: ``"classification"`` (0 and 1), ``"multiclass"`` (numbers of classes) or ``"regression"``.
    name
        Of the table, for the words.
    problems
        Row → reason of rows that were refused already.
    parts
        Part → rows of a split, to look for molecules in more than one.
    characters
        Whether to fit the character baseline, which takes some seconds; there is none for several classes.
    seed
        Of its splits.

    Returns
    -------
    DatasetCheck

    Raises
    ------
    InvalidArgumentError
        Shapes do not fit, or no row can be used.

    Examples
    --------
    >>> found = check_dataset(["CCO", "OCC", "c1ccccc1", "C1CC"], [[0], [1], [1], [0]], ["a"], "classification",
    ...                       characters=False)
    >>> found.duplicated_molecules, found.disagreeing, len(found.unusable)
    (1, 1, 1)
    """
    labels = np.asarray(labels, np.float64)
    if labels.ndim != 2 or labels.shape != (len(smiles), len(task_names)):
        raise InvalidArgumentError(
            f"labels have shape {labels.shape}; accepted: ({len(smiles)}, {len(task_names)}), rows by tasks"
        )
    unusable = dict(problems or {})
    canonical, flat = _canonical(smiles, unusable)
    for row in np.flatnonzero(np.isnan(labels).all(axis=1)).tolist():
        unusable.setdefault(row, "no label")
    rows = np.array([row for row in range(len(smiles)) if row not in unusable], np.int64)
    if not len(rows):
        raise InvalidArgumentError(f"{name} has no row that can be used; the first: {next(iter(unusable.values()))}")
    groups = _groups([canonical[row] for row in rows], rows)
    twice = [group for group in groups.values() if len(group) > 1]
    without = [group for group in _groups([flat[row] for row in rows], rows).values() if len(group) > 1]
    deviation = _deviations(labels[rows])
    from dc_graphsam.data.splits import scaffold_groups

    scaffolds = scaffold_groups([canonical[row] for row in rows])
    return DatasetCheck(
        name=name,
        rows=len(smiles),
        unusable=dict(sorted(unusable.items())),
        duplicated_molecules=len(twice),
        duplicated_rows=sum(map(len, twice)),
        disagreeing=sum(_disagree(labels[group], task_type, deviation) for group in twice),
        same_without_stereo=len(without),
        across=None if parts is None else _across(groups, parts),
        scaffolds=int(scaffolds.max()) + 1,
        tasks=[_task(task, labels[rows, column], scaffolds, task_type) for column, task in enumerate(task_names)],
        characters=character_baseline([smiles[row] for row in rows], labels[rows], task_type, seed=seed)
        if characters and task_type != "multiclass"
        else None,
    )


def _canonical(smiles: Sequence[Any], unusable: dict[int, str]) -> tuple[dict[int, str], dict[int, str]]:
    from dc_graphsam.chem.descriptors import canonical_smiles

    canonical, flat = {}, {}
    for row, text in enumerate(smiles):
        if row in unusable:
            continue
        try:
            canonical[row] = canonical_smiles(text)
            flat[row] = canonical_smiles(canonical[row], stereo=False)
        except InvalidSmilesError as error:
            unusable[row] = f"SMILES {error.reason.removeprefix('it ')}"
    return canonical, flat


def _groups(keys: Sequence[str], rows: np.ndarray) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for key, row in zip(keys, rows.tolist(), strict=True):
        groups.setdefault(key, []).append(row)
    return groups


def _deviations(labels: np.ndarray) -> np.ndarray:
    return np.array([column[~np.isnan(column)].std() if (~np.isnan(column)).any() else 0.0 for column in labels.T])


def _disagree(values: np.ndarray, task_type: str, deviation: np.ndarray) -> bool:
    for column, spread in zip(values.T, deviation, strict=True):
        known = column[~np.isnan(column)]
        if len(known) > 1 and np.ptp(known) > (SPREAD * spread if task_type == "regression" else 0.0):
            return True
    return False


def _across(groups: Mapping[str, Sequence[int]], parts: Mapping[str, Sequence[int]]) -> int:
    part_of = {int(row): part for part, rows in parts.items() for row in rows}
    return sum(len({part_of[row] for row in group if row in part_of}) > 1 for group in groups.values())


def _task(name: str, column: np.ndarray, scaffolds: np.ndarray, task_type: str) -> TaskCheck:
    known = ~np.isnan(column)
    values = column[known]
    if not len(values):
        nan = float("nan")
        return TaskCheck(name, 0, nan, nan, nan, nan, None, nan)
    return TaskCheck(
        name=name,
        measured=len(values),
        low=float(values.min()),
        high=float(values.max()),
        mean=float(values.mean()),
        deviation=float(values.std()),
        positives=float((values == 1).mean()) if task_type == "classification" else None,
        scaffold_share=float("nan") if task_type == "multiclass" else _share(values, scaffolds[known]),
        commonest=_commonest(values) if task_type == "multiclass" else None,
    )


def _commonest(values: np.ndarray) -> tuple[int, float]:
    counts = np.unique(values, return_counts=True)[1]
    return len(counts), float(counts.max() / len(values))


def _share(values: np.ndarray, groups: np.ndarray) -> float:
    """R² of the mean of the other members of the group."""
    total, count = np.bincount(groups, values), np.bincount(groups)
    others = count[groups] - 1
    everyone = (values.sum() - values) / max(len(values) - 1, 1)
    guess = np.where(others > 0, (total[groups] - values) / np.maximum(others, 1), everyone)
    around = np.square(values - values.mean()).sum()
    return float(1 - np.square(values - guess).sum() / around) if around > 0 else float("nan")


def _common(reasons) -> list[tuple[str, int]]:
    from collections import Counter

    return Counter(reasons).most_common()


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _has(number: int) -> str:
    return "has" if number == 1 else "have"
