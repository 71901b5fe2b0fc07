from __future__ import annotations

import pytest

from dc_graphsam.data import DATASETS, datasets_table, get_dataset_entry
from dc_graphsam.data.deepchem.importing import import_deepchem
from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.tasks import TaskSpec


def test_every_entry_is_complete():
    names = "bbbp tox21 sider clintox esol lipophilicity freesolv bace qm7 qm8 muv hiv freewilson"
    assert set(DATASETS) == set(names.split())
    for name, entry in DATASETS.items():
        assert entry.name == name and entry.recommended_split in ("random", "scaffold") and entry.rows > 0
        assert TaskSpec(name, entry.task_names, entry.task_type, entry.metric).greater_is_better == (
            entry.task_type == "classification"
        )
        assert len(set(entry.task_names)) == len(entry.task_names) and entry.citation and entry.description
        assert (entry.url is None) == entry.embedded
    assert len(DATASETS["qm8"].task_names) == 12 and len(DATASETS["sider"].task_names) == 27


def test_names():
    assert get_dataset_entry("BBBP") is DATASETS["bbbp"]
    assert get_dataset_entry("lipo") is DATASETS["lipophilicity"]
    assert get_dataset_entry("Delaney") is DATASETS["esol"]
    with pytest.raises(InvalidArgumentError, match=r"dataset is 'bbpb'; accepted: .*'bbbp'.* Did you mean 'bbbp'?"):
        get_dataset_entry("bbpb")
    with pytest.raises(InvalidArgumentError, match="dataset is 3; accepted"):
        get_dataset_entry(3)


def test_table():
    rows = {row["name"]: row for row in datasets_table()}
    assert (
        list(rows) == list(DATASETS)
        and rows["tox21"]["tasks"] == 12
        and rows["freewilson"]["file"] == "comes with RDKit"
    )


@pytest.mark.needs("deepchem")
def test_deepchem_has_the_loaders():
    molnet = import_deepchem().molnet
    assert all(callable(getattr(molnet, entry.loader)) for entry in DATASETS.values() if entry.loader)
