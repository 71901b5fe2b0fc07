"""What a repository of a model holds, how it is fetched, and how it is checked before anything in it is used.

Nothing here runs code from a repository or unpickles: files are JSON, safetensors and text.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dc_graphsam.chem.feature_sets import FEATURE_SETS, fits, get_feature_set
from dc_graphsam.exceptions import DCGraphSAMError, FeatureSetError, InvalidArgumentError, MissingDataError
from dc_graphsam.repository.reach import reaches_hub

__all__ = [
    "CONFIG",
    "PROCESSOR",
    "SUMS",
    "WEIGHTS",
    "DamagedFileError",
    "check_config",
    "check_processor",
    "check_sums",
    "commit_of",
    "fetch",
    "fetch_model",
    "processor_record",
    "write_processor_record",
    "sums_of",
]

CONFIG, WEIGHTS, PROCESSOR, SUMS = "config.json", "model.safetensors", "processor_config.json", "SHA256SUMS"
_INDEX = "model.safetensors.index.json"
PROCESSOR_FORMAT = 1
CONFIG_FORMAT = 1
# What is passed on to the download; everything else belongs to the model.
DOWNLOAD_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "force_download", "subfolder")
_SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_SHA1, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
logger = logging.getLogger(__name__)


class DamagedFileError(DCGraphSAMError):
    """A file is not the one that was published: its SHA-256 is another."""


class AbsentFileError(MissingDataError):
    """Folder or repository is there, the file is not."""


def fetch(name: str | os.PathLike, file: str, *, optional: bool = False, **options: Any) -> Path | None:
    """Path of a file of a folder or of a repository on the Hub, downloaded or from the cache.

    Parameters
    ----------
    name
        A folder, or ``"owner/name"``.
    file
        Its path inside.
    optional
        Whether it may be absent; then the result is ``None``.
    **options
        ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``force_download``, ``subfolder``.

    Raises
    ------
    MissingDataError
        There is no such folder, repository, revision or file, or it cannot be reached; the message says which.
    """
    subfolder = options.pop("subfolder", None) or ""
    folder = Path(name) / subfolder
    if Path(name).is_dir():
        if (folder / file).is_file():
            return folder / file
        if optional:
            return None
        raise AbsentFileError(f"{folder} has no {file}: it is not the folder of a saved model")
    from huggingface_hub import errors, hf_hub_download

    options = {key: value for key, value in options.items() if value is not None}
    revision = options.get("revision", "main")
    unreachable = MissingDataError(
        f"{name} (revision {revision!r}) is neither a folder nor a repository whose {file} is in the cache, and the "
        f"Hub cannot be reached or may not be asked (offline mode)"
    )
    if not reaches_hub(str(name), file, subfolder=subfolder, **options):
        if optional:
            return None
        raise unreachable
    try:
        return Path(hf_hub_download(str(name), file, subfolder=subfolder or None, **options))
    except errors.HFValidationError:
        raise MissingDataError(f"{str(name)!r} is neither a folder nor a name of a repository (owner/name)") from None
    except errors.GatedRepoError:
        raise MissingDataError(f"access to the repository {name} must be asked for on its page first") from None
    except errors.RepositoryNotFoundError:
        raise MissingDataError(
            f"there is neither a folder nor a repository {str(name)!r} that you can see; if it is private, "
            f"log in (hf auth login) or pass token=…"
        ) from None
    except errors.RevisionNotFoundError:
        raise MissingDataError(f"the repository {name} has no revision {revision!r}") from None
    except errors.LocalEntryNotFoundError as error:
        refused = _status(error.__cause__)
        if refused in (401, 403):
            raise MissingDataError(_refused(name)) from None
        if optional and refused is None:
            return None
        raise unreachable from None
    except errors.EntryNotFoundError:
        if optional:
            return None
        raise AbsentFileError(f"the repository {name} (revision {revision!r}) has no {file}") from None
    except errors.HfHubHTTPError as error:
        if _status(error) in (401, 403):
            raise MissingDataError(_refused(name)) from None
        if _status(error) == 404 and optional:
            return None
        raise MissingDataError(f"{file} of {name} cannot be downloaded: {_first_line(error)}") from None
    except OSError as error:  # cut off, or the disk
        raise MissingDataError(f"{file} of {name} cannot be downloaded: {_first_line(error)}") from None


def _status(error: BaseException | None) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _refused(name: Any) -> str:
    return f"the Hub refuses access to {name}: the token is not valid, or does not open this repository"


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def fetch_model(name: str | os.PathLike, kinds: Iterable[str], **options: Any) -> Path:
    """Fetch configuration and weights of a model of this package, all of one revision, and check them.

    Parameters
    ----------
    name
        A folder, or ``"owner/name"``.
    kinds
        Accepted ``model_type``s.
    **options
        As of :func:`fetch`.

    Returns
    -------
    pathlib.Path
        Folder with ``config.json`` and weights.

    Raises
    ------
    MissingDataError
        Something is not there.
    InvalidArgumentError, FeatureSetError
        The configuration is of another library or kind, or of a newer version: see :func:`check_config`.
    DamagedFileError
        A file is not the one that was published.
    """
    path = fetch(name, CONFIG, **options)
    folder = path.parent
    if not Path(name).is_dir():
        commit = commit_of(path, options.get("subfolder"))
        if commit is not None:
            options["revision"] = commit  # the other files are those of the same commit
    check_sums(folder, [CONFIG], str(name))
    check_config(_read_config(path, name), str(name), kinds)
    files = []
    try:
        fetch(name, WEIGHTS, **options)
        files.append(WEIGHTS)
    except AbsentFileError:
        index = fetch(name, _INDEX, optional=True, **options)
        if index is None:
            raise MissingDataError(
                f"{name} has no {WEIGHTS}; weights in other formats (pytorch_model.bin and the like) are not read, "
                f"for reading them can run code"
            ) from None
        files += [_INDEX, *sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))]
        for file in files[1:]:
            fetch(name, file, **options)
    fetch(name, SUMS, optional=True, **options)
    check_sums(folder, files, str(name))
    return folder


def commit_of(path: Path, subfolder: str | None) -> str | None:
    """The commit a file of the cache belongs to: ``…/snapshots/<commit>/…``."""
    parent = path.parents[len(Path(subfolder or "").parts)]
    return parent.name if parent.parent.name == "snapshots" else None


def _read_config(path: Path, name: Any) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise InvalidArgumentError(f"{CONFIG} of {name} is not a JSON object")
    return record


def check_config(record: dict[str, Any], source: str, kinds: Iterable[str]) -> None:
    """Refuse a configuration that this version cannot read, before a single field of it is used.

    Parameters
    ----------
    record
        Content of a ``config.json``.
    source
        What to call it in a message.
    kinds
        Accepted ``model_type``s.

    Raises
    ------
    InvalidArgumentError
        It is the configuration of another library or model, or of a newer format version.
    FeatureSetError
        It names no feature set, one that is not known here, or one of other widths.

    Examples
    --------
    >>> check_config({"model_type": "bert"}, "someone/bert", ["compt"])
    Traceback (most recent call last):
        ...
    dc_graphsam.exceptions.InvalidArgumentError: someone/bert holds a model of type 'bert'; accepted here: 'compt'
    """
    kinds = list(kinds)
    accepted = ", ".join(map(repr, kinds))
    kind = record.get("model_type")
    if kind is None:
        library = record.get("library_name") or (record.get("architectures") or [None])[0]
        of = f" (of {library})" if library else ""
        raise InvalidArgumentError(
            f"the {CONFIG} of {source} names no model_type: it belongs to another library{of}; accepted here: {accepted}"
        )
    if kind not in kinds:
        raise InvalidArgumentError(f"{source} holds a model of type {kind!r}; accepted here: {accepted}")
    version = record.get("format_version", 1)
    if not isinstance(version, int) or version > CONFIG_FORMAT:
        wrote = record.get("dc_graphsam_version")
        raise InvalidArgumentError(
            f"format_version of {source} is {version!r}; this version of dc_graphsam reads up to {CONFIG_FORMAT}: "
            f"install a newer one" + (f" ({wrote} wrote it)" if wrote else "")
        )
    check_feature_set(record, source)


def check_feature_set(record: dict[str, Any], source: str) -> None:
    """Raise ``FeatureSetError`` if a record's feature set is absent, unknown, or of other widths than here."""
    name = record.get("feature_set")
    if name is None:
        raise FeatureSetError(
            f"{source} names no feature_set, so what its inputs mean is not known; known here: {', '.join(FEATURE_SETS)}"
        )
    try:
        features = get_feature_set(name)
    except DCGraphSAMError:
        raise FeatureSetError(
            f"{source} reads the feature set {name!r}, which this version of dc_graphsam does not have; "
            f"it has: {', '.join(FEATURE_SETS)}. Install the version that wrote it"
        ) from None
    for field in ("node_feature_size", "edge_feature_size"):
        here = getattr(features, field)
        if record.get(field) not in (None, here):
            raise FeatureSetError(
                f"{source} says {field} {record[field]}, feature set {name!r} has {here} in this version of "
                f"dc_graphsam; install the version that wrote it"
            )


def check_processor(feature_set: str, config: dict[str, Any], source: str) -> None:
    """Refuse a processor that does not fit the model it lies beside.

    Parameters
    ----------
    feature_set
        That the processor makes.
    config
        Content of the model's ``config.json``; one that names no feature set fits everything.
    source
        Where both lie, for the message.

    Raises
    ------
    FeatureSetError
        The model reads other features.

    Examples
    --------
    >>> check_processor("compt-chiral", {"feature_set": "compt"}, "someone/compt-bbbp")
    Traceback (most recent call last):
        ...
    dc_graphsam.exceptions.FeatureSetError: the processor is made for feature set 'compt-chiral', the model in ...
    """
    wanted = config.get("feature_set")
    if wanted is not None and not fits(wanted, feature_set):
        raise FeatureSetError(
            f"the processor is made for feature set {feature_set!r}, the model in {source} reads {wanted!r}; the one that fits "
            f"is MoleculeProcessor({wanted!r})"
        )


def processor_record(feature_set: str) -> dict[str, Any]:
    """Content of ``processor_config.json`` for a feature set."""
    from dc_graphsam._version import __version__

    features = get_feature_set(feature_set)
    return {
        "processor_class": "MoleculeProcessor",
        "format_version": PROCESSOR_FORMAT,
        "feature_set": feature_set,
        "node_feature_size": features.node_feature_size,
        "edge_feature_size": features.edge_feature_size,
        "dc_graphsam_version": __version__,
    }


def write_processor_record(folder: str | os.PathLike, feature_set: str) -> Path:
    """Write ``processor_config.json`` into ``folder`` and return its path."""
    path = Path(folder, PROCESSOR)
    path.write_text(json.dumps(processor_record(feature_set), indent=2) + "\n", encoding="utf-8")
    return path


def sums_of(folder: str | os.PathLike, files: Iterable[str] | None = None) -> str:
    """Content of ``SHA256SUMS`` for files of a folder (all, by default), as ``sha256sum`` writes it.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("a")
    >>> print(sums_of(folder), end="")
    ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  a.txt
    """
    folder = Path(folder)
    if files is None:
        files = (str(path.relative_to(folder).as_posix()) for path in folder.rglob("*") if path.is_file())
    return "".join(f"{_sha256(folder / file)}  {file}\n" for file in sorted(files) if file != SUMS)


def check_sums(folder: str | os.PathLike, files: Iterable[str], source: str | None = None) -> None:
    """Find out whether files are whole.

    A file of the Hub's cache bears the checksum that the Hub gave it: its name there. It holds whatever way the file came
    to the Hub, be it a push of one part or an edit on its page, of which ``SHA256SUMS`` knows nothing. In other folders
    ``SHA256SUMS`` speaks for the weights; configuration, processor and card may have been edited since. What neither lists
    passes.

    Raises
    ------
    DamagedFileError
        A file is another.
    """
    folder = Path(folder)
    sums = folder / SUMS
    lines = sums.read_text(encoding="utf-8", errors="replace").splitlines() if sums.is_file() else []
    wanted = {match[2]: match[1] for line in lines if (match := _SUM_LINE.fullmatch(line))}
    if lines and not wanted:
        raise DamagedFileError(
            f"{SUMS} of {source or folder} holds no checksums; download it again (force_download=True)"
        )
    for file in files:
        path = folder / file
        as_downloaded = _is_named_after_its_content(path)
        if as_downloaded:
            continue
        as_published = None if file not in wanted else _sha256(path) == wanted[file]
        if as_published or (as_downloaded is None and as_published is None):
            continue
        if as_downloaded is None and not _is_of_the_weights(file):
            logger.info("%s of %s was edited after %s was written", file, source or folder, SUMS)
            continue
        raise DamagedFileError(
            f"{file} of {source or folder} is damaged: its checksum is not the one it was published with; "
            f"download it again (force_download=True)"
            + ("" if as_downloaded is False else f", or, if it was replaced on purpose, remove {SUMS}")
        )


def _is_of_the_weights(file: str) -> bool:
    return file.endswith((".safetensors", ".safetensors.index.json"))


def _is_named_after_its_content(path: Path) -> bool | None:
    """Whether a file of the Hub's cache is what its name says; ``None`` for one that has no such name.

    The name is the SHA-256 of a large file, and of others what git calls them, or, from some mirrors, their SHA-1.
    """
    blob = path.resolve()
    if blob.parent.name != "blobs":
        return None
    if _SHA256.fullmatch(blob.name):
        return _sha256(blob) == blob.name
    if _SHA1.fullmatch(blob.name):
        data = blob.read_bytes()
        names = (hashlib.sha1(head + data, usedforsecurity=False) for head in (b"blob %d\0" % len(data), b""))
        return any(name.hexdigest() == blob.name for name in names)
    return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
