"""Sharpness-aware optimizers and radius schedules. torch only: nothing here knows of molecules."""

from __future__ import annotations

from importlib import import_module

_EXPORTS = {
    "AESAM": "ae_sam",
    "ASAM": "sam",
    "ESAM": "esam",
    "GraphSAM": "graphsam",
    "LookSAM": "looksam",
    "MomentumSAM": "momentum_sam",
    "OPTIMIZERS": "registry",
    "RHO_SCHEDULES": "schedules",
    "RST": "rst",
    "RhoSchedule": "schedules",
    "SAM": "sam",
    "SAMOne": "sam_k",
    "SAMk": "sam_k",
    "SameNoise": "noise",
    "SharpnessAwareOptimizer": "base",
    "StepRecord": "step",
    "build_optimizer": "registry",
    "frozen_running_statistics": "batch_norm",
}

__all__ = list(_EXPORTS)


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(import_module(f"dc_graphsam.optim.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
