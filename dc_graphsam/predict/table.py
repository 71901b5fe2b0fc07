"""A table of SMILES → the same table with predictions, whether it has ten rows or millions."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dc_graphsam.exceptions import DCGraphSAMError, InvalidSmilesError, check_range, readable
from dc_graphsam.predict.molecules import (
    BATCH_SIZE,
    CHUNK_SIZE,
    feature_set_of,
    like_sized_batches,
    predict_graphs,
    predict_smiles,
    valid_text,
)
from dc_graphsam.predict.named import named_result, result_names
from dc_graphsam.predict.notes import Note, note_text, notes_of

__all__ = [
    "PredictionStopped",
    "PredictionSummary",
    "like_sized_batches",
    "predict_csv",
    "predict_graphs",
    "predict_smiles",
]

_MAX_REASONS = 1000  # that are told apart in the summary
_WORTH_A_PROCESS = 1 << 20  # bytes of input


@dataclass
class PredictionSummary:
    """What :func:`predict_csv` did.

    Attributes
    ----------
    rows
        Rows in the output.
    invalid
        Rows without a prediction.
    resumed
        Rows that an earlier, interrupted call had written.
    seconds
        Of this call.
    columns
        Names of the columns that were added: tasks in order, then those of errors and notes.
    reasons
        Reason → rows of this call, the commonest first.
    noted
        Rows with a note.
    notes
        Kind of note → rows of this call, the commonest first.
    """

    rows: int = 0
    invalid: int = 0
    resumed: int = 0
    seconds: float = 0.0
    columns: tuple[str, ...] = ()
    reasons: dict[str, int] = field(default_factory=dict)
    noted: int = 0
    notes: dict[str, int] = field(default_factory=dict)


class PredictionStopped(KeyboardInterrupt):
    """Ctrl-C in :func:`predict_csv`; the same call continues after ``rows`` rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        super().__init__(f"stopped after {rows:,} rows; the same command continues from there")


def predict_csv(
    model,
    input: str | Path,
    output: str | Path,
    *,
    processor=None,
    smiles_column: str | None = None,
    batch_size: int = BATCH_SIZE,
    chunk_size: int = CHUNK_SIZE,
    num_workers: int | None = 0,
    overwrite: bool = False,
    progress: bool = False,
) -> PredictionSummary:
    """Predict a table of any length in constant memory.

    The output has the rows and columns of the input, unchanged and in order, then one column per task (probability of
    class 1, or value in label units; of a multiclass task the name of the likeliest class, and a column ``task=class``
    with the probability of each), ``error`` and ``note``. A row without a prediction has ``nan`` and a reason. A row
    with a note has a prediction, about which something should be known: text behind the SMILES was ignored, or the
    molecule has what no molecule of the training set had (:func:`~dc_graphsam.predict.notes.notes_of`). A new column
    whose name the table already has gets the suffix ``_predicted`` (then ``_predicted2``, …).

    A table without a header, such as a ``.smi`` file, gets one in the output: ``smiles``, ``column_2`` and so on. Comments
    and blank lines stay where they are. The output has the encoding, the delimiter and the decimal sign of the input; where blanks divide
    the columns, the output has tabs (see :mod:`dc_graphsam.data.text_format`).

    What is written goes to ``<output>.part`` and becomes ``<output>`` when it is whole. After an interruption the same
    call continues where it stopped.

    Parameters
    ----------
    model
        A property-prediction model, or the run folder to load it from.
    input
        Delimited text, plain or gzip-compressed.
    output
        File to write; compressed if its name ends in ``.gz``.
    processor
        As in :func:`predict_smiles`.
    smiles_column
        Its name; ``None`` looks for the usual ones.
    batch_size
        Molecules per batch of the model.
    chunk_size
        Rows in memory at a time.
    num_workers
        Processes that featurize while the model computes; 0 does it in this one, ``None`` decides by the input's size.
    overwrite
        Whether an existing output may be replaced, and an interrupted one of another input or model thrown away.
    progress
        Whether to show a progress bar.

    Returns
    -------
    PredictionSummary

    Raises
    ------
    MissingDataError
        If there is no input.
    MissingColumnError
        If the column is not there; the message names those there are.
    InvalidArgumentError
        If the output exists, or an option is out of range.
    PredictionStopped
        On Ctrl-C; a ``KeyboardInterrupt``.

    Examples
    --------
    >>> predict_csv("runs/demo", "in.csv", "out.csv")  # doctest: +SKIP
    PredictionSummary(rows=1000, invalid=2, ...)
    """
    from dc_graphsam.chem import ChiralityNotice
    from dc_graphsam.predict.csv_stream import CsvStream
    from dc_graphsam.predict.output import PredictionOutput, added_columns, digest_of_input, digest_of_model

    check_range("batch_size", batch_size, 1)
    check_range("chunk_size", chunk_size, 1)
    if num_workers is None:
        num_workers = _helpful_workers(Path(input))
    check_range("num_workers", num_workers, 0)
    if isinstance(model, (str, Path)):
        from dc_graphsam.predict.loading import load_run

        run = load_run(model)
        model, processor = run.model, run.processor
    feature_set = feature_set_of(model, processor)
    notice = ChiralityNotice(feature_set)
    started = time.perf_counter()
    with CsvStream(input) as table:
        column = _smiles_index(table, smiles_column)
        columns = added_columns(table.columns, result_names(model.config))
        identity = {
            "input": digest_of_input(table.path),
            "model": digest_of_model(model),
            "smiles_column": table.columns[column],
            "columns": list(columns),
        }
        target = PredictionOutput(
            output,
            identity,
            input=table.path,
            overwrite=overwrite,
            encoding=table.encoding,
            errors=table.errors,
        )
        summary = PredictionSummary(target.rows, target.invalid, target.rows, columns=columns, noted=target.noted)
        reasons: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        try:
            with target, _Progress(progress, table, summary) as bar:
                if not target.bytes:
                    target.write(table.append_to_header(columns))
                chunks = _chunks(table, column, chunk_size, skip=target.records)
                for records, graphs in _featurized(chunks, feature_set, num_workers):
                    notice.look_at(graph.smiles for graph in graphs)
                    values, why = predict_graphs(model, graphs, batch_size)
                    bad = [reason for reason in why if reason is not None]
                    notes = notes_of(model.config, graphs, why)
                    text = _lines(table, records, values, why, notes, model.config)
                    target.write(text, len(records), len(why), len(bad), sum(map(bool, notes)))
                    kinds.update(kind for remarks in notes for kind in {note.kind for note in remarks})
                    reasons.update(
                        reason if reason in reasons or len(reasons) < _MAX_REASONS else "other" for reason in bad
                    )
                    summary.rows, summary.invalid, summary.noted = target.rows, target.invalid, target.noted
                    bar.update(len(why))
                target.finish()
        except KeyboardInterrupt:
            raise PredictionStopped(target.rows) from None
    summary.reasons, summary.notes = dict(reasons.most_common()), dict(kinds.most_common())
    summary.seconds = time.perf_counter() - started
    return summary


def check_paths(input: str | Path, output: str | Path, overwrite: bool) -> None:
    """Refuse what :func:`predict_csv` would refuse, before a model is loaded."""
    from dc_graphsam.predict.csv_stream import CsvStream
    from dc_graphsam.predict.output import check_output

    with CsvStream(input) as table:
        check_output(Path(output), table.path, overwrite)


def _helpful_workers(input: Path) -> int:
    """Starting a process takes as long as featurizing some thousand molecules."""
    from dc_graphsam.chem import usable_cpu_count

    large = input.is_file() and input.stat().st_size > _WORTH_A_PROCESS
    return max(usable_cpu_count() // 4, 1) if large and usable_cpu_count() > 1 else 0


def _smiles_index(table, wanted: str | None) -> int:
    """Position of the SMILES column; the rules are those of training."""
    from dc_graphsam.data.tables import TextTable, find_smiles_column

    names = [name.strip() for name in table.columns]
    repeated = frozenset(name for name in names if name and names.count(name) > 1)
    text = TextTable(table.name, {name: [] for name in names}, repeated=repeated)
    found = find_smiles_column(text, wanted)
    text.column(found)
    return names.index(found)


def _chunks(table, column: int, size: int, skip: int):
    """Lists of (records, SMILES of those that are not blank)."""
    records, smiles = [], []
    for number, record in enumerate(table):
        if number < skip:
            continue
        records.append(record)
        if record.fields:
            smiles.append(_cell(table, record, column))
        if len(records) >= size:
            yield records, smiles
            records, smiles = [], []
    if records:
        yield records, smiles


def _cell(table, record, column: int) -> str | InvalidSmilesError:
    count, width = len(record.fields), len(table.columns)
    if count > width and any(record.fields[width:]):
        return InvalidSmilesError(
            table.delimiter.join(record.fields), f"row has {count} fields, the header has {width}"
        )
    return record.fields[column] if column < count else ""


def _featurized(chunks, feature_set: str, num_workers: int):
    """(records, graphs) for each chunk, in order; with workers, some chunks ahead of the model."""
    if not num_workers:
        for records, cells in chunks:
            yield records, _graphs(cells, _featurize_cells(cells, feature_set))
        return
    import multiprocessing
    from collections import deque
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # spawn: the model's threads must not be forked; the workers import RDKit and numpy only.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_ignore_interrupt)
    ahead: deque = deque()
    try:
        for records, cells in chunks:
            ahead.append((records, cells, pool.submit(_featurize_cells, cells, feature_set)))
            if len(ahead) > num_workers:
                yield _next(ahead)
        while ahead:
            yield _next(ahead)
    except BrokenProcessPool:
        raise DCGraphSAMError(
            "a process that featurizes molecules has died (out of memory?); --num-workers 0 goes on without"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _next(ahead):
    records, cells, future = ahead.popleft()
    return records, _graphs(cells, future.result())


def _ignore_interrupt() -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one decides


def _featurize_cells(cells: list, feature_set: str) -> list:
    """Chunks of graphs, which cross process borders faster than graphs, of the cells that are text."""
    from dc_graphsam.chem import get_feature_set
    from dc_graphsam.chem.featurizer import CHUNK_SIZE as size
    from dc_graphsam.chem.featurizer import featurize_chunk

    features = get_feature_set(feature_set)
    smiles = [valid_text(cell) for cell in cells if isinstance(cell, str)]
    return [featurize_chunk(smiles[start : start + size], features) for start in range(0, len(smiles), size)]


def _graphs(cells: list, featurized: list) -> list:
    """One graph or error per cell."""
    smiles = [cell for cell in cells if isinstance(cell, str)]
    graphs, start = [], 0
    for chunk in featurized:
        size = len(chunk.valid) + len(chunk.errors)
        graphs += chunk.split(smiles[start : start + size])
        start += size
    found = iter(graphs)
    return [next(found) if isinstance(cell, str) else cell for cell in cells]


def _lines(table, records, values: np.ndarray, reasons: list[str | None], notes: list[list[Note]], config) -> str:
    results = iter(zip(values.tolist(), reasons, notes, strict=True))
    lines = []
    for record in records:
        if not record.fields:
            lines.append(table.append(record, ()))
            continue
        row, reason, remarks = next(results)
        cells = [_text(value, table.decimal_comma) for value in named_result(config, row).values()]
        lines.append(table.append(record, [*cells, _one_line(reason or ""), _one_line(note_text(remarks))]))
    return "".join(lines)


def _text(value: float | str | None, decimal_comma: bool) -> str:
    """A cell; numbers are written as the table writes its own, so that a spreadsheet reads both alike."""
    if value is None or isinstance(value, str):
        return _one_line(value or "")
    if math.isnan(value):
        return "nan"
    number = f"{value:.7g}"
    return number.replace(".", ",") if decimal_comma else number


def _one_line(text: str) -> str:
    """What a cell may hold: no line ends, and no control characters of somebody's table."""
    return readable(" ".join(text.split()))


class _Progress:
    """A bar with molecules per second and the number of invalid rows."""

    def __init__(self, show: bool, table, summary: PredictionSummary) -> None:
        self.summary = summary
        self.bar = None
        if show:
            from dc_graphsam.progress import progress_bar

            self.bar = progress_bar(
                total=table.estimate_rows(), initial=summary.rows, unit=" mol", smoothing=0.1, leave=False
            )

    def update(self, rows: int) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(f"{self.summary.invalid:,} invalid", refresh=False)
            self.bar.update(rows)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()
