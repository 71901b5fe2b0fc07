from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dc_graphsam.data import load_moleculenet
from dc_graphsam.data.moleculenet import sources
from dc_graphsam.data.moleculenet.registry import DATASETS
from dc_graphsam.data.moleculenet.sources import find_raw_files
from dc_graphsam.exceptions import MissingDataError

QM7 = b"smiles,u0_atom\n" + b"".join(b"%s,%d.5\n" % (b"C" * n, -n) for n in range(1, 13))


@pytest.fixture
def server(monkeypatch):
    """A loopback server in DeepChem's place; ``server.answer`` is what it does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            server.answer(self)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(
        "dc_graphsam.data.moleculenet.registry.DOWNLOAD_ROOT", f"http://127.0.0.1:{server.server_port}/"
    )
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(sources, "_TIMEOUT", 1.0)
    yield server
    server.shutdown()
    server.server_close()


def send(content, length=None):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def test_downloads_once(server, tmp_path):
    server.answer = send(QM7)
    data = load_moleculenet("qm7", data_dir=tmp_path / "raw", progress=False)
    assert sum(map(len, data.values())) == 12
    load_moleculenet("qm7", data_dir=tmp_path / "raw", progress=False)
    assert server.asked == ["/qm7.csv"]
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["qm7.csv"]


@pytest.mark.parametrize(
    "answer, words",
    [
        (send(b"smiles", length=100), "the connection broke after 6 of 100 bytes"),
        (lambda handler: handler.send_error(403), "HTTP Error 403"),
        (lambda handler: handler.close_connection, "Remote end closed connection"),
        (lambda handler: time.sleep(3), "timed out"),
    ],
    ids=["cut", "forbidden", "nothing", "silence"],
)
def test_downloads_that_fail(server, tmp_path, answer, words):
    server.answer = answer
    start = time.monotonic()
    with pytest.raises(MissingDataError, match=words) as error:
        load_moleculenet("qm7", data_dir=tmp_path)
    assert time.monotonic() - start < 2.9
    assert "\n" not in str(error.value) and not (tmp_path / "qm7.csv").exists()
    assert [path for path in tmp_path.iterdir() if path.name != "cache"] == []


def test_a_name_server_that_does_not_answer(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "_TIMEOUT", 0.2)
    monkeypatch.setattr(sources, "_GRACE", 0.1)
    monkeypatch.setattr(sources.urllib.request, "urlopen", lambda url, timeout: time.sleep(2))
    with pytest.raises(MissingDataError, match=r"no answer within 0.3 s"):
        find_raw_files(DATASETS["bbbp"], tmp_path)


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_no_network(monkeypatch, tmp_path, how):
    monkeypatch.setattr(
        "dc_graphsam.data.moleculenet.registry.DOWNLOAD_ROOT", "http://127.0.0.1:9/"
    )  # nobody listens there
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("DEEPCHEM_DATA_DIR", str(tmp_path / "from environment"))
    data_dir = tmp_path / "from argument" if how == "argument" else None
    with pytest.raises(MissingDataError) as error:
        load_moleculenet("bbbp", data_dir=data_dir)
    message = str(error.value)
    for words in ("BBBP.csv is not in", f"from {how}", "Connection refused", "data_dir", "DEEPCHEM_DATA_DIR"):
        assert words in message
    assert "\n" not in message


def test_download_can_be_forbidden(tmp_path):
    with pytest.raises(MissingDataError, match=r"tox21.csv.gz is not in .* cannot be downloaded .*download is False"):
        load_moleculenet("tox21", data_dir=tmp_path, download=False)


def test_environment_and_default(monkeypatch, tmp_path):
    (tmp_path / "qm7.csv").write_bytes(QM7)
    monkeypatch.setenv("DEEPCHEM_DATA_DIR", str(tmp_path))
    assert find_raw_files(DATASETS["qm7"]) == (tmp_path / "qm7.csv",)
    monkeypatch.delenv("DEEPCHEM_DATA_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # DeepChem's default
    assert find_raw_files(DATASETS["qm7"], download=False) == (tmp_path / "qm7.csv",)


def test_freewilson_is_joined_on_the_name():
    files = find_raw_files(DATASETS["freewilson"])
    table = sources.read_raw(DATASETS["freewilson"], files)
    activity = dict(line.split(",") for line in files[1].read_text().splitlines()[1:])
    lines = files[0].read_text().splitlines()
    assert len(table.smiles) == len(lines) == 1017
    for line, smiles, label in zip(lines, table.smiles, table.labels[:, 0], strict=True):
        assert line.split()[0] == smiles and float(activity[line.split()[1]]) == label
    assert (table.labels.min(), table.labels.max()) == (4.27, 9.22)
