"""Loading and publishing that every backbone shares: strict, checked, and without running anything of a repository."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from dc_graphsam.chem.feature_sets import FEATURE_SETS
from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.repository.files import DOWNLOAD_OPTIONS, SUMS, fetch_model, sums_of, write_processor_record

__all__ = ["CheckedPreTrainedModel"]

LIBRARY = "dc_graphsam"


class CheckedPreTrainedModel(PreTrainedModel):
    """Base of the molecular models: ``transformers.PreTrainedModel`` that loads strictly and publishes completely."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *args: Any,
        strict: bool = True,
        output_loading_info: bool = False,
        **kwargs: Any,
    ):
        """Load configuration and weights from a folder or from a repository on the Hub.

        As ``transformers.PreTrainedModel.from_pretrained``, but strictly: weights are safetensors, code of the repository
        is never run, files whose checksum is wrong are not read, and tensors must be those of the model.

        Parameters
        ----------
        pretrained_model_name_or_path
            A folder, or ``"owner/name"``.
        strict
            A missing, unexpected or misshapen tensor is an error that names it. ``False`` initialises what is missing
            and ignores the rest, e.g. to start a new task from a trained encoder.
        **kwargs
            ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``force_download`` for the Hub; the parent's
            others; and fields of the configuration to change.

        Raises
        ------
        MissingDataError
            There is no such folder, repository, revision or file.
        InvalidArgumentError
            It is a model of another library or kind or of a newer format version, or the weights are not those of this
            model.
        FeatureSetError
            Its feature set is not known here, or was another when it was saved.
        DamagedFileError
            A file is not the one that was published.
        """
        for name, value in (("trust_remote_code", True), ("use_safetensors", False)):
            if kwargs.pop(name, None) is value:
                raise InvalidArgumentError(
                    f"{name} is {value}; models of this package are read from safetensors, and no code of a repository is run"
                )
        name, info = pretrained_model_name_or_path, None
        # With a state dict or a configuration given, the parent needs no more files than it is told.
        if name is not None and kwargs.get("state_dict") is None:
            options = {key: kwargs.pop(key) for key in DOWNLOAD_OPTIONS if key in kwargs}
            name = str(fetch_model(name, [cls.config_class.model_type], **options))
            kwargs |= {"local_files_only": True}
        model, info = super().from_pretrained(name, *args, output_loading_info=True, use_safetensors=True, **kwargs)
        if strict:
            cls._check_tensors(model, info, pretrained_model_name_or_path)
        _own_memory(model)
        if pretrained_model_name_or_path is not None:
            model.name_or_path = model.config.name_or_path = str(pretrained_model_name_or_path)
        return (model, info) if output_loading_info else model

    @classmethod
    def _check_tensors(cls, model: nn.Module, info: dict[str, Any], source: Any) -> None:
        prefix = f"{cls.base_model_prefix}."
        whole = any(key.startswith(prefix) for key in model.state_dict())
        found = {
            "missing": info["missing_keys"],
            # an encoder may be read from the checkpoint of a predictor
            "unexpected": info["unexpected_keys"] if whole else (),
            "wrong shape": [key for key, *_ in info["mismatched_keys"]],
        }
        problems = [f"{kind}: {', '.join(sorted(keys))}" for kind, keys in found.items() if keys]
        if problems:
            raise InvalidArgumentError(
                f"the weights in {str(source)!r} are not those of a {cls.__name__} with its configuration; "
                f"{'; '.join(problems)}. strict=False loads what fits"
            )

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Upload model",
        commit_description: str | None = None,
        private: bool | None = None,
        token: bool | str | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        tags: list[str] | None = None,
        **kwargs: Any,
    ):
        """Upload all that a prediction needs: weights, configuration, processor, checksums, and a card if there is none.

        Parameters
        ----------
        repo_id
            ``"owner/name"``; the repository is made if needed.
        commit_message, commit_description
            Of the one commit.
        private
            Whether a new repository is private.
        token, revision, create_pr
            As in ``huggingface_hub``.
        tags
            More tags for the card.
        **kwargs
            ``max_shard_size`` of ``save_pretrained``.

        Returns
        -------
        huggingface_hub.CommitInfo
        """
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        branch = revision if revision is not None and not revision.startswith("refs/") else None
        if branch is not None:
            api.create_branch(repo_id, branch=branch, exist_ok=True)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            self.save_pretrained(folder, **kwargs)
            feature_set = getattr(self.config, "feature_set", None)
            if feature_set in FEATURE_SETS:  # those of a table of graphs are not made from SMILES
                write_processor_record(folder, feature_set)
            files = sorted(path.name for path in folder.iterdir())
            (folder / SUMS).write_text(sums_of(folder, files), encoding="utf-8")
            if not api.file_exists(repo_id, "README.md", revision=branch):
                (folder / "README.md").write_text(_first_card(self, tags or []), encoding="utf-8")
            return api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=commit_message,
                commit_description=commit_description,
                revision=revision,
                create_pr=create_pr,
            )


def _first_card(model: PreTrainedModel, tags: list[str]) -> str:
    """A card that says what the files say, and no more."""
    from huggingface_hub import ModelCardData

    config = model.config
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag="graph-ml",
        tags=sorted({"chemistry", "molecular-property-prediction", config.model_type, *tags}),
    )
    tasks = getattr(config, "task_names", None) or []
    listed = ", ".join(f"`{name}`" for name in tasks[:30]) + (", …" if len(tasks) > 30 else "")
    about = f"It predicts ({config.task_type}): {listed}.\n" if tasks else ""
    return (
        f"---\n{data.to_yaml()}\n---\n\n# {type(model).__name__}\n\n"
        f"A molecular graph transformer, saved with [{LIBRARY}](https://pypi.org/project/dc-graphsam/). {about}\n"
        f"No evaluation is attached to these weights.\n"
    )


def _own_memory(model: nn.Module) -> None:
    """Move weights that still lie in the mapped file into memory of torch's own.

    A file gives them another alignment, and the last bits of a matrix product on a CPU depend on it: without this, a saved
    model and the loaded one would differ by rounding.
    """
    for parameter in model.parameters():
        if parameter.data_ptr() % 64:
            parameter.data = parameter.data.clone()
