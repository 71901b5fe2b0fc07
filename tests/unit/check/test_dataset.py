"""Tables with planted faults, and the real ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dc_graphsam.check import check_dataset
from dc_graphsam.check.characters import character_baseline, rewrite
from dc_graphsam.exceptions import InvalidArgumentError

# written as RDKit writes them
ALCOHOLS = ["C" * n + "O" for n in range(1, 61)]
AMINES = ["C" * n + "N" for n in range(1, 61)]


def check(smiles, labels, task_type="classification", **options):
    options = {"characters": False, **options}
    labels = np.asarray(labels, float).reshape(len(smiles), -1)
    return check_dataset(smiles, labels, [f"t{i}" for i in range(labels.shape[1])], task_type, **options)


def test_the_same_molecule_written_otherwise_is_a_duplicate():
    found = check(["OCC", "CCO", "C(O)C", "CCN", "NCC", "CCC"], [0, 0, 1, 1, 1, 0])
    assert (found.duplicated_molecules, found.duplicated_rows, found.disagreeing) == (2, 5, 1)


def test_enantiomers_are_two_molecules_and_one_without_stereo():
    found = check(["C[C@H](N)O", "C[C@@H](N)O", "CC(N)O"], [0, 1, 0])
    assert (found.duplicated_molecules, found.same_without_stereo) == (0, 1)


def test_values_disagree_from_a_tenth_of_the_deviation_on():
    smiles = ["CCO", "OCC", "CCN", "NCC", "C", "CCCC"]
    spread = np.std([0.0, 0.0, 1.0, 1.0, 5.0, -5.0])
    near = check(smiles, [0, 0.05 * spread, 1, 1, 5, -5], "regression")
    far = check(smiles, [0, 0.5 * spread, 1, 1, 5, -5], "regression")
    assert (near.disagreeing, far.disagreeing) == (0, 1)


def test_missing_labels_disagree_with_nothing():
    assert check(["CCO", "OCC"], [[0, np.nan], [np.nan, 1]]).disagreeing == 0


def test_molecules_across_parts_are_counted_once_each():
    smiles = ["CCO", "OCC", "C(C)O", "CCN", "NCC", "C"]
    parts = {"train": [0, 3], "validation": [1], "test": [2, 5]}
    found = check(smiles, [0, 0, 0, 1, 1, 0], parts=parts)
    assert found.across == 1  # row 4 is in no part
    assert "1 molecule of the test or validation part is trained on, too" in found.verdict()
    assert check(smiles, [0, 0, 0, 1, 1, 0]).across is None


def test_what_cannot_be_used_has_its_reason():
    found = check(["CCO", "C1CC", None, "CCC", "CCN"], [0, 1, 0, np.nan, 1], problems={4: "label is 'x'"})
    assert found.unusable[1] == "SMILES cannot be parsed: unclosed ring"
    assert "not text" in found.unusable[2]
    assert (found.unusable[3], found.unusable[4]) == ("no label", "label is 'x'")
    assert found.lines()[0].endswith("5 rows, 1 usable")


def test_scaffolds_explain_what_they_explain():
    rings = ["c1ccccc1", "C1CCCCC1", "c1ccncc1", "C1CCNCC1"]
    smiles = [ring + "C" * n for ring in rings for n in range(1, 6)]
    told = check(smiles, np.repeat([0.0, 1.0, 2.0, 3.0], 5), "regression")
    assert told.tasks[0].scaffold_share == pytest.approx(1.0)
    untold = check(smiles, np.tile([0.0, 1.0, 2.0, 3.0, 4.0], 4), "regression")
    assert untold.tasks[0].scaffold_share < 0
    assert told.scaffolds == 4


def test_rare_classes_are_named():
    found = check([*ALCOHOLS, "c1ccccc1"], [0] * 60 + [1])
    assert found.tasks[0].positives == pytest.approx(1 / 61)
    assert any("(rare)" in line for line in found.lines())


def test_labels_that_the_typing_tells_are_found_and_others_are_not():
    """The class decides at which end the writer began; of the molecules themselves it says nothing."""
    rng = np.random.default_rng(0)
    chains = [f"CC{'C' * n}(=O)N{'C' * m}" for n in range(1, 15) for m in range(15)]
    labels = rng.integers(0, 2, len(chains)).astype(float)
    typed = [
        text if label else rewrite([text], "random order", 5)[0] for text, label in zip(chains, labels, strict=True)
    ]
    leaking = check(typed, labels, characters=True)
    assert leaking.reads_typing and leaking.characters.gain > 0.2
    assert "labels can be read off how the SMILES are typed" in leaking.verdict()
    honest = check(chains, labels, characters=True)
    assert not honest.reads_typing


def test_the_canonical_score_does_not_hang_on_the_writing():
    labels = np.repeat([0.0, 1.0], 60)[:, None]
    smiles = [*ALCOHOLS, *AMINES]
    other = rewrite(smiles, "random order", 3)
    one, two = (character_baseline(texts, labels, "classification") for texts in (smiles, other))
    assert one.scores["canonical"] == pytest.approx(two.scores["canonical"], abs=1e-9)
    assert one.scores["canonical"] > 0.99


def test_regression_has_r2_and_splits_keep_duplicates_together():
    smiles = [*ALCOHOLS, *(rewrite(ALCOHOLS, "random order"))]
    noise = np.random.default_rng(1).normal(size=60)
    labels = np.concatenate([noise, noise])[:, None]  # a copy in training would tell the value
    found = character_baseline(smiles, labels, "regression")
    assert found.metric == "r2" and found.scores["canonical"] < 0.3


def test_few_labels_give_no_score_and_no_verdict():
    found = check(["CCO", "CCN", "CCC"], [0, 1, 0], characters=True)
    assert np.isnan(found.characters.scores["canonical"]) and not found.reads_typing


def test_the_record_is_json_and_says_the_verdict():
    found = check(["CCO", "OCC", "C1CC"], [0, 1, 1], name="mine")
    record = json.loads(json.dumps(found.record()))
    assert record["verdict"] == found.verdict() == found.lines()[-1]
    assert record["unusable"] == {"2": "SMILES cannot be parsed: unclosed ring"}


@pytest.mark.parametrize(
    ("smiles", "labels", "message"),
    [
        (["CCO"], [[1.0], [0.0]], r"labels have shape \(2, 1\); accepted: \(1, 1\)"),
        (["C1CC"], [[1.0]], "has no row that can be used"),
    ],
)
def test_wrong_use(smiles, labels, message):
    with pytest.raises(InvalidArgumentError, match=message):
        check_dataset(smiles, labels, ["t"], "classification", characters=False)


@pytest.mark.parametrize(
    ("name", "molecules", "disagreeing", "leaks"),
    [("bbbp", 60, 10, True), ("clintox", 19, 19, True), ("esol", 11, 2, False)],
)
def test_published_sets(moleculenet_dir, name, molecules, disagreeing, leaks):
    from dc_graphsam.data import get_dataset_entry
    from dc_graphsam.data.moleculenet.sources import find_raw_files, read_raw

    entry = get_dataset_entry(name)
    table = read_raw(entry, find_raw_files(entry, moleculenet_dir))
    found = check_dataset(
        table.smiles, table.labels, table.task_names, table.task_type, name=name, problems=table.problems
    )
    assert (found.duplicated_molecules, found.disagreeing) == (molecules, disagreeing)
    assert found.reads_typing is leaks


def test_several_classes():
    found = check(["CCO", "OCC", "CCC", "CCN", "c1ccccc1"], [0, 2, 1, 1, 1], "multiclass", characters=True)
    assert found.disagreeing == 1 and found.characters is None
    assert found.tasks[0].commonest == (3, 0.6)
    assert any("3 classes, the commonest 60.0 %" in line for line in found.lines())
