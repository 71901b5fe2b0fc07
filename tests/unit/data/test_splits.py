from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dc_graphsam.data.partition import split_hash
from dc_graphsam.data.splits import check_splitting, kfold_split, random_split, scaffold_groups, scaffold_split
from dc_graphsam.exceptions import InvalidArgumentError

seeds = st.integers(0, 2**32)


def everyone_once(split, n):
    np.testing.assert_array_equal(np.sort(np.concatenate(list(split.values()))), np.arange(n))


@given(n=st.integers(3, 500), seed=seeds)
def test_random_split_takes_everyone_once(n, seed):
    split = random_split(n, seed)
    everyone_once(split, n)
    assert list(split) == ["train", "validation", "test"] and all(len(part) for part in split.values())
    if n >= 20:
        assert abs(len(split["train"]) - 0.8 * n) <= 1 and abs(len(split["test"]) - 0.1 * n) <= 1


def test_random_split_is_the_same_on_every_machine():
    digest = "b3361ae53e8e37e2c74057bda4a50d801763d3ce42024780d85549ac47881e46"
    assert split_hash(random_split(1000, seed=7)) == digest


def test_kfold_is_the_same_on_every_machine():
    digest = "f427c9eec75b2c9740757055de5dda65c6c454a04c889c1423c9dfc52b51874c"
    assert split_hash(kfold_split(1000, fold=1, seed=7)) == digest


def test_seeds_differ():
    assert len({split_hash(random_split(100, seed)) for seed in range(20)}) == 20
    assert len({split_hash(kfold_split(100, 0, seed=seed)) for seed in range(20)}) == 20


def test_sizes():
    counts = {part: len(rows) for part, rows in random_split(100, sizes=(0.5, 0.2, 0.3)).items()}
    assert counts == {"train": 50, "validation": 20, "test": 30}
    assert [len(rows) for rows in random_split(10, sizes=(1, 0, 0)).values()] == [10, 0, 0]


@given(n=st.integers(10, 300), n_folds=st.integers(3, 10), seed=seeds)
def test_folds_are_real(n, n_folds, seed):
    folds = [kfold_split(n, fold, n_folds, seed) for fold in range(n_folds)]
    for fold in folds:
        everyone_once(fold, n)
    for part in ("test", "validation"):
        np.testing.assert_array_equal(np.sort(np.concatenate([fold[part] for fold in folds])), np.arange(n))
    for k, fold in enumerate(folds):
        np.testing.assert_array_equal(fold["validation"], folds[(k + 1) % n_folds]["test"])


@given(sizes=st.lists(st.integers(1, 12), min_size=20, max_size=60), seed=seeds)
def test_no_scaffold_is_in_two_parts(sizes, seed):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    groups = groups[np.argsort(np.sin(np.arange(len(groups))))]  # scattered over the table
    split = scaffold_split(groups, seed)
    everyone_once(split, len(groups))
    in_part = [set(groups[part]) for part in split.values()]
    assert sum(map(len, in_part)) == len(sizes)


def test_scaffold_split_honours_the_seed_and_the_sizes():
    groups = np.concatenate([np.repeat(np.arange(5), 60), np.arange(5, 705)])  # five series and 700 singletons
    splits = [scaffold_split(groups, seed) for seed in range(10)]
    assert len({split_hash(split) for split in splits}) == 10
    for split in splits:
        assert [len(part) for part in split.values()] == [800, 100, 100]
        assert set(range(5)) <= set(groups[split["train"]])  # a series larger than half the test set trains


def test_a_scaffold_larger_than_train_still_trains():
    groups = np.concatenate([np.zeros(90, int), np.arange(1, 11)])  # as in FreeSolv, where most molecules have no ring
    split = scaffold_split(groups)
    assert set(range(90)) <= set(split["train"]) and len(split["validation"]) and len(split["test"])


def test_too_few_scaffolds():
    with pytest.raises(InvalidArgumentError, match="1 scaffolds leave nothing for validation and test; use 'random'"):
        scaffold_split(np.zeros(50, int))


def test_scaffolds():
    smiles = ["Cc1ccccc1", "CCO", "C[C@H]1CC[C@@H](O)CC1", "CC1CCC(O)CC1", "c1ccccc1", "no molecule", "also none", ""]
    assert scaffold_groups(smiles).tolist() == [0, 1, 2, 2, 0, 3, 4, 1]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"split": "scafold"}, "split is 'scafold'; accepted: 'random', 'scaffold', 'kfold'. Did you mean 'scaffold'?"),
        ({"split": "random", "fold": 1}, "fold is 1 but split is 'random'"),
        ({"split": "kfold"}, "fold is None; split='kfold' needs one of 0 … 4"),
        ({"split": "kfold", "fold": 5}, "fold is 5; accepted"),
        ({"split": "kfold", "fold": 0, "n_folds": 2}, "n_folds is 2; accepted"),
        ({"split": "random", "seed": -1}, "seed is -1; accepted"),
        ({"split": "random", "seed": 0.5}, "seed is 0.5; accepted: a whole number"),
        ({"split": "random", "sizes": (0.8, 0.2)}, r"sizes is \(0.8, 0.2\); accepted: three fractions"),
        ({"split": "random", "sizes": (0.8, 0.1, 0.2)}, "that sum to 1"),
        ({"split": "random", "sizes": (0, 0.5, 0.5)}, "the first above 0"),
        ({"split": "random", "sizes": "abc"}, "three fractions"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(InvalidArgumentError, match=words):
        check_splitting(**arguments)


def test_too_few_molecules():
    with pytest.raises(InvalidArgumentError, match="2 molecules cannot be divided into 3 parts"):
        random_split(2)
    with pytest.raises(InvalidArgumentError, match="n_folds is 5 but there are 4 molecules"):
        kfold_split(4, 0)
