"""Tables in, tables out: same rows, same columns, in order, whatever is in them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math

import numpy as np
import pytest

from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, MissingColumnError, MissingDataError
from dc_graphsam.predict import output as prediction_output
from dc_graphsam.predict.molecules import like_sized_batches, predict_graphs, predict_smiles
from dc_graphsam.predict.table import PredictionStopped, predict_csv

SMILES = ["CCO", "c1ccccc1C(=O)O", "CC(C)N", "[Na+].[Cl-]", "C", "CCCCCCCC", "N#N", "OCC1CCCCC1"]


@pytest.fixture(scope="module")
def model():
    import torch

    from dc_graphsam.models import CoMPTConfig, CoMPTForPropertyPrediction

    torch.manual_seed(0)
    config = CoMPTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=20,
        task_names=["p_np", "tox, acute"],
        task_type="classification",
    )
    return CoMPTForPropertyPrediction(config).eval()


def read(path):
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig", "surrogateescape")
    return list(csv.reader(io.StringIO(text, newline="")))


def write_table(path, smiles, header="smiles"):
    path.write_text("\n".join([header, *smiles]) + "\n", encoding="utf-8")
    return path


def test_like_sized_batches_hold_each_position_once_and_bound_the_padding():
    sizes = np.random.default_rng(0).integers(1, 900, 300)
    batches = like_sized_batches(sizes, 32)
    assert sorted(np.concatenate(batches).tolist()) == list(range(300))
    assert max(len(batch) for batch in batches) <= 32
    assert max(len(batch) * int(sizes[batch].max()) ** 2 for batch in batches) <= 2**20


def test_predictions_do_not_depend_on_the_batch(model):
    together = predict_smiles(model, None, SMILES)
    alone = [predict_smiles(model, None, [smiles])[0] for smiles in SMILES]
    for a, b in zip(together, alone, strict=True):
        assert list(a) == ["p_np", "tox, acute"]
        assert a["p_np"] == pytest.approx(b["p_np"], abs=1e-5)
        assert 0 < a["p_np"] < 1


def test_regression_is_in_label_units():
    from dc_graphsam.models import CoMPTConfig, CoMPTForPropertyPrediction

    fields = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "task_names": ["logS"]}
    config = CoMPTConfig(**fields, label_mean=[1000.0], label_std=[0.01])
    (row,) = predict_smiles(CoMPTForPropertyPrediction(config), None, ["CCO"])
    assert row["logS"] == pytest.approx(1000, abs=1)


def test_what_cannot_be_predicted_is_nan_with_a_reason(model):
    rows = predict_smiles(model, None, ["CCO", "C1CC", "", "C" * 25, None, 7, "C" * 21, "CC"])
    reasons = [row.get("error", "") for row in rows]
    assert "cannot be parsed" in reasons[1] and "empty" in reasons[2]
    assert "25 atoms" in reasons[3] and "position table" in reasons[3] and "21 atoms" in reasons[6]
    assert "not text" in reasons[4] and "not text" in reasons[5]
    assert [math.isnan(row["p_np"]) for row in rows] == [bool(reason) for reason in reasons]
    assert rows[0] == pytest.approx(predict_smiles(model, None, ["CCO"])[0], abs=1e-5)


def test_a_diverged_model_gives_reasons(model):
    import copy

    import torch

    broken = copy.deepcopy(model)
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    (row,) = predict_smiles(broken, None, ["CCO"])
    assert row["error"] == "the model's output is not finite"


def test_predicting_leaves_the_mode_of_the_model(model):
    import copy

    training = copy.deepcopy(model).train()
    predict_smiles(training, None, ["CCO"])
    assert training.training


def test_processor_of_another_feature_set(model):
    class Other:
        feature_set = "grover"

    with pytest.raises(FeatureSetError, match="'grover' but the model was trained on 'compt-own-slot'"):
        predict_smiles(model, Other(), ["CCO"])


NASTY = (
    b"\xef\xbb\xbfid,SMILES,note,p_np,error\r\n"
    b'007,CCO,"said ""no""\r\nand left",1,\r\n'
    b"1e5,not a molecule,\xe9\xff,0,\r\n"
    b"\r\n"
    b" 3 ,,empty,,\r\n"
    b"4,c1ccccc1\r\n"
    b"5,C,long,1,x,y\r\n"
    b"6," + b"C" * 30 + b",large,0,\r\n"
    b"7,[U],odd,0,\r\n"
    b"8,C\xff,bytes,0,\r\n"
    b"9,CC,last,1,"
)


def test_nasty_table(model, tmp_path):
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(NASTY)
    done = predict_csv(model, source, out)
    assert (done.rows, done.invalid, done.resumed) == (9, 5, 0)
    assert done.columns == ("p_np_predicted", "tox, acute", "error_predicted", "note_predicted")
    before, after = read(source), read(out)
    assert after[0] == ["id", "SMILES", "note", "p_np", "error", *done.columns]
    assert len(after) == len(before) and [len(row) for row in after] == [9, 9, 9, 0, 9, 9, 9, 9, 9, 9, 9]
    for old, new in zip(before[1:], after[1:], strict=True):
        if len(old) == 5:
            assert new[:5] == old
    by_id = {row[0]: row[5:] for row in after[1:] if row}
    reasons = {key: cells[-2] for key, cells in by_id.items()}
    assert {cells[-1] for cells in by_id.values()} == {""}
    assert {key for key, reason in reasons.items() if reason} == {"1e5", " 3 ", "5", "6", "8"}
    assert "row has 6 fields, the header has 5" in reasons["5"] and "30 atoms" in reasons["6"]
    assert all((cells[0] == "nan") == bool(cells[-2]) for cells in by_id.values())
    assert float(by_id["9"][0]) == pytest.approx(predict_smiles(model, None, ["CC"])[0]["p_np"], abs=1e-5)
    kept = [line for line in NASTY.split(b"\r\n") if line.startswith((b"007", b"1e5", b"7,", b"and left"))]
    assert all(line in out.read_bytes() for line in kept)
    assert not list(tmp_path.glob("*.part*"))


def by_smiles(path, delimiter=","):
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines(), delimiter=delimiter))
    return rows, {row["smiles"]: row for row in rows}


def test_no_text_behind_a_smiles_changes_the_molecule_without_a_word(model, tmp_path):
    source = write_table(
        tmp_path / "in.csv",
        [
            "CCO ethanol",
            '"COC =cO)C(C)C"',
            '"CC\nO"',
            "CCO |$a;b;c$|",
            '"CCO |$a;b;c$| name"',
            " CCO ",
            "CC |$a",
            "CC O",
        ],
    )
    done = predict_csv(model, source, tmp_path / "out.csv")
    rows = read(tmp_path / "out.csv")[1:]
    notes, errors = [row[-1] for row in rows], [row[-2] for row in rows]
    assert notes == ["'ethanol' behind the SMILES ignored", "", "", "", "'name' behind the SMILES ignored", "", "", ""]
    refused = [1, 2, 6, 7]
    assert [i for i, error in enumerate(errors) if error] == refused == [i for i, r in enumerate(rows) if r[1] == "nan"]
    assert "'=cO)C(C)C' behind it reads like its continuation" in errors[1] and "'O' behind it" in errors[2]
    assert "no CXSMILES block" in errors[6]
    ethanol = predict_smiles(model, None, ["CCO"])[0]["p_np"]
    for i in (0, 3, 4, 5):
        assert float(rows[i][1]) == pytest.approx(ethanol, abs=1e-5)
    assert (done.noted, done.invalid) == (2, 4) and done.notes == {"text behind the SMILES ignored": 2}


@pytest.mark.parametrize(
    ("name", "text", "delimiter", "header"),
    [
        ("in.smi", "CCO Z1\nc1ccccc1 acetic acid\nCC |$a;b$| Z3\nC\n", "\t", ["smiles", "column_2"]),
        ("in.smi", "CCO,Z1\nc1ccccc1,Z2\nC,\n", ",", ["smiles", "column_2"]),
        ("in.smi", "CCO\tZ1\nc1ccccc1\tZ 2\n", "\t", ["smiles", "column_2"]),
        ("in.csv", "Z1;5;CCO\nZ2;6;c1ccccc1\n", ";", ["column_1", "column_2", "smiles"]),
        ("in.txt", "CCO\nc1ccccc1\n", ",", ["smiles"]),
        ("in.csv", "id|smiles\n1|CCO\n2|c1ccccc1\n", "|", ["id", "smiles"]),
    ],
)
def test_tables_of_many_kinds_are_predicted(model, tmp_path, name, text, delimiter, header):
    source = tmp_path / name
    source.write_text(text)
    done = predict_csv(model, source, tmp_path / "out.csv")
    assert done.invalid == done.noted == 0 and done.rows == text.count("\n") - ("id" in header)
    rows, found = by_smiles(tmp_path / "out.csv", delimiter)
    assert list(rows[0]) == [*header, "p_np", "tox, acute", "error", "note"]
    for smiles in ("CCO", "c1ccccc1"):
        assert float(found[smiles]["p_np"]) == pytest.approx(predict_smiles(model, None, [smiles])[0]["p_np"], abs=1e-5)


def test_utf_16_compressed_is_streamed_and_continued(model, tmp_path, monkeypatch):
    text = "smiles\tnäme\n" + "".join(f"{smiles}\tµ{i} \U0001f9ea\n" for i, smiles in enumerate(SMILES * 3))
    source = tmp_path / "in.tsv.gz"
    source.write_bytes(gzip.compress(text.encode("utf-16")))
    whole, out = tmp_path / "whole.tsv", tmp_path / "out.tsv"
    predict_csv(model, source, whole, chunk_size=5)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(PredictionStopped):
            predict_csv(model, source, out, chunk_size=5)
    assert predict_csv(model, source, out, chunk_size=5).resumed == 10
    assert out.read_bytes() == whole.read_bytes()
    rows = list(csv.reader(io.StringIO(out.read_bytes().decode("utf-16"), newline=""), delimiter="\t"))
    assert rows[0][:2] == ["smiles", "näme"] and [row[1] for row in rows[1:]] == [f"µ{i} \U0001f9ea" for i in range(24)]


def test_notes_are_counted_across_an_interruption(model, tmp_path, monkeypatch):
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    write_table(source, [f"{smiles} name" for smiles in SMILES])
    predict_csv(model, source, tmp_path / "whole.csv", chunk_size=3)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(PredictionStopped):
            predict_csv(model, source, out, chunk_size=3)
    done = predict_csv(model, source, out, chunk_size=3)
    assert done.noted == len(SMILES) and out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_repeated_column_of_smiles_is_not_guessed(model, tmp_path):
    source = write_table(tmp_path / "in.csv", ["C,CC,1,2"], header="smiles,smiles,y,y")
    with pytest.raises(InvalidArgumentError, match="more than one column 'smiles'"):
        predict_csv(model, source, tmp_path / "out.csv")
    write_table(source, ["C,1,2"], header="smiles,y,y")
    assert predict_csv(model, source, tmp_path / "out.csv").rows == 1


def test_chunks_and_processes_change_nothing(model, tmp_path):
    source = write_table(tmp_path / "in.csv", SMILES * 20)
    predict_csv(model, source, tmp_path / "one.csv")
    predict_csv(model, source, tmp_path / "many.csv", chunk_size=7, batch_size=3)
    predict_csv(model, source, tmp_path / "workers.csv", chunk_size=50, num_workers=2)
    one, many, workers = (read(tmp_path / name) for name in ("one.csv", "many.csv", "workers.csv"))
    assert len(one) == 161
    for other in (many, workers):
        assert [row[0] for row in other] == [row[0] for row in one]
        values = [np.array([row[1:3] for row in rows[1:]], float) for rows in (one, other)]
        np.testing.assert_allclose(*values, atol=1e-5)


def test_compressed_in_and_out(model, tmp_path):
    source = tmp_path / "in.csv.gz"
    source.write_bytes(gzip.compress(b"smiles\nCCO\nC\n"))
    predict_csv(model, source, tmp_path / "out.csv.gz", chunk_size=1)
    assert [row[0] for row in read(tmp_path / "out.csv.gz")] == ["smiles", "CCO", "C"]


def test_header_alone(model, tmp_path):
    source = write_table(tmp_path / "in.csv", [])
    assert predict_csv(model, source, tmp_path / "out.csv").rows == 0
    assert read(tmp_path / "out.csv") == [["smiles", "p_np", "tox, acute", "error", "note"]]


def interrupt_after(monkeypatch, chunks):
    """Ctrl-C while the chunk after ``chunks`` whole ones is predicted."""
    from dc_graphsam.predict import table as predict

    calls = []

    def predict_or_stop(*args, **kwargs):
        if len(calls) == chunks:
            raise KeyboardInterrupt
        calls.append(1)
        return predict_graphs(*args, **kwargs)

    monkeypatch.setattr(predict, "predict_graphs", predict_or_stop)


@pytest.mark.parametrize(("chunks", "name"), [(0, "out.csv"), (2, "out.csv"), (2, "out.csv.gz")])
def test_the_same_call_continues_after_an_interruption(model, tmp_path, monkeypatch, chunks, name):
    source = write_table(tmp_path / "in.csv", SMILES * 3 + ["", "bad"], header="\nsmiles")
    whole, out = tmp_path / f"whole-{name}", tmp_path / name
    predict_csv(model, source, whole, chunk_size=5)
    with monkeypatch.context() as patch:
        interrupt_after(patch, chunks)
        with pytest.raises(PredictionStopped, match=f"stopped after {5 * chunks} rows; the same command continues"):
            predict_csv(model, source, out, chunk_size=5)
    assert not out.exists()
    part = tmp_path / f"{name}.part"
    part.write_bytes(part.read_bytes() + b"half a li")  # what a crash leaves after the last note
    done = predict_csv(model, source, out, chunk_size=5)
    assert (done.rows, done.resumed) == (25, 5 * chunks)
    assert read(out) == read(whole)
    assert not list(tmp_path.glob("*.part*"))


def test_an_unfinished_output_of_another_input_is_not_continued(model, tmp_path, monkeypatch):
    source, out = write_table(tmp_path / "in.csv", SMILES), tmp_path / "out.csv"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(PredictionStopped):
            predict_csv(model, source, out, chunk_size=2)
    write_table(source, SMILES[::-1])
    with pytest.raises(InvalidArgumentError, match="unfinished and belongs to another input"):
        predict_csv(model, source, out)
    assert predict_csv(model, source, out, overwrite=True).resumed == 0
    assert [row[0] for row in read(out)[1:]] == SMILES[::-1]


def test_outputs_that_are_refused(model, tmp_path):
    source = write_table(tmp_path / "in.csv", SMILES)
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(InvalidArgumentError, match="exists; choose another name, or replace it with --overwrite"):
        predict_csv(model, source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "mine"
    with pytest.raises(InvalidArgumentError, match="is the input itself"):
        predict_csv(model, source, source, overwrite=True)
    with pytest.raises(InvalidArgumentError, match="is a folder"):
        predict_csv(model, source, tmp_path)
    with pytest.raises(InvalidArgumentError, match="cannot be written"):
        predict_csv(model, source, source / "out.csv")
    assert predict_csv(model, source, tmp_path / "new" / "out.csv").rows == len(SMILES)


def test_inputs_that_are_refused(model, tmp_path):
    source = write_table(tmp_path / "in.csv", ["1,CCO"], header="id,structure smiles")
    with pytest.raises(MissingColumnError, match=r"no column 'smils'\. It has: id, structure smiles"):
        predict_csv(model, source, tmp_path / "out.csv", smiles_column="smils")
    assert predict_csv(model, source, tmp_path / "out.csv").rows == 1  # the only column with "smiles" in its name
    with pytest.raises(MissingColumnError, match=r"no column 'smiles'\. It has: a, b"):
        predict_csv(model, write_table(source, ["1,2"], header="a,b"), tmp_path / "out2.csv")
    with pytest.raises(MissingDataError, match="there is no file"):
        predict_csv(model, tmp_path / "no.csv", tmp_path / "out2.csv")
    for name in ("batch_size", "chunk_size"):
        with pytest.raises(InvalidArgumentError, match=f"{name} is 0"):
            predict_csv(model, source, tmp_path / "out2.csv", **{name: 0})
    assert not (tmp_path / "out2.csv.part").exists()


def test_memory_does_not_grow_with_the_table(model, tmp_path, monkeypatch):
    """Only the rows in hand are held."""
    import tracemalloc

    monkeypatch.setattr(prediction_output, "_ENDS", 1000)

    def peak(rows: int) -> int:
        source = write_table(tmp_path / f"{rows}.csv", [f"CCO,{'x' * 1000}"] * rows, header="smiles,note")
        tracemalloc.start()
        predict_csv(model, source, tmp_path / f"{rows}-out.csv", chunk_size=100)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(200)
    assert peak(3000) < peak(300) + 1_000_000  # the table has 3 MB


def test_the_note_of_an_unfinished_output_names_no_path(model, tmp_path, monkeypatch):
    source = write_table(tmp_path / "in.csv", SMILES)
    interrupt_after(monkeypatch, 1)
    with pytest.raises(PredictionStopped):
        predict_csv(model, source, tmp_path / "out.csv", chunk_size=2)
    note = (tmp_path / "out.csv.part.json").read_text()
    assert json.loads(note)["rows"] == 2 and str(tmp_path) not in note


def test_model_digest_sees_weights_and_configuration(model):
    import copy

    import torch

    other = copy.deepcopy(model)
    assert prediction_output.digest_of_model(other) == prediction_output.digest_of_model(model)
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1
    assert prediction_output.digest_of_model(other) != prediction_output.digest_of_model(model)


def test_numbers_are_written_as_those_of_the_table(tmp_path, model):
    (tmp_path / "in.csv").write_text("smiles;logS\nCO;-0,39\nCCO;1,5\n")
    predict_csv(model, tmp_path / "in.csv", tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert "." not in lines[1] and "," in lines[1].split(";")[2]
    (tmp_path / "point.csv").write_text("smiles;logS\nCO;-0.39\nCCO;1.5\n")
    predict_csv(model, tmp_path / "point.csv", tmp_path / "out2.csv")
    assert (tmp_path / "out2.csv").read_text().splitlines()[1].replace("-0.39", "-0,39").replace(".", ",") == lines[1]


def test_text_is_not_written_under_the_name_of_another_format(tmp_path, model):
    (tmp_path / "in.csv").write_text("smiles\nCO\n")
    with pytest.raises(InvalidArgumentError, match="would be text under the name of another format"):
        predict_csv(model, tmp_path / "in.csv", tmp_path / "out.xlsx")
