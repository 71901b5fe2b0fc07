"""A featurized data set → Parquet files with a card, in a folder or on the Hub."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dc_graphsam._version import __version__
from dc_graphsam.chem import get_feature_set
from dc_graphsam.data.featurized import BOUND_COLUMNS, GRAPH_COLUMNS
from dc_graphsam.data.hub.card import write_card
from dc_graphsam.data.hub.source import FORMAT_VERSION, RECORD_FILE, batches
from dc_graphsam.exceptions import InvalidArgumentError, MissingColumnError
from dc_graphsam.tasks import TaskSpec

__all__ = ["push_dataset", "save_dataset"]

_ROWS = 500  # of a row group, and in memory at a time
_SHARD = 400 << 20  # bytes, about, after which a split goes on in another file


def push_dataset(
    dataset: Any,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    license: str | None = None,
    commit_message: str = "Upload data set",
) -> str:
    """Upload a data set as Parquet files with a card, in one commit.

    What is uploaded is what :func:`save_dataset` writes; :func:`~dc_graphsam.data.load_graph_dataset` gives the same
    rows back. Files of an earlier upload that are no longer part of it are removed; without a change there is no commit.

    Parameters
    ----------
    dataset
        What a loader of this package returned: a ``DatasetDict``, a ``Dataset`` (as the split ``train``) or streams.
    repo_id
        ``"owner/name"``; made if it does not exist.
    private
        Whether a new repository is private; ``None``: as the owner's settings say.
    revision
        Branch, made if it does not exist; ``None``: ``main``.
    token
        For the Hub; ``None``: the one logged in with.
    license
        Identifier for the card, e.g. ``"cc-by-4.0"``; nothing is said of a licence by default.
    commit_message
        Of the commit.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    InvalidArgumentError
        If the data set does not say what its labels are.
    MissingColumnError
        If it has not been featurized.

    Examples
    --------
    >>> push_dataset(data, "someone/bbbp-graphs", private=True)  # doctest: +SKIP
    'https://huggingface.co/datasets/someone/bbbp-graphs/commit/...'
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        save_dataset(dataset, folder, name=repo_id, license=license)
        repo = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True).repo_id
        if revision is not None:
            api.create_branch(repo, branch=revision, repo_type="dataset", exist_ok=True)
        info = api.upload_folder(
            folder_path=folder,
            repo_id=repo,
            repo_type="dataset",
            revision=revision,
            commit_message=commit_message,
            delete_patterns="data/*.parquet",
        )
    return str(info.commit_url)


def save_dataset(
    dataset: Any, folder: str | Path, *, name: str | None = None, license: str | None = None
) -> list[Path]:
    """Write a data set as a repository on the Hub has it: Parquet files, a card and ``dc_graphsam.json``.

    Columns: ``smiles``, ``node_feat`` [N][F], ``edge_index`` [2][2E], ``edge_attr`` [2E][Fe], ``y`` [T] (null = not
    measured), ``lower_bounds`` and ``upper_bounds`` [T] if the data have any, ``num_nodes``, and ``row``, the number of the row in the table it comes from. Distances follow from the
    edges and are not stored.

    Parameters
    ----------
    dataset
        As of :func:`push_dataset`.
    folder
        Made if needed; of what is there, only files of an earlier call are replaced.
    name
        For the card, e.g. ``"someone/bbbp-graphs"``; default: the name of the folder.
    license
        As of :func:`push_dataset`.

    Returns
    -------
    list of pathlib.Path
        The files written.

    Raises
    ------
    InvalidArgumentError, MissingColumnError
        As of :func:`push_dataset`.

    Examples
    --------
    >>> from dc_graphsam import load_graph_dataset, load_moleculenet
    >>> data = load_moleculenet("freewilson", progress=False)
    >>> folder = tempfile.mkdtemp()
    >>> [path.name for path in save_dataset(data, folder)][-2:]
    ['dc_graphsam.json', 'README.md']
    >>> back = load_graph_dataset(folder, progress=False)
    >>> bool((back["test"][:]["distance"][5] == data["test"][:]["distance"][5]).all())
    True
    """
    folder = Path(folder)
    if folder.is_file():
        raise InvalidArgumentError(f"folder is the file {str(folder)!r}; accepted: a folder")
    parts = dict(dataset) if isinstance(dataset, Mapping) else {"train": dataset}
    spec = TaskSpec.of(parts)
    for split, part in parts.items():
        for column in ("labels", "num_nodes", *GRAPH_COLUMNS):
            if column not in (part.column_names or ()):
                raise MissingColumnError(
                    f"{split} (featurize it with load_csv or load_moleculenet)", column, part.column_names or ()
                )
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    for old in data.glob("*.parquet"):
        old.unlink()
    written: list[Path] = []
    facts: dict[str, dict[str, Any]] = {}
    for split, part in parts.items():
        start = sum(fact["rows"] for fact in facts.values())
        files, facts[split] = _write_split(data, split, part, spec, start)
        written += files
    record = {
        "format_version": FORMAT_VERSION,
        "dc_graphsam_version": __version__,
        "dataset": spec.dataset,
        "task_names": list(spec.task_names),
        "task_type": spec.task_type,
        "metric": spec.metric,
        **({} if spec.class_names is None else {"class_names": [list(names) for names in spec.class_names]}),
        "feature_set": spec.feature_set,
        "label_columns": ["y"],
    }
    (folder / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    citation = next(iter(parts.values())).info.citation or ""
    card = write_card(name or folder.resolve().name, spec, facts, license=license, citation=citation)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return [*written, folder / RECORD_FILE, folder / "README.md"]


def _write_split(folder: Path, split: str, part: Any, spec: TaskSpec, start: int) -> tuple[list[Path], dict[str, Any]]:
    """Parquet files of one split, and what the card says of it."""
    import pyarrow.parquet as pq

    paths: list[Path] = []
    writer, size = None, 0
    facts = _Facts(len(spec.task_names))
    for table in _tables(part, spec, start):
        facts.add(table)
        if writer is None or size > _SHARD:
            if writer is not None:
                writer.close()
            paths.append(folder / f"{split}-{len(paths):05d}.parquet.part")
            writer, size = pq.ParquetWriter(paths[-1], table.schema, compression="zstd"), 0
        writer.write_table(table, row_group_size=_ROWS)
        size += table.nbytes
    if writer is None:
        raise InvalidArgumentError(f"split {split!r} has no rows; leave it out")
    writer.close()
    named = [folder / f"{split}-{i:05d}-of-{len(paths):05d}.parquet" for i in range(len(paths))]
    for path, final in zip(paths, named, strict=True):
        path.rename(final)
    return named, facts.summary()


def _tables(part: Any, spec: TaskSpec, start: int) -> Iterator[Any]:
    """Rows as they are published; those of a stream are numbered from ``start``."""
    import pyarrow as pa

    features = get_feature_set(spec.feature_set) if spec.feature_set else None
    seen = start
    for table in batches(part, _ROWS):
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        n = len(table)
        nodes = columns["num_nodes"].to_numpy()
        edges = _sizes(columns["edge_index"]) // 2
        widths = (
            (features.node_feature_size, features.edge_feature_size)
            if features
            else (int(_sizes(columns["node_features"])[0] // nodes[0]), 1)
        )
        index = columns["edge_index"].flatten()
        halves = pa.ListArray.from_arrays(_offsets(np.repeat(edges, 2)), index)
        numbers = {
            "y" if name == "labels" else name: columns[name] for name in ("labels", *BOUND_COLUMNS) if name in columns
        }
        yield pa.table(
            {
                "smiles": columns.get("smiles", pa.array([""] * n)),
                "node_feat": _nested(columns["node_features"].flatten(), nodes, widths[0]),
                "edge_index": pa.ListArray.from_arrays(_offsets(np.full(n, 2)), halves),
                "edge_attr": _nested(columns["edge_features"].flatten(), edges, widths[1]),
                **{name: _nullable(column, n) for name, column in numbers.items()},
                "num_nodes": pa.array(nodes.astype(np.int64)),
                "row": columns.get("row", pa.array(np.arange(seen, seen + n))),
            }
        )
        seen += n


def _nullable(column: Any, n: int) -> Any:
    """Lists of equal length with null for NaN."""
    import pyarrow as pa

    values = np.asarray(column.flatten(), np.float32)
    return pa.ListArray.from_arrays(_offsets(np.full(n, len(values) // n)), pa.array(values, mask=np.isnan(values)))


def _sizes(column: Any) -> np.ndarray:
    import pyarrow.compute as pc

    return pc.list_value_length(column).to_numpy().astype(np.int64)


def _offsets(sizes: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.array(np.concatenate(([0], np.cumsum(sizes))).astype(np.int32))


def _nested(values: Any, counts: np.ndarray, width: int) -> Any:
    """Flat values as list<list> with ``counts`` lists of ``width`` in each row."""
    import pyarrow as pa

    inner = pa.ListArray.from_arrays(_offsets(np.full(int(counts.sum()), width)), values)
    return pa.ListArray.from_arrays(_offsets(counts), inner)


class _Facts:
    """Counts and label statistics of a split, gathered while it is written."""

    def __init__(self, tasks: int) -> None:
        self.rows = self.largest = 0
        self.atoms = 0
        self.with_smiles = 0
        self.measured = np.zeros(tasks, np.int64)
        self.sums = np.zeros(tasks)
        self.squares = np.zeros(tasks)

    def add(self, table: Any) -> None:
        labels = np.array(table.column("y").combine_chunks().flatten().to_pylist(), np.float64).reshape(len(table), -1)
        known = ~np.isnan(labels)
        nodes = table.column("num_nodes").to_numpy()
        self.rows += len(table)
        self.atoms += int(nodes.sum())
        self.largest = max(self.largest, int(nodes.max()))
        self.with_smiles += sum(bool(text) for text in table.column("smiles").to_pylist())
        self.measured += known.sum(axis=0)
        self.sums += np.where(known, labels, 0).sum(axis=0)
        self.squares += np.where(known, labels**2, 0).sum(axis=0)

    def summary(self) -> dict[str, Any]:
        count = np.maximum(self.measured, 1)
        mean = self.sums / count
        return {
            "rows": self.rows,
            "atoms": self.atoms,
            "largest": self.largest,
            "with_smiles": self.with_smiles,
            "measured": self.measured.tolist(),
            "mean": mean.tolist(),
            "std": np.sqrt(np.maximum(self.squares / count - mean**2, 0)).tolist(),
        }
