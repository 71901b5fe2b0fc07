"""Files → one commit on the Hub, after a look for secrets."""

from __future__ import annotations

import getpass
import json
import os
import re

from dc_graphsam.exceptions import DCGraphSAMError, InvalidArgumentError
from dc_graphsam.repository.reach import no_connection

__all__ = ["REPO_NAME", "check_repo_name", "push_files", "refuse_secrets"]

REPO_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{16,}")
_ABSOLUTE = re.compile(r"""(?<![\w./:~)\]-])(?:/(?:[\w.+-]+/)+[\w.+-]+|[A-Za-z]:\\\\?[\w.+-]+\\)""")


def push_files(
    files: dict[str, bytes],
    repo: str,
    message: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    in_background: bool = False,
):
    """Commit files, all at once; until then nothing of them can be seen. Files that are there already are not sent.

    Returns
    -------
    huggingface_hub.CommitInfo, or a future of it
    """
    from huggingface_hub import CommitOperationAdd, HfApi, errors

    api = HfApi(token=token)
    try:
        repo = api.create_repo(repo, private=private, exist_ok=True).repo_id
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(repo, branch=revision, exist_ok=True)
        operations = [
            CommitOperationAdd(path_in_repo=path, path_or_fileobj=data) for path, data in sorted(files.items())
        ]
        return api.create_commit(
            repo, operations, commit_message=message, revision=revision, run_as_future=in_background
        )
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        first = str(error).strip().split("\n")[0]
        if status in (401, 403):
            raise DCGraphSAMError(
                f"the Hub refuses to write to {repo} ({first}); log in with a token that may: hf auth login"
            ) from None
        raise DCGraphSAMError(f"{repo} cannot be written: {first}") from None
    except (errors.OfflineModeIsEnabled, *no_connection()) as error:
        raise DCGraphSAMError(f"{repo} cannot be written: the Hub cannot be reached ({error})") from None


def check_repo_name(repo: str) -> str:
    """Return ``repo`` if it is ``"owner/name"``.

    >>> check_repo_name("compt")
    Traceback (most recent call last):
        ...
    dc_graphsam.exceptions.InvalidArgumentError: repo is 'compt'; accepted: 'owner/name', letters, digits, '-', '_', '.'
    """
    if not REPO_NAME.fullmatch(repo) or "--" in repo or ".." in repo or repo.endswith((".git", "-", ".")):
        raise InvalidArgumentError(f"repo is {repo!r}; accepted: 'owner/name', letters, digits, '-', '_', '.'")
    return repo


def refuse_secrets(files: dict[str, bytes]) -> None:
    """Raise ``InvalidArgumentError`` if a file holds a token, an absolute path, or the name of the user in a path.

    >>> refuse_secrets({"run.json": b'{"data": "/mnt/disk/molecules.csv"}'})
    Traceback (most recent call last):
        ...
    dc_graphsam.exceptions.InvalidArgumentError: run.json holds the absolute path '/mnt/disk/molecules.csv'; ...
    """
    from huggingface_hub import get_token

    known = {value.encode() for value in (get_token(), os.environ.get("HF_TOKEN")) if value}
    user = re.compile(rf"(?:home|Users)[/\\]{re.escape(_user())}\b|\b{re.escape(_user())}@")
    for path, data in files.items():
        if _TOKEN.search(data) or any(token in data for token in known):
            raise InvalidArgumentError(f"{path} holds an access token; it is not published")
        if path.endswith(".safetensors"):
            length = int.from_bytes(data[:8], "little")
            data = json.dumps(json.loads(data[8 : 8 + length]).get("__metadata__", {})).encode()
        text = data.decode("utf-8", "replace")
        found = _ABSOLUTE.search(text if not path.endswith(".svg") else "") or user.search(text)
        if found:
            raise InvalidArgumentError(
                f"{path} holds the absolute path {found[0]!r}; train with paths relative to where you work, and it will not"
            )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a user database
        return "\0"
