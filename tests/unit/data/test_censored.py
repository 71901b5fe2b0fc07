"""Bounds among labels: recognised wherever tables have them, counted, and carried to where they are learnt from."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from dc_graphsam.data.censored import find_relations
from dc_graphsam.data.tables import TextTable
from dc_graphsam.exceptions import InvalidArgumentError

SIGNS = ["=", ">", "<", "~"]


def table(**columns):
    names = {name.replace("__", " "): values for name, values in columns.items()}
    return TextTable("my.csv", {"smiles": ["C"] * len(next(iter(names.values()))), **names})


def write(tmp_path, header, rows, delimiter=","):
    path = tmp_path / "my.csv"
    lines = [delimiter.join(header), *(delimiter.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def load(path, **options):
    from dc_graphsam.data import load_csv

    options = {"sizes": (1.0, 0.0, 0.0), **options}
    return load_csv(path, progress=False, num_workers=1, cache_dir=path.parent / "cache", **options)["train"]


def values(rows, column):
    return np.asarray(rows.with_format("numpy")[:][column], np.float64).reshape(len(rows), -1)


# ---- Recognition


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("Standard Value", "Standard Relation"),
        ("standard_value", "standard_relation"),
        ("value", "relation"),
        ("IC50", "operator"),
        ("IC50", "Qualifier"),
        ("IC50", "IC50_relation"),
        ("IC50 (nM)", "Relation"),
        ("pchembl_value", "pchembl_relation"),
        ("Activity", "activity operator"),
    ],
)
@pytest.mark.parametrize("quote", ["", "'"])
def test_a_column_of_relations_is_found_by_its_name(name, column, quote):
    found = find_relations(table(**{name: list("1234"), column: [f"{quote}{s}{quote}" for s in SIGNS]}), [name])
    assert found.signs[:, 0].tolist() == ["=", ">", "<", "~"]
    assert found.sources == (f"column {column!r}",)


@pytest.mark.parametrize("name", ["IC50_nM", "IC50 (uM)", "IC50 value [nM]", "ic50-mg/L"])
def test_a_unit_in_the_name_of_the_labels_does_not_hide_their_relations(name):
    found = find_relations(table(**{name: list("1234"), "IC50_relation": SIGNS}), [name])
    assert found.signs[:, 0].tolist() == SIGNS and found.unread == ()


def test_signs_that_cannot_be_assigned_are_named(tmp_path, caplog):
    rows = [("C" * (i + 1), i + 0.5, SIGNS[i % 3]) for i in range(6)]
    with caplog.at_level(logging.WARNING, "dc_graphsam"):
        load(write(tmp_path, ("smiles", "y", "censoring"), rows), task_columns="y")
    assert "'censoring' holds > or < and is not read" in caplog.text and "'y_relation'" in caplog.text
    both = table(a=list("1234"), b=list("1234"), b_relation=SIGNS)
    assert find_relations(both, ["a"]).unread == ()  # they are of b


@pytest.mark.parametrize("empty", ["", "nan", "NaN", "None", "NULL", "N/A", "'None'"])
def test_a_relation_that_is_missing_is_exact(empty):
    """An export writes the many empty fields of such a column as a word."""
    found = find_relations(table(y=list("12345678"), relation=[empty, ">", empty, "<"] * 2), ["y"])
    assert found.signs[:, 0].tolist() == ["=", ">", "=", "<"] * 2
    assert not find_relations(table(y=list("12"), relation=[empty, empty]), ["y"]).sources


@pytest.mark.parametrize(
    ("text", "sign", "number"),
    [
        *((f"{sign}10000", ">", "10000") for sign in (">", ">=", ">>", "≥", "> ", "'>'")),
        *((f"{sign}0.1", "<", "0.1") for sign in ("<", "<=", "<<", "≤", " < ")),
        *((f"{sign}5", "~", "5") for sign in ("~", "≈")),
        ("=5", "=", "5"),
        ("-5", "=", "-5"),
        ("<-5.5", "<", "-5.5"),
        ("> 1e9", ">", "1e9"),
        ("", "=", ""),
        (">", "=", ">"),
        ("n.d.", "=", "n.d."),
    ],
)
def test_a_sign_in_the_cell(text, sign, number):
    found = find_relations(table(y=[text]), ["y"])
    assert (found.signs[0, 0], found.table.columns["y"][0]) == (sign, number)


def test_the_sign_in_the_cell_wins_and_words_are_no_signs():
    found = find_relations(table(y=[">5", "6"], relation=["<", "<"]), ["y"])
    assert found.signs[:, 0].tolist() == [">", "<"]
    found = find_relations(table(y=["5", "6"], operator=["Ann", "Bob"]), ["y"])
    assert found.signs[:, 0].tolist() == ["=", "="] and found.sources == ()
    found = find_relations(table(y=["5", "6"], relation=["", ""]), ["y"])
    assert found.sources == ()


def test_each_task_has_its_own_column():
    columns = {"a": list("12"), "b": list("34"), "a relation": [">", "="], "b_relation": ["=", "<"]}
    assert find_relations(table(**columns), ["a", "b"]).signs.tolist() == [[">", "="], ["=", "<"]]
    columns = {
        "Value": list("12"),
        "Standard Value": list("34"),
        "Relation": [">", "="],
        "Standard Relation": ["=", "<"],
    }
    assert find_relations(table(**columns), ["Value", "Standard Value"]).signs.tolist() == [[">", "="], ["=", "<"]]


def test_the_sign_of_a_pchembl_value_is_turned():
    """It is −log10 of the standard value: that above 10 µM is below 5."""
    columns = {"pChEMBL Value": ["5", "9"], "Standard Relation": ["'>'", "'<'"]}
    assert find_relations(table(**columns), ["pChEMBL Value"]).signs[:, 0].tolist() == ["<", ">"]


# ---- What becomes of them


CHEMBL = [(f"{'C' * (i + 1)}", f"'{SIGNS[i % 4]}'", 1e9 if i % 4 == 1 else i + 0.5, "nM") for i in range(24)]
HEADER = ("Smiles", "Standard Relation", "Standard Value", "Standard Units")


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_the_three_ways(tmp_path, caplog, delimiter):
    from dc_graphsam.data import dropped_rows

    path = write(tmp_path, HEADER, CHEMBL, delimiter)
    found = {}
    for censored in ("drop", "exact", "bounded"):
        for _ in range(2):  # built, and from the cache
            caplog.clear()
            with caplog.at_level(logging.WARNING, "dc_graphsam"):
                found[censored] = load(path, task_columns="Standard Value", censored=censored)
            assert "in column 'Standard Relation': 6 with >, 6 with <, 6 with ~; 12 bounds" in caplog.text
    assert len(found["drop"]) == 12 and np.nanmax(values(found["drop"], "labels")) < 100
    assert {d.reason for d in dropped_rows(found["drop"])} == {"label is a bound (>)", "label is a bound (<)"}
    assert len(found["exact"]) == 24 and (values(found["exact"], "labels") == 1e9).sum() == 6
    assert "lower_bounds" not in found["drop"].column_names
    bounded = found["bounded"]
    assert len(bounded) == 24
    labels, lower, upper = (values(bounded, name)[:, 0] for name in ("labels", "lower_bounds", "upper_bounds"))
    kind = np.arange(24) % 4
    np.testing.assert_array_equal(np.isnan(labels), (kind == 1) | (kind == 2))
    np.testing.assert_array_equal(lower, np.where(kind == 1, 1e9, np.nan))
    np.testing.assert_array_equal(upper, np.where(kind == 2, np.arange(24) + 0.5, np.nan))


def test_drop_is_the_default_and_other_labels_of_the_row_stay(tmp_path):
    rows = load(
        write(tmp_path, ("smiles", "a", "b"), [("C", ">5", 1), ("CC", 2, 2.5), ("CCC", ">3", "")]),
        task_columns=["a", "b"],
    )
    np.testing.assert_array_equal(values(rows, "labels"), [[np.nan, 1], [2, 2.5]])


def test_a_label_column_is_found_though_half_its_cells_have_signs(tmp_path):
    rows = load(write(tmp_path, ("smiles", "y"), [("C", ">5"), ("CC", ">2"), ("CCC", 1.5)]), censored="exact")
    assert values(rows, "labels").ravel().tolist() == [5, 2, 1.5]


def test_decimal_commas_behind_a_sign(tmp_path):
    rows = load(
        write(tmp_path, ("smiles", "y"), [("C", ">5,25"), ("CC", "1,5")], ";"), task_columns="y", censored="exact"
    )
    assert values(rows, "labels").ravel().tolist() == [5.25, 1.5]


def test_what_is_no_number_behind_a_sign_is_still_refused(tmp_path):
    from dc_graphsam.data import dropped_rows

    rows = load(write(tmp_path, ("smiles", "y"), [("C", ">x"), ("CC", "1.5"), ("CCC", "2.5")]), task_columns="y")
    assert [(d.row, d.reason) for d in dropped_rows(rows)] == [(0, "label is '>x'")]


def test_classes_beside_the_relations_they_were_made_of(tmp_path):
    path = write(tmp_path, ("smiles", "active", "relation"), [("C", 0, ">"), ("CC", 1, "="), ("CCC", 1, "<")])
    assert values(load(path, task_columns="active"), "labels").ravel().tolist() == [0, 1, 1]
    with pytest.raises(InvalidArgumentError, match=r"censored is 'bounded' and the task is not a regression"):
        load(path, task_columns="active", censored="bounded")


def test_an_unknown_way_is_refused(tmp_path):
    path = write(tmp_path, ("smiles", "y"), [("C", 1.5)])
    with pytest.raises(InvalidArgumentError, match=r"censored is 'bound'.*Did you mean 'bounded'"):
        load(path, task_columns="y", censored="bound")


@pytest.mark.parametrize("column", ["Standard Units", "units", "unit", "Standard Value Units"])
def test_units_that_differ_are_counted(tmp_path, caplog, column):
    rows = [(f"{'C' * (i + 1)}", i + 0.5, ("nM", "nM", "uM", "")[i % 4]) for i in range(8)]
    with caplog.at_level(logging.WARNING, "dc_graphsam"):
        load(write(tmp_path, ("smiles", "Standard Value", column), rows), task_columns="Standard Value")
    assert f"column {column!r} names 3 units for 'Standard Value': nM (4), uM (2), no unit (2)" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "dc_graphsam"):
        load(
            write(tmp_path, ("smiles", "Standard Value", column), [(*row[:2], "nM") for row in rows]),
            task_columns="Standard Value",
        )
    assert not caplog.text


def test_logarithms_of_signs_are_doubted_aloud(tmp_path, caplog):
    path = write(tmp_path, ("smiles", "pIC50", "Relation"), [("C", 5.5, ">"), ("CC", 6.5, "=")])
    with caplog.at_level(logging.WARNING, "dc_graphsam"):
        load(path, task_columns="pIC50", censored="bounded")
    assert "'pIC50' may be a negative logarithm of what the signs speak of" in caplog.text


# ---- On the way


@pytest.fixture
def bounded(tmp_path):
    rows = [(f"{'C' * (i + 1)}", f"{['', '>', '<'][i % 3]}{i + 0.5}", i * 2.5 if i % 2 else "") for i in range(18)]
    return load(write(tmp_path, ("smiles", "y", "z"), rows), task_columns=["y", "z"], censored="bounded")


def test_batches_have_them(bounded):
    from dc_graphsam.data import MoleculeCollator, MoleculeTable

    rows = MoleculeTable(bounded)
    batch = MoleculeCollator()([rows[i] for i in range(3)])
    nan = float("nan")
    np.testing.assert_array_equal(batch["lower_bounds"].numpy(), [[nan, nan], [1.5, nan], [nan, nan]])
    np.testing.assert_array_equal(batch["upper_bounds"].numpy(), [[nan, nan], [nan, nan], [2.5, nan]])
    plain = MoleculeTable(bounded.remove_columns(["lower_bounds", "upper_bounds"]))
    assert "lower_bounds" not in MoleculeCollator()([plain[0]])


@pytest.mark.parametrize("options", [{}, {"feature_set": "compt-own-slot"}, {"streaming": True}])
def test_a_published_data_set_has_them(bounded, tmp_path, options):
    from dc_graphsam import load_graph_dataset
    from dc_graphsam.data import save_dataset

    save_dataset(bounded, tmp_path / "published")
    more = (
        {}
        if "streaming" in options
        else {"cache_dir": tmp_path, "splits": {"train": list(range(18))}, "num_workers": 1}
    )
    back = load_graph_dataset(tmp_path / "published", progress=False, **options, **more)["train"]
    rows = list(back)
    for name in ("labels", "lower_bounds", "upper_bounds"):
        np.testing.assert_array_equal(np.array([row[name] for row in rows]), values(bounded, name).astype(np.float32))


def test_deepchem_has_them_beside_y_and_takes_them_for_not_measured(bounded):
    import deepchem

    from dc_graphsam.data import dataset_from_deepchem, dataset_to_deepchem

    data = dataset_to_deepchem(bounded)
    labels, lower, upper = (values(bounded, name) for name in ("labels", "lower_bounds", "upper_bounds"))
    np.testing.assert_array_equal(data.w, (~np.isnan(labels)).astype(float))
    sides = np.stack([graph.bounds for graph in data.X])
    np.testing.assert_array_equal(sides, (~np.isnan(lower)).astype(int) - ~np.isnan(upper))
    np.testing.assert_array_equal(data.y[sides == 1], lower[~np.isnan(lower)])
    np.testing.assert_array_equal(data.y[sides == -1], upper[~np.isnan(upper)])
    scaled = deepchem.trans.NormalizationTransformer(transform_y=True, dataset=data)
    back = dataset_from_deepchem(scaled.transform(data), transformers=[scaled])
    for name, expected in (("labels", labels), ("lower_bounds", lower), ("upper_bounds", upper)):
        np.testing.assert_allclose(values(back, name), expected, rtol=1e-6)
    again = dataset_to_deepchem(back, in_memory=True)
    np.testing.assert_array_equal(np.stack([graph.bounds for graph in again.X]), sides)


def test_a_data_set_of_the_hub_says_that_it_does_not_read_relations(tmp_path, caplog):
    from dc_graphsam import load_graph_dataset

    rows = [(f"{'C' * (i + 1)}", i + 0.5, ">" if i % 2 else "=") for i in range(10)]
    path = write(tmp_path, ("smiles", "y", "relation"), rows)
    with caplog.at_level(logging.WARNING, "dc_graphsam"):
        load_graph_dataset(path, progress=False, num_workers=1, cache_dir=tmp_path / "cache")
    assert "column 'relation' has > or < beside 5 of the first 10 labels" in caplog.text
