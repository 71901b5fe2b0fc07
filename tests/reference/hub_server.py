"""A Hub on the loopback interface, for clients that do not know the difference (see hub_client.py).

It speaks the part of the Hub's HTTP protocol that ``huggingface_hub`` 2.4, ``transformers`` and ``datasets`` use for models,
data sets and Spaces: creating, uploading (small files inside the commit, large ones by LFS: batch, PUT, verify),
committing, listing, downloading whole or by ranges, branches, tags, pull requests, private repositories. Large files are
served by a redirect to another host name, as by the Hub's CDN. Xet storage is not offered: a client that has ``hf_xet``
installed must be started with ``HF_HUB_DISABLE_XET=1``, or the server with ``lfs=()`` (then no upload needs it).

    with HubServer() as hub:
        hub.add_user("ann", token="hf_ann")
        with HubClient(hub, home=folder, token="hf_ann") as client:
            client.run("from huggingface_hub import HfApi; result = HfApi().create_repo('ann/x').repo_id")
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TYPES = {"models": "", "datasets": "datasets/", "spaces": "spaces/"}
TIME = "2025-01-01T00:00:00.000Z"
LFS_SUFFIXES = (".safetensors", ".parquet", ".bin", ".npz", ".arrow", ".gz", ".zip")


@dataclass(frozen=True)
class Blob:
    """A file: its bytes and, if it is an LFS file, that it is one."""

    content: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()
        )

    @property
    def git_oid(self) -> str:
        """Object name in git: of the file, or of the pointer that stands for it."""
        data = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_oid

    def entry(self, path: str, expand: bool) -> dict[str, Any]:
        out: dict[str, Any] = {"type": "file", "path": path, "size": len(self.content), "oid": self.git_oid}
        if self.lfs:
            out["lfs"] = {
                "oid": self.sha256,
                "sha256": self.sha256,
                "size": len(self.content),
                "pointerSize": len(self.pointer),
            }
        if expand:
            out["lastCommit"] = {"id": "0" * 40, "title": "commit", "date": TIME}
        return out


@dataclass
class Repo:
    """A repository: commits by name, and what points at them."""

    kind: str
    name: str
    private: bool = False
    sdk: str | None = None
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    log: list[dict[str, str]] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)  # main, refs/pr/1, …
    tags: dict[str, str] = field(default_factory=dict)
    readers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not self.commits:
            self.refs["main"] = self.record(
                {".gitattributes": Blob(b"*.safetensors filter=lfs\n")}, None, "initial commit"
            )

    def record(self, files: dict[str, Blob], parent: str | None, title: str) -> str:
        listing = [(path, blob.etag) for path, blob in sorted(files.items())]
        sha = hashlib.sha1(json.dumps([listing, parent, title, len(self.commits)]).encode()).hexdigest()
        self.commits[sha] = files
        self.log.append({"id": sha, "title": title})
        return sha

    def resolve(self, revision: str) -> str | None:
        found = self.refs.get(revision) or self.tags.get(revision)
        return found or (revision if revision in self.commits else None)


@dataclass
class Fault:
    """What goes wrong with a request whose method and path match.

    ``action``: ``"drop"`` (read part of the request, close the connection), ``"stall"`` (read part, then wait until the
    client is gone), ``"cut"`` (send half of the body), ``"flip"`` (change one byte of the body), or an HTTP status.
    """

    method: str
    pattern: str
    action: str | int
    times: int = 1
    hit: threading.Event = field(default_factory=threading.Event)


class HubServer:
    """The server.

    Attributes
    ----------
    url
        What ``HF_ENDPOINT`` is set to.
    requests
        (method, path, status) of every request answered so far.
    repos
        (``"models"``, ``"owner/name"``) and so on → :class:`Repo`.
    """

    def __init__(self, lfs: tuple[str, ...] = LFS_SUFFIXES) -> None:
        self.lfs = lfs
        self.users: dict[str, str] = {}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, int]] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()

    def start(self) -> HubServer:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.cdn = f"http://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> HubServer:
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()

    # What a test says and asks

    def add_user(self, name: str, token: str) -> None:
        self.users[token] = name

    def fault(self, method: str, pattern: str, action: str | int, times: int = 1) -> Fault:
        """Let the next requests of a kind go wrong; see :class:`Fault`. ``pattern`` is searched for in the path."""
        fault = Fault(method, pattern, action, times)
        with self.lock:
            self.faults.append(fault)
        return fault

    def repo(self, name: str, kind: str = "models") -> Repo:
        return self.repos[kind, name]

    def files(self, name: str, revision: str = "main", kind: str = "models") -> dict[str, bytes]:
        """Path → content at a revision."""
        repo = self.repo(name, kind)
        return {path: blob.content for path, blob in repo.commits[repo.resolve(revision)].items()}

    def write(self, name: str, files: dict[str, bytes | None], kind: str = "models", title: str = "edit") -> str:
        """Commit to ``main`` without a client; a content of ``None`` removes the file. The repository is made if needed."""
        with self.lock:
            repo = self.repos.setdefault((kind, name), Repo(kind, name))
            tree = dict(repo.commits[repo.refs["main"]])
            for path, content in files.items():
                tree.pop(path, None)
                if content is not None:
                    tree[path] = Blob(content, path.endswith(self.lfs) if self.lfs else False)
            repo.refs["main"] = repo.record(tree, repo.refs["main"], title)
            return repo.refs["main"]

    def count(self, method: str, pattern: str) -> int:
        """Requests of a kind so far."""
        return sum(1 for verb, path, _ in self.requests if verb == method and re.search(pattern, path))

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.pattern, path):
                    fault.times -= 1
                    return fault
        return None


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self.status, self.message = status, message
        self.headers = {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    # Requests and responses

    def _answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        self.route, self.query = parts.path, parse_qs(parts.query, keep_blank_values=True)
        self.fault = self.hub.take_fault(method, self.route)
        self.method = method
        if self.fault and self.fault.action in ("drop", "stall"):
            self._break_off()
            return
        self.body = self._read_body()
        try:
            if self.fault and isinstance(self.fault.action, int):
                self.fault.hit.set()
                raise _Refused(self.fault.action, "Injected", "a fault of the test")
            self.user = self._user()
            for pattern, verbs, action in ROUTES:
                match = pattern.fullmatch(self.route)
                if match and method in verbs:
                    with self.hub.lock:
                        action(self, **{k: unquote(v) for k, v in match.groupdict().items() if v is not None})
                    return
            raise _Refused(404, "NotFound", f"no such page: {method} {self.route}")
        except _Refused as refused:
            self.send(refused.status, {"error": refused.message}, refused.headers)

    def _break_off(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length // 2)
        self.fault.hit.set()
        if self.fault.action == "stall":
            with contextlib.suppress(OSError):
                while self.rfile.read1(65536):
                    pass
        self.hub.requests.append((self.method, self.route, 0))
        self.close_connection = True

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def send(self, status: int, content: Any = b"", headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"Content-Type": "application/json", **(headers or {})}
        self.hub.requests.append((self.method, self.route, status))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.method == "HEAD":
            return
        action = self.fault.action if self.fault else None
        if action == "flip" and data:
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
            self.fault.hit.set()
        if action == "cut":
            data = data[: len(data) // 2]
            self.close_connection = True
            self.fault.hit.set()
        self.wfile.write(data)

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"{}")

    # Who may do what

    def _user(self) -> str | None:
        words = self.headers.get("Authorization", "").split()
        if len(words) != 2 or words[0].lower() != "bearer":
            return None
        if words[1] not in self.hub.users:
            raise _Refused(401, "InvalidToken", "Invalid credentials in Authorization header")
        return self.hub.users[words[1]]

    def _repo(self, kind: str, repo: str, write: bool = False) -> Repo:
        found = self.hub.repos.get((kind, repo))
        owner = repo.split("/")[0]
        if found is None or (found.private and self.user not in {owner, *found.readers}):
            status = 404 if self.user else 401
            raise _Refused(
                status, "RepoNotFound", "Repository not found" if self.user else "Invalid username or password."
            )
        if write and self.user != owner:
            status = 403 if self.user else 401
            raise _Refused(status, "Forbidden", f"{self.user or 'nobody'} may not write to {repo}")
        return found

    def _files(self, repo: Repo, revision: str) -> tuple[str, dict[str, Blob]]:
        sha = repo.resolve(revision)
        if sha is None:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha, repo.commits[sha]

    # Accounts and repositories

    def whoami(self) -> None:
        if self.user is None:
            raise _Refused(401, "NoToken", "Invalid username or password.")
        auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}}
        self.send(200, {"type": "user", "name": self.user, "fullname": self.user, "orgs": [], "auth": auth})

    def create(self) -> None:
        if self.user is None:
            raise _Refused(401, "NoToken", "Invalid username or password.")
        asked = self.json
        kind = f"{asked.get('type') or 'model'}s"
        name = f"{asked.get('organization') or self.user}/{asked['name']}"
        answer = {"url": f"{self.hub.url}/{TYPES[kind]}{name}", "name": name, "id": name}
        if name.split("/")[0] != self.user:
            raise _Refused(403, "Forbidden", f"{self.user} may not create {name}")
        if (kind, name) in self.hub.repos:
            self.send(409, {**answer, "error": "You already created this repo"})
            return
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.repos[kind, name] = Repo(kind, name, private, asked.get("sdk"))
        self.send(200, answer)

    def delete_repo(self) -> None:
        asked = self.json
        kind, name = f"{asked.get('type') or 'model'}s", f"{asked.get('organization') or self.user}/{asked['name']}"
        self._repo(kind, name, write=True)
        del self.hub.repos[kind, name]
        self.send(200, {})

    def settings(self, kind: str, repo: str) -> None:
        found = self._repo(kind, repo, write=True)
        if "private" in self.json or "visibility" in self.json:
            found.private = (
                self.json.get("visibility", "private" if self.json.get("private") else "public") == "private"
            )
        self.send(200, {"private": found.private})

    def validate_yaml(self) -> None:
        asked = self.json
        front = re.match(r"---\r?\n(.*?)\r?\n---", asked["content"], flags=re.DOTALL)
        errors = []
        if front:
            import yaml

            try:
                data = yaml.safe_load(front[1])
                if not isinstance(data, (dict, type(None))):
                    errors.append({"message": "metadata is not a mapping"})
                elif asked.get("repoType") == "model":
                    errors += _wrong_model_metadata(data or {})
            except yaml.YAMLError as error:
                errors.append({"message": str(error)})
        warnings = [] if front else [{"message": "empty or missing yaml metadata in repo card"}]
        self.send(400 if errors else 200, {"errors": errors, "warnings": warnings})

    def info(self, kind: str, repo: str, revision: str = "main") -> None:
        found = self._repo(kind, repo)
        sha, files = self._files(found, revision)
        blobs = "blobs" in self.query
        siblings = []
        for path, blob in sorted(files.items()):
            about: dict[str, Any] = {"rfilename": path}
            if blobs:
                entry = blob.entry(path, False)
                about |= {"size": entry["size"], "blobId": entry["oid"]} | ({"lfs": entry["lfs"]} if blob.lfs else {})
            siblings.append(about)
        card = _card_data(files.get("README.md"))
        out = {
            "_id": hashlib.sha256(repo.encode()).hexdigest()[:24],
            "id": repo,
            "author": repo.split("/")[0],
            "sha": sha,
            "private": found.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": list(card.get("tags") or []),
            "lastModified": TIME,
            "createdAt": TIME,
            "siblings": siblings,
            "cardData": card,
        }
        if kind == "models":
            out |= {"modelId": repo, "pipeline_tag": card.get("pipeline_tag"), "library_name": card.get("library_name")}
        if kind == "spaces":
            out |= {"sdk": found.sdk, "runtime": {"stage": "NO_APP_FILE"}}
        self.send(200, out)

    # Uploads

    def preupload(self, kind: str, repo: str, revision: str) -> None:
        found = self._repo(kind, repo, write=True)
        sha = found.resolve(revision)
        tree = found.commits[sha] if sha else {}
        files = []
        for file in self.json["files"]:
            large = bool(self.hub.lfs) and (file["path"].endswith(self.hub.lfs) or file["size"] > 10 << 20)
            there = tree.get(file["path"])
            files.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": there.etag if there else None,
                }
            )
        self.send(200, {"files": files, "commitOid": sha})

    def lfs_batch(self, repo: str, prefix: str = "") -> None:
        self._repo(prefix.rstrip("/") or "models", repo, write=True)
        objects = []
        for asked in self.json["objects"]:
            about: dict[str, Any] = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.objects:
                about["actions"] = {
                    "upload": {"href": f"{self.hub.url}/lfs-upload/{asked['oid']}", "header": {}},
                    "verify": {"href": f"{self.hub.url}/{prefix}{repo}/lfs-verify"},
                }
            objects.append(about)
        self.send(200, {"transfer": "basic", "objects": objects}, {"Content-Type": "application/vnd.git-lfs+json"})

    def lfs_upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _Refused(400, "BadDigest", "the content does not have the SHA-256 it was announced with")
        self.hub.objects[oid] = self.body
        self.send(200, b"")

    def lfs_verify(self, repo: str, prefix: str = "") -> None:
        self._repo(prefix.rstrip("/") or "models", repo, write=True)
        content = self.hub.objects.get(self.json["oid"])
        if content is None or len(content) != self.json["size"]:
            raise _Refused(422, "LfsMissing", "the object is not there")
        self.send(200, {"message": "ok"})

    def commit(self, kind: str, repo: str, revision: str) -> None:
        found = self._repo(kind, repo, write=True)
        if revision not in found.refs:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        parent = found.refs[revision]
        tree = dict(found.commits[parent])
        header: dict[str, Any] = {}
        for line in self.body.splitlines():
            if not line.strip():
                continue
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                header = value
            elif key == "file":
                tree[value["path"]] = Blob(base64.b64decode(value["content"], validate=True))
            elif key == "lfsFile":
                content = self.hub.objects.get(value["oid"])
                if content is None:
                    raise _Refused(422, "LfsMissing", f"{value['path']}: its LFS object has not been uploaded")
                tree[value["path"]] = Blob(content, lfs=True)
            elif key == "deletedFile":
                tree.pop(value["path"], None)
            elif key == "deletedFolder":
                start = value["path"].rstrip("/") + "/"
                tree = {path: blob for path, blob in tree.items() if not path.startswith(start)}
            else:
                raise _Refused(400, "BadCommit", f"unknown operation {key}")
        if header.get("parentCommit") not in (None, parent):
            raise _Refused(412, "Precondition", "A commit has happened since. Please refresh and try again.")
        target, extra = revision, {}
        if "create_pr" in self.query:
            number = 1 + sum(ref.startswith("refs/pr/") for ref in found.refs)
            target = f"refs/pr/{number}"
            extra = {"pullRequestUrl": f"{self.hub.url}/{TYPES[kind]}{repo}/discussions/{number}"}
        found.refs[target] = sha = found.record(tree, parent, header.get("summary", ""))
        url = f"{self.hub.url}/{TYPES[kind]}{repo}/commit/{sha}"
        self.send(200, {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": "", **extra})

    # Listings and references

    def tree(self, kind: str, repo: str, revision: str, path: str = "") -> None:
        sha, files = self._files(self._repo(kind, repo), revision)
        start = f"{path}/" if path else ""
        inside = {name: blob for name, blob in sorted(files.items()) if name.startswith(start)}
        if path and not inside:
            raise _Refused(404, "EntryNotFound", f"{path} does not exist on {revision}", {"X-Repo-Commit": sha})
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("1", "true")
        expand = self.query.get("expand", ["false"])[0].lower() in ("1", "true")
        folders, entries = set(), []
        for name, blob in inside.items():
            pieces = name[len(start) :].split("/")
            depth = len(pieces) if recursive else min(2, len(pieces))
            folders |= {start + "/".join(pieces[:n]) for n in range(1, depth)}
            if recursive or len(pieces) == 1:
                entries.append(blob.entry(name, expand))
        listing = [_folder_entry(name, expand) for name in sorted(folders)] + entries
        self.send(200, listing, {"X-Repo-Commit": sha})

    def paths_info(self, kind: str, repo: str, revision: str) -> None:
        _, files = self._files(self._repo(kind, repo), revision)
        if "json" in self.headers.get("Content-Type", ""):
            asked, expand = self.json["paths"], bool(self.json.get("expand"))
        else:
            form = parse_qs(self.body.decode())
            asked, expand = form.get("paths", []), form.get("expand", ["false"])[0].lower() == "true"
        out = []
        for path in [asked] if isinstance(asked, str) else asked:
            if path in files:
                out.append(files[path].entry(path, expand))
            elif any(name.startswith(f"{path}/") for name in files):
                out.append(_folder_entry(path, expand))
        self.send(200, out)

    def list_refs(self, kind: str, repo: str) -> None:
        found = self._repo(kind, repo)

        def listed(names: dict[str, str], where: str) -> list[dict[str, str]]:
            return [{"name": n, "ref": f"refs/{where}/{n}", "targetCommit": sha} for n, sha in names.items()]

        branches = {name: sha for name, sha in found.refs.items() if not name.startswith("refs/")}
        self.send(200, {"branches": listed(branches, "heads"), "tags": listed(found.tags, "tags"), "converts": []})

    def list_commits(self, kind: str, repo: str, revision: str) -> None:
        found = self._repo(kind, repo)
        self._files(found, revision)
        self.send(200, [{**item, "message": "", "authors": [], "date": TIME} for item in reversed(found.log)])

    def branch(self, kind: str, repo: str, name: str) -> None:
        found = self._repo(kind, repo, write=True)
        if self.method == "DELETE":
            found.refs.pop(name, None)
        else:
            if name in found.refs:
                raise _Refused(409, "Conflict", f"Reference already exists: {name}")
            found.refs[name] = self._files(found, self.json.get("startingPoint") or "main")[0]
        self.send(200, {})

    def tag(self, kind: str, repo: str, name: str) -> None:
        found = self._repo(kind, repo, write=True)
        if self.method == "DELETE":
            found.tags.pop(name, None)
        else:
            if self.json["tag"] in found.tags:
                raise _Refused(409, "Conflict", f"Tag already exists: {self.json['tag']}")
            found.tags[self.json["tag"]] = self._files(found, name)[0]
        self.send(200, {})

    # Downloads

    def resolve(self, repo: str, revision: str, path: str, prefix: str = "") -> None:
        kind = prefix.rstrip("/") or "models"
        sha, files = self._files(self._repo(kind, repo), revision)
        headers = {"X-Repo-Commit": sha}
        blob = files.get(path)
        if blob is None:
            raise _Refused(404, "EntryNotFound", "Entry not found", headers)
        headers["ETag"] = f'"{blob.etag}"'
        if not blob.lfs:
            self._content(blob.content, headers)
            return
        self.hub.objects.setdefault(blob.sha256, blob.content)
        headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.content))}
        self.send(302, b"", {**headers, "Location": f"{self.hub.cdn}/cdn/{blob.sha256}"})

    def from_cdn(self, oid: str) -> None:
        if oid not in self.hub.objects:
            raise _Refused(403, "Denied", "no such object")
        self._content(self.hub.objects[oid], {"ETag": f'"{oid}"'})

    def _content(self, content: bytes, headers: dict[str, str]) -> None:
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not match or not any(match.groups()):
            self.send(200, content, headers)
            return
        if match[1]:
            first, last = int(match[1]), int(match[2] or len(content) - 1)
        else:
            first, last = max(len(content) - int(match[2]), 0), len(content) - 1
        last = min(last, len(content) - 1)
        if first > last:
            raise _Refused(416, "Range", "range not satisfiable", {"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self.send(206, content[first : last + 1], headers)


def _folder_entry(path: str, expand: bool) -> dict[str, Any]:
    name = hashlib.sha1(path.encode()).hexdigest()
    out: dict[str, Any] = {"type": "directory", "path": path, "size": 0, "oid": name}
    return {**out, "lastCommit": {"id": "0" * 40, "title": "commit", "date": TIME}} if expand else out


def _card_data(blob: Blob | None) -> dict[str, Any]:
    match = re.match(rb"---\r?\n(.*?)\r?\n---", blob.content if blob else b"", flags=re.DOTALL)
    if not match:
        return {}
    import yaml

    with contextlib.suppress(yaml.YAMLError):
        data = yaml.safe_load(match[1])
        return data if isinstance(data, dict) else {}
    return {}


def _wrong_model_metadata(data: dict[str, Any]) -> list[dict[str, str]]:
    """What the Hub refuses in a model card, of what can be told without its lists."""
    errors = []
    for name in ("tags", "datasets", "metrics"):
        value = data.get(name, [])
        if not isinstance(value, (str, list)) or any(not isinstance(item, str) for item in value):
            errors.append({"message": f'"{name}" must be a string or a list of strings'})
    for entry in data.get("model-index") or []:
        if not isinstance(entry.get("name"), str) or not isinstance(entry.get("results"), list):
            errors.append({"message": '"model-index" needs a name and a list of results'})
            continue
        for result in entry["results"]:
            task, dataset, metrics = result.get("task", {}), result.get("dataset", {}), result.get("metrics")
            if "type" not in task or not {"name", "type"} <= set(dataset) or not metrics:
                errors.append(
                    {"message": '"model-index" results need task.type, dataset.name, dataset.type and metrics'}
                )
            elif any("type" not in metric or "value" not in metric for metric in metrics):
                errors.append({"message": '"model-index" metrics need type and value'})
    return errors


def _route(path: str, verbs: str, action: Callable) -> tuple[re.Pattern, set[str], Callable]:
    path = path.replace("{kind}", r"(?P<kind>models|datasets|spaces)").replace("{repo}", r"(?P<repo>[^/]+/[^/]+)")
    path = path.replace("{prefix}", r"(?P<prefix>datasets/|spaces/)?").replace(
        "{rev}", r"(?P<revision>refs/[^/]+/[^/]+|[^/]+)"
    )
    return re.compile(path), set(verbs.split()), action


ROUTES = [
    _route("/api/whoami-v2", "GET", _Handler.whoami),
    _route("/api/repos/create", "POST", _Handler.create),
    _route("/api/repos/delete", "DELETE", _Handler.delete_repo),
    _route("/api/validate-yaml", "POST", _Handler.validate_yaml),
    _route("/api/{kind}/{repo}", "GET", _Handler.info),
    _route("/api/{kind}/{repo}/settings", "PUT", _Handler.settings),
    _route("/api/{kind}/{repo}/revision/{rev}", "GET", _Handler.info),
    _route("/api/{kind}/{repo}/preupload/{rev}", "POST", _Handler.preupload),
    _route("/api/{kind}/{repo}/commit/{rev}", "POST", _Handler.commit),
    _route("/api/{kind}/{repo}/commits/{rev}", "GET", _Handler.list_commits),
    _route("/api/{kind}/{repo}/tree/{rev}(?:/(?P<path>.+))?", "GET", _Handler.tree),
    _route("/api/{kind}/{repo}/paths-info/{rev}", "POST", _Handler.paths_info),
    _route("/api/{kind}/{repo}/refs", "GET", _Handler.list_refs),
    _route("/api/{kind}/{repo}/branch/(?P<name>.+)", "POST DELETE", _Handler.branch),
    _route("/api/{kind}/{repo}/tag/(?P<name>.+)", "POST DELETE", _Handler.tag),
    _route("/{prefix}{repo}\\.git/info/lfs/objects/batch", "POST", _Handler.lfs_batch),
    _route("/{prefix}{repo}/lfs-verify", "POST", _Handler.lfs_verify),
    _route("/lfs-upload/(?P<oid>[0-9a-f]{64})", "PUT", _Handler.lfs_upload),
    _route("/cdn/(?P<oid>[0-9a-f]{64})", "GET HEAD", _Handler.from_cdn),
    _route("/{prefix}{repo}/resolve/{rev}/(?P<path>.+)", "GET HEAD", _Handler.resolve),
]


def serve(lfs: tuple[str, ...] = LFS_SUFFIXES) -> Iterator[HubServer]:
    """Body of a fixture: a server with the users ``ann`` (token ``hf_ann``) and ``bob`` (``hf_bob``)."""
    with HubServer(lfs) as hub:
        hub.add_user("ann", "hf_ann")
        hub.add_user("bob", "hf_bob")
        yield hub


if __name__ == "__main__":
    with HubServer() as server:
        server.add_user("ann", "hf_ann")
        sys.stdout.write(f"HF_ENDPOINT={server.url} HF_TOKEN=hf_ann HF_HUB_DISABLE_XET=1\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
