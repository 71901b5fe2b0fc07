"""Checks of data and models that a metric alone does not show: leaks, duplicates, numbers that hang on how a SMILES is typed."""

from __future__ import annotations

from dc_graphsam._lazy import exports

__all__, __getattr__, __dir__ = exports(
    __name__,
    {
        "CharacterBaseline": ".characters",
        "DatasetCheck": ".dataset",
        "character_baseline": ".characters",
        "RewritingCheck": ".rewriting",
        "check_dataset": ".dataset",
        "check_rewriting": ".rewriting",
        "random_writings": ".rewriting",
    },
)
