"""Text or not, and how it is laid out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import zipfile
import zlib

import numpy as np
import pytest

from dc_graphsam.data import label_matrix, load_csv
from dc_graphsam.data.tables import find_smiles_column, read_table
from dc_graphsam.data.text_format import check_text, encoding_of, format_of
from dc_graphsam.exceptions import DCGraphSAMError, InvalidArgumentError, MissingColumnError
from dc_graphsam.predict.csv_stream import CsvStream

TABLE = b"smiles,y\n" + b"".join(b"%s,%d\n" % (b"C" * n, n) for n in range(1, 40))
KNOWN = ("smiles", "mol")


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("my.csv", TABLE)
    return file.getvalue()


def parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table({"smiles": ["C", "CC"]}), file)
    return file.getvalue()


def feather() -> bytes:
    import pyarrow as pa
    import pyarrow.feather as feather

    file = io.BytesIO()
    feather.write_feather(pa.table({"smiles": ["C", "CC"]}), file)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=np.arange(3))
    return file.getvalue()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


def sqlite(tmp_path) -> bytes:
    path = tmp_path / "my.db"
    base = sqlite3.connect(path)
    base.execute("create table t (smiles text)")
    base.commit()
    base.close()
    return path.read_bytes()


def binaries(tmp_path) -> dict[str, bytes]:
    kinds = {
        "zip": zipped(),
        "parquet": parquet(),
        "feather": feather(),
        "npz": npz(),
        "npy": npy(),
        "bz2": bz2.compress(TABLE),
        "empty bz2": bz2.compress(b""),
        "xz": lzma.compress(TABLE),
        "lzma": lzma.compress(TABLE, lzma.FORMAT_ALONE),
        "zlib": zlib.compress(TABLE),
        "gzip in gzip": gzip.compress(gzip.compress(TABLE)),
        "sqlite": sqlite(tmp_path),
        "pickle": pickle.dumps({"smiles": ["CCO"]}),
        "pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\n",
        "xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b" " * 100,
        "zstd": b"\x28\xb5\x2f\xfd" + TABLE,
        "noise": np.random.default_rng(0).bytes(5000),
        "utf-16 noise": b"\xff\xfe" + np.random.default_rng(0).bytes(5000),
    }
    return {**kinds, **{f"{kind} in gzip": gzip.compress(data) for kind, data in kinds.items()}}


def test_what_is_no_text_is_refused_alike_for_training_and_prediction(table, tmp_path):
    for kind, data in binaries(tmp_path).items():
        for name in ("my.csv", "my.smi"):
            path = table(data, name)
            said = set()
            for read in (read_table, CsvStream, lambda path: load_csv(path, progress=False)):
                try:
                    read(path)
                except InvalidArgumentError as error:
                    said.add(str(error))
                else:
                    said.add(f"{read} took it for text")
            assert said == {f"{path} is not a text table; accepted: .csv, .tsv, .smi, each also .gz"}, kind


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_what_is_text_is_not_refused(table, encoding):
    text = "smiles,naïve\n" + "".join(f"{'C' * n},{n}\n" for n in range(1, 60))
    path = table(text.encode(encoding))
    assert read_table(path).columns["naïve"][:2] == ["1", "2"]
    if encoding != "cp1252":  # whose bytes pass through the stream as they are
        with CsvStream(path) as stream:
            assert stream.columns == ("smiles", "naïve")


def test_a_stray_control_character_makes_no_binary():
    check_text(b"smiles,name\nCCO,\x07bell\nCC,\x1b[31mred\n", "my.csv")


def test_short_texts_are_no_utf_16():
    assert [encoding_of(text) for text in (b"", b"C", b"CC", b"a\0", b"smiles")] == ["utf-8"] * 5


LAYOUTS = [
    ("smiles,y\nCCO,1\n", "my.csv", ",", None),
    ("CCO,1.5\nCC,2\n", "my.csv", ",", ("smiles", "column_2")),
    ("CCO\t1.5\nCC\t2\n", "my.tsv", "\t", ("smiles", "column_2")),
    ("CCO 1.5\nCC 2\n", "my.txt", " ", ("smiles", "column_2")),
    ("CCO a 1.5\nCC b 2\n", "my.smi", " ", ("smiles", "column_2", "column_3")),
    ("1 CCO\n2 CC\n", "my.smi", " ", ("column_1", "smiles")),
    ("CCO|Z1|5\nCC|Z2|6\n", "my.csv", "|", ("smiles", "column_2", "column_3")),
    ("CCO |$a;b;c$| Z1\nCC Z2\n", "my.smi", " ", ("smiles", "column_2")),
    ("CCO |$a;b;c$|\tZ1\nCC\tZ2\n", "my.smi", "\t", ("smiles", "column_2")),
    ("C1,CCO\nC2,CC\n", "my.csv", ",", ("column_1", "smiles")),  # C1 is a number, no molecule
    ("X,CCO\nY,CC\n", "my.csv", ",", ("column_1", "smiles")),
    ("nonsense,1\nCCO,2\n", "my.smi", ",", ("smiles", "column_2")),
    ("nonsense,1\nCCO,2\n", "my.csv", ",", None),
    ("structure,y\nCCO,2\n", "my.smi", ",", None),
    ("SMILES Name\nCCO ethanol\n", "my.smi", " ", None),
    ("ID SMILES\n1 CCO\n", "my.txt", " ", None),
    ("# SMILES Name\nCCO ethanol\n", "my.smi", " ", None),
    ("canonical smiles\nCCO\nCC\n", "my.csv", ",", None),  # one column whose name has a blank
    ("canonical smiles\nCCO name\nCC name\n", "my.csv", ",", None),
    ("smiles\nCCO name\nCC name\n", "my.csv", ",", None),
    ("smiles,IC50|nM\nCCO,1\n", "my.csv", ",", None),
    ("smiles;mol|wt|x\nCCO;1\n", "my.csv", ";", None),
    ("a,b,c\n1,2,C\n", "my.csv", ",", None),
    ("N,name\n5,CCO\n", "my.csv", ",", None),
    ("sep=;\nsmiles,a;y\nCCO;1\n", "my.csv", ";", None),
    ('"sep=|"\nCCO|1\n', "my.csv", "|", ("smiles", "column_2")),
    ("# made by x, y\n\n#more\nsmiles,y\nCCO,1\n", "my.csv", ",", None),
    ("# made by x\nCCO,1\n", "my.csv", ",", ("smiles", "column_2")),
    ("", "my.csv", ",", None),
]


@pytest.mark.parametrize(("text", "name", "delimiter", "columns"), LAYOUTS)
def test_layouts(text, name, delimiter, columns):
    layout = format_of(text, name, ("smiles", "structure", "mol"))
    assert (layout.delimiter, layout.columns) == (delimiter, columns)


SAME = ["CCO", "c1ccccc1", "C[N+](C)(C)C"]


@pytest.mark.parametrize(
    "text",
    [
        "smiles,y\nCCO,1.5\nc1ccccc1,2.5\nC[N+](C)(C)C,3.5\n",
        "CCO,1.5\nc1ccccc1,2.5\nC[N+](C)(C)C,3.5\n",
        "CCO 1.5\nc1ccccc1 2.5\nC[N+](C)(C)C 3.5\n",
        "CCO\t1.5\nc1ccccc1\t2.5\nC[N+](C)(C)C\t3.5\n",
        "smiles|y\nCCO|1.5\nc1ccccc1|2.5\nC[N+](C)(C)C|3.5\n",
        "sep=;\nsmiles;y\nCCO;1,5\nc1ccccc1;2,5\nC[N+](C)(C)C;3,5\n",
        "# a comment\nsmiles,y\nCCO,1.5\n# between\nc1ccccc1,2.5\n#CC,9\nC[N+](C)(C)C,3.5\n",
    ],
)
def test_training_and_prediction_read_the_same_rows(table, text):
    for name in ("my.csv", "my.smi"):
        for data in (text.encode(), text.encode("utf-16"), gzip.compress(text.encode("utf-16"))):
            path = table(data, name)
            read = read_table(path)
            assert read.column(find_smiles_column(read)) == SAME
            with CsvStream(path) as stream:
                place = [column.strip() for column in stream.columns].index("smiles")
                assert [record.fields[place] for record in stream if record.fields] == SAME
    data = load_csv(path, sizes=(1, 0, 0), progress=False)
    assert label_matrix(data["train"])[:, 0].tolist() == [1.5, 2.5, 3.5]


def test_a_row_that_begins_like_a_comment_is_a_row(table):
    read = read_table(table("id,smiles\n#1,CCO\n#2,CC\n"))
    assert read.columns == {"id": ["#1", "#2"], "smiles": ["CCO", "CC"]}


def test_a_damaged_line_of_a_smi_file_keeps_both_halves(table):
    path = table("CCO a\nCOC =cO)C(C)C\nCC b\n", "my.smi")
    assert read_table(path).columns["smiles"] == ["CCO", "COC =cO)C(C)C", "CC"]


def test_columns_nobody_asked_for_may_repeat(table):
    text = "smiles,note,y,note\n" + "".join(f"{'C' * n},a,{n}.5,b\n" for n in range(1, 11))
    assert len(load_csv(table(text), progress=False)["train"]) == 8
    twice = text.replace("smiles,note,y,note", "smiles,y,z,y").replace(",a,", ",1,").replace(",b", ",2")
    for wanted, words in (("y", "more than one column 'y'"), (None, None)):
        if words:
            with pytest.raises(InvalidArgumentError, match=words):
                load_csv(table(twice), task_columns=wanted, progress=False)
        else:
            assert len(load_csv(table(twice), progress=False)["train"]) == 8  # z is the only one that can be meant
    with pytest.raises(InvalidArgumentError, match="more than one column 'y'"):
        load_csv(table("smiles,y,y\nC,1,2\n"), progress=False)


def test_names_behind_smiles_are_counted_in_training_and_pieces_are_left_out(table, caplog):
    rows = ["C a", "CC b", '"CC\nO"', "CCC |$a;b;c$|", "CO =C)C"]
    path = table("smiles,y\n" + "".join(f"{row},{i}.5\n" for i, row in enumerate(rows)))
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        data = load_csv(path, sizes=(1, 0, 0), progress=False)
        assert data["train"]["row"][:].tolist() == [0, 1, 3]
        assert "text behind the SMILES ignored in 2 of 5 rows (row 0: 'a'; row 1: 'b'; first row is 0)" in caplog.text
        assert "2 of 5 rows left out" in caplog.text


def test_hostile_names_do_not_reach_the_terminal(table):
    path = table('"\x1b[31mred","a\x07b","x\ny","\u202eevil"\n1,2,3,4\n')
    for read in (lambda: find_smiles_column(read_table(path)), lambda: load_csv(path, progress=False)):
        with pytest.raises(MissingColumnError) as caught:
            read()
        assert str(caught.value).isprintable() and "\\x1b[31mred" in str(caught.value)
    assert issubclass(MissingColumnError, DCGraphSAMError)
