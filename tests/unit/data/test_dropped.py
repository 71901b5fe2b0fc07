from __future__ import annotations

import pytest

from dc_graphsam.data import DroppedRow, dropped_rows, summarize_dropped
from dc_graphsam.exceptions import InvalidArgumentError


def test_summary_stays_one_short_line():
    records = [DroppedRow(row, "x", f"SMILES cannot be parsed: reason {row}") for row in range(1000)]
    records += [DroppedRow(1000 + row, "C", f"label is '{row}'") for row in range(10)]
    line = summarize_dropped(records, 20000)
    assert line == (
        "1,010 of 20,000 rows left out (rows 0, 1, 2, 3, 4 and 995 more: SMILES cannot be parsed; "
        "row 1000: label is '0'; row 1001: label is '1'; row 1002: label is '2'; "
        "7 more for other reasons; first row is 0)"
    )


def test_nothing_left_out():
    assert summarize_dropped([], 10) == ""


def test_other_data_sets_do_not_know():
    datasets = pytest.importorskip("datasets")
    with pytest.raises(InvalidArgumentError, match="pass what load_moleculenet or load_csv returned"):
        dropped_rows(datasets.Dataset.from_dict({"smiles": ["C"]}))
