"""A finished run → a repository on the Hub: what is pushed is a fixed list of files, checked for what must not leave."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dc_graphsam.exceptions import InvalidArgumentError, RunFolderError
from dc_graphsam.hub.card import ModelCard
from dc_graphsam.repository.files import CONFIG, PROCESSOR, SUMS, WEIGHTS, check_sums, fetch, fetch_model, sums_of
from dc_graphsam.repository.push import REPO_NAME, check_repo_name, push_files, refuse_secrets
from dc_graphsam.run_folder import RunFolder

__all__ = [
    "Publication",
    "fetch_run",
    "prepare_publication",
    "publish_run",
]

# Of a run folder. Predictions, dropped rows and the report hold molecules of the data, and stay.
_COPIED = (CONFIG, WEIGHTS, PROCESSOR, "run.yaml", "run.json", "metrics.json", "splits.json")


@dataclass(frozen=True)
class Publication:
    """What would be pushed.

    Attributes
    ----------
    files
        Path in the repository → content.
    card
        The model card among them.
    """

    files: dict[str, bytes]
    card: ModelCard

    def listing(self) -> list[tuple[str, int, str]]:
        """(path, bytes, SHA-256) of each file, by path."""
        return [(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in sorted(self.files.items())]

    def write(self, folder: str | Path) -> Path:
        """Write the files into a folder that is empty or absent."""
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidArgumentError(f"output {folder} exists and is not an empty folder; name another")
        for path, data in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return folder


def prepare_publication(
    run: str | Path,
    repo: str | None = None,
    *,
    others: Sequence[str | Path] = (),
    name: str | None = None,
    source: str | None = None,
    license: str = "apache-2.0",
) -> Publication:
    """Collect what is published of a run.

    These are configuration, weights, processor, recipe, settings, metrics and split indices of the run, its card with
    pictures, and checksums of all of them. Training data, predictions, dropped rows and checkpoints are not among them.

    Parameters
    ----------
    run
        A finished run folder.
    repo
        Repository it is meant for, ``"owner/name"``, which the card then names.
    others
        More runs of the same protocol: other seeds, for mean and spread, and other optimizers, to compare with.
    name
        Of the model; by default that of the repository or folder.
    source
        What readers of the card load the model by; by default the repository, else the folder of the card.
    license
        Of the weights.

    Raises
    ------
    RunFolderError
        A run is not finished, or another protocol was followed.
    InvalidArgumentError
        A file holds an absolute path, a name of the user or a token; the message says which.
    """
    folder = RunFolder(run)
    if repo is not None:
        check_repo_name(repo)
    name = name or (repo.split("/")[1] if repo else folder.path.resolve().name)
    pictures = _pictures(folder)
    figures = [{key: value for key, value in picture.items() if key != "svg"} for picture in pictures]
    card = ModelCard.from_runs([run, *others], name, license=license, source=source or repo or ".", figures=figures)
    files = {path: text.encode() for path, text in card.files().items()}
    files |= {picture["file"]: picture["svg"] for picture in pictures}
    for file in _COPIED:
        if not folder.has(file):
            raise RunFolderError(f"{folder} has no {file}{folder.what_it_is()}")
        files[file] = (folder / file).read_bytes()
    refuse_secrets(files)
    with tempfile.TemporaryDirectory() as temporary:
        publication = Publication(files, card)
        publication.write(temporary)
        files[SUMS] = sums_of(temporary).encode()
    return publication


def publish_run(
    run: str | Path,
    repo: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    **options: Any,
) -> str:
    """Push a run to the Hub in one commit.

    Parameters
    ----------
    run
        A finished run folder.
    repo
        ``"owner/name"``; made if needed.
    private
        Whether a new repository is private.
    token, revision, commit_message
        As in ``huggingface_hub``.
    **options
        ``others``, ``name``, ``source``, ``license`` of :func:`prepare_publication`.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    DCGraphSAMError
        The run cannot be published, or the Hub refuses; the message says why.

    Examples
    --------
    >>> publish_run("runs/bbbp", "someone/compt-bbbp-graphsam")  # doctest: +SKIP
    'https://huggingface.co/someone/compt-bbbp-graphsam/commit/…'
    """
    publication = prepare_publication(run, repo, **options)
    message = commit_message or f"{publication.card.facts['name']}: model, card and recipe"
    done = push_files(publication.files, repo, message, private=private, token=token, revision=revision)
    return str(done.commit_url)


def _pictures(folder: RunFolder) -> list[dict[str, Any]]:
    """Pictures for the card: ROC or parity, losses, the metric over epochs."""
    import base64

    from dc_graphsam.metrics import get_metric
    from dc_graphsam.report import figures
    from dc_graphsam.report.classes import confusion_plots
    from dc_graphsam.report.data import RunRecord
    from dc_graphsam.wording import TITLES

    run = RunRecord.read(folder.path)
    names, metric = run.spec.task_names, run.spec.metric
    labels = run.known_labels
    made: list[tuple[str, Any]] = []
    if run.smiles and run.spec.task_type == "classification":
        areas = get_metric("roc_auc")(labels, run.predictions, names).per_task
        made.append(("roc", figures.roc_plot(names, labels, run.predictions, areas)))
    elif run.smiles and run.spec.task_type == "multiclass":
        made += [(f"confusion-{t}", picture) for t, (_, picture) in enumerate(confusion_plots(run), start=1)]
    elif run.smiles:
        made.append(("parity", figures.parity_plot(names, labels, run.predictions)))
    two = any("loss_perturbed" in record or "loss_clean" in record for record in run.history)
    lines = [("loss_clean", "clean"), ("loss_perturbed", "perturbed")] if two else [("loss", "training")]
    made.append(("loss", figures.line_chart(run.history, [*lines, ("eval_loss", "validation")], "Loss", "loss")))
    title = TITLES.get(metric, metric)
    chart = figures.line_chart(
        run.history,
        [(f"eval_{metric}", title)],
        f"{title} on the validation set",
        title,
        best=run.metrics.get("best_epoch"),
    )
    made.append(("validation", chart))
    out = []
    for name, picture in made:
        if picture is not None:
            svg = base64.b64decode(picture.uri.split(",", 1)[1])
            svg = svg.replace(b"<svg ", b'<svg style="background:#fff" ', 1)  # readable on a dark page
            about = {"title": picture.title, "alt": picture.alt, "caption": picture.caption}
            out.append({"file": f"figures/{name}.svg", **about, "svg": svg})
    return out


def fetch_run(name: str | os.PathLike, **options: Any) -> Path:
    """Folder of a published run: a local one as it is, one that comes with the package, or one from the Hub.

    Parameters
    ----------
    name
        A folder, the name of a bundled model, or ``"owner/name"``.
    **options
        ``revision``, ``token``, ``cache_dir``, ``local_files_only``.
    """
    from dc_graphsam.models.auto import AutoModelForPropertyPrediction
    from dc_graphsam.repository.bundled import locate

    source = locate(name)
    if Path(source).exists() or not REPO_NAME.fullmatch(source):
        return Path(source)
    folder = fetch_model(source, AutoModelForPropertyPrediction.model_types(), **options)
    options["revision"] = folder.name
    files = [file for file in _COPIED if file != WEIGHTS and fetch(source, file, optional=True, **options) is not None]
    check_sums(folder, files, source)
    return folder
