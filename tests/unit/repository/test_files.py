"""Files of a model's repository, without a Hub."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pytest

from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, MissingDataError
from dc_graphsam.repository.files import (
    DamagedFileError,
    check_config,
    check_processor,
    check_sums,
    fetch,
    fetch_model,
    sums_of,
)

GOOD = {"model_type": "compt", "format_version": 1, "feature_set": "compt", "edge_feature_size": 13}


def test_a_good_configuration_passes():
    check_config(GOOD, "x", ["compt"])
    check_config({**GOOD, "format_version": 1, "node_feature_size": None}, "x", ["compt"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model_type": "bert"}, InvalidArgumentError, "x holds a model of type 'bert'; accepted here: 'compt'"),
        (
            {"model_type": None, "architectures": ["ViT"]},
            InvalidArgumentError,
            r"belongs to another library \(of ViT\)",
        ),
        (
            {"format_version": 2},
            InvalidArgumentError,
            "format_version of x is 2; .* reads up to 1: install a newer one",
        ),
        ({"format_version": "two"}, InvalidArgumentError, "format_version of x is 'two'"),
        ({"feature_set": None}, FeatureSetError, "x names no feature_set"),
        ({"feature_set": "ogb-7"}, FeatureSetError, "'ogb-7', which this version of dc_graphsam does not have"),
        ({"edge_feature_size": 15}, FeatureSetError, "says edge_feature_size 15, feature set 'compt' has 13"),
    ],
)
def test_what_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        check_config({**GOOD, **change}, "x", ["compt"])


def test_a_newer_version_is_named_before_its_new_fields_are_read():
    from dc_graphsam import CoMPTConfig

    with pytest.raises(InvalidArgumentError, match="format_version of the configuration is 9"):
        CoMPTConfig.from_dict({**GOOD, "format_version": 9, "readout": "of-the-future"})


def test_sums_are_those_of_the_usual_program(tmp_path):
    (tmp_path / "sub").mkdir()
    for name, data in {"a.safetensors": b"\0\1", "sub/b.txt": b"text"}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "SHA256SUMS").write_text(sums_of(tmp_path))
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True, capture_output=True)
    check_sums(tmp_path, ["a.safetensors", "sub/b.txt"])
    (tmp_path / "a.safetensors").write_bytes(b"\0\2")
    with pytest.raises(DamagedFileError, match="a.safetensors of x is damaged: its checksum .* remove SHA256SUMS"):
        check_sums(tmp_path, ["a.safetensors"], "x")
    check_sums(tmp_path, ["sub/b.txt"])
    (tmp_path / "SHA256SUMS").write_text("nonsense\n")
    with pytest.raises(DamagedFileError, match="SHA256SUMS of .* holds no checksums"):
        check_sums(tmp_path, ["sub/b.txt"])


def test_what_people_edit_may_be_edited(tmp_path, caplog):
    files = ["config.json", "processor_config.json", "README.md", "model.safetensors"]
    for name in files:
        (tmp_path / name).write_text("{}")
    (tmp_path / "SHA256SUMS").write_text(sums_of(tmp_path))
    for name in files[:3]:
        (tmp_path / name).write_text("{ }")
    with caplog.at_level("INFO"):
        check_sums(tmp_path, files)
    assert [record.getMessage().split()[0] for record in caplog.records] == files[:3]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("model.safetensors", hashlib.sha256(b"a").hexdigest()),  # as the Hub names large files
        ("model.safetensors", hashlib.sha1(b"blob 1\0a").hexdigest()),  # and small ones
        ("config.json", hashlib.sha1(b"blob 1\0a").hexdigest()),
        ("config.json", hashlib.sha1(b"a").hexdigest()),  # as some mirrors do
    ],
)
def test_the_name_that_the_cache_gave_a_file_is_a_checksum(tmp_path, file, name):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / name).write_bytes(b"a")
    (snapshot / file).symlink_to(blobs / name)
    check_sums(snapshot, [file])
    (snapshot / "SHA256SUMS").write_text(f"{'0' * 64}  {file}\n")  # of an earlier commit: the Hub's name is newer
    check_sums(snapshot, [file])
    (blobs / name).write_bytes(b"b")
    with pytest.raises(DamagedFileError, match="damaged"):
        check_sums(snapshot, [file])


def test_a_name_of_another_kind_says_nothing(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "etag-of-a-proxy").write_bytes(b"a")
    (snapshot / "model.safetensors").symlink_to(blobs / "etag-of-a-proxy")
    check_sums(snapshot, ["model.safetensors"])
    (snapshot / "SHA256SUMS").write_text(f"{'0' * 64}  model.safetensors\n")
    with pytest.raises(DamagedFileError, match="damaged"):
        check_sums(snapshot, ["model.safetensors"])


def test_a_processor_must_fit_the_model():
    check_processor("compt", {}, "x")
    check_processor("compt-own-slot", {"feature_set": "compt"}, "x")
    with pytest.raises(FeatureSetError, match="is made for feature set 'compt', the model in x reads 'compt-own-slot'"):
        check_processor("compt", {"feature_set": "compt-own-slot"}, "x")


def test_local_folders(tmp_path):
    assert fetch(tmp_path, "config.json", optional=True) is None
    with pytest.raises(MissingDataError, match="has no config.json: it is not the folder of a saved model"):
        fetch_model(tmp_path, ["compt"])
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InvalidArgumentError, match="is not a JSON object"):
        fetch_model(tmp_path, ["compt"])
    (tmp_path / "config.json").write_text(json.dumps(GOOD))
    with pytest.raises(
        MissingDataError, match=r"has no model.safetensors; weights in other formats \(pytorch_model.bin"
    ):
        fetch_model(tmp_path, ["compt"])
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert fetch_model(tmp_path, ["compt"]) == tmp_path
    with pytest.raises(MissingDataError, match="is neither a folder nor a name of a repository"):
        fetch("a b/c/d", "config.json")


def test_shards(tmp_path, make_compt, regression_data, same_bits):
    from dc_graphsam import CoMPTForPropertyPrediction

    model = make_compt(regression_data)
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    assert not (tmp_path / "model.safetensors").exists() and (tmp_path / "model.safetensors.index.json").is_file()
    assert fetch_model(tmp_path, ["compt"]) == tmp_path
    assert same_bits(CoMPTForPropertyPrediction.from_pretrained(tmp_path), model)
