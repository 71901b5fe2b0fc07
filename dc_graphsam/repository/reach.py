"""Whether the Hub answers, found out in seconds: its client tries for half a minute before it says that there is no network."""

from __future__ import annotations

import logging
import queue
import threading
import time
from pathlib import Path
from typing import Any

__all__ = ["no_connection", "reaches_hub"]

PATIENCE = 5.0  # seconds until an answer; HF_HUB_ETAG_TIMEOUT, where it is set, is the user's own
_FRESH = 60.0  # seconds for which an answer need not be asked for again
_SOON = 1.5
logger = logging.getLogger(__name__)
_answered: dict[str, float] = {}  # endpoint → when


def no_connection() -> tuple[type[Exception], ...]:
    """What the client raises when there is no connection; its HTTP library was renamed."""
    try:
        from httpx2 import TransportError
    except ImportError:
        from httpx import TransportError
    return (TransportError,)


def reaches_hub(name: str, file: str, **options: Any) -> bool:
    """Whether a file that is not in the cache can be asked for.

    One request for its headers, sent by the client itself, so with its proxies, certificates and token, and without
    repetitions. Nothing is asked for what is in the cache, offline, or when an answer came less than a minute ago.

    Parameters
    ----------
    name
        Of the repository.
    file
        Its path inside.
    **options
        ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``subfolder`` of the download.

    Returns
    -------
    bool
        False if there is no connection, or no answer in five seconds. True in every other case: then it is for the download
        to say what is wrong.
    """
    from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    endpoint, revision = constants.ENDPOINT, options.get("revision")
    path = str(Path(options["subfolder"], file).as_posix()) if options.get("subfolder") else file
    if options.get("local_files_only") or constants.is_offline_mode():
        return True
    try:
        if try_to_load_from_cache(name, path, cache_dir=options.get("cache_dir"), revision=revision) is not None:
            return True
        url = hf_hub_url(name, path, revision=revision)
    except HFValidationError:  # the download says so, too
        return True
    if time.monotonic() - _answered.get(endpoint, float("-inf")) < _FRESH:
        return True
    logger.info("looking for %s on the Hub …", name)
    if not _answers(url, options.get("token"), endpoint):
        return False
    _answered[endpoint] = time.monotonic()
    return True


def _answers(url: str, token: str | bool | None, endpoint: str) -> bool:
    from huggingface_hub import constants, errors, get_hf_file_metadata

    own = constants.HF_HUB_ETAG_TIMEOUT
    patience = PATIENCE if own == constants.DEFAULT_ETAG_TIMEOUT else float(own)
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def ask() -> None:
        try:
            get_hf_file_metadata(url, token=token, timeout=patience)
        except no_connection():
            answers.put(False)
        except (
            errors.HfHubHTTPError,
            OSError,
            ValueError,
            RuntimeError,
        ):  # an answer, or nothing to do with the network
            answers.put(True)
        else:
            answers.put(True)

    # Looking up a host name has no time limit of its own, hence the thread.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=min(_SOON, patience))
    except queue.Empty:
        logger.warning("%s does not answer yet; waiting %g s at most", endpoint, patience)
    try:
        return answers.get(timeout=max(patience - _SOON, 0.01))
    except queue.Empty:
        return False
