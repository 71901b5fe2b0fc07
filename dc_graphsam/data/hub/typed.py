"""Columns of files that say different things of their types, read as one type; and errors that name file, row and column.

``datasets`` takes the types of a table from the first rows of its first file. Whole numbers there and then an empty cell, a
decimal or ``>5`` further on, or in another file, is an error of pyarrow in the middle of the training. So text is read as
text, numbers as float64, and what they mean is decided by our own rules (:func:`~dc_graphsam.data.tables.parse_labels`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from dc_graphsam.data.hub.columns import NAMES
from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["with_fixed_types"]


def with_fixed_types(make: Callable[..., Any]) -> Any:
    """A builder of ``datasets`` whose columns have types that hold for all rows of all files.

    Parameters
    ----------
    make
        Makes the builder; called once more, with ``features`` and options of the reader.

    Returns
    -------
    datasets.DatasetBuilder
        What it cannot read is an :class:`~dc_graphsam.exceptions.InvalidArgumentError` that names the file and the row.
    """
    builder = _guarded(make())
    options = _types(builder)
    return _guarded(make(**options)) if options else builder


def _types(builder: Any) -> dict[str, Any]:
    from datasets import Features, Value

    features = _first_features(builder)
    if features is None:
        return {}
    if hasattr(builder.config, "keep_default_na"):  # CSV: every field as it stands there
        texts = Features({name: Value("string") for name in features})
        return {"features": texts, "keep_default_na": False, "na_filter": False}
    texts = _text_columns(builder)
    fixed = Features({name: _fixed(name, feature, name in texts) for name, feature in features.items()})
    return {"features": fixed} if fixed != features else {}


def _first_features(builder: Any) -> Any:
    from datasets import Features

    for split in builder.config.data_files or {}:
        part = builder.as_streaming_dataset(str(split))
        for table in part.with_format("arrow").iter(batch_size=1):
            return part.features or Features.from_arrow_schema(table.schema)
    return None


def _fixed(name: str, feature: Any, text: bool) -> Any:
    from datasets import List, Value

    if isinstance(feature, Value):
        if text:
            return Value("string")
        return (
            Value("float64")
            if feature.dtype == "null" or feature.dtype.startswith(("int", "uint", "float"))
            else feature
        )
    if isinstance(feature, List) and name in NAMES["y"]:
        return List(_fixed(name, feature.feature, False), length=feature.length)
    return feature


def _text_columns(builder: Any) -> set[str]:
    """Columns that hold text in one of the Parquet files, of those that are on this machine."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: set[str] = set()
    for file in (str(file) for files in builder.config.data_files.values() for file in files):
        if file.endswith(".parquet") and Path(file).is_file():
            for field in _reading(file, 0, lambda file=file: pq.read_schema(file)):
                if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
                    found.add(field.name)
    return found


def _guarded(builder: Any) -> Any:
    """Let a builder read one file after the other, so that an error has a place."""
    builder._generate_tables = partial(_tables, type(builder)._generate_tables, builder)
    return builder


def _tables(generate: Callable[..., Iterator], builder: Any, **arguments: Any) -> Iterator[Any]:
    """``datasets`` divides the work along the lists among the arguments; so is it done here."""
    lists = {name: value for name, value in arguments.items() if isinstance(value, list)}
    for shard in range(max(map(len, lists.values()), default=0)):
        one = {name: value[shard : shard + 1] for name, value in lists.items()}
        file = next(
            (str(one[name][0]) for name in ("base_files", "original_files", "files") if one.get(name)), builder.name
        )
        rows, tables = 0, generate(builder, **{**arguments, **one})
        while (entry := _reading(file, rows, lambda tables=tables: next(tables, None))) is not None:
            key, table = entry
            yield type(key)(shard, key.item_or_batch_id), table
            rows += len(table)


def _reading(file: str, rows: int, action: Callable[[], Any]) -> Any:
    import pyarrow as pa

    try:
        return action()
    except KeyError as error:
        name = re.search(r'Field "(.*)" does not exist', str(error.args[0]))
        raise InvalidArgumentError(
            f"{_short(file)} has no column {(name[1] if name else error.args[0])!r}, which other files of the table have"
        ) from None
    except (pa.ArrowException, ValueError, TypeError) as error:
        where = _first_that_differs(file, rows) or f"after row {rows:,}"
        raise InvalidArgumentError(
            f"{_short(file)} cannot be read, {where}: {' '.join(str(error).split())[:300]}"
        ) from None


def _short(file: str) -> str:
    return file.removeprefix("file://")


def _first_that_differs(file: str, rows: int) -> str | None:
    """Which row and column of a file of JSON lines or Parquet, after the first ``rows``, is no number where others are."""
    import json

    import pyarrow.parquet as pq

    if not Path(file).is_file():
        return None
    kinds: dict[str, type] = {}
    if file.endswith(".parquet"):
        records = (row for batch in pq.ParquetFile(file).iter_batches() for row in batch.to_pylist())
    elif file.endswith(".jsonl"):
        records = (json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip())
    else:
        return None
    try:
        for number, record in enumerate(records):
            for name, value in record.items():
                kind = float if isinstance(value, (int, float)) else type(value)
                if value is not None and kinds.setdefault(name, kind) is not kind:
                    return f"row {number}, column {name!r} holds {value!r}"
    except (ValueError, AttributeError):
        return f"row {number + 1}" if rows else None
    return None
