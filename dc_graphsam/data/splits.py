"""Who trains, who selects, who tests: divisions of n molecules, the same for a seed on every machine.

The functions know numbers only; :mod:`dc_graphsam.data.partition` applies them to a data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import numpy as np

from dc_graphsam.exceptions import InvalidArgumentError, check_choice, check_range

__all__ = [
    "SPLITS",
    "check_sizes",
    "check_splitting",
    "group_split",
    "kfold_split",
    "random_split",
    "scaffold_groups",
    "scaffold_split",
    "shuffled",
]

SPLITS = ("random", "scaffold", "kfold")
PARTS = ("train", "validation", "test")


def shuffled(n: int, seed: int) -> np.ndarray:
    """Return a permutation of 0 … n − 1 (int64 [n]) that depends on ``n`` and ``seed`` alone.

    It sorts n raw 64-bit outputs of PCG64. NumPy promises that raw outputs never change, but not so for
    ``Generator.permutation``.

    Examples
    --------
    >>> shuffled(5, seed=0).tolist()
    [3, 2, 1, 0, 4]
    """
    _whole_number("seed", seed, 0)
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")


def _whole_number(name: str, value: int, low: int, high: int | None = None) -> int:
    try:
        value = index(value)
    except TypeError:
        raise InvalidArgumentError(
            f"{name} is {value!r}; accepted: a whole number from {low}", arguments=(name,)
        ) from None
    return check_range(name, value, low, high)


def check_sizes(sizes: Sequence[float]) -> tuple[float, float, float]:
    """Return ``sizes`` if they are three fractions that sum to one, else raise ``InvalidArgumentError``."""
    named = {"arguments": ("sizes",)}
    accepted = "three fractions for train, validation and test that sum to 1, the first above 0"
    try:
        fractions = tuple(float(size) for size in sizes)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"sizes is {sizes!r}; accepted: {accepted}", **named) from None
    if len(fractions) != 3 or min(fractions) < 0 or fractions[0] == 0 or not abs(sum(fractions) - 1) < 1e-6:
        raise InvalidArgumentError(f"sizes is {sizes!r}; accepted: {accepted}", **named)
    return fractions


def _counts(n: int, sizes: Sequence[float]) -> np.ndarray:
    """Molecules per part: cumulative fractions rounded down, but one at least where a fraction is above zero."""
    sizes = np.array(check_sizes(sizes))
    wanted = sizes > 0
    if n < wanted.sum():
        raise InvalidArgumentError(
            f"{n} molecules cannot be divided into {wanted.sum()} parts; add rows or set sizes", arguments=("sizes",)
        )
    ends = np.floor(np.cumsum(sizes) * n + 1e-6).astype(int)
    ends[-1] = n
    counts = np.diff(ends, prepend=0)
    for part in np.flatnonzero(wanted & (counts == 0)):
        counts[np.argmax(counts)] -= 1
        counts[part] = 1
    return counts


def check_splitting(
    split: str,
    seed: int = 0,
    fold: int | None = None,
    n_folds: int = 5,
    sizes: Sequence[float] = (0.8, 0.1, 0.1),
) -> None:
    """Raise ``InvalidArgumentError`` if these arguments cannot describe a split, whatever the data set."""
    check_choice("split", split, SPLITS)
    _whole_number("seed", seed, 0)
    if split != "kfold":
        check_sizes(sizes)
        if fold is not None:
            raise InvalidArgumentError(
                f"fold is {fold!r} but split is {split!r}; folds belong to split='kfold'", arguments=("fold", "split")
            )
        return
    _whole_number("n_folds", n_folds, 3)
    if fold is None:
        raise InvalidArgumentError(
            f"fold is None; split='kfold' needs one of 0 … {n_folds - 1}", arguments=("fold", "split")
        )
    _whole_number("fold", fold, 0, n_folds - 1)


def random_split(n: int, seed: int = 0, sizes: Sequence[float] = (0.8, 0.1, 0.1)) -> dict[str, np.ndarray]:
    """Divide 0 … n − 1 at random.

    Parameters
    ----------
    n
        Number of molecules.
    seed
        Non-negative integer.
    sizes
        Fractions of train, validation and test.

    Returns
    -------
    dict
        ``train``, ``validation`` and ``test``: int64 indices, ascending.

    Examples
    --------
    >>> {part: len(indices) for part, indices in random_split(1017).items()}
    {'train': 813, 'validation': 102, 'test': 102}
    """
    ends = np.cumsum(_counts(n, sizes))
    return dict(zip(PARTS, map(np.sort, np.split(shuffled(n, seed), ends[:-1])), strict=True))


def kfold_split(n: int, fold: int, n_folds: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    """Fold ``fold`` of a cross-validation: that fold tests, the next one validates, the others train.

    Over all folds of one seed every index is tested exactly once and validated exactly once.

    Parameters
    ----------
    n
        Number of molecules.
    fold
        0 … n_folds − 1.
    n_folds
        Number of folds, at least 3; their sizes differ by one at most.
    seed
        Non-negative integer.

    Returns
    -------
    dict
        As of :func:`random_split`.

    Examples
    --------
    >>> [kfold_split(7, fold, n_folds=3)["test"].tolist() for fold in range(3)]
    [[1, 2, 3], [0, 6], [4, 5]]
    """
    check_splitting("kfold", seed, fold, n_folds)
    if n < n_folds:
        raise InvalidArgumentError(
            f"n_folds is {n_folds} but there are {n} molecules; accepted: at most one fold each", arguments=("n_folds",)
        )
    folds = np.array_split(shuffled(n, seed), n_folds)
    validation = (fold + 1) % n_folds
    train = [part for k, part in enumerate(folds) if k not in (fold, validation)]
    parts = (np.concatenate(train), folds[validation], folds[fold])
    return dict(zip(PARTS, map(np.sort, parts), strict=True))


def group_split(groups: np.ndarray, seed: int = 0, sizes: Sequence[float] = (0.8, 0.1, 0.1)) -> dict[str, np.ndarray]:
    """Divide molecules so that no group is in two parts, by the rules of :func:`scaffold_split`.

    Where these leave a part empty, and there are as many groups as parts, it gets the smallest group that can be spared.

    Parameters
    ----------
    groups
        int [n], number of the group of each molecule.
    seed, sizes
        As of :func:`scaffold_split`.

    Examples
    --------
    >>> split = group_split(np.array([0, 0, 0, 1, 2, 2]), sizes=(0.5, 0.25, 0.25))
    >>> {part: places.tolist() for part, places in split.items()}
    {'train': [4, 5], 'validation': [3], 'test': [0, 1, 2]}
    """
    words = ("group_column is given", "groups", "another column")
    return _divide_groups(groups, seed, sizes, words, ("group_column",), spare=True)


def scaffold_split(
    groups: np.ndarray, seed: int = 0, sizes: Sequence[float] = (0.8, 0.1, 0.1)
) -> dict[str, np.ndarray]:
    """Divide molecules so that no scaffold is in two parts.

    Scaffolds with more molecules than half the smaller of validation and test go first, to train as long as there is
    room, so that no single series fills a test set. The others follow in the order of the seed; each goes to the first
    of train, validation and test that it fits into. What fits nowhere goes where most room is left, and makes the other
    parts smaller.

    Parameters
    ----------
    groups
        int [n], scaffold number of each molecule, see :func:`scaffold_groups`.
    seed
        Non-negative integer; another seed gives another split.
    sizes
        Fractions of train, validation and test.

    Returns
    -------
    dict
        As of :func:`random_split`.

    Raises
    ------
    InvalidArgumentError
        If there are too few scaffolds.

    Examples
    --------
    >>> groups = np.array([0, 0, 0, 0, 0, 0, 0, 1, 2, 3])
    >>> split = scaffold_split(groups, seed=1)
    >>> split["train"].tolist(), len(split["validation"]), len(split["test"])
    ([0, 1, 2, 3, 4, 5, 6, 8], 1, 1)
    """
    return _divide_groups(groups, seed, sizes, ("split is 'scaffold'", "scaffolds", "'random'"), ("split",))


def _divide_groups(
    groups: np.ndarray,
    seed: int,
    sizes: Sequence[float],
    words: tuple[str, str, str],
    arguments: tuple[str, ...],
    spare: bool = False,
) -> dict[str, np.ndarray]:
    counts = _counts(len(groups), sizes)
    members = np.argsort(groups, kind="stable")
    numbers, starts = np.unique(groups[members], return_index=True)
    scaffolds = np.split(members, starts[1:])
    big = min(count for count in counts[1:] if count) / 2 if counts[1:].any() else np.inf
    order = [scaffolds[k] for k in shuffled(len(numbers), seed)]
    order.sort(key=lambda scaffold: len(scaffold) <= big)  # stable: the order of the seed within both kinds
    parts: list[list[np.ndarray]] = [[], [], []]
    room = counts.copy()
    for scaffold in order:
        fits = np.flatnonzero(room >= len(scaffold))
        part = fits[0] if len(fits) else np.argmax(room)
        parts[part].append(scaffold)
        room[part] -= len(scaffold)
        if room[part] < 0:  # what it took too much, the others give up in proportion
            left, room[part] = room.sum(), 0
            room = np.diff(np.rint(np.cumsum(room) * (left / max(room.sum(), 1))).astype(int), prepend=0)
    for part in np.flatnonzero(counts) if spare else ():
        fullest = max(parts, key=len)
        if not parts[part] and len(fullest) > 1:
            smallest = min(range(len(fullest)), key=lambda k: len(fullest[k]))
            parts[part].append(fullest.pop(smallest))
    what, plural, instead = words
    empty = [name for name, part, count in zip(PARTS, parts, counts, strict=True) if count and not part]
    if empty:
        raise InvalidArgumentError(
            f"{what} but {len(numbers)} {plural} leave nothing for {' and '.join(empty)}; use {instead}",
            arguments=arguments,
        )
    nothing = np.empty(0, np.int64)
    return {name: np.sort(np.concatenate([nothing, *part])) for name, part in zip(PARTS, parts, strict=True)}


def scaffold_groups(smiles: Sequence[str], progress: bool = False) -> np.ndarray:
    """Number the Bemis–Murcko scaffolds of molecules.

    The scaffold is the ring systems and what links them (Bemis and Murcko, J. Med. Chem. 39 (1996) 2887-2893), without
    stereochemistry, as in MoleculeNet. All molecules without a ring share one, the empty scaffold.

    Parameters
    ----------
    smiles
        n SMILES. What RDKit cannot read is a scaffold of its own.
    progress
        Whether to show a bar.

    Returns
    -------
    numpy.ndarray
        int32 [n], numbered in order of first appearance.

    Examples
    --------
    >>> scaffold_groups(["c1ccccc1C", "CCO", "OCc1ccccc1", "CC"]).tolist()
    [0, 1, 0, 1]
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem.Scaffolds.MurckoScaffold import GetScaffoldForMol

    from dc_graphsam.progress import progress_bar

    numbers: dict[str, int] = {}
    groups = np.empty(len(smiles), np.int32)
    with rdBase.BlockLogs():
        for i, text in enumerate(progress_bar(smiles, "scaffolds", unit=" mol", disable=not progress)):
            molecule = Chem.MolFromSmiles(text)
            # "?" begins no SMILES, so that the key of an unreadable molecule is no other's scaffold
            key = (
                f"?{text}" if molecule is None else Chem.MolToSmiles(GetScaffoldForMol(molecule), isomericSmiles=False)
            )
            groups[i] = numbers.setdefault(key, len(numbers))
    return groups
