"""Built-in data sets by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dc_graphsam.chem import DEFAULT_FEATURE_SET
from dc_graphsam.data.assemble import assemble
from dc_graphsam.data.moleculenet.registry import get_dataset_entry
from dc_graphsam.data.moleculenet.sources import find_raw_files, read_raw

__all__ = ["load_moleculenet"]


def load_moleculenet(
    name: str,
    split: str = "random",
    seed: int = 0,
    fold: int | None = None,
    data_dir: str | Path | None = None,
    feature_set: str = DEFAULT_FEATURE_SET,
    *,
    n_folds: int = 5,
    sizes: Sequence[float] = (0.8, 0.1, 0.1),
    splits: str | Path | Mapping[str, Sequence[int]] | None = None,
    max_atoms: int | None = None,
    num_workers: int | None = None,
    progress: bool = True,
    download: bool = True,
    cache_dir: str | Path | None = None,
):
    """Load a MoleculeNet data set, featurized, cached and split.

    The raw file is read by DeepChem's MolNet loader, with equal result by this package where DeepChem is not installed, or
    as a plain table for QM7 and QM8 (their MolNet loaders want SDF files). ``"freewilson"`` needs no file: it comes with RDKit. Which rows are molecules is decided by
    :func:`~dc_graphsam.chem.featurize`; rows that cannot be used are left out, summed up in one warning, and listed by
    :func:`~dc_graphsam.data.dropped_rows`.

    Parameters
    ----------
    name
        ``"freewilson"``, ``"bbbp"``, ``"tox21"``, … (see :func:`~dc_graphsam.data.datasets_table`), in any case.
    split
        ``"random"``, ``"scaffold"`` (no Bemis–Murcko scaffold in two parts) or ``"kfold"``.
    seed
        Of the split, non-negative. The same seed gives the same split on every machine; all three splits honour it.
    fold
        For ``"kfold"``, which fold tests: 0 … n_folds − 1. The next one validates.
    data_dir
        Folder of the raw files, also to download to. ``None`` means the environment variable ``DEEPCHEM_DATA_DIR``,
        else DeepChem's default (the folder for temporary files).
    feature_set
        Name of the feature set, see :func:`~dc_graphsam.chem.get_feature_set`.
    n_folds
        Number of folds, at least 3.
    sizes
        Fractions of train, validation and test for ``"random"`` and ``"scaffold"``.
    splits
        Rows of each part, or a file (or run folder) that :func:`~dc_graphsam.data.save_splits` wrote: gives that split
        again. ``split``, ``seed``, ``fold`` and ``sizes`` are not used then.
    max_atoms
        Leave out molecules with more atoms; ``None`` keeps all.
    num_workers
        Processes for featurization, ``None``: one per core.
    progress
        Whether to show progress bars.
    download
        Whether an absent raw file may be downloaded.
    cache_dir
        Folder for featurized tables. ``None`` means the environment variable ``DC_GRAPHSAM_CACHE``, else
        ``~/.cache/dc_graphsam``.

    Returns
    -------
    datasets.DatasetDict
        ``train``, ``validation`` and ``test`` in NumPy format, with the columns ``smiles``, ``labels`` (float32 [T],
        NaN = not measured), ``row`` (in the raw file, first is 0), ``num_nodes``, ``node_features`` (float32 [N·F]),
        ``edge_index`` (int32 [2·2E]), ``edge_features`` (float32 [2E·Fe]) and ``distance`` (uint8 [N·N]).
        :class:`~dc_graphsam.tasks.TaskSpec` ``.of(data)`` says what the labels are.

    Raises
    ------
    InvalidArgumentError
        If an argument is not accepted.
    MissingDataError
        If the raw file is not there and cannot be downloaded.

    References
    ----------
    .. [1] Wu et al., MoleculeNet: a benchmark for molecular machine learning, Chemical Science 9 (2018) 513-530.

    Examples
    --------
    >>> from dc_graphsam.tasks import TaskSpec
    >>> data = load_moleculenet("freewilson", progress=False)
    >>> {part: len(rows) for part, rows in data.items()}
    {'train': 813, 'validation': 102, 'test': 102}
    >>> TaskSpec.of(data).task_names
    ('pAct',)
    """
    entry = get_dataset_entry(name)
    files = find_raw_files(entry, data_dir, download)
    return assemble(
        entry.name,
        files,
        lambda: read_raw(entry, files),
        reading={"loader": entry.loader, "tasks": list(entry.task_names)},
        metric=entry.metric,
        citation=entry.citation,
        feature_set=feature_set,
        max_atoms=max_atoms,
        num_workers=num_workers,
        progress=progress,
        cache_dir=cache_dir,
        split=split,
        seed=seed,
        fold=fold,
        n_folds=n_folds,
        sizes=sizes,
        splits=splits,
    )
