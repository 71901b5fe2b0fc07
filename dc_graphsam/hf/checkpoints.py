"""Checkpoints of the Trainer on disk."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

from dc_graphsam.exceptions import MissingDataError

__all__ = ["last_whole_checkpoint"]

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(\d+)")


def last_whole_checkpoint(folder: str | Path) -> Path:
    """The last checkpoint in ``folder`` that was written to its end.

    The Trainer writes its state last, so a checkpoint cut off by a kill lacks it.

    Parameters
    ----------
    folder
        ``output_dir`` of a run.

    Raises
    ------
    MissingDataError
        If there is none.
    """
    folder = Path(folder)
    found = []
    if folder.is_dir():
        found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    for _, path in sorted(found, reverse=True):
        if _is_whole(path):
            return path
        logger.warning("%s was not written to its end and is passed over", path)
    raise MissingDataError(
        f"{folder} has no whole checkpoint to resume from; name one, or train without resume_from_checkpoint"
    )


def _is_whole(checkpoint: Path) -> bool:
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(state, dict) and "global_step" in state
