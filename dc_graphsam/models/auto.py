"""Auto classes: which class reads a checkpoint follows from its ``config.json``."""

from __future__ import annotations

import json
import os
from typing import Any

from dc_graphsam.catalogue import NETWORKS
from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.repository.files import CONFIG, DOWNLOAD_OPTIONS, check_config, fetch

__all__ = ["MODELS", "TASK", "AutoModelForPropertyPrediction"]

TASK = "molecular-property-prediction"
# model_type → configuration, encoder and predictor in dc_graphsam.models
MODELS: dict[str, tuple[str, str, str]] = {name: network.classes for name, network in NETWORKS.items()}


class AutoModelForPropertyPrediction:
    """The property prediction model of a checkpoint, whatever its backbone.

    Examples
    --------
    >>> from dc_graphsam import CoMPTConfig
    >>> config = CoMPTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> type(AutoModelForPropertyPrediction.from_config(config)).__name__
    'CoMPTForPropertyPrediction'
    """

    _registered: dict[str, type] = {}

    def __init__(self, *_: Any, **__: Any) -> None:
        raise InvalidArgumentError(f"{type(self).__name__} is made with from_pretrained(name) or from_config(config)")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, *args: Any, **kwargs: Any):
        """Load configuration and weights from a folder or from a repository on the Hub.

        Parameters
        ----------
        pretrained_model_name_or_path
            A folder, or ``"owner/name"``.
        **kwargs
            As of :meth:`~dc_graphsam.models.common.loading.CheckedPreTrainedModel.from_pretrained` of the class it turns out to
            be: ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``strict``, …

        Raises
        ------
        MissingDataError
            There is no such folder, repository, revision or file.
        InvalidArgumentError, FeatureSetError, DamagedFileError
            It cannot be read here; the message says why.
        """
        options = {key: kwargs[key] for key in DOWNLOAD_OPTIONS if key in kwargs}
        path = fetch(pretrained_model_name_or_path, CONFIG, **options)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise InvalidArgumentError(f"{CONFIG} of {pretrained_model_name_or_path} is not a JSON object")
        check_config(record, str(pretrained_model_name_or_path), cls.model_types())
        return cls._class_of(record["model_type"]).from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @classmethod
    def from_config(cls, config: Any, **kwargs: Any):
        """A model with fresh weights.

        Parameters
        ----------
        config
            Configuration of a molecular model.
        """
        kind = getattr(config, "model_type", None)
        if kind not in cls.model_types():
            accepted = ", ".join(map(repr, cls.model_types()))
            raise InvalidArgumentError(f"config is of model_type {kind!r}; accepted: {accepted}")
        return cls._class_of(kind)(config, **kwargs)

    @classmethod
    def register(cls, config_class: type, model_class: type) -> None:
        """Let checkpoints of another backbone be found.

        Parameters
        ----------
        config_class
            Its configuration, with a ``model_type`` of its own.
        model_class
            Reads batches of :class:`~dc_graphsam.data.MoleculeCollator` and returns ``logits`` [B, T].
        """
        kind = getattr(config_class, "model_type", "")
        if not kind or kind in MODELS:
            raise InvalidArgumentError(
                f"model_type of {config_class.__name__} is {kind!r}; accepted: one not in use yet"
            )
        cls._registered[kind] = model_class

    @classmethod
    def model_types(cls) -> list[str]:
        return [*MODELS, *cls._registered]

    @classmethod
    def _class_of(cls, kind: str) -> type:
        if kind in cls._registered:
            return cls._registered[kind]
        import dc_graphsam.models

        return getattr(dc_graphsam.models, MODELS[kind][2])
