from __future__ import annotations

import csv
import gzip
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dc_graphsam.data.tables import TextTable, find_smiles_column, parse_labels, read_table, reject_infinite
from dc_graphsam.exceptions import InvalidArgumentError, MissingColumnError, MissingDataError

PLAIN = "id,smiles,y\n1,CCO,0.5\n2,CC,1.5\n"
COLUMNS = {"id": ["1", "2"], "smiles": ["CCO", "CC"], "y": ["0.5", "1.5"]}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PLAIN.encode(), id="plain"),
        pytest.param(b"\xef\xbb\xbf" + PLAIN.encode(), id="byte order mark"),
        pytest.param(PLAIN.replace("\n", "\r\n").encode(), id="windows line ends"),
        pytest.param(PLAIN.replace("\n", "\r").encode(), id="old mac line ends"),
        pytest.param(PLAIN.replace(",", "\t").encode(), id="tabs"),
        pytest.param(PLAIN.replace(",", ";").encode(), id="semicolons"),
        pytest.param(b'"id","smiles","y"\r\n"1","CCO","0.5"\r\n"2","CC","1.5"\r\n', id="quotes"),
        pytest.param(PLAIN.replace("\n2", "\n\n\n2").encode() + b"\n\n", id="blank lines"),
        pytest.param(PLAIN.rstrip().encode(), id="no last line end"),
        pytest.param(gzip.compress(PLAIN.encode()), id="gzip"),
        pytest.param(PLAIN.encode("utf-16"), id="utf-16"),
        pytest.param(b"id,smiles,y,\n1,CCO,0.5,\n2,CC,1.5,\n", id="comma at the end"),
    ],
)
def test_the_same_table_in_many_dresses(table, data):
    read = read_table(table(data))
    assert {name: values for name, values in read.columns.items() if name} == COLUMNS
    assert read.problems == {} and len(read) == 2


def test_commas_in_quotes_do_not_divide(table):
    read = read_table(table('"name, long";smiles;y\n"a;b, ""c""";CCO;1,5\n'))
    assert read.columns == {"name, long": ['a;b, "c"'], "smiles": ["CCO"], "y": ["1,5"]}


def test_windows_1252(table):
    assert list(read_table(table("smiles,IC50 µM\nC,1\n".encode("cp1252"))).columns) == ["smiles", "IC50 µM"]


def test_rows_of_other_lengths(table):
    read = read_table(table("smiles,y\nC,1\nCC\nCCC,1,5\nCCCC,2\n"))
    assert read.columns == {"smiles": ["C", "CC", "CCC", "CCCC"], "y": ["1", "", "1", "2"]}
    assert read.problems == {2: "row has 3 fields, the header has 2"}


# without control characters: text that is full of them is no text
fields = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), max_size=8)


@given(
    rows=st.lists(st.tuples(fields, fields, fields), min_size=1, max_size=6), dialect=st.sampled_from(["excel", "unix"])
)
def test_whatever_csv_writes_is_read_again(tmp_path_factory, rows, dialect):
    text = io.StringIO(newline="")
    writer = csv.writer(text, dialect, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b", "c"), *rows])
    path = tmp_path_factory.mktemp("any") / "any.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    assert list(zip(*read_table(path).columns.values(), strict=True)) == rows


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"smiles,y\n", "a header but no rows"),
        (b"PK\x03\x04\0\0\0", "is not a text table; accepted: .csv"),
    ],
)
def test_no_table(table, data, words):
    with pytest.raises(InvalidArgumentError, match=words):
        read_table(table(data))


def test_a_repeated_name_is_refused_where_it_is_asked_for(table):
    read = read_table(table("smiles,y,x,y\nC,1,2,3\n"))
    assert read.columns == {"smiles": ["C"], "y": ["1"], "x": ["2"]} and read.repeated == {"y"}
    assert read.column("x") == ["2"]
    with pytest.raises(InvalidArgumentError, match="more than one column 'y'; rename one of them"):
        read.column("y")


def test_unreadable_files(table, tmp_path):
    with pytest.raises(MissingDataError, match=r"there is no file .*none\.csv"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(MissingDataError, match="cannot be read"):
        read_table(tmp_path)
    with pytest.raises(MissingDataError, match="cannot be read"):
        read_table(table(gzip.compress(PLAIN.encode() * 100)[:-20], "cut.csv.gz"))


@pytest.mark.parametrize(
    "header, found",
    [
        ("id,SMILES,y", "SMILES"),
        ("Canonical_Smiles,y", "Canonical_Smiles"),
        ("mol,y", "mol"),
        ("y,rdkit smiles", "rdkit smiles"),
    ],
)
def test_smiles_column_is_guessed(table, header, found):
    assert find_smiles_column(read_table(table(f"{header}\n1,1,1\n"))) == found


def test_smiles_column_is_missing(table):
    read = read_table(table("id,SMILES,y\n1,C,1\n"))
    with pytest.raises(MissingColumnError, match=r"no column 'smile'. It has: id, SMILES, y. Did you mean 'SMILES'?"):
        find_smiles_column(read, "smile")
    with pytest.raises(MissingColumnError, match=r"no column 'smiles'. It has: id, y"):
        find_smiles_column(read_table(table("id,y\n1,1\n")))


def test_labels(table):
    read = read_table(table("smiles,a,b\nC,1,\nC,-2e3,NA\nC,inf,1\nC,high,1\nC,1,1e39\nC,True,false\nC, 3 ,nan\n"))
    labels, problems = parse_labels(read, ["a", "b"])
    expected = [[1, np.nan], [-2000, np.nan], [np.nan, 1], [np.nan, 1], [1, np.nan], [1, 0], [3, np.nan]]
    np.testing.assert_array_equal(labels, expected)
    assert problems == {2: "label of 'a' is 'inf'", 3: "label of 'a' is 'high'", 4: "label of 'b' is '1e39'"}
    assert parse_labels(read, ["a"])[1] == {2: "label is 'inf'", 3: "label is 'high'"}


def test_decimal_comma_belongs_to_semicolons(table):
    assert parse_labels(read_table(table("smiles;y\nC;5,25\n")), ["y"])[0].tolist() == [[5.25]]
    assert parse_labels(read_table(table('smiles,y\nC,"5,25"\n')), ["y"])[1] == {0: "label is '5,25'"}


def test_reject_infinite():
    assert reject_infinite(np.array([[1.0], [np.inf], [np.nan], [-1e300]]), ["y"]) == {
        1: "label is 'inf'",
        3: "label is '-1e+300'",
    }


def test_a_typographers_minus_is_a_minus():
    table = TextTable("my.csv", {"y": ["\u22121", "1", "\u22120.5"]})
    labels, problems = parse_labels(table, ["y"])
    assert labels[:, 0].tolist() == [-1.0, 1.0, -0.5] and not problems
