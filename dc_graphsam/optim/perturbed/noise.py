"""The same random numbers in both passes of a step: dropout masks, random depths and augmentations repeat."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

__all__ = ["SameNoise"]


class SameNoise:
    """Records the state of the random generators before pass A and puts it back before pass B.

    The gradients of the two passes then belong to the same function. Covered are torch's CPU generator, the CUDA
    generators of ``devices``, numpy's global generator (where numpy is loaded) and Python's ``random``. After pass B the
    generators stand where they stood after pass A, so that a step with two passes uses up as many random numbers as a
    step with one.

    Parameters
    ----------
    devices : iterable of torch.device
        Devices of the parameters; CUDA devices among them are covered too.
    enabled : bool
        ``False`` turns both context managers into no-ops.

    Examples
    --------
    >>> noise = SameNoise()
    >>> with noise.record():
    ...     first = torch.rand(3)
    >>> with noise.replay():
    ...     second = torch.rand(3)
    >>> torch.equal(first, second)
    True
    """

    def __init__(self, devices: Iterable[torch.device] = (), enabled: bool = True) -> None:
        self.devices = sorted({torch.device(d) for d in devices if torch.device(d).type == "cuda"}, key=str)
        self.enabled = enabled
        self._state: tuple | None = None

    @contextmanager
    def record(self) -> Iterator[None]:
        """Remember the generators as they are now (pass A runs inside)."""
        self.remember()
        yield

    def remember(self) -> None:
        """Remember the generators as they are now."""
        if self.enabled:
            numpy = sys.modules.get("numpy")
            self._state = (
                torch.get_rng_state(),
                [torch.cuda.get_rng_state(device) for device in self.devices],
                numpy.random.get_state() if numpy is not None else None,
                random.getstate(),
            )

    @contextmanager
    def replay(self) -> Iterator[None]:
        """Put the remembered generators back (pass B runs inside); nothing happens if nothing was recorded."""
        self.rewind()
        self._state = None
        yield

    def rewind(self) -> None:
        """Put the remembered generators back, as often as asked."""
        if self._state is not None:
            cpu, cuda, numpy_state, python = self._state
            torch.set_rng_state(cpu)
            for device, state in zip(self.devices, cuda, strict=True):
                torch.cuda.set_rng_state(state, device)
            if numpy_state is not None:
                sys.modules["numpy"].random.set_state(numpy_state)
            random.setstate(python)
