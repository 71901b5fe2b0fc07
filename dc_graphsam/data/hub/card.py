"""The card of a published data set: every number in it is counted while the files are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dc_graphsam.chem import FEATURE_SETS, get_feature_set
from dc_graphsam.chem.table_feature_sets import categories
from dc_graphsam.tasks import TaskSpec

__all__ = ["write_card"]

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_TASKS_SHOWN = 60

_CARD = """\
---
{metadata}---

# {title}

{molecules} molecular graphs with {tasks}, ready for graph models. Written by
[dc_graphsam](https://pypi.org/project/dc-graphsam/) from the table *{dataset}*.

```python
from dc_graphsam import load_graph_dataset

data = load_graph_dataset("{name}")
```

or, without the package, `datasets.load_dataset("{name}")`.

## Splits

| split | molecules | atoms per molecule, mean | largest |
|---|---:|---:|---:|
{splits}

## Tasks

{task_type} The metric is {metric}.

| task | {task_columns} |
|---|{task_rule}|
{task_rows}{more_tasks}

## Columns

| column | content |
|---|---|
| `smiles` | {smiles} |
| `node_feat` | float32 [N][{node_width}], {node_features} |
| `edge_index` | int32 [2][2E], source above target; each bond is two neighbouring opposite edges |
| `edge_attr` | float32 [2E][{edge_width}], equal in both directions |
| `y` | float32 [{task_count}], null where nothing was measured |
| `num_nodes` | N |
| `row` | number of the row in the source table, from 0 |

Feature set: `{feature_set}`. {feature_note}
{citation}"""


def write_card(
    name: str, spec: TaskSpec, facts: Mapping[str, Mapping[str, Any]], *, license: str | None = None, citation: str = ""
) -> str:
    """The text of ``README.md``.

    Parameters
    ----------
    name
        Of the repository or folder.
    spec
        The tasks.
    facts
        Split → ``rows, atoms, largest, with_smiles`` and per task ``measured, mean, std``.
    license
        Its identifier, if it is known.
    citation
        Of the data.
    """
    rows = sum(part["rows"] for part in facts.values())
    classes = spec.task_type == "classification"
    features = get_feature_set(spec.feature_set) if spec.feature_set else None
    kept = sum(part["with_smiles"] for part in facts.values())
    shown = spec.task_names[:_TASKS_SHOWN]
    rest = len(spec.task_names) - len(shown)
    many = len(spec.task_names) > 1
    text = _CARD.format(
        metadata=_metadata(spec, facts, rows, license),
        title=name.split("/")[-1],
        name=name,
        molecules=f"{rows:,}",
        tasks=f"{len(spec.task_names)} {spec.task_type} task{'s' if many else ''}",
        dataset=spec.dataset,
        splits="\n".join(
            f"| {split} | {part['rows']:,} | {part['atoms'] / part['rows']:.1f} | {part['largest']} |"
            for split, part in facts.items()
        ),
        task_type=_kind(spec),
        metric=f"`{spec.metric}`",
        task_columns=" | ".join(
            f"{split}: measured | {'share of class 1' if classes else 'mean ± standard deviation'}" for split in facts
        ),
        task_rule="|".join(["---:", "---:"] * len(facts)),
        task_rows="\n".join(_task_row(i, task, facts, classes) for i, task in enumerate(shown)),
        more_tasks=f"\n\nand {rest} more." if rest else "",
        smiles="as in the source"
        if kept == rows
        else f"known for {kept:,} molecules, else empty"
        if kept
        else "empty: the source has none",
        node_width=features.node_feature_size if features else "F",
        edge_width=features.edge_feature_size if features else "Fe",
        node_features="one row per atom",
        task_count=len(spec.task_names),
        feature_set=spec.feature_set,
        feature_note=_feature_note(spec.feature_set),
        citation=f"\n## Citation\n\n{citation.strip()}\n" if citation.strip() else "",
    )
    return text.rstrip() + "\n"


def _task_row(index: int, task: str, facts: Mapping[str, Mapping[str, Any]], classes: bool) -> str:
    cells = []
    for part in facts.values():
        measured = part["measured"][index]
        mean, std = part["mean"][index], part["std"][index]
        value = (
            "–"
            if not measured
            else (f"{mean:.3f}" if mean == 0 or mean >= 1e-3 else f"{mean:.3g}")
            if classes
            else f"{mean:.4g} ± {std:.3g}"
        )
        cells += [f"{measured:,}", value]
    return f"| {_cell(task)} | {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _feature_note(name: str | None) -> str:
    if name in FEATURE_SETS:
        return (
            "Its columns are named by `dc_graphsam.chem.get_feature_set"
            f'("{name}").node_feature_names` and `.edge_feature_names`, and computed from the SMILES.'
        )
    if name is not None and categories(name) is not None:
        return "The categorical numbers of the source, one column of zeros and ones per category."
    return "The numbers of the source, as they stand there."


def _metadata(spec: TaskSpec, facts: Mapping[str, Any], rows: int, license: str | None) -> str:
    import yaml

    data: dict[str, Any] = {}
    if license:
        data["license"] = license
    data |= {
        "pretty_name": spec.dataset,
        "task_categories": ["graph-ml"],
        "tags": ["chemistry", "molecules", "molecular-property-prediction", "dc-graphsam"],
        "size_categories": [next((label for limit, label in _SIZES if rows < limit), "n>10M")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in facts],
            }
        ],
    }
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _kind(spec: TaskSpec) -> str:
    """What the labels are, in a sentence."""
    if spec.task_type == "regression":
        return "Regression."
    if spec.class_names is None:
        return "Binary classification: 0 or 1."
    listed = "; ".join(
        f"{task}: " + ", ".join(f"{i} = {name}" for i, name in enumerate(names))
        for task, names in list(zip(spec.task_names, spec.class_names, strict=True))[:_TASKS_SHOWN]
    )
    return f"{'Several classes' if spec.task_type == 'multiclass' else 'Binary classification'} ({listed})."
