"""Splits that the data say themselves."""

import json

import numpy as np
import pytest

from dc_graphsam.data import dropped_rows, load_csv, load_splits, save_splits, split_indices
from dc_graphsam.data.given_splits import time_split
from dc_graphsam.exceptions import InvalidArgumentError, MissingColumnError, MissingDataError


@pytest.fixture
def write(tmp_path):
    def make(rows, header, name="my.csv", first=1):
        path = tmp_path / name
        lines = [f"{'C' * n},{n}.5{',' if text else ''}{text}" for n, text in enumerate(rows, first)]
        path.write_text(f"smiles,y{',' if header else ''}{header}\n" + "\n".join(lines) + "\n")
        return path

    return make


def rows_of(path, **options):
    data = load_csv(path, task_columns="y", progress=False, **options)
    return {part: rows.tolist() for part, rows in split_indices(data).items()}


def test_a_column_of_parts(write, caplog):
    path = write(["Train", "VAL", "dev", "test", "train", "Validation", "valid", ""], "set")
    found = rows_of(path, split_column="set")
    assert found == {"train": [0, 4], "validation": [1, 2, 5, 6], "test": [3]}
    assert "1 rows have nothing in 'set' and are in no part" in caplog.text


def test_a_column_without_validation_gives_a_share_of_train(write, caplog):
    path = write(["train"] * 18 + ["test"] * 2, "set")
    found = rows_of(path, split_column="set")
    assert found["test"] == [18, 19] and len(found["validation"]) == 2 and len(found["train"]) == 16
    assert "'set' has no row for validation; it is taken from the rows for train" in caplog.text
    assert found != rows_of(path, split_column="set", seed=1)


def test_a_column_without_test(write, caplog):
    assert rows_of(write(["train", "train", "valid"], "set"), split_column="set")["test"] == []
    assert "no row for test; the model will not be tested" in caplog.text


def test_unknown_words_are_named(write):
    path = write(["train", "tset", "holdout", "holdout", "test"], "set")
    with pytest.raises(
        InvalidArgumentError, match=r"split_column 'set' .* holds 'holdout' \(2\), 'tset' \(1\); accepted: train"
    ):
        rows_of(path, split_column="set")
    with pytest.raises(InvalidArgumentError, match="has no row for train; it has 1 for validation and 1 for test"):
        rows_of(write(["test", "val"], "set"), split_column="set")
    with pytest.raises(MissingColumnError, match="Did you mean 'set'"):
        rows_of(path, split_column="sett")


def test_the_column_of_parts_is_no_label(write):
    path = write([f"{n % 3}" for n in range(9)], "part")
    data = load_csv(path, progress=False, group_column="part")  # else two columns hold numbers
    assert len(data["train"])


def test_other_tables(write, caplog):
    path, test = write(["", "", ""] * 10, ""), write(["", ""], "", "test.csv", 41)
    found = rows_of(path, test_data=test)
    assert found["test"] == [30, 31] and len(found["validation"]) == 4 and len(found["train"]) == 26
    validation = write([""], "", "validation.csv", 51)
    found = rows_of(path, test_data=test, validation_data=validation)
    assert found == {"train": list(range(30)), "validation": [30], "test": [31, 32]}
    found = rows_of(path, validation_data=validation)
    assert found["validation"] == [30] and len(found["test"]) == 4 and len(found["train"]) == 26
    assert not caplog.text


def test_labels_of_all_tables_have_one_meaning(tmp_path):
    (tmp_path / "a.csv").write_text("smiles,hit\nC,Active\nCC,Inactive\nCCC,Active\n")
    (tmp_path / "b.csv").write_text("hit;SMILES\nInactive;CO\n;CCO\nactive;CN\n")
    data = load_csv(
        tmp_path / "a.csv", progress=False, test_data=tmp_path / "b.csv", validation_data=None, sizes=(0.6, 0.4, 0)
    )
    assert [row["labels"].tolist() for row in data["test"]] == [[0], [1]]
    assert [(record.row, record.reason) for record in dropped_rows(data)] == [(4, "no label")]


def test_bad_rows_of_another_table_are_named_by_it(tmp_path):
    (tmp_path / "a.csv").write_text("smiles,y\nC,1.5\nCC,2.5\nCCC,3\n")
    (tmp_path / "b.csv").write_text("smiles,y\nCO,1,5\nCCO,x\nCN,2\n")
    data = load_csv(tmp_path / "a.csv", progress=False, test_data=tmp_path / "b.csv")
    assert [record.reason for record in dropped_rows(data)] == [
        "row has 3 fields, the header has 2 (row 0 of b.csv)",
        "label is 'x' (row 1 of b.csv)",
    ]


def test_the_same_molecule_in_two_parts_is_counted(write, caplog, tmp_path):
    path, test = write([""] * 12, ""), write(["", ""], "", "test.csv", 12)
    (tmp_path / "test.csv").write_text("smiles,y\nC(C)CC,1\nCO,2\nC(C)C,3\n")  # butane and propane, otherwise written
    rows_of(path, test_data=test, sizes=(1, 0, 0))
    assert "2 molecules are in both train and test, e.g. " in caplog.text


def test_groups_that_given_tables_divide_are_counted(write, caplog):
    path, test = write(["a", "b", "c", "d"] * 5, "assay"), write(["a", "b", "e"], "assay", "test.csv", 41)
    rows_of(path, test_data=test, group_column="assay", sizes=(1, 0, 0))
    assert "2 groups are in both train and test, as the tables are given" in caplog.text
    caplog.clear()
    rows_of(path, test_data=write(["e", "f"], "assay", "test.csv", 41), group_column="assay")
    assert not caplog.text


def test_a_given_test_table_that_is_older_is_counted(write, caplog):
    path, test = write(range(2000, 2020), "year"), write([2018, 2019, 2030], "year", "test.csv", 41)
    rows_of(path, test_data=test, time_column="year", sizes=(1, 0, 0))
    assert "1 of 3 rows of test are older in 'year' than the newest of train" in caplog.text
    caplog.clear()
    rows_of(path, test_data=write([2019, 2030], "year", "test.csv", 41), time_column="year", sizes=(1, 0, 0))
    assert not caplog.text


def test_tables_that_do_not_fit(write, tmp_path):
    path = write([""] * 5, "")
    with pytest.raises(MissingDataError, match="there is no file .*none.csv"):
        rows_of(path, test_data=tmp_path / "none.csv")
    with pytest.raises(InvalidArgumentError, match="test_data is .*my.csv', which is given already"):
        rows_of(path, test_data=path)
    (tmp_path / "other.csv").write_text("smiles,z\nCO,1\n")
    with pytest.raises(MissingColumnError, match="other.csv has no column 'y'"):
        rows_of(path, test_data=tmp_path / "other.csv")


def test_groups_stay_together(write, caplog):
    rows = [f"assay{n % 7}" for n in range(40)] + ["", ""]
    path = write(rows, "assay")
    found = rows_of(path, group_column="assay", seed=3)
    assert sorted(row for numbers in found.values() for row in numbers) == list(range(42)) and all(found.values())
    groups = {part: {rows[row] for row in numbers if rows[row]} for part, numbers in found.items()}
    assert not groups["train"] & groups["test"] and not groups["train"] & groups["validation"]
    assert not groups["validation"] & groups["test"]
    assert "2 rows have nothing in 'assay'" in caplog.text
    assert any(rows_of(path, group_column="assay", seed=seed) != found for seed in range(3))


def test_as_many_groups_as_parts_are_enough(write):
    for seed in range(5):
        assert all(rows_of(write(["a"] * 5 + ["b"] * 2 + ["c"] * 3, "g"), group_column="g", seed=seed).values())
    with pytest.raises(InvalidArgumentError, match="2 groups leave nothing for"):
        rows_of(write(["a"] * 5 + ["b"] * 5, "g"), group_column="g")


@pytest.mark.parametrize(
    "form", ["{}", "{}-06", "{}-06-01", "{}-06-01T10:30", "{}-06-01 10:30:05.5Z", "{}-06-01T10:30:00+02:00"]
)
def test_the_oldest_train_and_the_newest_test(write, form):
    years = [2010 + (7 * n) % 20 for n in range(20)]
    found = rows_of(write([form.format(year) for year in years], "date"), time_column="date")
    ordered = sorted(range(20), key=years.__getitem__)
    assert found == {
        "train": sorted(ordered[:16]), "validation": sorted(ordered[16:18]), "test": sorted(ordered[18:])
    }  # fmt: skip


def test_numbers_are_times(write):
    found = rows_of(write([f"{-n}.5" for n in range(10)], "n"), time_column="n")
    assert found["test"] == [0] and found["validation"] == [1]


def test_equal_times_stay_together():
    times = np.repeat([3.0, 1.0, 2.0, 4.0], [30, 50, 10, 10])
    found = time_split(times)
    assert {part: sorted(set(times[places])) for part, places in found.items()} == {
        "train": [1.0, 2.0], "validation": [3.0], "test": [4.0]
    } or not set(times[found["train"]]) & set(times[found["test"]])  # fmt: skip
    parts = [set(times[places]) for places in found.values()]
    assert all(parts) and max(parts[0]) < min(parts[1]) and max(parts[1]) < min(parts[2])


def test_dates_that_cannot_be_read_are_named(write):
    with pytest.raises(
        InvalidArgumentError, match=r"time_column 'date' .* holds '03/04/2020' in row 1, .* \(2 such rows"
    ):
        rows_of(write(["2020-01-01", "03/04/2020", "2020-02-31", "2021-01-01"], "date"), time_column="date")
    with pytest.raises(InvalidArgumentError, match=r"is empty in 1 rows \(the first is row 2\)"):
        rows_of(write(["2020", "2021", "", "2022", "2023"], "date"), time_column="date")
    with pytest.raises(InvalidArgumentError, match="has 2 different times, too few for train and validation and test"):
        rows_of(write(["2020", "2021"] * 5, "date"), time_column="date")


@pytest.mark.parametrize(
    "options, names",
    [
        ({"split_column": "a", "time_column": "b"}, ("split_column", "time_column")),
        ({"group_column": "a", "time_column": "b"}, ("group_column", "time_column")),
        ({"split_column": "a", "test_data": "b.csv"}, ("split_column", "test_data")),
        ({"split": "kfold", "fold": 0, "time_column": "b"}, ("split", "time_column")),
        ({"split": "kfold", "fold": 0, "test_data": "b.csv"}, ("split", "test_data")),
        ({"split": "scaffold", "group_column": "b"}, ("split", "group_column")),
    ],
)
def test_two_ways_at_once_are_refused(write, options, names):
    with pytest.raises(InvalidArgumentError) as error:
        rows_of(write([""] * 5, ""), **options)
    assert tuple(error.value.arguments) == names and all(name in str(error.value) for name in names)


# ---------------------------------------------------------------- chemprop


def test_chemprops_splits_file(write, tmp_path, caplog):
    path, file = write([""] * 9 + ["", ""], ""), tmp_path / "chemprop.json"
    file.write_text(json.dumps([{"train": "0-5,8", "val": [6], "test": "7,9-10"}]))
    assert rows_of(path, splits=file) == {"train": [0, 1, 2, 3, 4, 5, 8], "validation": [6], "test": [7, 9, 10]}
    assert {part: rows.tolist() for part, rows in load_splits(file).items()}["test"] == [7, 9, 10]
    file.write_text(json.dumps([{"train": [0, 1], "test": [2]}, {"train": [3], "val": [4], "test": [5]}]))
    with pytest.raises(InvalidArgumentError, match="holds 2 divisions; say which with fold, 0 to 1"):
        rows_of(path, splits=file)
    assert rows_of(path, splits=file, fold=1) == {"train": [3], "validation": [4], "test": [5]}
    assert rows_of(path, splits=file, fold=0)["validation"] == []


def test_rows_left_out_of_the_table_are_left_out_of_chemprops_division(tmp_path, caplog):
    (tmp_path / "a.csv").write_text("smiles,y\nC,1\nC(,2\nCC,3\nCCC,2.5\nCCCC,\nCO,2\n")
    file = tmp_path / "s.json"
    file.write_text('[{"train": "0-2", "val": [3], "test": "4-5"}]')
    assert rows_of(tmp_path / "a.csv", splits=file) == {"train": [0, 2], "validation": [3], "test": [5]}
    assert "names 2 rows that were left out of the table" in caplog.text
    file.write_text('[{"train": "0-2", "val": [3], "test": "4-6"}]')
    with pytest.raises(InvalidArgumentError, match="puts row 6 into test, which is not in this table"):
        rows_of(tmp_path / "a.csv", splits=file)


@pytest.mark.parametrize(
    "content, message",
    [
        ([], "holds no splits"),
        ([[0, 1]], "holds no splits"),
        ([{"train": [0], "tset": [1]}], "has the part 'tset'"),
        ([{"train": "0-x"}], "train of .* is no list of rows"),
        ([{"train": [0.5]}], "train of .* is no list of rows"),
        ([{"val": [1], "test": [0]}], "has no rows for train"),
        ([{"train": [0, 1], "test": [1]}], "has a row of test twice"),
    ],
)
def test_other_lists_are_refused(write, tmp_path, content, message):
    file = tmp_path / "splits.json"
    file.write_text(json.dumps(content))
    with pytest.raises(InvalidArgumentError, match=message):
        rows_of(write([""] * 5, ""), splits=file)


def test_a_given_division_is_repeated_from_its_file(write, tmp_path):
    path = write([f"{2000 + n}" for n in range(20)], "year")
    data = load_csv(path, task_columns="y", progress=False, time_column="year")
    save_splits(data, tmp_path / "splits.json")
    again = load_csv(path, task_columns="y", progress=False, time_column="year", splits=tmp_path / "splits.json")
    assert split_indices(again)["test"].tolist() == split_indices(data)["test"].tolist() == [18, 19]
    assert again["train"].cache_files == data["train"].cache_files
