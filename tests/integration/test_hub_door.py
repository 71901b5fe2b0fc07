"""Models through the Hub's door: real clients in processes of their own against the loopback server."""

from __future__ import annotations

import json
import re
import shlex
import socket
import time

import pytest

from dc_graphsam.cli.main import main

SMILES = ["CCO", "c1ccccc1C(=O)O", "no molecule", "CC(=O)Oc1ccccc1C(=O)O"]
TINY = {
    "dataset": "freewilson",
    "split": "random",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_train_epochs": 1.0,
    "baselines": False,
    "report": False,
}
PREDICT = "result = pipeline({name!r}, device='cpu'{more})({smiles!r})"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run folder of the data set that comes with RDKit."""
    from dc_graphsam.hf import RunSettings, train_run

    folder = tmp_path_factory.mktemp("run") / "tiny"
    train_run(RunSettings.from_flat(TINY), folder)
    return folder


@pytest.fixture(scope="module")
def expected(run):
    from dc_graphsam import pipeline

    return pipeline(str(run), device="cpu")(SMILES)


@pytest.fixture(scope="module")
def hub(hub_tools):
    yield from hub_tools.serve()


@pytest.fixture(scope="module")
def ann(hub, hub_tools, run, tmp_path_factory):
    """Someone who publishes."""
    with hub_tools.HubClient(hub, tmp_path_factory.mktemp("ann") / "home", token="hf_ann") as client:
        client.run(f"from dc_graphsam.hub.publish import publish_run, prepare_publication\nRUN = {str(run)!r}")
        yield client


@pytest.fixture(scope="module")
def reader(hub, hub_tools, tmp_path_factory):
    """Someone without a token who has downloaded nothing yet; ``cache()`` empties the cache."""
    with hub_tools.HubClient(hub, tmp_path_factory.mktemp("reader") / "home") as client:
        client.run(
            "from dc_graphsam import AutoModelForPropertyPrediction, CoMPTForPropertyPrediction, MoleculeProcessor, pipeline"
        )
        yield client


@pytest.fixture(scope="module")
def published(ann, hub):
    """A repository with the run: (name, commit)."""
    url = ann.run("result = publish_run(RUN, 'ann/tiny')")
    assert url == f"{hub.url}/ann/tiny/commit/{hub.repo('ann/tiny').refs['main']}"
    return "ann/tiny", hub.repo("ann/tiny").refs["main"]


def predict(client, name, more=""):
    return client.run(PREDICT.format(name=name, more=more, smiles=SMILES))


def same(rows, expected):
    """Equal to the bit; NaN equals NaN, as JSON writes it."""
    return json.dumps(rows) == json.dumps(expected)


def test_what_is_pushed_is_what_the_dry_run_lists(published, hub, run, capsys):
    before = len(hub.requests)
    assert main(["publish", str(run), "--repo", "ann/tiny", "--dry-run"]) == 0
    listed = capsys.readouterr()
    names = [line.split()[0] for line in listed.out.splitlines()[1:]]
    pushed = hub.files("ann/tiny")
    assert sorted(names) == sorted(set(pushed) - {".gitattributes"}) and "nothing was pushed" in listed.err
    assert len(hub.requests) == before
    from dc_graphsam.hub.publish import prepare_publication

    assert {name: pushed[name] for name in names} == prepare_publication(run, "ann/tiny").files
    assert not {"predictions_test.csv", "dropped.csv", "report.html", "history.jsonl"} & set(pushed)


def test_a_second_push_without_change_makes_no_commit(published, ann, hub):
    assert ann.run("result = publish_run(RUN, 'ann/tiny')").endswith(published[1])
    assert hub.repo("ann/tiny").refs["main"] == published[1]


def test_predictions_after_the_pull_are_those_before_the_push(published, reader, expected, hub):
    rows = predict(reader, published[0])
    assert same(rows, expected)
    assert rows[2]["error"].startswith("cannot be parsed") and rows[2]["pAct"] != rows[2]["pAct"]
    before = hub.count("GET", "/cdn/")
    assert same(predict(reader, published[0]), expected) and hub.count("GET", "/cdn/") == before  # from the cache


def test_every_way_to_load_gives_the_same_model(published, reader, expected):
    code = f"""
import transformers, torch
name = {published[0]!r}
one = CoMPTForPropertyPrediction.from_pretrained(name)
two = AutoModelForPropertyPrediction.from_pretrained(name, revision={published[1]!r})
encoder = transformers.AutoModel.from_pretrained(name)
config = transformers.AutoConfig.from_pretrained(name)
processor = transformers.AutoProcessor.from_pretrained(name)
states = [model.state_dict() for model in (one, two)]
equal = all(torch.equal(value, states[1][key]) for key, value in states[0].items())
equal &= all(torch.equal(value, states[0]["encoder." + key]) for key, value in encoder.state_dict().items())
predict = transformers.pipeline("molecular-property-prediction", model=name, device="cpu")
result = [equal, type(encoder).__name__, type(config).__name__, processor == MoleculeProcessor.from_pretrained(name),
          predict({SMILES!r}), one.name_or_path]
"""
    equal, encoder, config, processor, rows, name = reader.run(code)
    assert equal and processor and (encoder, config, name) == ("CoMPTEncoder", "CoMPTConfig", published[0])
    assert same(rows, expected)


def test_from_the_cache_without_a_connection(published, reader, hub, hub_tools, expected):
    predict(reader, published[0])
    home = reader.environment["HF_HOME"]
    with hub_tools.HubClient(hub, f"{home}", HF_HUB_OFFLINE="1") as offline:
        offline.run("from dc_graphsam import pipeline")
        before = len(hub.requests)
        assert same(predict(offline, published[0]), expected) and len(hub.requests) == before
        with pytest.raises(hub_tools.ClientError, match="is neither a folder nor a repository whose config.json is in"):
            predict(offline, "ann/never-seen")


def test_revisions(published, ann, reader, hub, hub_tools, expected):
    ann.run(f"""
from huggingface_hub import HfApi
import torch
from dc_graphsam import CoMPTForPropertyPrediction
HfApi().create_tag("ann/tiny", tag="v1", revision={published[1]!r})
model = CoMPTForPropertyPrediction.from_pretrained(RUN)
with torch.no_grad():
    model.classifier.bias += 1
model.push_to_hub("ann/tiny", revision="shifted")
""")
    assert hub.repo("ann/tiny").refs["main"] == published[1]  # only the branch has moved
    shifted = predict(reader, published[0], ", revision='shifted'")
    assert not same(shifted, expected)
    assert same(predict(reader, published[0], ", revision='v1'"), expected)
    with pytest.raises(hub_tools.ClientError, match="the repository ann/tiny has no revision 'v9'"):
        predict(reader, published[0], ", revision='v9'")


def test_private_repository(ann, reader, hub, hub_tools, expected):
    ann.run("publish_run(RUN, 'ann/secret', private=True)")
    assert hub.repo("ann/secret").private
    for token in ("None", "'hf_bob'"):
        with pytest.raises(
            hub_tools.ClientError, match="repository 'ann/secret' that you can see; if it is private"
        ) as e:
            predict(reader, "ann/secret", f", token={token}")
        assert e.value.kind == "MissingDataError"
    with pytest.raises(hub_tools.ClientError, match="the Hub refuses access to ann/secret: the token is not valid"):
        predict(reader, "ann/secret", ", token='hf_wrong'")
    with pytest.raises(hub_tools.ClientError, match="the Hub refuses access to ann/secret"):
        reader.run("MoleculeProcessor.from_pretrained('ann/secret', token='hf_wrong')")
    assert same(predict(reader, "ann/secret", ", token='hf_ann'"), expected)
    with pytest.raises(hub_tools.ClientError, match="the Hub refuses to write to ann/secret"):
        ann.run("publish_run(RUN, 'ann/secret', token='hf_bob')")


def test_an_interrupted_upload_leaves_nothing_and_repeats(hub, hub_tools, run, ann, reader, expected, tmp_path):
    fault = hub.fault("PUT", "/lfs-upload/", "stall")
    hub.objects.clear()
    with hub_tools.HubClient(hub, tmp_path / "home", token="hf_ann") as client:
        client.run("from dc_graphsam.hub.publish import publish_run")
        client.send(f"publish_run({str(run)!r}, 'ann/cut')")
        assert fault.hit.wait(60)
        client.kill()  # in the middle of the weights
    assert list(hub.files("ann/cut")) == [".gitattributes"] and not hub.objects
    with pytest.raises(hub_tools.ClientError, match="the repository ann/cut .* has no config.json"):
        predict(reader, "ann/cut")
    ann.run("publish_run(RUN, 'ann/cut')")
    assert same(predict(reader, "ann/cut"), expected) and len(hub.repo("ann/cut").commits) == 2


@pytest.mark.parametrize("lfs", [True, False])
def test_a_corrupted_download_is_not_loaded(lfs, ann, reader, hub, hub_tools, expected, published):
    name = f"ann/corrupt-{lfs}"
    if lfs:
        ann.run(f"publish_run(RUN, {name!r})")
    else:  # a small file that the Hub stores in git itself: only our own checksums tell
        hub.lfs, before = (), hub.lfs
        ann.run(f"publish_run(RUN, {name!r})")
        hub.lfs = before
    hub.fault("GET", "/cdn/" if lfs else "/model.safetensors", "flip")
    with pytest.raises(hub_tools.ClientError, match="model.safetensors of .* is damaged: its checksum") as e:
        predict(reader, name)
    assert e.value.kind == "DamagedFileError"
    with pytest.raises(hub_tools.ClientError, match="is damaged"):  # nor later, from the cache
        reader.run(f"CoMPTForPropertyPrediction.from_pretrained({name!r})")
    assert same(predict(reader, name, ", force_download=True"), expected)


@pytest.mark.parametrize("file", ["config.json", "processor_config.json"])
def test_a_corrupted_small_file_is_not_used(file, ann, reader, hub, hub_tools, expected):
    name = f"ann/small-{file.split('_')[0].split('.')[0]}"
    ann.run(f"publish_run(RUN, {name!r})")
    hub.fault("GET", f"{name}/resolve/.*/{file}", "flip")
    with pytest.raises(hub_tools.ClientError, match=f"{file} of .* is damaged: its checksum") as e:
        predict(reader, name)
    assert e.value.kind == "DamagedFileError"
    assert same(predict(reader, name, ", force_download=True"), expected)


def test_a_repository_may_be_changed_part_by_part(ann, reader, hub, hub_tools, run, expected, tmp_path):
    """Pushes of one part, edits on the page, and weights that another program put there."""
    name = "ann/parts"
    start = f"""
import dc_graphsam as d
from huggingface_hub import HfApi
model = d.CoMPTForPropertyPrediction.from_pretrained(RUN)
processor = d.MoleculeProcessor.from_pretrained(RUN)
name = {name!r}
"""
    ann.run(start + "model.push_to_hub(name)")
    assert same(predict(reader, name), expected)
    ann.run("result = str(processor.push_to_hub(name))")
    assert same(predict(reader, name), expected)
    record = json.loads(hub.files(name)["processor_config.json"])
    hub.write(name, {"processor_config.json": json.dumps(record).encode()})  # another layout, so other bytes
    record = json.loads(hub.files(name)["config.json"])
    hub.write(name, {"config.json": json.dumps({**record, "note": "edited"}).encode(), "README.md": b"# Another card"})
    assert same(predict(reader, name), expected)
    assert reader.run(f"result = type(MoleculeProcessor.from_pretrained({name!r})).__name__") == "MoleculeProcessor"
    ann.run(f"""
import torch
with torch.no_grad():
    model.classifier.bias += 1
model.save_pretrained({str(tmp_path)!r})
HfApi().upload_file(path_or_fileobj={str(tmp_path / "model.safetensors")!r}, path_in_repo="model.safetensors", repo_id=name)
processor.push_to_hub(name)
rows = d.pipeline(model=model, device="cpu")({SMILES!r})
""")
    shifted = ann.run("result = rows")
    assert not same(shifted, expected) and same(predict(reader, name), shifted)
    hub.fault("GET", "/cdn/", "flip")
    with pytest.raises(hub_tools.ClientError, match="model.safetensors of .* is damaged: its checksum"):
        predict(reader, name, ", force_download=True")
    assert same(predict(reader, name, ", force_download=True"), shifted)
    ann.run("model.push_to_hub(name)")  # after which the sums are right again
    assert hub.files(name)["SHA256SUMS"].count(b"\n") >= 3 and same(predict(reader, name), shifted)


def test_a_processor_that_does_not_fit_the_model_is_refused(ann, reader, hub, hub_tools, run):
    name = "ann/misfit"
    ann.run(f"""
import dc_graphsam as d
d.CoMPTForPropertyPrediction.from_pretrained(RUN).push_to_hub({name!r})
""")
    before = hub.repo(name).refs["main"]
    wrong = "made for feature set 'compt-chiral', the model in ann/misfit reads 'compt-own-slot'"
    with pytest.raises(hub_tools.ClientError, match=wrong) as e:
        ann.run(f"d.MoleculeProcessor('compt-chiral').push_to_hub({name!r})")
    assert e.value.kind == "FeatureSetError" and hub.repo(name).refs["main"] == before
    ann.run("d.MoleculeProcessor('compt-chiral').push_to_hub('ann/processor-alone')")  # no model there, or not yet
    alone = hub.files("ann/processor-alone")["processor_config.json"]
    hub.write(name, {"processor_config.json": alone})
    for code in (f"pipeline({name!r})", f"MoleculeProcessor.from_pretrained({name!r})"):
        with pytest.raises(hub_tools.ClientError, match=wrong) as e:
            reader.run(code)
        assert e.value.kind == "FeatureSetError"


def test_a_download_that_breaks_off_goes_on(ann, reader, hub, expected):
    ann.run("publish_run(RUN, 'ann/breaks')")
    hub.fault("GET", "/cdn/", "cut")
    reader.run("pipeline('ann/breaks', device='cpu', force_download=True)")
    assert same(predict(reader, "ann/breaks"), expected)


def test_a_server_that_cannot_be_reached(hub_tools, ann, run):
    with hub_tools.HubServer() as gone:
        url = gone.url
    code = "from huggingface_hub import constants; constants.ENDPOINT, kept = {!r}, constants.ENDPOINT"
    ann.run(code.format(url))
    with pytest.raises(hub_tools.ClientError, match="ann/lost cannot be written: the Hub cannot be reached"):
        ann.run("from dc_graphsam.hub.publish import push_files; push_files({'a.txt': b'a'}, 'ann/lost', 'x')")
    ann.run("constants.ENDPOINT = kept")


@pytest.mark.parametrize("address", ["nobody listens", "nobody answers", "no such name"])
def test_without_network_and_cache_it_fails_soon(address, program, tmp_path, monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if address == "nobody answers":
            silent.listen()
        url = (
            "http://no-such-host.invalid"
            if address == "no such name"
            else f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        for name, value in {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "in.csv").write_text("smiles\nCCO\n")
        started = time.monotonic()
        process = program.start("predict", "--model", "ann/x", "--input", "in.csv", "--output", "out.csv", cwd=tmp_path)
        first = process.stderr.readline()
        assert first == "looking for ann/x on the Hub …\n" and process.poll() is None
        asked = time.monotonic()
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 2
        assert time.monotonic() - asked < 7, "five seconds, and those that a busy machine needs"
        assert rest.splitlines()[-1].startswith(
            "dc-graphsam: ann/x (revision 'main') is neither a folder nor a repository"
        )
        assert ("does not answer yet" in rest) == (address == "nobody answers")
        assert "Retry" not in rest and time.monotonic() - started < 20


def test_without_network_the_cache_is_enough(hub_tools, run, expected, tmp_path):
    with hub_tools.HubServer() as gone:
        gone.add_user("ann", "hf_ann")
        with hub_tools.HubClient(gone, tmp_path / "home", token="hf_ann") as client:
            client.run("from dc_graphsam import pipeline\nfrom dc_graphsam.hub.publish import publish_run")
            client.run(f"publish_run({str(run)!r}, 'ann/kept')")
            assert same(predict(client, "ann/kept"), expected)
            gone.stop()
            assert same(predict(client, "ann/kept"), expected)


def test_a_client_with_xet_pushes_and_pulls(hub_tools, run, expected, tmp_path):
    with hub_tools.HubServer(lfs=()) as hub:  # every file inside the commit: no storage beside git is needed
        hub.add_user("ann", "hf_ann")
        with hub_tools.HubClient(hub, tmp_path / "home", token="hf_ann", xet=True) as client:
            client.run("from dc_graphsam import pipeline\nfrom dc_graphsam.hf import publish_run")
            client.run(f"publish_run({str(run)!r}, 'ann/plain')")
            assert same(predict(client, "ann/plain"), expected)


def test_model_and_trainer_push_all_that_a_prediction_needs(ann, reader, hub, run, expected, tmp_path):
    ann.run(f"""
import dc_graphsam as d
from huggingface_hub import HfApi
model = d.CoMPTForPropertyPrediction.from_pretrained(RUN)
first = str(model.push_to_hub("ann/model", private=False))
second = str(model.push_to_hub("ann/model"))
data = d.load_moleculenet("freewilson", split="random", seed=0, progress=False)
args = d.GraphSAMTrainingArguments({str(tmp_path / "out")!r}, max_steps=2, hub_model_id="ann/trained", hub_token="hf_ann",
    eval_strategy="steps", eval_steps=2, disable_tqdm=True, report_to="none", use_cpu=True, save_strategy="no")
small = d.CoMPTForPropertyPrediction(d.CoMPTConfig.for_dataset(data, hidden_size=8, num_hidden_layers=1, num_attention_heads=2))
trainer = d.GraphSAMTrainer(small, args, train_dataset=data["train"].select(range(64)), eval_dataset=data["validation"])
trainer.train()
trainer.push_to_hub()
rows = d.pipeline(model=small.cpu(), device="cpu")({SMILES!r})
assert first == second, "a push without change made a commit"
result = rows
""")
    trained = ann.run("result = rows")
    whole = {".gitattributes", "README.md", "SHA256SUMS", "config.json", "model.safetensors", "processor_config.json"}
    for name in ("ann/model", "ann/trained"):
        files = hub.files(name)
        assert set(files) == whole
        assert b"library_name: dc_graphsam" in files["README.md"] and b"pipeline_tag: graph-ml" in files["README.md"]
        assert not any(str(tmp_path).encode() in data or b"hf_ann" in data for data in files.values())
    card = hub.files("ann/trained")["README.md"].decode()
    assert re.search(r"\| 1 \| \d\.\d{4} \| \d\.\d{4} \|", card) and "rho 0.05" in card
    assert same(predict(reader, "ann/model"), expected)
    assert same(predict(reader, "ann/trained"), trained)


def test_every_save_of_a_training_is_pushed_the_same_way(ann, hub, tmp_path):
    ann.run(f"""
import dc_graphsam as d
data = d.load_moleculenet("freewilson", split="random", seed=0, progress=False)
small = d.CoMPTForPropertyPrediction(d.CoMPTConfig.for_dataset(data, hidden_size=8, num_hidden_layers=1, num_attention_heads=2))
args = d.GraphSAMTrainingArguments({str(tmp_path / "out")!r}, max_steps=2, hub_model_id="ann/saves", push_to_hub=True,
    save_strategy="steps", save_steps=1, disable_tqdm=True, report_to="none", use_cpu=True, hub_always_push=True)
trainer = d.GraphSAMTrainer(small, args, train_dataset=data["train"].select(range(64)))
trainer.train()
trainer.push_to_hub()
""")
    commits = hub.repo("ann/saves").commits.values()
    assert len(commits) >= 3
    assert not {
        path for tree in commits for path in tree if path.startswith("checkpoint") or path.endswith((".bin", ".pt"))
    }


@pytest.mark.parametrize("strategy", ["every_save", "end"])
def test_other_models_are_pushed_without_pickles(ann, hub, tmp_path, strategy):
    ann.run(f"""
import torch
import dc_graphsam as d
from transformers import BertConfig, BertForSequenceClassification
sizes = dict(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
bert = BertForSequenceClassification(BertConfig(**sizes))
texts = [dict(input_ids=torch.arange(5) + i, attention_mask=torch.ones(5).long(), labels=i % 2) for i in range(8)]
args = d.GraphSAMTrainingArguments({str(tmp_path / "out")!r}, max_steps=2, hub_model_id="ann/bert-{strategy}", push_to_hub=True,
    hub_strategy={strategy!r}, save_strategy="steps", save_steps=1, disable_tqdm=True, report_to="none", use_cpu=True,
    hub_always_push=True, sam="graphsam")
trainer = d.GraphSAMTrainer(bert, args, train_dataset=texts)
trainer.train()
trainer.push_to_hub()
""")
    commits = list(hub.repo(f"ann/bert-{strategy}").commits.values())
    assert len(commits) >= (3 if strategy == "every_save" else 2)
    assert {"config.json", "model.safetensors"} <= set(hub.files(f"ann/bert-{strategy}"))
    assert not [path for tree in commits for path in tree if path.endswith((".bin", ".pt", ".pth"))]
    assert not any(str(tmp_path).encode() in data for data in hub.files(f"ann/bert-{strategy}").values())


BERT = """
import torch
import dc_graphsam as d
from huggingface_hub import HfApi
from pathlib import Path
from transformers import BertConfig, BertForSequenceClassification
sizes = dict(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
texts = [dict(input_ids=torch.arange(5) + i, attention_mask=torch.ones(5).long(), labels=i % 2) for i in range(8)]
def trainer(out, repo, **options):
    torch.manual_seed(0)
    args = d.GraphSAMTrainingArguments(out, max_steps=2, hub_model_id=repo, disable_tqdm=True, report_to="none", use_cpu=True, **options)
    return d.GraphSAMTrainer(BertForSequenceClassification(BertConfig(**sizes)), args, train_dataset=texts)
"""


def test_no_push_holds_training_arguments_however_it_is_made(ann, hub, tmp_path):
    """Blocking or not, after save_model, beside the folders of other runs, and where an earlier push has left them."""
    ann.run(f"""{BERT}
out = Path({str(tmp_path / "plain")!r})
t = trainer(str(out), "ann/bert-plain", save_strategy="steps", save_steps=1)
t.train()
HfApi().create_repo("ann/bert-plain")
for path in ("training_args.bin", "run-0/training_args.bin"):
    HfApi().upload_file(path_or_fileobj=b"from before", path_in_repo=path, repo_id="ann/bert-plain")
(out / "run-1" / "checkpoint-3").mkdir(parents=True)
for path in ("run-1/training_args.bin", "run-1/checkpoint-3/optimizer.pt", "run-1/checkpoint-3/training_args.bin"):
    (out / path).write_bytes(b"of a search")
t.save_model()
t.push_to_hub(blocking=True)
assert (out / "training_args.bin").is_file(), "a push takes nothing from the folder"
future = t.push_to_hub("in the background", blocking=False, tags="mine")
t.save_model()
future.result()
""")
    *before, first, second = hub.repo("ann/bert-plain").commits.values()
    assert "training_args.bin" in before[-1] and "run-0/training_args.bin" in before[-1]
    for tree in (first, second):
        assert {"config.json", "model.safetensors", "README.md"} <= set(tree)
        assert not [path for path in tree if path.endswith((".bin", ".pt", ".pth")) or "checkpoint" in path]
    assert b"- mine" in hub.files("ann/bert-plain")["README.md"]


@pytest.mark.parametrize(
    ("strategy", "place"), [("checkpoint", "last-checkpoint"), ("all_checkpoints", "checkpoint-2")]
)
def test_pushed_checkpoints_resume_without_training_arguments(ann, hub, tmp_path, strategy, place):
    repo = f"ann/bert-{strategy.replace('_', '-')}"
    ann.run(f"""{BERT}
t = trainer({str(tmp_path / "out")!r}, {repo!r}, save_strategy="steps", save_steps=1, hub_strategy={strategy!r}, push_to_hub=True,
            hub_always_push=True)
t.train()
t.push_to_hub()
from huggingface_hub import snapshot_download
got = snapshot_download({repo!r}, local_dir={str(tmp_path / "got")!r})
again = trainer({str(tmp_path / "again")!r}, {repo!r}, save_strategy="no")
again.args.max_steps = 4
again.train(resume_from_checkpoint=got + "/" + {place!r})
assert again.state.global_step == 4 and again.passes > t.passes
""")
    trees = list(hub.repo(repo).commits.values())
    assert not [path for tree in trees for path in tree if path.endswith("training_args.bin")]
    assert {
        f"{place}/{name}" for name in ("optimizer.pt", "scheduler.pt", "trainer_state.json", "model.safetensors")
    } <= set(trees[-1])
    assert not [path for tree in trees for path in tree if "/" not in path and path.endswith((".pt", ".pth"))]


def corrupt(record, **changes):
    return {key: value for key, value in {**record, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, r"ann/odd holds a model of type 'bert'; accepted here: 'compt'"),
        ({"model_type": None}, r"config.json of ann/odd names no model_type: it belongs to another library"),
        (
            {"format_version": 99},
            r"format_version of ann/odd is 99; this version of dc_graphsam reads up to 1: install",
        ),
        ({"feature_set": None}, r"ann/odd names no feature_set, so what its inputs mean is not known"),
        (
            {"feature_set": "ogb-2"},
            r"ann/odd reads the feature set 'ogb-2', which this version of dc_graphsam does not",
        ),
        ({"edge_feature_size": 99}, r"ann/odd says edge_feature_size 99, feature set 'compt-own-slot' has 14"),
        ({"num_hidden_layers": 2}, r"weights in 'ann/odd' are not those of .*; missing: encoder.layers.1"),
    ],
)
def test_repositories_that_cannot_be_read(change, message, reader, hub, hub_tools, run):
    record = json.loads((run / "config.json").read_text())
    files = {name: (run / name).read_bytes() for name in ("model.safetensors", "processor_config.json")}
    hub.write("ann/odd", {**files, "config.json": json.dumps(corrupt(record, **change)).encode()})
    for loader in ("CoMPTForPropertyPrediction", "AutoModelForPropertyPrediction"):
        with pytest.raises(hub_tools.ClientError, match=message):
            reader.run(f"{loader}.from_pretrained('ann/odd')")


def test_nothing_in_a_repository_is_run_or_unpickled(reader, hub, hub_tools, run, tmp_path):
    trap = tmp_path / "sprung"
    code = f"open({str(trap)!r}, 'w').close()\nfrom dc_graphsam.models import CoMPTConfig, CoMPTEncoder\n".encode()
    record = json.loads((run / "config.json").read_text())
    record["auto_map"] = {"AutoConfig": "trap.CoMPTConfig", "AutoModel": "trap.CoMPTEncoder"}
    files = {name: (run / name).read_bytes() for name in ("model.safetensors", "processor_config.json")}
    hub.write("ann/trap", {**files, "config.json": json.dumps(record).encode(), "trap.py": code})
    reader.run("import transformers; transformers.AutoModel.from_pretrained('ann/trap'); pipeline('ann/trap')")
    assert not trap.exists()
    with pytest.raises(hub_tools.ClientError, match="trust_remote_code is True; .* no code of a repository is run"):
        reader.run("AutoModelForPropertyPrediction.from_pretrained('ann/trap', trust_remote_code=True)")
    import pickle

    class Trap:
        def __reduce__(self):
            return open, (str(trap), "w")

    hub.write("ann/trap", {"model.safetensors": None, "pytorch_model.bin": pickle.dumps(Trap())})
    with pytest.raises(hub_tools.ClientError, match="ann/trap has no model.safetensors; weights in other formats"):
        reader.run("pipeline('ann/trap')")
    assert not trap.exists()


def test_a_stranger_follows_the_card_and_gets_its_numbers(
    published, hub, hub_tools, run, program, tmp_path, monkeypatch
):
    files = hub.files("ann/tiny", published[1])
    for name in ("README.md", "recipe.yaml"):
        (tmp_path / name).write_bytes(files[name])
    text = (tmp_path / "README.md").read_text()
    part = text[text.index("## Reproduce") :]
    install, *commands = re.findall(r"```console\n(.*?)\n```", part, flags=re.DOTALL)
    (wanted,) = re.findall(r"```text\n(.*?)\n```", part, flags=re.DOTALL)
    wanted = [line.rsplit(" ", 1) for line in wanted.splitlines()]
    assert install.startswith("pip install dc-graphsam==") and len(commands) == 2 and len(wanted) == 3
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for command in commands:
        words = [word for word in shlex.split(command) if "=" not in word]  # threads: one, as in the fixture's run
        assert words[0] == "dc-graphsam"
        done = program(*words[1:], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        head, values = [line.split("   ") for line in done.stdout.splitlines() if line.strip()][:2]
        printed = dict(
            zip((cell.strip() for cell in head[1:] if cell.strip()), (v.strip() for v in values[1:] if v.strip()))
        )
        assert printed == dict(wanted), command


def test_the_servers_own_checks_accept_the_card(published, hub, run):
    from huggingface_hub import ModelCard as TheirCard

    from dc_graphsam.hub.card import ModelCard

    assert hub.count("POST", "/api/validate-yaml") > 0
    text = hub.files("ann/tiny", published[1])["README.md"].decode()
    theirs = TheirCard(text, ignore_metadata_errors=False)
    metrics = json.loads((run / "metrics.json").read_text())["test"]
    assert {r.metric_type: r.metric_value for r in theirs.data.eval_results} == metrics
    assert ModelCard.parse(text).text == text


def test_the_program_names_what_is_wrong(run, capsys, tmp_path):
    def said(*words):
        assert main(["publish", *map(str, words)]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1, err
        return err

    assert "repo is 'tiny'; accepted: 'owner/name'" in said(run, "--repo", "tiny", "--dry-run")
    assert "there is no such folder" in said(tmp_path / "none", "--repo", "ann/x", "--dry-run")
    assert "repeats a run that is there already" in said(run, "--repo", "ann/x", "--dry-run", "--with", run)
    assert "--repo" in said(run)


def test_the_program_publishes_and_predicts_with_a_repository(published, ann, reader, hub, hub_tools, run, tmp_path):
    (tmp_path / "in.csv").write_text("smiles\nCCO\nxx\n")
    words = [
        "predict",
        "--model",
        "ann/tiny",
        "--input",
        str(tmp_path / "in.csv"),
        "--output",
        str(tmp_path / "out.csv"),
    ]
    assert reader.run(f"from dc_graphsam.cli.main import main; result = main({words})") == 0
    assert (tmp_path / "out.csv").read_text().splitlines()[2].startswith("xx,nan,cannot be parsed")
    words = ["publish", str(run), "--repo", "ann/by-program", "--private", "--message", "a word"]
    assert ann.run(f"from dc_graphsam.cli.main import main; result = main({words})") == 0
    assert hub.repo("ann/by-program").private and hub.repo("ann/by-program").log[-1]["title"] == "a word"
    assert set(hub.files("ann/by-program")) == set(hub.files("ann/tiny", published[1]))
    assert reader.run(f"from dc_graphsam.cli.main import main; result = main({words})") == 1  # no token
