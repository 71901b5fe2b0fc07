"""SMILES in, numbers out: a checkpoint as a function."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, check_range
from dc_graphsam.models.auto import TASK, AutoModelForPropertyPrediction
from dc_graphsam.predict.molecules import BATCH_SIZE, CHUNK_SIZE, named_rows, predict_graphs, valid_text
from dc_graphsam.predict.named import result_names
from dc_graphsam.predict.notes import Note, notes_of
from dc_graphsam.predict.smiles_input import smiles_of
from dc_graphsam.repository.bundled import BUNDLED, DEFAULT_MODEL, bundled_models, locate
from dc_graphsam.repository.files import PROCESSOR, fetch

__all__ = ["BUNDLED", "MoleculePredictor", "bundled_models", "pipeline"]


class MoleculePredictor:
    """A model with its processor, called with SMILES.

    Parameters
    ----------
    model
        A property prediction model.
    processor
        Its :class:`~dc_graphsam.hf.MoleculeProcessor`; ``None`` takes the feature set from the model.
    batch_size
        Molecules per batch of the model.
    num_workers
        Processes that featurize; 0 does it in this one.

    Raises
    ------
    FeatureSetError
        If model and processor belong to different feature sets.

    Examples
    --------
    >>> predict = pipeline()
    >>> predict("CCO")  # doctest: +ELLIPSIS
    {'measured log solubility in mols per litre': ...}
    >>> rows = predict(["CCO", "no molecule"])
    >>> rows[1]["error"]
    'cannot be parsed: ...'
    """

    def __init__(self, model, processor=None, batch_size: int = BATCH_SIZE, num_workers: int = 0) -> None:
        check_range("batch_size", batch_size, 1)
        check_range("num_workers", num_workers, 0)
        config = model.config
        self.feature_set = config.feature_set if processor is None else processor.feature_set
        accepts = getattr(config, "accepts_feature_set", config.feature_set.__eq__)
        if not accepts(self.feature_set):
            raise FeatureSetError(
                f"the processor makes features {self.feature_set!r} but the model reads {config.feature_set!r}; "
                f"load both from the same place"
            )
        self.model, self.processor = model.eval(), processor
        self.batch_size, self.num_workers = batch_size, num_workers

    @property
    def task_names(self) -> list[str]:
        """Keys of a prediction."""
        return list(result_names(self.model.config))

    def __call__(
        self, smiles: str | Iterable[Any], *, batch_size: int | None = None, progress: bool = False
    ) -> dict[str, Any] | list[dict[str, Any]] | Iterator[dict[str, Any]]:
        """Predict.

        Parameters
        ----------
        smiles
            One SMILES; a list or an array of them; a generator, of which only a part is in memory at a time; anything with
            ``len`` and places, such as the ``KeyDataset`` of ``transformers``; or a table with a column of SMILES: a pandas
            ``DataFrame``, a ``datasets.Dataset``, or rows as dictionaries. Its column is found by the usual names.
        batch_size
            In place of that of the predictor.
        progress
            Whether to show a progress bar.

        Returns
        -------
        dict, list of dict, or generator of dict
            As was given (one, many, a stream), in order: task name → probability of class 1, or value in label units. What
            cannot be predicted has NaN for every task, and the reason under ``"error"``. What should be known about a
            prediction stands under ``"note"``: an ignored text behind the SMILES, or what no molecule of the training set
            had.
        """
        size = self.batch_size if batch_size is None else check_range("batch_size", batch_size, 1)
        if isinstance(smiles, str):
            return next(self._stream(iter([smiles]), size, 1, 1, progress=False))
        total = len(smiles) if hasattr(smiles, "__len__") else None
        smiles = smiles_of(smiles)
        # A list is sorted by size in large pieces; of a stream the first results should not wait for a thousand molecules.
        piece = CHUNK_SIZE if total is not None else min(CHUNK_SIZE, 4 * size)
        rows = self._stream(smiles, size, piece, total, progress)
        return rows if total is None else list(rows)

    def _stream(
        self, smiles: Iterator[str], batch_size: int, piece: int, total: int | None, progress: bool
    ) -> Iterator[dict[str, Any]]:
        from dc_graphsam.chem import ChiralityNotice

        bar, notice = None, ChiralityNotice(self.feature_set)
        if progress:
            from dc_graphsam.progress import progress_bar

            bar = progress_bar(total=total, unit=" mol")
        try:
            while chunk := list(islice(smiles, piece)):
                notice.look_at(chunk)
                yield from self.predict(chunk, batch_size)
                if bar is not None:
                    bar.update(len(chunk))
        finally:
            if bar is not None:
                bar.close()

    def predict(self, smiles: list[str], batch_size: int) -> list[dict[str, Any]]:
        """Rows of :meth:`__call__` for a list that is in memory."""
        graphs = self.featurize(smiles)
        values, reasons = self.forward(graphs, batch_size)
        return self.rows(values, reasons, self.notes(graphs, reasons))

    def featurize(self, smiles: list[str]) -> list:
        from dc_graphsam.chem import featurize_many

        texts = [valid_text(text) for text in smiles]
        return featurize_many(texts, self.feature_set, num_workers=self.num_workers)

    def forward(self, graphs: list, batch_size: int):
        return predict_graphs(self.model, graphs, batch_size, feature_set=self.feature_set)

    def notes(self, graphs: list, reasons: list[str | None]) -> list[list[Note]]:
        return notes_of(self.model.config, graphs, reasons)

    def rows(self, values, reasons: list[str | None], notes: list[list[Note]]) -> list[dict[str, Any]]:
        return named_rows(self.model.config, values, reasons, notes)


def pipeline(
    task: str | None = None,
    model: Any = None,
    *,
    processor: Any = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    num_workers: int = 0,
) -> MoleculePredictor:
    """A function from SMILES to predictions.

    The same as ``transformers.pipeline("molecular-property-prediction", model=…)``, which works, too, and starts faster.

    Parameters
    ----------
    task
        ``"molecular-property-prediction"``, or left out: the first argument may be the model.
    model
        A folder, a repository on the Hub, a model, or the name of one that comes with the package
        (:func:`bundled_models`). ``None``: ``"compt-esol-small"``, which predicts solubility and needs no download.
    processor
        By default that which was saved with the model.
    revision, token, cache_dir, local_files_only, force_download
        For the Hub.
    device
        ``"auto"`` (CUDA if it is there), ``"cpu"`` or ``"cuda"``.
    batch_size, num_workers
        As of :class:`MoleculePredictor`.

    Returns
    -------
    MoleculePredictor

    Raises
    ------
    DCGraphSAMError
        The model cannot be found or read; the message says why.

    Examples
    --------
    >>> predict = pipeline()  # the checkpoint that comes with the package
    >>> [sorted(row) for row in predict(["CCO", "C1CC"])]
    [['measured log solubility in mols per litre'], ['error', 'measured log solubility in mols per litre']]
    """
    from dc_graphsam.predict.loading import quiet_transformers, to_device

    if task is not None and task != TASK:
        if model is not None:
            raise InvalidArgumentError(f"task is {task!r}; accepted: {TASK!r}")
        model = task
    options = {"revision": revision, "token": token, "cache_dir": cache_dir, "force_download": force_download}
    options["local_files_only"] = local_files_only
    if model is None or isinstance(model, (str, os.PathLike)):
        source = locate(DEFAULT_MODEL if model is None else model)
        with quiet_transformers():
            model = AutoModelForPropertyPrediction.from_pretrained(source, **options)
        if processor is None and fetch(source, PROCESSOR, optional=True, **options) is not None:
            from dc_graphsam.processing.molecule_processor import MoleculeProcessor

            processor = MoleculeProcessor.from_pretrained(source, **options)
    if getattr(getattr(model, "config", None), "feature_set", None) is None:
        raise InvalidArgumentError(f"model is of type {type(model).__name__}; accepted: a name, or a molecular model")
    return MoleculePredictor(to_device(model, device), processor, batch_size, num_workers)
