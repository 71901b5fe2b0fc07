"""SMILES → model inputs: to a molecular model what a tokenizer is to a language model."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dc_graphsam.exceptions import (
    FeatureSetError,
    InvalidArgumentError,
    InvalidSmilesError,
    MissingDataError,
    check_choice,
)
from dc_graphsam.repository.files import (
    CONFIG,
    DOWNLOAD_OPTIONS,
    PROCESSOR,
    PROCESSOR_FORMAT,
    check_processor,
    check_sums,
    commit_of,
    fetch,
    processor_record,
)

if TYPE_CHECKING:
    from transformers import BatchFeature

__all__ = ["MoleculeProcessor"]

logger = logging.getLogger(__name__)
_SHOWN = 5  # places in a message


class MoleculeProcessor:
    """Featurize and pad molecules as a model expects them.

    Parameters
    ----------
    feature_set
        Name of a feature set (:func:`dc_graphsam.chem.get_feature_set`); ``None`` takes the package's default.

    Attributes
    ----------
    feature_set, node_feature_size, edge_feature_size
        The name, and its widths F and Fe.
    model_input_names
        Keys of a batch.

    Raises
    ------
    FeatureSetError
        If there is no feature set of that name.

    Notes
    -----
    Pass it to :class:`~dc_graphsam.hf.GraphSAMTrainer` as ``processing_class``, so that checkpoints and uploads have it.

    Examples
    --------
    >>> processor = MoleculeProcessor()
    >>> batch = processor(["CCO", "c1ccccc1"])
    >>> type(batch).__name__, tuple(batch["node_features"].shape)
    ('BatchFeature', (2, 6, 115))
    >>> processor("C1CC")
    Traceback (most recent call last):
        ...
    dc_graphsam.exceptions.InvalidSmilesError: SMILES 'C1CC' cannot be used: cannot be parsed: unclosed ring
    """

    model_input_names = ["node_features", "node_mask", "edge_index", "edge_features", "distance"]

    def __init__(self, feature_set: str | None = None) -> None:
        from dc_graphsam.chem import DEFAULT_FEATURE_SET, FEATURE_SETS, get_feature_set
        from dc_graphsam.chem.table_feature_sets import is_table_feature_set

        if feature_set is not None and is_table_feature_set(feature_set):
            raise FeatureSetError(
                f"features {feature_set!r} come with a table of graphs and cannot be computed from a SMILES; accepted: "
                f"{', '.join(FEATURE_SETS)}. A model of such a table takes rows of load_graph_dataset, and has no processor"
            )
        self.feature_set = DEFAULT_FEATURE_SET if feature_set is None else feature_set
        if self.feature_set not in FEATURE_SETS:
            raise FeatureSetError(
                f"feature_set is {self.feature_set!r}, which this version of dc_graphsam does not have; "
                f"it has: {', '.join(FEATURE_SETS)}. Install the version that wrote it, or featurize anew"
            )
        features = get_feature_set(self.feature_set)
        self.node_feature_size: int = features.node_feature_size
        self.edge_feature_size: int = features.edge_feature_size

    @classmethod
    def for_model(cls, model_or_config: Any) -> MoleculeProcessor:
        """The processor whose features a model was trained on.

        Parameters
        ----------
        model_or_config
            A molecular model of this package, or its configuration.

        Raises
        ------
        InvalidArgumentError
            If it is no molecular model.
        """
        config = getattr(model_or_config, "config", model_or_config)
        if getattr(config, "feature_set", None) is None:
            raise InvalidArgumentError(
                f"{type(model_or_config).__name__} does not name a feature set; accepted: a molecular model or its config"
            )
        return cls(config.feature_set)

    def __call__(
        self,
        smiles: str | Iterable[str],
        return_tensors: str = "pt",
        on_invalid: str = "raise",
        num_workers: int | None = 0,
    ) -> BatchFeature:
        """Featurize molecules into one padded batch.

        Parameters
        ----------
        smiles
            One SMILES or several.
        return_tensors
            ``"pt"`` (torch) or ``"np"`` (NumPy).
        on_invalid
            ``"raise"`` on a molecule that cannot be used, or ``"skip"`` it with a warning.
        num_workers
            Processes that featurize; 0 does it in this one, ``None`` uses all cores.

        Returns
        -------
        transformers.BatchFeature
            The keys of ``model_input_names``, molecule first (shapes: :class:`dc_graphsam.data.MoleculeCollator`). Its
            attribute ``errors`` has one entry per given SMILES: ``None``, or why it is not in the batch.

        Raises
        ------
        InvalidSmilesError
            If a molecule cannot be used and ``on_invalid="raise"``, or none is left.
        InvalidArgumentError
            If an option is not accepted, or there are no SMILES.
        """
        from transformers import BatchFeature

        from dc_graphsam.chem import featurize_many
        from dc_graphsam.chem.trailing import ignored_text, shown
        from dc_graphsam.data import MoleculeCollator

        check_choice("return_tensors", return_tensors, ("pt", "np"))
        check_choice("on_invalid", on_invalid, ("raise", "skip"))
        smiles = [smiles] if isinstance(smiles, str) or not isinstance(smiles, Iterable) else list(smiles)
        if not smiles:
            raise InvalidArgumentError("smiles is empty; accepted: at least one SMILES")
        graphs = featurize_many(smiles, self.feature_set, num_workers=num_workers)
        errors = [graph if isinstance(graph, InvalidSmilesError) else None for graph in graphs]
        invalid = [error for error in errors if error is not None]
        if invalid and (on_invalid == "raise" or len(invalid) == len(graphs)):
            raise invalid[0]
        if invalid:
            rows = ", ".join(f"{i} ({error.reason})" for i, error in enumerate(errors) if error is not None)
            logger.warning("%d of %d SMILES left out: %s", len(invalid), len(graphs), rows)
        texts = [None if error is not None else ignored_text(text) for text, error in zip(smiles, errors, strict=True)]
        ignored = [f"{i} ({shown(text)})" for i, text in enumerate(texts) if text is not None]
        if ignored:
            more = f" and {len(ignored) - _SHOWN} more" if len(ignored) > _SHOWN else ""
            words = ", ".join(ignored[:_SHOWN])
            logger.warning("text behind %d of %d SMILES ignored: %s%s", len(ignored), len(graphs), words, more)
        batch = MoleculeCollator(self.feature_set)(
            [graph for graph in graphs if not isinstance(graph, InvalidSmilesError)]
        )
        if return_tensors == "np":
            batch = {name: tensor.numpy() for name, tensor in batch.items()}
        features = BatchFeature(batch)
        features.errors = errors
        return features

    def to_dict(self) -> dict[str, Any]:
        """What ``processor_config.json`` holds."""
        return {**processor_record(self.feature_set), "processor_class": type(self).__name__}

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> list[str]:
        """Write ``processor_config.json`` into a folder, made if needed.

        Parameters
        ----------
        save_directory
            The folder.
        push_to_hub
            Whether to upload it as well; ``repo_id`` (default: the folder's name) and the other arguments of
            :meth:`push_to_hub` go into ``kwargs``.

        Returns
        -------
        list of str
            The file written.
        """
        folder = Path(save_directory)
        if folder.is_file():
            raise InvalidArgumentError(f"save_directory is the file {str(folder)!r}; accepted: a folder")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / PROCESSOR
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", folder.resolve().name), **kwargs)
        return [str(path)]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> MoleculeProcessor:
        """Read the processor that was saved with a model.

        Parameters
        ----------
        pretrained_model_name_or_path
            A folder that holds ``processor_config.json``, the file itself, or a repository on the Hub.
        **kwargs
            ``revision``, ``token``, ``cache_dir`` and so on, for the Hub.

        Raises
        ------
        MissingDataError
            If there is no such file.
        FeatureSetError
            If it was written by a newer version, its feature set is unknown here or has other widths, or the model beside
            it reads other features.
        """
        path, model_config = _resolve(pretrained_model_name_or_path, kwargs)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            version, feature_set = int(record.get("format_version", 1)), record["feature_set"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise FeatureSetError(
                f"{path} does not describe a molecule processor; save one with save_pretrained"
            ) from None
        if version > PROCESSOR_FORMAT:
            raise FeatureSetError(
                f"{path} has format version {version}, this version of dc_graphsam reads up to {PROCESSOR_FORMAT}; "
                "install a newer dc_graphsam"
            )
        processor = cls(feature_set)
        for name in ("node_feature_size", "edge_feature_size"):
            if record.get(name, getattr(processor, name)) != getattr(processor, name):
                raise FeatureSetError(
                    f"{path} says {name} {record[name]}, feature set {feature_set!r} has {getattr(processor, name)} in this "
                    "version of dc_graphsam; install the version that wrote it"
                )
        check_processor(feature_set, model_config, str(pretrained_model_name_or_path))
        return processor

    def push_to_hub(self, repo_id: str, *, commit_message: str = "Upload processor", **kwargs: Any) -> str:
        """Upload ``processor_config.json`` to a repository on the Hub, made if needed, unless the model there does not fit.

        Parameters
        ----------
        repo_id
            ``"owner/name"``.
        commit_message
            Of the commit.
        **kwargs
            ``token``, ``private``, ``revision``, ``create_pr``.

        Returns
        -------
        str
            Address of the commit.

        Raises
        ------
        FeatureSetError
            The model in the repository reads other features.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=kwargs.pop("token", None))
        repo = api.create_repo(repo_id, private=kwargs.pop("private", None), exist_ok=True)
        check_processor(self.feature_set, _config_on_hub(api, repo.repo_id, kwargs.get("revision")), repo.repo_id)
        content = (json.dumps(self.to_dict(), indent=2) + "\n").encode()
        info = api.upload_file(
            path_or_fileobj=content,
            path_in_repo=PROCESSOR,
            repo_id=repo.repo_id,
            commit_message=commit_message,
            **kwargs,
        )
        return str(info.commit_url)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MoleculeProcessor) and other.feature_set == self.feature_set

    def __hash__(self) -> int:
        return hash((type(self), self.feature_set))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(feature_set={self.feature_set!r})"


def _resolve(name: str | os.PathLike, kwargs: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Local path of the file, downloaded if ``name`` is a repository, and the configuration of the model beside it."""
    path = Path(name)
    if path.is_file():
        return path, {}
    if path.is_dir():
        if not (path / PROCESSOR).is_file():
            raise MissingDataError(
                f"{path} has no {PROCESSOR}; save a processor there, or make one with MoleculeProcessor.for_model(model)"
            )
        found = path / PROCESSOR
        config = path / CONFIG if (path / CONFIG).is_file() else None
    else:
        options = {key: kwargs[key] for key in DOWNLOAD_OPTIONS if key in kwargs}
        found = fetch(name, PROCESSOR, **options)
        commit = commit_of(found, options.get("subfolder"))
        config = fetch(name, CONFIG, optional=True, **(options | ({"revision": commit} if commit else {})))
    check_sums(found.parent, [PROCESSOR], str(name))
    return found, _read_object(config)


def _config_on_hub(api: Any, repo_id: str, revision: str | None) -> dict[str, Any]:
    """Configuration of the model that is in a repository now; empty if there is no model, or no repository."""
    if not api.file_exists(repo_id, CONFIG, revision=revision):
        return {}
    return _read_object(fetch(repo_id, CONFIG, optional=True, token=api.token, revision=revision))


def _read_object(path: Path | None) -> dict[str, Any]:
    """A JSON object; anything else is not for the processor to refuse."""
    try:
        record = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        record = {}
    return record if isinstance(record, dict) else {}
