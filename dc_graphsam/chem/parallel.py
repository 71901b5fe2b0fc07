"""Many SMILES to graphs, over processes, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from dc_graphsam.chem.atom_order import ATOM_ORDERS
from dc_graphsam.chem.feature_sets import DEFAULT_FEATURE_SET, get_feature_set
from dc_graphsam.chem.featurizer import CHUNK_SIZE, check_computable, expand_chunk, read_chunk
from dc_graphsam.chem.molgraph import MolGraph
from dc_graphsam.exceptions import InvalidArgumentError, InvalidSmilesError, check_choice, check_range

__all__ = ["featurize_many", "iter_featurized", "map_chunks", "usable_cpu_count"]

_PER_WORKER = 1000  # molecules that are worth a process: some 0.2 s of work


def usable_cpu_count() -> int:
    """Processors this process may run on, which can be fewer than the machine has.

    >>> usable_cpu_count() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def featurize_many(
    smiles: Iterable[str],
    feature_set: str = DEFAULT_FEATURE_SET,
    num_workers: int | None = None,
    progress: bool = False,
    *,
    atom_order: str = "as-written",
    start_method: str | None = None,
) -> list[MolGraph | InvalidSmilesError]:
    """Featurize molecules, in order; one that cannot be used becomes an error in its place instead of being raised.

    Parameters
    ----------
    smiles
        Any number of SMILES.
    feature_set
        See :func:`featurize`.
    num_workers
        Processes; 0 or 1: none but this one. Default: one per usable processor. Never more than one per thousand
        molecules, so that small inputs stay in this process.
    progress
        Show a progress bar.
    atom_order
        See :func:`featurize`.
    start_method
        ``"fork"``, ``"spawn"`` or ``"forkserver"``; default: that of :mod:`multiprocessing`. With the latter two a
        script needs the usual ``if __name__ == "__main__":``.

    Returns
    -------
    list
        One :class:`MolGraph` or :class:`~dc_graphsam.exceptions.InvalidSmilesError` per SMILES.

    Raises
    ------
    InvalidArgumentError
        If ``smiles`` is a single text, or another argument is out of range.
    RuntimeError
        If a worker process dies, e.g. for lack of memory.

    Examples
    --------
    >>> featurize_many(["CCO", "C1CC", "[Na+].[Cl-]"])
    [MolGraph('CCO', nodes=3, bonds=2, feature_set='compt-own-slot'), \
InvalidSmilesError("SMILES 'C1CC' cannot be used: cannot be parsed: unclosed ring"), \
MolGraph('[Na+].[Cl-]', nodes=2, bonds=0, feature_set='compt-own-slot')]
    """
    options = {"atom_order": atom_order, "start_method": start_method}
    return list(iter_featurized(smiles, feature_set, num_workers, progress, **options))


def iter_featurized(
    smiles: Iterable[str],
    feature_set: str = DEFAULT_FEATURE_SET,
    num_workers: int | None = None,
    progress: bool = False,
    *,
    atom_order: str = "as-written",
    start_method: str | None = None,
) -> Iterator[MolGraph | InvalidSmilesError]:
    """:func:`featurize_many` one after another: what was handed out and dropped takes no memory any more.

    Arguments are checked when this is called, not at the first molecule.

    Examples
    --------
    >>> [graph.num_nodes for graph in iter_featurized(["C", "CC"])]
    [1, 2]
    """
    if isinstance(smiles, (str, bytes)):
        raise InvalidArgumentError(
            f"smiles is a single text, {smiles!r}; accepted: a list of SMILES. Use featurize() for one molecule"
        )
    check_computable(get_feature_set(feature_set))
    check_choice("atom_order", atom_order, ATOM_ORDERS)
    if num_workers is not None:
        check_range("num_workers", num_workers, 0)
    if start_method is not None:
        check_choice("start_method", start_method, multiprocessing.get_all_start_methods())
    smiles = list(smiles)
    if num_workers is None:
        num_workers = usable_cpu_count()
    num_workers = min(int(num_workers), -(-len(smiles) // _PER_WORKER))
    if multiprocessing.current_process().daemon:
        num_workers = 1  # e.g. a worker of a data loader, which may not have children
    chunks = [smiles[i : i + CHUNK_SIZE] for i in range(0, len(smiles), CHUNK_SIZE)]
    return _iterate(chunks, feature_set, atom_order, num_workers, progress, start_method)


def _iterate(
    chunks: list[list[Any]],
    feature_set: str,
    atom_order: str,
    num_workers: int,
    progress: bool,
    start_method: str | None,
) -> Iterator[MolGraph | InvalidSmilesError]:
    from dc_graphsam.progress import progress_bar

    features = get_feature_set(feature_set)
    work = partial(read_chunk, chirality=features.has_chirality, atom_order=atom_order)
    results = _results(work, chunks, num_workers, start_method)
    invalid = 0
    with progress_bar(total=sum(map(len, chunks)), desc="featurizing", unit=" mol", disable=not progress) as bar:
        for chunk, result in zip(chunks, results, strict=True):
            graphs = expand_chunk(result, features).split(chunk)
            if result.errors:
                invalid += len(result.errors)
                bar.set_postfix_str(f"{invalid} invalid", refresh=False)
            bar.update(len(chunk))
            yield from graphs


def map_chunks(
    work: Callable[[list[Any]], Any],
    chunks: list[list[Any]],
    num_workers: int | None,
    progress: bool,
    total: int,
    description: str,
) -> Iterator[Any]:
    """``work`` of every chunk, in order, in processes that a death of one does not leave hanging.

    Parameters
    ----------
    work
        A function of a module. What it returns is sent from process to process.
    chunks
        Lists of what it takes.
    num_workers
        0 or 1: in this process. ``None``: one process per usable processor. Never more than there are chunks.
    progress, total, description
        Whether to show a bar, of how many elements, and how it is called.

    Examples
    --------
    >>> list(map_chunks(len, [["C"], ["C", "CC"]], 0, False, 3, "counting"))
    [1, 2]
    """
    from tqdm.auto import tqdm

    if num_workers is None:
        num_workers = usable_cpu_count()
    check_range("num_workers", num_workers, 0)
    if multiprocessing.current_process().daemon:
        num_workers = 1
    results = _results(work, chunks, min(int(num_workers), len(chunks)), None)
    with tqdm(total=total, desc=description, unit=" mol", disable=not progress) as bar:
        for chunk, result in zip(chunks, results, strict=True):
            bar.update(len(chunk))
            yield result


def _results(work: Callable, chunks: list[list[Any]], num_workers: int, start_method: str | None) -> Iterator[Any]:
    return map(work, chunks) if num_workers <= 1 else _in_processes(work, chunks, num_workers, start_method)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Hold back Ctrl-C. It reaches all processes of a terminal, but it is for the parent to end its workers: those born
    meanwhile do not get it, not even while they import this module."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _death_reported() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError):
        raise RuntimeError(
            "a worker process died while featurizing, perhaps for lack of memory; use num_workers=1, or fewer "
            "molecules at a time"
        ) from None


def _serve(connection: Connection, work: Callable) -> None:
    """Life of a worker: a chunk in, a result out, until the parent hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        while True:
            connection.send(work(connection.recv()))


def _in_processes(work: Callable, chunks: list[list[Any]], num_workers: int, start_method: str | None) -> Iterator[Any]:
    """Results in the order of ``chunks``.

    Each worker has a connection of its own, of which nobody else holds the far end. So the death of a worker is noticed
    whenever it happens, even half-way through a result, where the pools of the standard library wait for ever.
    """
    context = multiprocessing.get_context(start_method)
    workers: dict[Connection, BaseProcess] = {}
    at_work: dict[Connection, int] = {}
    results: dict[int, Any] = {}
    rest = iter(range(len(chunks)))

    def assign(connection: Connection) -> None:
        with suppress(StopIteration):
            number = next(rest)
            at_work[connection] = number
            with _death_reported():
                connection.send(chunks[number])

    if context.get_start_method() != "fork":
        resource_tracker.ensure_running()  # started with the first process otherwise, and lifts the mask
    try:
        for _ in range(num_workers):
            connection, far_end = context.Pipe()
            process = context.Process(target=_serve, args=(far_end, work), daemon=True)
            with _no_interrupt():
                process.start()
                workers[connection] = process
            far_end.close()
            assign(connection)
        for number in range(len(chunks)):
            while number not in results:
                for connection in wait(list(at_work)):
                    with _death_reported():
                        results[at_work.pop(connection)] = connection.recv()
                    assign(connection)
            yield results.pop(number)
    finally:
        for connection, process in workers.items():
            process.kill()  # it has nothing to tidy up
            process.join()
            connection.close()
