"""A source as streams of rows to train on: nothing is stored."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from dc_graphsam.data.dropped import summarize_ignored
from dc_graphsam.data.hub.columns import labels_of
from dc_graphsam.data.hub.plan import Plan, bounds_of, check_classes, first_rows, graph_rows, task_type_of, texts_of
from dc_graphsam.data.hub.rows import GRAPH_FIELDS, ConvertedRows, stream_schema
from dc_graphsam.data.hub.source import Source
from dc_graphsam.exceptions import InvalidSmilesError

__all__ = ["open_stream"]

logger = logging.getLogger(__name__)

_BATCH = 64  # rows converted at a time


def open_stream(source: Source, plan: Plan):
    """Split → ``IterableDataset`` of the columns of a featurized data set, but for ``row``."""
    from datasets import Features, IterableDatasetDict

    if plan.type_is_open:
        labels, _ = labels_of(first_rows(source), plan.labels)
        plan = plan.with_type(task_type_of(labels))
        logger.info("%s: %s, told by its first rows", source.name, plan.spec.task_type)
    convert = _StreamRows(source.name, plan)
    features = Features.from_arrow_schema(stream_schema(plan.has_bounds))
    parts = {}
    for name, part in source.parts.items():
        rows = part.with_format("arrow").map(convert, batched=True, batch_size=_BATCH, features=features)
        rows = rows.with_format("numpy")
        rows.info.dataset_name = source.name
        parts[name] = plan.spec.attach(rows)
    return IterableDatasetDict(parts)


class _StreamRows:
    """Arrow rows of a source → Arrow rows to train on; picklable for the workers of a data loader."""

    def __init__(self, source: str, plan: Plan) -> None:
        self.source, self.plan = source, plan
        self.warned = self.told = False

    def __call__(self, table: Any) -> Any:
        import pyarrow as pa

        rows = self._from_smiles(table) if self.plan.layout is None else graph_rows(self.source, self.plan, table)
        self._warn(rows)
        check_classes(self.plan, self.source, rows.labels)
        batches = [batch.drop_columns("row") for batch in map(pa.Table.from_batches, ([b] for b in rows.batches()))]
        return pa.concat_tables(batches) if batches else stream_schema(self.plan.has_bounds).empty_table()

    def _from_smiles(self, table: Any) -> ConvertedRows:
        from dc_graphsam.chem import featurize_many
        from dc_graphsam.chem.trailing import ignored_text

        plan = self.plan
        smiles = texts_of(table, plan.smiles)
        labels, problems = labels_of(table, plan.labels, len(plan.spec.task_names))
        bounds = bounds_of(table, plan)
        unknown = np.isnan(np.hstack([labels, *bounds.values()])).all(axis=1)
        graphs = []
        for row, graph in enumerate(featurize_many(smiles, plan.feature_set, num_workers=0)):
            if isinstance(graph, InvalidSmilesError):
                problems.setdefault(row, f"SMILES {graph.reason.removeprefix('it ')}")
            elif plan.max_atoms is not None and graph.num_nodes > plan.max_atoms:
                problems.setdefault(row, f"molecule has more than {plan.max_atoms} atoms")
            elif unknown[row]:
                problems.setdefault(row, "no label")
            if row not in problems:
                graphs.append((row, {name: getattr(graph, name) for name in GRAPH_FIELDS}))
        ignored = [(row, text) for row, _ in graphs if (text := ignored_text(smiles[row])) is not None]
        if ignored and not self.told:
            self.told = True
            logger.warning(
                "%s: %s; further ones are ignored without a word", self.source, summarize_ignored(ignored, len(smiles))
            )
        return ConvertedRows(graphs, labels, smiles, np.arange(len(smiles)), problems, bounds)

    def _warn(self, rows: ConvertedRows) -> None:
        """The first rows that are left out are named; a stream keeps no list of them."""
        if rows.problems and not self.warned:
            self.warned = True
            place, why = min(rows.problems.items())
            logger.warning(
                "%s: %d of a batch of %d rows left out, e.g. %s (%s); further ones are left out without a word",
                self.source,
                len(rows.problems),
                len(rows.labels),
                why,
                rows.smiles[place] or f"place {place} in the batch",
            )
