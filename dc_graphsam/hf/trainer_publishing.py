"""What the Trainer pushes to the Hub: of a molecular model known files in one commit, of any model no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["PublishingMixin"]

# A pickle that holds paths of the machine; nothing reads it, a resumed training neither.
_ARGUMENTS = ["training_args.bin", "*/training_args.bin"]
# What a checkpoint has beside the model, most of it pickled.
_NOT_PUSHED = ["*.pt", "*.pth", "*.bin", "trainer_state.json"]
# Checkpoints in the output folder, those of a search's trials too.
_NOT_THE_MODEL = ["_*", "checkpoint-*", "*/checkpoint-*", *_ARGUMENTS]


class PublishingMixin:
    """Before ``transformers.Trainer`` among the bases.

    Other models than molecular ones are pushed as the parent does, but for ``training_args.bin``: a pickle that holds paths of
    the machine, which is left out everywhere, and removed where an earlier push has left it. ``hub_strategy="checkpoint"``
    and ``"all_checkpoints"`` ask for whole checkpoints, and get all that a training is resumed from.
    """

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Push to ``args.hub_model_id``; see the parent.

        Of a molecular model exactly these files are pushed, in one commit: configuration, weights, processor, a card with
        the trainer's log (unless a card of other making is there), and checksums. No pickle is among them.

        Parameters
        ----------
        **kwargs
            For the card: ``model_name``, ``license``, ``tags``. Of other models, the parent's.

        Returns
        -------
        huggingface_hub.CommitInfo
            Or, not ``blocking``, a future of it.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        token = token if token is not None else self.args.hub_token
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        if not self._is_molecular:
            self.save_model(_internal_call=True)  # all processes take part
        if not self.is_world_process_zero():
            return None
        self._finish_current_push()
        if not self._is_molecular:
            self._write_card(**kwargs)
            return self._upload(
                self.args.output_dir, commit_message, _NOT_THE_MODEL, token, revision, in_background=not blocking
            )
        from dc_graphsam.hf.publish_trainer import push_trainer

        return push_trainer(
            self,
            commit_message or "End of training",
            token=token,
            revision=revision,
            private=private,
            in_background=not blocking,
            **kwargs,
        )

    def _write_card(self, model_name: str | None = None, tags: str | list[str] | None = None, **options: Any) -> None:
        """The parent's card, by its name and with the tags of the model."""
        tags = [tags] if isinstance(tags, str) else list(tags or [])
        tags += [tag for tag in getattr(self.model, "model_tags", None) or [] if tag not in tags]
        name = model_name or (self.hub_model_id or Path(self.args.output_dir).name).split("/")[-1]
        self.create_model_card(model_name=name, **({"tags": tags} if tags else {}), **options)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        busy = self.push_in_progress is not None and not self.push_in_progress.is_done()
        if (
            not self.is_world_process_zero()
            or self.args.hub_strategy == "end"
            or (busy and not self.args.hub_always_push)
        ):
            return
        from transformers.utils.hub import PushInProgress

        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        message = f"Training in progress, step {self.state.global_step}"
        jobs = [self._push_model(checkpoint_folder, message)]
        if not self._is_molecular and self.args.hub_strategy in ("checkpoint", "all_checkpoints"):
            last = self.args.hub_strategy == "checkpoint"
            place = "last-checkpoint" if last else Path(checkpoint_folder).name
            jobs.append(self._upload(checkpoint_folder, f"{message}, checkpoint", _ARGUMENTS, place=place))
        if busy:
            self.push_in_progress.jobs.extend(jobs)
        else:
            self.push_in_progress = PushInProgress(jobs)

    def _push_model(self, checkpoint_folder: str, message: str) -> Any:
        """Push the model as it is now, in the background."""
        if self._is_molecular:
            from dc_graphsam.hf.publish_trainer import push_trainer

            return push_trainer(self, message, in_background=True)
        return self._upload(checkpoint_folder, message, _NOT_PUSHED)

    def _upload(
        self,
        folder: str,
        message: str | None,
        left_out: list[str],
        token: str | None = None,
        revision: str | None = None,
        place: str | None = None,
        in_background: bool = True,
    ) -> Any:
        """Push a folder to a place in the repository, where no ``training_args.bin`` is left."""
        from huggingface_hub import HfApi

        return HfApi(token=token if token is not None else self.args.hub_token).upload_folder(
            repo_id=self.hub_model_id,
            folder_path=folder,
            path_in_repo=place,
            commit_message=message,
            run_as_future=in_background,
            ignore_patterns=left_out,
            delete_patterns=_ARGUMENTS,
            revision=revision if revision is not None else self.args.hub_revision,
        )
