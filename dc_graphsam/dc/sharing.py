"""Models in the format of both doors, on disk and on the Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["SharedFormat"]

_HUB_ARGUMENTS = ("revision", "token", "cache_dir", "local_files_only", "force_download", "subfolder")


class SharedFormat:
    """The saving part of :class:`~dc_graphsam.dc.GraphTransformerModel`."""

    @classmethod
    def from_pretrained(cls, name: str | Path, **kwargs: Any):
        """A model from a folder or a Hub repository, written through this door or the Hugging Face one.

        Parameters
        ----------
        name
            Folder, or ``"owner/name"``.
        **kwargs
            ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``force_download`` and ``subfolder`` say where to look;
            the others are those of the class: ``batch_size``, ``optimizer``, ``model_dir``, …

        Returns
        -------
        GraphTransformerModel
            Its predictions are those of the network in label units: nothing is left for ``transformers`` to undo.
        """
        where = {key: kwargs.pop(key) for key in _HUB_ARGUMENTS if key in kwargs}
        with _no_progress_bars():
            network = cls.network_class.from_pretrained(str(name), **where)
        return cls(network=network, **kwargs)

    def save_pretrained(self, folder: str | Path, transformers: Any = ()) -> Path:
        """Write configuration, weights and processor, as the Hugging Face door does.

        Parameters
        ----------
        folder
            Made if needed.
        transformers
            Those that the labels of training went through. A ``NormalizationTransformer`` becomes mean and standard deviation in
            the configuration, so that the saved model predicts in label units; a ``BalancingTransformer`` changes weights
            only, and nothing is to be kept of it.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        InvalidArgumentError
            If a transformer cannot be carried over.
        """
        from dc_graphsam.data.deepchem.transformers import label_scale
        from dc_graphsam.repository.files import write_processor_record

        scale = label_scale(transformers, self.n_tasks)
        folder = Path(folder)
        if folder.is_file():
            raise InvalidArgumentError(f"folder is the file {str(folder)!r}; accepted: a folder")
        config = self.config
        before = config.label_mean, config.label_std
        if scale is not None:
            if self.mode == "classification":
                raise InvalidArgumentError(
                    "transformers holds a NormalizationTransformer, and this is a classification"
                )
            if before[0] is not None:
                raise InvalidArgumentError(
                    "transformers holds a NormalizationTransformer, and the model has label_mean and label_std of its own; "
                    "accepted: one of them"
                )
            config.label_mean, config.label_std = scale
        try:
            with _no_progress_bars():
                self.network.save_pretrained(folder)
        finally:
            config.label_mean, config.label_std = before
        write_processor_record(folder, config.feature_set)
        return folder

    def push_to_hub(
        self,
        repo_id: str,
        transformers: Any = (),
        *,
        commit_message: str = "Upload model",
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
    ) -> str:
        """Upload what :meth:`save_pretrained` writes to a repository on the Hub, made if needed.

        Returns
        -------
        str
            Address of the commit.
        """
        from huggingface_hub import HfApi

        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, transformers)
            api = HfApi(token=token)
            repo = api.create_repo(repo_id, private=private, exist_ok=True)
            info = api.upload_folder(
                folder_path=folder, repo_id=repo.repo_id, commit_message=commit_message, revision=revision
            )
        return str(info.commit_url)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """transformers shows one for every file, which a model of a few megabytes does not need."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
