"""Orders of visiting molecules by size."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.hf.sampling import SizeGroupedSampler, SizeSortedSampler, find_sampler, restore_order, sizes_of


def sizes(n, seed=0):
    return np.clip(np.random.default_rng(seed).lognormal(3.0, 0.5, n), 1, 132).astype(int)


def padding(numbers, order, batch_size):
    batches = [numbers[order[i : i + batch_size]] for i in range(0, len(order), batch_size)]
    return 1 - numbers.sum() / sum(len(batch) * batch.max() for batch in batches)


@pytest.mark.parametrize(("n", "batch_size", "together"), [(100, 8, 1), (7, 8, 1), (64, 8, 2), (101, 4, 3), (1, 4, 1)])
def test_every_example_once(n, batch_size, together):
    sampler = SizeGroupedSampler(sizes(n), batch_size, together=together, mega_batch=5)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert sorted(order) == list(range(n))
        assert len(sampler) == n


def test_no_examples():
    assert list(SizeGroupedSampler([], 4)) == []


def test_order_is_a_function_of_seed_and_epoch():
    one, other = (SizeGroupedSampler(sizes(100), 8, seed=5) for _ in range(2))
    first = list(one)
    other.set_epoch(1)
    later = list(other)
    other.set_epoch(0)
    assert list(other) == first == list(one)
    assert later != first
    assert list(SizeGroupedSampler(sizes(100), 8, seed=6)) != first


def test_batches_differ_between_epochs_and_are_shuffled():
    numbers = sizes(640)
    sampler = SizeGroupedSampler(numbers, 32)
    members = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        order = np.array(list(sampler))
        members.append({frozenset(order[i : i + 32].tolist()) for i in range(0, 640, 32)})
        means = [numbers[order[i : i + 32]].mean() for i in range(0, 640, 32)]
        assert abs(np.corrcoef(means, np.arange(20))[0, 1]) < 0.8  # no march from large to small
    assert not members[0] & members[1]


def test_padding_is_small_and_batches_of_processes_are_alike():
    numbers = sizes(3000)
    assert padding(numbers, np.random.default_rng(0).permutation(3000), 32) > 0.4
    assert padding(numbers, np.array(list(SizeGroupedSampler(numbers, 32))), 32) < 0.1
    order = np.array(list(SizeGroupedSampler(numbers, 16, together=2)))
    assert padding(numbers, order, 32) < 0.1


def test_padding_on_bbbp(moleculenet_dir):
    import csv

    from dc_graphsam.chem import featurize_many
    from dc_graphsam.exceptions import InvalidSmilesError

    with (moleculenet_dir / "BBBP.csv").open(newline="") as file:
        graphs = featurize_many([row["smiles"] for row in csv.DictReader(file)], num_workers=0)
    numbers = np.array([graph.num_nodes for graph in graphs if not isinstance(graph, InvalidSmilesError)])
    shares = []
    for epoch in range(5):
        sampler = SizeGroupedSampler(numbers, 32)
        sampler.set_epoch(epoch)
        shares.append(padding(numbers, np.array(list(sampler)), 32))
    assert max(shares) < 0.1


def test_short_batch_comes_last_and_is_not_always_the_same():
    sampler = SizeGroupedSampler(np.arange(1, 68), 16, noise=0)
    lasts = set()
    for epoch in range(10):
        sampler.set_epoch(epoch)
        lasts.add(tuple(sorted(list(sampler)[64:])))
    assert all(max(last) - min(last) == 2 for last in lasts)  # neighbours in size
    assert len(lasts) > 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"batch_size is 0; accepted: a number in \[1, inf\)"),
        ({"noise": 1.0}, r"noise is 1.0; accepted: a number in \[0, 1\)"),
        ({"together": 0}, "together is 0"),
        ({"mega_batch": 0}, "mega_batch is 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        SizeGroupedSampler([1, 2], **{"batch_size": 2, **options})


def test_sorted_order_is_undone():
    numbers = sizes(50)
    sampler = SizeSortedSampler(numbers)
    order = list(sampler)
    assert (np.diff(numbers[order]) <= 0).all()
    values = {"a": np.arange(50.0)[order], "b": (np.arange(100).reshape(50, 2)[order], None), "c": np.float32(1)}
    restored = restore_order(values, sampler.order)
    assert (restored["a"] == np.arange(50)).all()
    assert (restored["b"][0] == np.arange(100).reshape(50, 2)).all()
    assert restored["b"][1] is None
    assert restored["c"] == 1


def test_sizes_come_from_the_column_alone():
    class NoRows(Dataset):
        def __getitem__(self, key):
            assert not isinstance(key, int), "a row was read"
            return super().__getitem__(key)

    table = Dataset.from_dict({"num_nodes": [3, 1, 2], "smiles": ["CCO", "C", "CC"]})
    table.__class__ = NoRows
    assert sizes_of(table).tolist() == [3, 1, 2]
    assert sizes_of(Dataset.from_dict({"num_nodes": [3, 1, 2]}).select([2, 0])).tolist() == [2, 3]
    assert sizes_of(table, "length") is None
    assert sizes_of([{"num_nodes": 4}, {"num_nodes": 5}]).tolist() == [4, 5]
    assert sizes_of([{"num_nodes": 4}, {}]) is None
    assert sizes_of([]) is None
    assert sizes_of(object()) is None


def test_finds_the_sampler_behind_accelerate():
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    sampler = SizeSortedSampler([1, 2, 3])
    loader = Accelerator(cpu=True).prepare(DataLoader([1, 2, 3], sampler=sampler, batch_size=2))
    assert find_sampler(loader, SizeSortedSampler) is sampler
    assert find_sampler(loader, SizeGroupedSampler) is None
    assert find_sampler(DataLoader([1, 2, 3]), SizeSortedSampler) is None
