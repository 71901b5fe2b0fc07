"""``GraphSAMTrainer.push_to_hub``: a trained model, its processor and what the trainer knows of it, and nothing else.

The parent pushes the whole output folder, with ``training_args.bin``: a pickle that holds paths of the machine and may hold the
token. A molecular model is pushed file by file instead.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

from dc_graphsam.chem.feature_sets import FEATURE_SETS
from dc_graphsam.repository.files import SUMS, sums_of, write_processor_record

__all__ = ["push_trainer", "trainer_files"]

_SHOWN = (
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_schedule",
    "weight_decay",
    "max_grad_norm",
    "seed",
)


def trainer_files(
    trainer: Any, name: str, *, license: str | None = None, tags: list[str] | None = None
) -> dict[str, bytes]:
    """Path → content of what is pushed: configuration, weights, processor, card and checksums.

    Parameters
    ----------
    trainer
        A :class:`~dc_graphsam.hf.GraphSAMTrainer` with a molecular model.
    name
        Of the model, for the card.
    license, tags
        For the card's metadata.
    """
    from dc_graphsam.repository.push import refuse_secrets

    model = trainer.accelerator.unwrap_model(trainer.model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model.save_pretrained(folder)
        processor = trainer.processing_class
        if hasattr(processor, "save_pretrained"):
            processor.save_pretrained(folder)
        elif model.config.feature_set in FEATURE_SETS:  # those of a table of graphs are not made from SMILES
            write_processor_record(folder, model.config.feature_set)
        (folder / "README.md").write_text(_card(trainer, model, name, license, tags or []), encoding="utf-8")
        (folder / SUMS).write_text(sums_of(folder), encoding="utf-8")
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
    refuse_secrets(files)
    return files


def push_trainer(
    trainer: Any,
    message: str,
    *,
    token: str | None = None,
    revision: str | None = None,
    private: bool | None = None,
    in_background: bool = False,
    **options: Any,
):
    """Push :func:`trainer_files` in one commit; returns what ``huggingface_hub.HfApi.create_commit`` returns."""
    from huggingface_hub import HfApi

    from dc_graphsam.repository.push import push_files

    args = trainer.args
    token = token if token is not None else args.hub_token
    repo = trainer.hub_model_id
    files = trainer_files(trainer, options.pop("model_name", None) or repo.split("/")[-1], **options)
    revision = revision if revision is not None else args.hub_revision
    if _has_own_card(HfApi(token=token), repo, revision):
        del files["README.md"]
        lines = files[SUMS].decode().splitlines(keepends=True)
        files[SUMS] = "".join(line for line in lines if not line.endswith("  README.md\n")).encode()
    private = private if private is not None else args.hub_private_repo
    return push_files(
        files, repo, message, private=private, token=token, revision=revision, in_background=in_background
    )


def _has_own_card(api: Any, repo: str, revision: str | None) -> bool:
    """Whether the repository has a card that no trainer wrote."""
    from huggingface_hub import errors

    try:
        path = api.hf_hub_download(repo, "README.md", revision=revision)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError):
        return False
    return "generated_from_trainer" not in Path(path).read_text(encoding="utf-8", errors="replace")


def _card(trainer: Any, model: Any, name: str, license: str | None, tags: list[str]) -> str:
    """What the trainer's log says: how it was trained, and the metrics of its evaluations."""
    from huggingface_hub import ModelCardData

    from dc_graphsam.wording import NAMES, md, number

    config, args, state = model.config, trainer.args, trainer.state
    method = NAMES.get(args.sam, args.sam)
    tags = sorted({"chemistry", "molecular-property-prediction", config.model_type, "generated_from_trainer", *tags})
    if args.sam != "none":
        tags.append("sharpness-aware-minimization")
    data = ModelCardData(library_name="dc_graphsam", pipeline_tag="graph-ml", license=license, tags=tags)
    evaluations = [record for record in state.log_history if any(key.startswith("eval_") for key in record)]
    names = [f"eval_{config.metric}", "eval_loss"]
    rows = [
        f"| {record.get('epoch', math.nan):g} | " + " | ".join(number(record.get(key)) for key in names) + " |"
        for record in evaluations
    ]
    options = {key: getattr(args, key) for key in _SHOWN if getattr(args, key, None) is not None}
    options |= {key: value for key, value in args.method_options().items() if args.sam != "none"}
    listed = ", ".join(f"`{task}`" for task in config.task_names[:30]) + (", …" if len(config.task_names) > 30 else "")
    title = NAMES.get(config.model_type, config.model_type)
    lines = [
        f"---\n{data.to_yaml()}\n---\n",
        f"# {md(name)}\n",
        f"{title} ({config.task_type}) for {listed}, trained with {'the base optimizer alone' if args.sam == 'none' else method}"
        + (f" on {md(config.dataset)}" if config.dataset else "")
        + f" for {state.epoch or 0:g} epochs, {state.global_step:,} steps.\n",
        "```python\nfrom dc_graphsam import pipeline\n",
        f'predict = pipeline("{trainer.hub_model_id or name}")\nprint(predict(["CCO", "c1ccccc1"]))\n```\n',
        "## Training\n",
        ", ".join(
            f"{md(key)} {md(f'{value:g}' if isinstance(value, float) else value)}" for key, value in options.items()
        )
        + ".\n",
    ]
    if rows:
        lines += [
            f"## Evaluation during training\n\n| epoch | {config.metric.replace('_', '-')} | loss |\n|---|---|---|",
            *rows,
            "",
        ]
    else:
        lines.append("No evaluation was made during the training.\n")
    return "\n".join(lines)
