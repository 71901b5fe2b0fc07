"""Several processes of one run, as ``torchrun`` starts them: the first prepares, writes and speaks, the others wait."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from dc_graphsam.exceptions import DCGraphSAMError

__all__ = ["FirstProcessFailed", "Ranks", "has_lost_contact", "is_first_process", "process_count", "wait_for_the_end"]

_PATIENCE = timedelta(days=7)  # of processes that wait for the first: it may featurize a large table
_LAST_WORDS = 30.0  # seconds that the first process has to say why it ends, on a machine with much else to do


class FirstProcessFailed(DCGraphSAMError):
    """Raised where the first process has failed, which says why."""


def process_count() -> int:
    """How many processes the launcher has started, as ``accelerate`` tells it: by ``WORLD_SIZE`` where ``LOCAL_RANK`` is set.

    >>> process_count()
    1
    """
    return _number("WORLD_SIZE", 1) if "LOCAL_RANK" in os.environ else 1


def is_first_process() -> bool:
    """Whether this is the one process, or the first of those that the launcher has started."""
    return process_count() < 2 or _number("RANK", 0) == 0


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default


def has_lost_contact(error: BaseException) -> bool:
    """Whether an error says no more than that another process has gone.

    >>> has_lost_contact(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:9"))
    True
    """
    text = str(error)
    return isinstance(error, RuntimeError) and ("gloo" in text or "NCCL" in text or "Connection closed" in text)


def wait_for_the_end(seconds: float = _LAST_WORDS) -> None:
    """What a process that ends without a word does before: the launcher ends all as soon as one has ended, and the first
    may not have said yet why. It ends this one as soon as the first has.

    Parameters
    ----------
    seconds
        How long at most.

    Examples
    --------
    >>> wait_for_the_end(0.0)
    """
    with contextlib.suppress(KeyboardInterrupt):  # it ends anyway
        time.sleep(seconds)


class Ranks:
    """The processes of the group that ``TrainingArguments`` has formed; one where there is none.

    Attributes
    ----------
    count, rank
        Number of processes, and which of them this is.

    Examples
    --------
    >>> ranks = Ranks()
    >>> ranks.count, ranks.is_first, ranks.first(lambda: {"rmse": 0.5})
    (1, True, {'rmse': 0.5})
    """

    def __init__(self) -> None:
        import torch.distributed as dist

        self.count, self.rank, self._group = 1, 0, None
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            self.count, self.rank = dist.get_world_size(), dist.get_rank()
            # apart from the group of the training: that one may be of devices, and gives up waiting after half an hour
            self._group = dist.new_group(backend="gloo", timeout=_PATIENCE)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def first(self, work: Callable[[], Any]) -> Any:
        """Do something in the first process alone, when all have come here; all get what it returns.

        Parameters
        ----------
        work
            Its result must be of JSON types where there are several processes.

        Raises
        ------
        FirstProcessFailed
            In the other processes, if ``work`` has raised. In the first its error passes on.
        """
        if self.count == 1:
            return work()
        self.wait()
        if not self.is_first:
            answer = self._send(None)
            if answer is None:
                raise FirstProcessFailed("the first process has failed; its message says why")
            return answer["result"]
        answer = None
        try:
            answer = {"result": work()}
        finally:  # also on Ctrl-C: those who wait cannot hear it
            self._send(answer)
        return answer["result"]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            import torch.distributed as dist

            dist.barrier(group=self._group)

    def _send(self, answer: Any) -> Any:
        import torch
        import torch.distributed as dist

        text = json.dumps(answer).encode()
        size = torch.tensor([len(text)])
        dist.broadcast(size, 0, group=self._group)
        content = torch.zeros(int(size), dtype=torch.uint8)
        if self.is_first:
            content = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        dist.broadcast(content, 0, group=self._group)
        return json.loads(bytes(content.tolist()))

    def leave(self) -> None:
        """End the group, in all processes together."""
        if self.count > 1:
            import torch.distributed as dist

            self.wait()
            dist.destroy_process_group()
