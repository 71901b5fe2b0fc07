"""Tables as the neighbouring projects lay them out, and files that are none."""

from __future__ import annotations

import gzip
import re
import shlex
import subprocess
import sys

import pytest

from dc_graphsam import TaskSpec
from dc_graphsam.cli.main import main
from dc_graphsam.data import load_csv, load_graph_dataset
from dc_graphsam.data.tables import TextTable, find_smiles_column
from dc_graphsam.exceptions import InvalidArgumentError

MOLECULES = ["C" * n for n in range(1, 11)]


def load(path, tmp_path, **options):
    return load_csv(path, progress=False, num_workers=1, cache_dir=tmp_path / "cache", **options)


@pytest.mark.parametrize("ids", ["text", "number"])
def test_a_table_of_tdc(ids, tmp_path):
    rows = [f"{f'Drug {i}' if ids == 'text' else i},{smiles},{i}.5" for i, smiles in enumerate(MOLECULES)]
    (tmp_path / "caco2.csv").write_text("Drug_ID,Drug,Y\n" + "\n".join(rows) + "\n")
    data = load(tmp_path / "caco2.csv", tmp_path)
    assert TaskSpec.of(data).task_names == ("Y",) and sum(map(len, data.values())) == 10
    (tmp_path / "new.csv").write_text("Drug_ID,Drug\n1,CCO\n")
    words = ["predict", "--model", "compt-esol-small", "--input", str(tmp_path / "new.csv"), "--output"]
    assert main([*words, str(tmp_path / "out.csv")]) == 0
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("1,CCO,")


def test_drug_is_the_last_name_looked_for():
    def found(*names):
        return find_smiles_column(TextTable("x", {name: [] for name in names}))

    assert found("Drug_ID", "Drug", "Y") == "Drug"
    assert found("drug", "SMILES", "y") == "SMILES"


@pytest.mark.parametrize("tasks", [["HIV_active"], ["PCBA-1", "PCBA-2"]])
def test_a_data_set_of_ogb(tasks, tmp_path, capsys):
    table = tmp_path / "ogbg_mol" / "mapping" / "mol.csv.gz"
    table.parent.mkdir(parents=True)
    rows = [",".join([str(i % 2)] * len(tasks) + [smiles, f"CHEMBL{i}"]) for i, smiles in enumerate(MOLECULES)]
    table.write_bytes(gzip.compress(("\n".join([",".join([*tasks, "smiles", "mol_id"]), *rows]) + "\n").encode()))
    data = load(table, tmp_path, task_columns=None if len(tasks) == 1 else tasks)
    assert TaskSpec.of(data).task_names == tuple(tasks) and TaskSpec.of(data).task_type == "classification"
    for call in (load_csv, load_graph_dataset):
        with pytest.raises(InvalidArgumentError, match=r"is a data set of OGB, .* give .*mapping/mol.csv.gz"):
            call(tmp_path / "ogbg_mol")
    assert main(["train", "--data", str(tmp_path / "ogbg_mol")]) == 2
    assert f"give {table}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["my.sdf", "My molecules.SDF", "my.sdf.gz", "one.mol"])
def test_the_advice_for_structures_works(name, tmp_path, capsys, monkeypatch):
    from rdkit import Chem

    text = "".join(
        f"{Chem.MolToMolBlock(Chem.MolFromSmiles(s))}>  <y>\n{i}.5\n\n$$$$\n" for i, s in enumerate(MOLECULES)
    )
    path = tmp_path / name
    if name.endswith(".mol"):
        text = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    with pytest.raises(InvalidArgumentError, match="is a file of structures, no table; this makes one of it") as error:
        load_csv(path)
    for words in (
        ["train", "--data", str(path)],
        ["predict", "--model", "compt-esol-small", "--input", str(path), "--output", str(tmp_path / "out.csv")],
    ):
        assert main(words) == 2
        assert "is a file of structures, no table" in capsys.readouterr().err
    with pytest.raises(InvalidArgumentError, match="is a file of structures"):
        load_graph_dataset(path)
    command, table = re.search(r"(python -c .*) \(then give (.*)\)", str(error.value)).groups()
    program, *words = shlex.split(command)
    assert program == "python"
    subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, capture_output=True)
    made = (tmp_path / table).read_text().splitlines()
    if name.endswith(".mol"):
        assert "CCO" in made[1]
    else:
        assert load(tmp_path / table, tmp_path, task_columns="y")["train"].num_rows == 8
