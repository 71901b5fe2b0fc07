"""What the Trainer pushes to the Hub: of a molecular model known files in one commit, of any model no pickle."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["PublishingMixin"]

_NOT_PUSHED = [
    "*.pt",
    "*.pth",
    "*.bin",
    "trainer_state.json",
]  # what a checkpoint has beside the model, most of it pickled


class PublishingMixin:
    """Before ``transformers.Trainer`` among the bases.

    Other models than molecular ones are pushed as the parent does, but for ``training_args.bin``: a pickle that holds paths of
    the machine. ``hub_strategy="checkpoint"`` and ``"all_checkpoints"`` ask for whole checkpoints, and get them.
    """

    _uploading = False

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
        if not self._is_molecular:
            self._uploading = True
            try:
                return super().push_to_hub(commit_message, blocking, token, revision, private, **kwargs)
            finally:
                self._uploading = False
        from dc_graphsam.hf.publish_trainer import push_trainer

        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        if not self.is_world_process_zero():
            return None
        self._finish_current_push()
        return push_trainer(
            self,
            commit_message or "End of training",
            token=token,
            revision=revision,
            private=private,
            in_background=not blocking,
            **kwargs,
        )

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not self._is_molecular and self.args.hub_strategy in ("checkpoint", "all_checkpoints"):
            super()._push_from_checkpoint(checkpoint_folder)
            return
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
        self.push_in_progress = PushInProgress([self._push_model(checkpoint_folder, message)])

    def _push_model(self, checkpoint_folder: str, message: str) -> Any:
        """Push the model as it is now, in the background."""
        if self._is_molecular:
            from dc_graphsam.hf.publish_trainer import push_trainer

            return push_trainer(self, message, in_background=True)
        from huggingface_hub import HfApi

        return HfApi(token=self.args.hub_token).upload_folder(
            repo_id=self.hub_model_id,
            folder_path=checkpoint_folder,
            commit_message=message,
            run_as_future=True,
            ignore_patterns=_NOT_PUSHED,
            revision=self.args.hub_revision,
        )

    def _finish_current_push(self) -> None:
        """The parent calls it between writing and uploading the output folder."""
        super()._finish_current_push()
        if self._uploading:
            with suppress(FileNotFoundError):
                Path(self.args.output_dir, "training_args.bin").unlink()
