"""Memory of a training process on a CPU: freed blocks are kept instead of being handed back to the system.

A step allocates and frees the same few hundred blocks of 1 to 5 MB over and over. The allocator of glibc returns blocks of
that size to the system at once, and every page of them is then faulted in anew on first touch: a thousand faults a step.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import logging
import os
import sys
from functools import lru_cache

__all__ = ["keep_freed_memory"]

VARIABLE = "DC_GRAPHSAM_MALLOC"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_THRESHOLD = 32 * 2**20  # the largest that glibc accepts for the second

logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Tell glibc to reuse freed blocks of up to 32 MB; done once, for the whole process.

    Training calls it on a CPU. The process then holds on to its peak memory until it ends. ``DC_GRAPHSAM_MALLOC=default``
    in the environment leaves the allocator alone; elsewhere than on Linux with glibc nothing happens.

    Returns
    -------
    bool
        Whether the setting was made.

    Examples
    --------
    >>> keep_freed_memory() in (True, False)
    True
    """
    if os.environ.get(VARIABLE) == "default" or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        return False
    done = mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    logger.debug("freed memory is kept: %s", bool(done))
    return bool(done)
