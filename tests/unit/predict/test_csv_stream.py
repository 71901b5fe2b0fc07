"""Records keep their bytes, whatever the table looks like."""

from __future__ import annotations

import csv
import gzip
import io

import pytest

from dc_graphsam.exceptions import DCGraphSAMError, MissingDataError
from dc_graphsam.predict.csv_stream import CsvStream


def stream(tmp_path, content: bytes, name: str = "in.csv") -> CsvStream:
    path = tmp_path / name
    path.write_bytes(content)
    return CsvStream(path)


def rewrite(tmp_path, content: bytes, cells=("p", "e")) -> bytes:
    with stream(tmp_path, content) as table:
        text = table.append_to_header(("P", "E")) + "".join(table.append(record, cells) for record in table)
        return text.encode(table.encoding, table.errors)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"id,smiles\n1,CCO\n", b"id,smiles,P,E\n1,CCO,p,e\n"),
        (b"id,smiles\r\n1,CCO\r\n", b"id,smiles,P,E\r\n1,CCO,p,e\r\n"),
        (b"id,smiles\r1,CCO\r2,C\r", b"id,smiles,P,E\r1,CCO,p,e\r2,C,p,e\r"),
        (b"\xef\xbb\xbfid,smiles\n1,CCO\n", b"\xef\xbb\xbfid,smiles,P,E\n1,CCO,p,e\n"),
        (b"id,smiles\n1,CCO", b"id,smiles,P,E\n1,CCO,p,e\n"),
        (b"id;smiles\n1,5;CCO\n", b"id;smiles;P;E\n1,5;CCO;p;e\n"),
        (b"id\tsmiles\n1\tCCO\n", b"id\tsmiles\tP\tE\n1\tCCO\tp\te\n"),
        (b"smiles\nCCO\n\nC\n", b"smiles,P,E\nCCO,p,e\n\nC,p,e\n"),
        (b'id,smiles\n"a ""b""\r\nc",CCO\n', b'id,smiles,P,E\n"a ""b""\r\nc",CCO,p,e\n'),
        (b'id,smiles\n5" pipe,CCO\n', b'id,smiles,P,E\n5" pipe,CCO,p,e\n'),
        (b"id,smiles\n\xff\xfe,CCO\n", b"id,smiles,P,E\n\xff\xfe,CCO,p,e\n"),
        (b"id,smiles\n  007 ,1e5\n", b"id,smiles,P,E\n  007 ,1e5,p,e\n"),
        (b"id|smiles\n1|CCO\n", b"id|smiles|P|E\n1|CCO|p|e\n"),
        (b"sep=;\nid;smiles\n1;CCO\n", b"sep=;\nid;smiles;P;E\n1;CCO;p;e\n"),
        (b"# a, b\nid,smiles\n1,CCO\n# end\n", b"# a, b\nid,smiles,P,E\n1,CCO,p,e\n# end\n"),
        (b"#id,smiles\n1,CCO\n", b"#id,smiles,P,E\n1,CCO,p,e\n"),
        (b"CCO,Z1\r\nCCN,Z2\r\n", b"smiles,column_2,P,E\r\nCCO,Z1,p,e\r\nCCN,Z2,p,e\r\n"),
        (b"\xef\xbb\xbfCCO\nC\n", b"\xef\xbb\xbfsmiles,P,E\nCCO,p,e\nC,p,e\n"),
        (b"CCO acetic acid\nC\n", b"smiles\tcolumn_2\tP\tE\nCCO\tacetic acid\tp\te\nC\t\tp\te\n"),
        (b"SMILES Name\nCCO  a\n", b"SMILES\tName\tP\tE\nCCO\ta\tp\te\n"),
        ("smiles\nCCO\n".encode("utf-16"), "smiles,P,E\nCCO,p,e\n".encode("utf-16")),
        ("smiles\nCCO µ\n".encode("utf-16-be"), "smiles,P,E\nCCO µ,p,e\n".encode("utf-16-be")),
    ],
    ids=[
        "unix",
        "windows",
        "mac",
        "bom",
        "no-newline",
        "semicolon",
        "tab",
        "blank-line",
        "quotes",
        "stray-quote",
        "bytes",
        "spaces",
        "pipe",
        "sep-line",
        "comments",
        "hash-header",
        "no-header",
        "no-header-bom",
        "blanks",
        "blanks-header",
        "utf-16",
        "utf-16-be-no-mark",
    ],
)
def test_what_was_read_is_what_is_written(tmp_path, content, expected):
    assert rewrite(tmp_path, content) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1", ["1", "", "p", "e"]),
        ("1,CCO,extra", ["1", "CCO,extra", "p", "e"]),
        ("1,CCO,,", ["1", "CCO", "p", "e"]),
        ('"1', ["1", "", "p", "e"]),
        ('1,"CC', ["1", "CC", "p", "e"]),
    ],
)
def test_added_cells_stand_in_their_columns_in_ragged_rows(tmp_path, line, expected):
    written = rewrite(tmp_path, f"id,smiles\n{line}".encode()).decode()
    header, row = csv.reader(io.StringIO(written, newline=""))
    assert (header, row) == (["id", "smiles", "P", "E"], expected)


def test_quoted_first_name_behind_a_byte_order_mark(tmp_path):
    with stream(tmp_path, b'\xef\xbb\xbf"my, id",smiles\n1,C\n') as table:
        assert table.columns == ("my, id", "smiles")


def test_gzip_is_told_by_content(tmp_path):
    with stream(tmp_path, gzip.compress(b"smiles\nCCO\n"), "in.csv") as table:
        assert [record.fields for record in table] == [("CCO",)]
        assert table.estimate_rows() == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty; its first line should name the columns"),
        (b"\n\n", "is empty"),
        (gzip.compress(b"smiles\n" + b"CCO\n" * 99999)[:-30], "is not a whole gzip file"),
        (gzip.compress(b"smiles\nCCO\n", mtime=0)[:12] + b"\xff" * 30, "is not a whole gzip file"),
        ("smiles\n".encode("utf-16") + b"C", "is not whole utf-16-le text"),
    ],
)
def test_unusable_files_are_named(tmp_path, content, words):
    with pytest.raises(DCGraphSAMError, match=words), stream(tmp_path, content) as table:
        list(table)


def test_an_open_quote_does_not_eat_the_memory(tmp_path):
    content = b'id,smiles\n"1,CCO\n' + b"2,CCO\n" * 2_000_000
    with stream(tmp_path, content) as table, pytest.raises(DCGraphSAMError, match="opening quote without its end"):
        list(table)


def test_absent_file_and_folder(tmp_path):
    with pytest.raises(MissingDataError, match="there is no file"):
        CsvStream(tmp_path / "no.csv")
    with pytest.raises(MissingDataError, match="is a folder"):
        CsvStream(tmp_path)
