import os
import signal
import subprocess
import sys
import time

import pytest

from dc_graphsam.chem import MolGraph, featurize_many, iter_featurized, parallel, usable_cpu_count
from dc_graphsam.exceptions import InvalidArgumentError, InvalidSmilesError


def mixture(count):
    """Every seventh cannot be used; chain lengths tell the places apart."""
    bad = [None, "C1CC", "", float("nan")]
    return [bad[i // 7 % 4] if i % 7 == 3 else "C" * (i % 23 + 1) + "O" for i in range(count)]


def check(smiles, graphs):
    assert len(graphs) == len(smiles)
    for text, graph in zip(smiles, graphs, strict=True):
        assert graph.smiles is text or graph.smiles == text or graph.smiles != graph.smiles
        if isinstance(text, str) and text.endswith("O"):
            assert isinstance(graph, MolGraph)
            assert graph.num_nodes == len(text)
        else:
            assert isinstance(graph, InvalidSmilesError)


@pytest.mark.parametrize("start_method", [None, "spawn"])
def test_order_and_errors_over_two_processes(start_method, reference):
    smiles = mixture(2600)
    graphs = featurize_many(smiles, "compt", num_workers=2, start_method=start_method)
    check(smiles, graphs)
    for graph, other in zip(graphs, featurize_many(smiles, "compt", num_workers=1), strict=True):
        if isinstance(graph, MolGraph):
            reference.same(graph, other)
            assert not graph.node_features.flags.writeable
        else:
            assert graph.reason == other.reason


def test_in_this_process_for_few_molecules(monkeypatch):
    def refuse(*_):
        raise AssertionError("a process was started")

    monkeypatch.setattr(parallel, "_in_processes", refuse)
    for workers, count in ((2, 1000), (None, 600), (1, 3000), (0, 1500)):
        smiles = mixture(count)
        check(smiles, featurize_many(smiles, num_workers=workers))
    with pytest.raises(AssertionError, match="a process was started"):
        featurize_many(mixture(1001), num_workers=2)


def test_nothing_to_do():
    assert featurize_many([]) == []
    assert list(iter_featurized(iter([]), num_workers=4)) == []


def test_any_iterable(reference):
    for graph, other in zip(featurize_many(text for text in ("C", "CC")), featurize_many(("C", "CC")), strict=True):
        reference.same(graph, other)


def test_progress_bar_counts_molecules_and_invalid_ones(capsys):
    featurize_many(mixture(700), progress=True)
    shown = capsys.readouterr().err
    assert "700/700" in shown
    assert "100 invalid" in shown
    featurize_many(mixture(700))
    assert capsys.readouterr().err == ""


def test_default_workers_are_the_usable_processors(monkeypatch):
    asked = []
    monkeypatch.setattr(
        parallel, "_in_processes", lambda chunks, chirality, workers, method: asked.append(workers) or []
    )
    monkeypatch.setattr(parallel, "usable_cpu_count", lambda: 3)
    with pytest.raises(ValueError, match="zip"):  # the replaced function gives no results
        featurize_many(mixture(9000))
    assert asked == [3]
    assert 1 <= usable_cpu_count() <= os.cpu_count()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"smiles": "CCO"}, "smiles is a single text, 'CCO'; accepted: a list of SMILES"),
        ({"num_workers": -1}, "num_workers is -1; accepted: a number in \\[0, inf\\)"),
        ({"start_method": "thread"}, "start_method is 'thread'; accepted: 'fork', 'spawn'"),
        ({"feature_set": "none"}, "feature_set is 'none'; accepted"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        iter_featurized(**{"smiles": ["C"], **arguments})


def test_stopping_half_way_leaves_no_processes():
    graphs = iter_featurized(mixture(20_000), num_workers=2)
    next(graphs)
    assert children(os.getpid())
    graphs.close()
    assert not children(os.getpid())


def children(pid):
    import psutil

    return [
        child
        for child in psutil.Process(pid).children(recursive=True)
        if "resource_tracker" not in " ".join(child.cmdline())
    ]


SCRIPT = """
import sys
from dc_graphsam.chem import featurize_many
if __name__ == "__main__":
    print("ready", flush=True)
    try:
        featurize_many(["CCOC(=O)c1ccccc1CCN"] * 2_000_000, num_workers=2, start_method=sys.argv[1])
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_interrupt_ends_all_processes_without_noise(tmp_path, start_method):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, script, start_method],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    workers = []
    deadline = time.monotonic() + 60
    while len(workers) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
        workers = children(process.pid)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("interrupted\n", "")
    assert process.returncode == 0
    assert len(workers) == 2
    assert not any(worker.is_running() for worker in workers)


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_killed_worker_is_reported(start_method):
    for delay in (0, 0.01, 0.03, 0.05):  # while it works, or half-way through a result
        graphs = iter_featurized(mixture(100_000), num_workers=2, start_method=start_method)
        next(graphs)
        time.sleep(delay)
        children(os.getpid())[0].kill()
        with pytest.raises(RuntimeError, match=r"a worker process died while featurizing.* use num_workers=1"):
            list(graphs)
        assert not children(os.getpid())
