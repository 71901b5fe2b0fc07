"""Model cards: every number comes from the files of runs, and a card that is read back equals the one that was written.

The facts stand in the metadata of ``README.md`` under ``dc_graphsam:``, and the text is rendered from them, so that text and
data cannot disagree: a card whose text is not the one that its facts give is refused on reading.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dc_graphsam.exceptions import InvalidArgumentError, MissingDataError
from dc_graphsam.hub.card_data import facts_of_runs, summary
from dc_graphsam.metrics.masked import METRICS_OF
from dc_graphsam.wording import GREATER_IS_BETTER, NAMES, TITLES, md

__all__ = ["CARD", "RECIPE", "ModelCard"]

CARD, RECIPE, RESULTS = "README.md", "recipe.yaml", ".eval_results"
ARROWS = {name: "↑" if name in GREATER_IS_BETTER else "↓" for name in TITLES}
LIBRARY = "dc_graphsam"
_FRONT = re.compile(r"\A---\n(.*?)\n---\n\n(.*)\Z", re.DOTALL)


@dataclass(frozen=True)
class ModelCard:
    """A model card.

    Attributes
    ----------
    facts
        All that it says, as :func:`~dc_graphsam.hub.card_data.facts_of_runs` collects it, and ``figures`` (``file``,
        ``title``, ``alt``, ``caption`` each).

    Examples
    --------
    >>> from dc_graphsam.repository.bundled import BUNDLED
    >>> card = ModelCard.read(BUNDLED / "compt-esol-small")
    >>> card.metadata["pipeline_tag"], card.facts["task"]["metric"]
    ('graph-ml', 'rmse')
    >>> ModelCard.parse(card.text) == card
    True
    """

    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_runs(
        cls,
        runs: Sequence[str | Path],
        name: str,
        *,
        license: str = "apache-2.0",
        source: str = ".",
        figures: Sequence[dict[str, str]] = (),
    ) -> ModelCard:
        """The card of a run, with others of the same protocol for spread and comparison.

        Parameters
        ----------
        runs
            Run folders, first the one whose weights are published.
        name, license, source
            As of :func:`~dc_graphsam.hub.card_data.facts_of_runs`.
        figures
            Pictures that lie beside the card.

        Raises
        ------
        RunFolderError
            The runs are not finished, or do not follow one protocol.
        """
        facts = facts_of_runs(runs, name, license=license, source=source)
        return cls({**facts, "figures": [dict(figure) for figure in figures]})

    # ---- File

    @property
    def text(self) -> str:
        """Content of ``README.md``."""
        import yaml

        metadata = {**self.metadata, LIBRARY: self.facts}
        head = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=120)
        return f"---\n{head}---\n\n{self.body}"

    @classmethod
    def parse(cls, text: str) -> ModelCard:
        """The card that a ``README.md`` is.

        Raises
        ------
        InvalidArgumentError
            It was not written by this package, or its text or metadata are not those that its facts give.
        """
        import yaml
        from jinja2 import UndefinedError

        match = _FRONT.match(text)
        try:
            metadata = yaml.safe_load(match[1]) if match else None
        except yaml.YAMLError as error:
            raise InvalidArgumentError(f"the card's metadata are not YAML: {str(error).splitlines()[0]}") from None
        if not isinstance(metadata, dict) or not isinstance(metadata.get(LIBRARY), dict):
            raise InvalidArgumentError(f"the card has no facts under {LIBRARY!r}: it was not written by this package")
        card = cls(metadata.pop(LIBRARY))
        try:
            fresh = card.text
        except (KeyError, TypeError, ValueError, AttributeError, UndefinedError) as error:
            raise InvalidArgumentError(f"the card's facts are incomplete: {type(error).__name__} {error}") from None
        if fresh != text:
            lines = zip(text.splitlines(), [*fresh.splitlines(), ""], strict=False)
            number, line = next(((n, a) for n, (a, b) in enumerate(lines, 1) if a != b), (len(text.splitlines()), ""))
            raise InvalidArgumentError(f"line {number} of the card does not follow from its facts: {line[:80]!r}")
        return card

    @classmethod
    def read(cls, path: str | Path) -> ModelCard:
        """Read ``README.md``, or the one in a folder."""
        path = Path(path)
        path = path / CARD if path.is_dir() else path
        if not path.is_file():
            raise MissingDataError(f"there is no card {path}")
        return cls.parse(path.read_text(encoding="utf-8"))

    def files(self) -> dict[str, str]:
        """What belongs to a card beside its pictures: path → text."""
        import yaml

        head = "# dc-graphsam train --config recipe.yaml --output FOLDER trains this model again\n"
        recipe = head + yaml.safe_dump(self.facts["recipe"], sort_keys=False, allow_unicode=True, width=120)
        out = {CARD: self.text, RECIPE: recipe}
        if self.facts["built_in"]:
            results = yaml.safe_dump(self._eval_results(), sort_keys=False, allow_unicode=True, width=120)
            out[f"{RESULTS}/{self.facts['dataset']['name']}.yaml"] = results
        return out

    def write(self, folder: str | Path) -> list[str]:
        """Write ``README.md``, ``recipe.yaml`` and ``.eval_results/`` into a folder; returns their paths in it."""
        folder = Path(folder)
        for path, text in self.files().items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        return list(self.files())

    # ---- Metadata

    @property
    def metadata(self) -> dict[str, Any]:
        """What the Hub reads, without the facts."""
        f = self.facts
        kind = f["task"]["task_type"]
        tags = ["chemistry", "molecules", "molecular-property-prediction", f["model"]["name"], f["method"].lower()]
        tags += ["sharpness-aware-minimization"] if f["method"] != "Adam" else []
        tags += [
            {"classification": "binary-classification", "multiclass": "multi-class-classification"}.get(kind, kind)
        ]
        dataset_entry = {"name": self._dataset_title, "type": self._dataset_id, "split": "test"}
        metrics = [
            {
                "type": metric,
                "name": f"test {TITLES[metric]}, seed {f['seed']}",
                "value": f["metrics"]["test"][metric],
            }
            for metric in self._metrics
        ]
        result = {
            "task": {"type": "graph-ml", "name": "molecular property prediction"},
            "dataset": dataset_entry,
            "metrics": metrics,
        }
        out = {"library_name": LIBRARY, "pipeline_tag": "graph-ml", "license": f["license"], "tags": tags}
        if f["built_in"]:
            out["datasets"] = [self._dataset_id]
        out |= {"metrics": self._metrics, "model-index": [{"name": f["name"], "results": [result]}]}
        return out

    def _eval_results(self) -> list[dict[str, Any]]:
        f = self.facts
        notes = f"{f['dataset']['split']} split{self._split_by}, seed {f['seed']}, {f['dataset']['counts']['test']} molecules"
        return [
            {
                "dataset": {"id": self._dataset_id, "task_id": f"test_{metric}"},
                "value": f["metrics"]["test"][metric],
                "notes": notes,
            }
            for metric in self._metrics
        ]

    # ---- Text

    @property
    def _metrics(self) -> list[str]:
        """Those of the test set that are defined, the one that models are selected by first."""
        f = self.facts
        names = sorted(METRICS_OF[f["task"]["task_type"]], key=lambda name: name != f["task"]["metric"])
        return [name for name in names if f["metrics"]["test"].get(name) is not None]

    @property
    def _split_by(self) -> str:
        by = self.facts["dataset"].get("split_by")
        return f" ({by})" if by else ""

    @property
    def _dataset_title(self) -> str:
        name = self.facts["dataset"]["name"]
        return f"{name} (MoleculeNet)" if self._is_moleculenet else name

    @property
    def _dataset_id(self) -> str:
        name = self.facts["dataset"]["name"]
        return f"moleculenet/{name}" if self._is_moleculenet else name

    @property
    def _is_moleculenet(self) -> bool:
        from dc_graphsam.data import DATASETS

        entry = DATASETS.get(self.facts["dataset"]["name"])
        return self.facts["built_in"] and entry is not None and entry.loader is not None

    @property
    def body(self) -> str:
        """The text below the metadata."""
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        templates.filters["md"] = md
        text = templates.get_template("card.md.jinja").render(self._context())
        return re.sub(r"\n{3,}", "\n\n", text)

    def _context(self) -> dict[str, Any]:
        from dc_graphsam.hub import card_text

        f = self.facts
        metrics, main = self._metrics, f["task"]["metric"]
        test = f["metrics"]["test"]
        return {
            "f": {**f, "name": md(f["name"])},
            "model_title": NAMES.get(f["model"]["name"], f["model"]["name"]),
            "dataset_title": md(self._dataset_title),
            "description": card_text.description(f),
            "counts": {part: f"{f['dataset']['counts'].get(part, 0):,}" for part in ("train", "validation", "test")},
            "parameters": f"{f['model']['parameters']:,}",
            "metrics": metrics,
            "metric_heads": " | ".join(f"{TITLES[name]} {ARROWS[name]}" for name in metrics),
            "own_metrics": " | ".join(card_text.number(test[name]) for name in metrics),
            "source": f["source"],
            "outputs": card_text.outputs(f),
            "limits": card_text.limits(f),
            "spread_words": "mean ± sample standard deviation over seeds"
            if any(len(method["runs"]) > 1 for method in f["methods"])
            else "one run of each method, so without a spread",
            "method_rows": [card_text.method_row(method, metrics) for method in f["methods"]],
            "comparison": card_text.comparison(f, TITLES[main], main in GREATER_IS_BETTER),
            "baseline_rows": card_text.baseline_rows(f, metrics),
            "main_title": TITLES[main],
            "run_rows": card_text.run_rows(f, main),
            "task_heads": " | ".join(f"{TITLES[name]} {ARROWS[name]}" for name in metrics),
            "task_columns": len(metrics),
            "task_rows": card_text.task_rows(f, metrics),
            "recipe_rows": card_text.recipe_rows(f),
            "python": f["versions"]["python"],
            "install": card_text.install(f),
            "data_note": card_text.data_note(f),
            "evaluate": card_text.evaluate(f),
            "train": f"{card_text.threads(f)}dc-graphsam train --config {RECIPE} --output runs/{shlex.quote(f['name'])}",
            "expected": "\n".join(f"{TITLES[name]} {card_text.number(test[name])}" for name in metrics),
        }

    def mean_of(self, method: str, metric: str) -> tuple[float | None, float | None, int]:
        """Mean, sample standard deviation and number of runs of a method's test metric."""
        runs = next(entry["runs"] for entry in self.facts["methods"] if entry["name"] == method)
        return summary(runs, metric)
