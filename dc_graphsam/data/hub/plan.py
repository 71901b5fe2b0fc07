"""From the first rows of a source to a plan: which columns are read, and what every row becomes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dc_graphsam.chem import DEFAULT_FEATURE_SET, get_feature_set
from dc_graphsam.chem.table_feature_sets import categories, is_table_feature_set, one_hot_name, table_name
from dc_graphsam.data.censored import find_relations
from dc_graphsam.data.featurized import BOUND_COLUMNS
from dc_graphsam.data.hub.columns import (
    NAMES,
    GraphLayout,
    Nested,
    find_column,
    graph_arrays,
    label_columns,
    labels_of,
)
from dc_graphsam.data.hub.rows import ConvertedRows
from dc_graphsam.data.hub.source import Source, batches
from dc_graphsam.data.tables import TextTable, find_smiles_column
from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError, MissingColumnError
from dc_graphsam.tasks import DEFAULT_METRIC, TaskSpec

__all__ = ["Plan", "bounds_of", "check_classes", "first_rows", "graph_rows", "make_plan", "task_type_of", "texts_of"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How rows of a source become rows to train on.

    Attributes
    ----------
    layout
        Of the graph columns, or ``None`` to featurize SMILES.
    smiles, row
        Columns with SMILES and with row numbers, if any.
    labels
        Columns with labels.
    spec
        The tasks; its type may still be open.
    has_bounds
        Whether there are columns of bounds for labels.
    """

    layout: GraphLayout | None
    smiles: str | None
    row: str | None
    labels: tuple[str, ...]
    spec: TaskSpec
    type_is_open: bool
    metric: str | None
    feature_set: str
    max_atoms: int | None
    has_bounds: bool = False

    def with_type(self, task_type: str) -> Plan:
        metric = self.metric or DEFAULT_METRIC[task_type]
        spec = self.spec.replace(task_type=task_type, metric=metric)
        return replace(self, spec=spec, type_is_open=False)


def make_plan(
    source: Source,
    feature_set: str | None,
    smiles_column: str | None,
    wanted: Sequence[str] | None,
    task_names: Sequence[str] | None,
    task_type: str | None,
    metric: str | None,
    max_atoms: int | None,
) -> Plan:
    """What to do with a source, from its first rows and the record beside it."""
    head = first_rows(source)
    columns = head.column_names
    record = source.record
    smiles = _smiles_column(source.name, columns, smiles_column)
    has_graphs = all(find_column(columns, what) for what in ("node_feat", "edge_index"))
    recorded = record.get("feature_set") if has_graphs else None
    if feature_set is None:
        feature_set = recorded or ("table" if has_graphs else DEFAULT_FEATURE_SET)
    as_recorded = recorded is not None and feature_set in (recorded, "table")
    needs_graphs = as_recorded or feature_set in ("table", "one-hot") or is_table_feature_set(feature_set)
    if needs_graphs and not has_graphs:
        missing = next(what for what in ("node_feat", "edge_index") if not find_column(columns, what))
        raise MissingColumnError(f"{source.name} (asked for feature_set={feature_set!r})", missing, columns)
    if not needs_graphs and smiles is None:
        has = "graph columns but no column of SMILES" if has_graphs else "neither graph columns nor a column of SMILES"
        instead = "feature_set='table' keeps the features it has" if has_graphs else "name one with smiles_column"
        raise FeatureSetError(
            f"{source.name} has {has} (columns: {', '.join(columns)}), so features {feature_set!r} cannot be computed; "
            f"{instead}"
        )
    layout = GraphLayout.of(source.name, head) if needs_graphs else None
    if layout is not None:
        feature_set = recorded if as_recorded else _table_features(source, layout, feature_set)
        if as_recorded:
            layout = _as_recorded(source.name, layout, recorded)
    others = [
        name for name in (smiles, "row", *(name for what in NAMES for name in NAMES[what] if what != "y")) if name
    ]
    labels = label_columns(source.name, head, wanted or record.get("label_columns"), others)
    values, _ = labels_of(head, labels)
    names = _task_names(source.name, labels, values.shape[1], task_names, None if wanted else record.get("task_names"))
    task_type = task_type or (None if wanted else record.get("task_type"))
    class_names = record.get("class_names") if task_type == record.get("task_type") and not wanted else None
    if task_type == "multiclass" and class_names is None:
        raise InvalidArgumentError(
            f"task_type is 'multiclass' and {source.name} does not name its classes; push_dataset_to_hub writes them, and "
            "load_csv reads a table of SMILES with classes",
            arguments=("task_type",),
        )
    metric = metric or (None if wanted else record.get("metric"))
    spec = TaskSpec(
        record.get("dataset") or source.name,
        names,
        task_type or "regression",
        metric or "rmse",
        feature_set,
        class_names,
    )
    row = "row" if record and "row" in columns else None
    has_bounds = bool(record) and not wanted and set(BOUND_COLUMNS) <= set(columns)
    if not has_bounds:
        _warn_of_relations(source.name, head, labels)
    plan = Plan(layout, smiles, row, tuple(labels), spec, task_type is None, metric, feature_set, max_atoms, has_bounds)
    return plan if task_type is None else plan.with_type(task_type)


def _warn_of_relations(source: str, head: Any, labels: Sequence[str]) -> None:
    """A column of signs beside the labels is not read here: say so."""
    import pyarrow as pa

    texts = [
        field.name for field in head.schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    beside = [name for name in texts if name not in labels]
    columns = {**{name: [""] * len(head) for name in labels}, **{name: texts_of(head, name) for name in beside}}
    found = find_relations(TextTable(source, columns), labels)
    bounds = int(np.isin(found.signs, (">", "<")).sum())
    if bounds:
        logger.warning(
            "%s: %s has > or < beside %d of the first %d labels, which are bounds and are taken for values here; "
            "load_csv(…, censored='drop' or 'bounded') leaves them out or learns from them",
            source,
            " and ".join(found.sources),
            bounds,
            found.signs.size,
        )


def first_rows(source: Source) -> Any:
    """The first rows of the first split that has some."""
    for part in source.parts.values():
        for table in batches(part):
            if len(table):
                return table
    raise InvalidArgumentError(f"{source.name} has no rows")


def _smiles_column(source: str, columns: Sequence[str], wanted: str | None) -> str | None:
    try:
        return find_smiles_column(TextTable(source, {name: [] for name in columns}), wanted)
    except MissingColumnError:
        if wanted is not None:
            raise
        return None


def _as_recorded(source: str, layout: GraphLayout, feature_set: str) -> GraphLayout:
    """The layout of a table that push_dataset wrote: its columns are the features themselves."""
    widths = _sizes(feature_set)
    if layout.node_width != widths[0] or layout.edge_width not in (1, widths[1]):  # 1: no bond in the first rows
        raise FeatureSetError(
            f"{source} has {layout.node_width} features per node and {layout.edge_width} per edge, its feature set "
            f"{feature_set!r} has {widths[0]} and {widths[1]}; it was changed since push_dataset wrote it"
        )
    return replace(layout, edge_width=widths[1], encoded=True)


def _table_features(source: Source, layout: GraphLayout, wanted: str) -> str:
    """Name of the features that the graph columns give."""
    widths = layout.node_width, layout.edge_width
    if wanted == "table":
        return table_name(*widths)
    if wanted == "one-hot":
        return one_hot_name(*_count_categories(source, layout))
    known = categories(wanted)
    expected = tuple(map(len, known)) if known else _sizes(wanted)
    if expected != widths:
        raise FeatureSetError(
            f"{source.name} has {widths[0]} numbers per node and {widths[1]} per edge, feature set {wanted!r} has "
            f"{expected[0]} and {expected[1]}; feature_set='table' takes them as they are"
        )
    return wanted


def _sizes(feature_set: str) -> tuple[int, int]:
    features = get_feature_set(feature_set)
    return features.node_feature_size, features.edge_feature_size


def _count_categories(source: Source, layout: GraphLayout) -> tuple[list[int], list[int]]:
    """One more than the largest number in each column, over all splits."""
    if not layout.integral:
        raise FeatureSetError(
            f"{source.name} has features that are no integers, so they are no categories; feature_set='table' takes them "
            "as they are"
        )
    largest = [np.zeros(layout.node_width), np.zeros(layout.edge_width)]
    for part in source.parts.values():
        for table in batches(part):
            for k, what in enumerate(("node_feat", "edge_attr")):
                if what not in layout.columns:
                    largest[k][:] = 1  # a bond has the one number 1
                    continue
                column = Nested.of(layout.columns[what], table.column(layout.columns[what]))
                whole = np.repeat(column.sizes % len(largest[k]) == 0, column.sizes)
                values = column.values[whole].reshape(-1, len(largest[k]))
                if values.size:
                    largest[k] = np.fmax(largest[k], np.nanmax(values, axis=0))
    return tuple([int(value) + 1 for value in values] for values in largest)


def _task_names(
    source: str, labels: Sequence[str], tasks: int, given: Sequence[str] | None, recorded: Sequence[str] | None
) -> tuple[str, ...]:
    if given is not None:
        given = [given] if isinstance(given, str) else list(given)
        if len(given) != tasks:
            raise InvalidArgumentError(
                f"task_names has {len(given)} names, {source} has {tasks} labels per row in {', '.join(labels)}"
            )
        return tuple(given)
    if recorded is not None and len(recorded) == tasks:
        return tuple(recorded)
    if len(labels) == tasks:
        return tuple(labels)
    return tuple(f"{labels[0]}_{i}" for i in range(tasks))


def task_type_of(labels: np.ndarray) -> str:
    known = labels[~np.isnan(labels)]
    return "classification" if len(known) and np.isin(known, (0, 1)).all() else "regression"


def check_classes(plan: Plan, source: str, labels: np.ndarray) -> None:
    """0 and 1 only, where a classification is asked for."""
    if plan.spec.task_type != "classification":
        return
    wrong = ~np.isnan(labels) & ~np.isin(labels, (0, 1))
    if wrong.any():
        row, task = np.argwhere(wrong)[0]
        raise InvalidArgumentError(
            f"task {plan.spec.task_names[task]!r} of {source} has the value {labels[row, task]:g}; a classification task has "
            "0 and 1, and nothing where it was not measured. task_type='regression' predicts the values"
        )


def graph_rows(source: str, plan: Plan, table: Any, start: int = 0) -> ConvertedRows:
    """Rows of a table of graphs; the first is number ``start`` of the source."""
    smiles = texts_of(table, plan.smiles)
    labels, problems = labels_of(table, plan.labels, len(plan.spec.task_names))
    graphs, wrong = graph_arrays(table, plan.layout, plan.feature_set, plan.max_atoms)
    problems = {**wrong, **problems}
    bounds = bounds_of(table, plan)
    for row in np.flatnonzero(np.isnan(np.hstack([labels, *bounds.values()])).all(axis=1)).tolist():
        problems.setdefault(row, "no label")
    rows = start + np.arange(len(table))
    if plan.row is not None:
        rows = np.asarray(table.column(plan.row).to_pylist(), np.int64)
    graphs = [(place, graph) for place, graph in graphs if place not in problems]
    return ConvertedRows(graphs, labels, smiles, rows, problems, bounds)


def bounds_of(table: Any, plan: Plan) -> dict[str, np.ndarray]:
    """Bounds of labels that are not measured, float [n, T] each; empty for data without."""
    names = BOUND_COLUMNS if plan.has_bounds else ()
    return {name: labels_of(table, [name], len(plan.spec.task_names))[0] for name in names}


def texts_of(table: Any, column: str | None) -> list[str]:
    if column is None:
        return [""] * len(table)
    return ["" if value is None else str(value) for value in table.column(column).to_pylist()]
