"""The checkpoints that come with the package."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["BUNDLED", "DEFAULT_MODEL", "bundled_models", "locate"]

BUNDLED = Path(__file__).resolve().parents[1] / "bundled"
DEFAULT_MODEL = "compt-esol-small"


def bundled_models() -> list[str]:
    """Names of the checkpoints that come with the package, for :func:`pipeline` and ``from_pretrained``.

    >>> "compt-esol-small" in bundled_models()
    True
    """
    return sorted(path.name for path in BUNDLED.iterdir() if (path / "config.json").is_file())


def locate(name: str | os.PathLike) -> str:
    """The folder of a model that comes with the package, or the name itself, which is a folder or a repository.

    >>> Path(locate("compt-esol-small")).parent.name, locate("someone/compt-bbbp")
    ('bundled', 'someone/compt-bbbp')
    """
    text = os.fspath(name)
    inside = BUNDLED / text if Path(text).name == text and text not in ("", ".", "..") else None
    return str(inside) if inside is not None and inside.is_dir() and not Path(text).exists() else text
