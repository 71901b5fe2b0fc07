"""Opening a data set on the Hub, in a folder or in a file: its splits as they are, under their usual names."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dc_graphsam.data.cache import file_digest
from dc_graphsam.data.hub.typed import with_fixed_types
from dc_graphsam.data.structure_files import refuse_structures
from dc_graphsam.exceptions import InvalidArgumentError, MissingDataError

__all__ = ["RECORD_FILE", "Source", "batches", "open_source"]

logger = logging.getLogger(__name__)

#: Beside the Parquet files of a data set written by ``push_dataset``: its tasks and its feature set.
RECORD_FILE = "dc_graphsam.json"
FORMAT_VERSION = 1
BATCH = 1000
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
_READERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".tsv": "csv"}


@dataclass(frozen=True)
class Source:
    """An opened data set.

    Attributes
    ----------
    name
        Short, for messages and as the name of the data set.
    parts
        Split → ``datasets.Dataset`` or ``IterableDataset``; train, validation and test first.
    digest
        Identifies the content; ``None`` of a stream.
    record
        What ``dc_graphsam.json`` says, if it is there.
    """

    name: str
    parts: dict[str, Any]
    digest: str | None
    record: dict[str, Any]


def open_source(
    name_or_path: str | Path,
    config_name: str | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    streaming: bool = False,
) -> Source:
    """Open a data set without reading its rows.

    Parameters
    ----------
    name_or_path
        ``"owner/name"`` on the Hub, a folder, or a file (Parquet, JSON lines, CSV, TSV; JSON and text also compressed).
    config_name
        Of a data set with several configurations.
    revision, token
        For the Hub.
    streaming
        Whether rows of a data set on the Hub are read as they are asked for, instead of being downloaded before.

    Raises
    ------
    MissingDataError
        If there is no such data set, or it may not be read.
    InvalidArgumentError
        If it cannot be read without running code, or has two splits of one kind.
    """
    path = Path(name_or_path).expanduser()
    if path.exists():
        return _open_local(path, config_name, streaming)
    text = str(name_or_path)
    if path.is_absolute() or text.startswith((".", "~")) or text.count("/") > 1 or path.suffix in _READERS:
        raise MissingDataError(f"there is no file or folder {text}")
    return _open_hub(text, config_name, revision, token, streaming)


def batches(part: Any, size: int = BATCH) -> Iterator[Any]:
    """Rows of a ``Dataset`` or ``IterableDataset`` as Arrow tables."""
    return part.with_format("arrow").iter(batch_size=size)


def _open_local(path: Path, config_name: str | None, streaming: bool) -> Source:
    import datasets

    refuse_structures(path)

    if path.is_file():
        suffix = next((suffix for suffix in path.suffixes[::-1] if suffix in _READERS), None)
        if suffix is None:
            raise InvalidArgumentError(
                f"{path} is no table; accepted: {', '.join(_READERS)}, or a folder of such files"
            )
        options = {"sep": "\t"} if suffix == ".tsv" else {}
        make = partial(datasets.load_dataset_builder, _READERS[suffix], data_files=str(path), **options)
        name, folder = path.name.split(".")[0], path.parent
    else:
        make = partial(datasets.load_dataset_builder, str(path), config_name)
        name, folder = path.resolve().name, path
    builder = _reading(str(path), lambda: with_fixed_types(make))
    files = {str(split): list(map(str, listed)) for split, listed in (builder.config.data_files or {}).items()}
    parts = {split: builder.as_streaming_dataset(split) for split in files}
    digest = None if streaming else _digest(files)
    record = folder / RECORD_FILE
    text = record.read_text(encoding="utf-8") if path.is_dir() and record.is_file() else None
    return Source(name, _usual_names(str(path), parts), digest, _parse_record(str(record), text))


def _open_hub(
    name: str, config_name: str | None, revision: str | None, token: str | bool | None, streaming: bool
) -> Source:
    import datasets

    if datasets.config.HF_HUB_OFFLINE:
        return _open_downloaded(name, config_name, revision, streaming)
    make = partial(datasets.load_dataset_builder, name, config_name, revision=revision, token=token)
    builder = _reading(name, lambda: with_fixed_types(make))
    if streaming:
        loaded = _reading(name, builder.as_streaming_dataset)
    else:
        _reading(name, builder.download_and_prepare)
        loaded = builder.as_dataset()
    parts = {str(split): part for split, part in loaded.items()}
    digest = None
    if not streaming:
        digest = _digest({split: [file["filename"] for file in part.cache_files] for split, part in parts.items()})
    text = _download_record(name, revision, token)
    return Source(name.split("/")[-1], _usual_names(name, parts), digest, _parse_record(f"{name}/{RECORD_FILE}", text))


def _digest(files: Mapping[str, list[str]]) -> str:
    """Of the bytes of the files and of which file belongs to which split."""
    listed = {split: [file_digest(file) for file in files[split]] for split in sorted(files)}
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _open_downloaded(name: str, config_name: str | None, revision: str | None, streaming: bool) -> Source:
    """Without a network: what was downloaded of that revision. (``datasets`` would take the last one of any revision.)"""
    from huggingface_hub import snapshot_download

    folder = _reading(
        name,
        lambda: snapshot_download(name, repo_type="dataset", revision=revision, local_files_only=True),
    )
    return replace(_open_local(Path(folder), config_name, streaming), name=name.split("/")[-1])


def _reading(name: str, action: Any) -> Any:
    """Errors of ``datasets`` and of the Hub as errors of this package."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return action()
    except InvalidArgumentError:
        raise
    except (DatasetsError, HfHubHTTPError, OSError) as error:
        if isinstance(error.__cause__, InvalidArgumentError):  # of a row, while all are read
            raise error.__cause__ from None
        reason = " ".join(str(error).split())
        raise MissingDataError(f"{name} cannot be loaded: {reason}") from error
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error):
            raise
        raise InvalidArgumentError(
            f"{name} is a loading script, and nothing here runs code of a repository; accepted: Parquet, JSON lines, CSV"
        ) from None
    except ValueError as error:  # e.g. an unknown configuration: the message lists those there are
        raise InvalidArgumentError(f"{name} cannot be loaded: {' '.join(str(error).split())}") from error


def _download_record(name: str, revision: str | None, token: str | bool | None) -> str | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        path = hf_hub_download(name, RECORD_FILE, repo_type="dataset", revision=revision, token=token)
    except (EntryNotFoundError, LocalEntryNotFoundError, OfflineModeIsEnabled):
        return None
    except HfHubHTTPError as error:
        raise MissingDataError(f"{name}/{RECORD_FILE} cannot be loaded: {' '.join(str(error).split())}") from error
    return Path(path).read_text(encoding="utf-8")


def _parse_record(name: str, text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        record = json.loads(text)
        version = int(record["format_version"])
    except (ValueError, KeyError, TypeError):
        raise InvalidArgumentError(f"{name} does not describe a data set; write it with push_dataset") from None
    if version > FORMAT_VERSION:
        raise InvalidArgumentError(
            f"{name} has format version {version}, this version of dc_graphsam reads up to {FORMAT_VERSION}; install a newer "
            "dc_graphsam"
        )
    return record


def _usual_names(source: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """The same splits, ``val`` and the like as ``validation``, in the usual order."""
    usual = {alias: name for name, aliases in SPLITS.items() for alias in aliases}
    out: dict[str, Any] = {}
    for split, part in parts.items():
        name = usual.get(split.lower(), split)
        if name in out:
            raise InvalidArgumentError(
                f"{source} has the splits {', '.join(parts)}, two of which are {name!r}; accepted: one of each"
            )
        out[name] = part
    if not out:
        raise InvalidArgumentError(f"{source} has no data files; accepted: Parquet, JSON lines, CSV")
    return {name: out[name] for name in [*SPLITS, *out] if name in out}
