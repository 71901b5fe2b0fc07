"""``pipeline("molecular-property-prediction", model=…)`` of ``transformers``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.base import Pipeline

from dc_graphsam.hf.pipeline import MoleculePredictor
from dc_graphsam.models.auto import TASK, AutoModelForPropertyPrediction
from dc_graphsam.predict.molecules import BATCH_SIZE

__all__ = ["MolecularPropertyPipeline"]


class MolecularPropertyPipeline(Pipeline):
    """Pipeline of ``transformers`` around :class:`~dc_graphsam.hf.pipeline.MoleculePredictor`.

    Called with one SMILES, a list, a generator, a data set or a table it gives what the predictor gives; ``batch_size`` and ``progress`` may be
    given to the call or to ``pipeline(…)``.

    Examples
    --------
    >>> from transformers import pipeline
    >>> from dc_graphsam.repository.bundled import BUNDLED
    >>> predict = pipeline("molecular-property-prediction", model=str(BUNDLED / "compt-esol-small"), device="cpu")
    >>> sorted(predict("C1CC"))
    ['error', 'measured log solubility in mols per litre']
    """

    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False
    _pipeline_calls_generate = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        processor = kwargs.pop("processor", None)
        super().__init__(*args, **kwargs)
        self.predictor = MoleculePredictor(
            self.model, processor, self._batch_size or BATCH_SIZE, self._num_workers or 0
        )

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict, dict, dict]:
        unknown = set(kwargs) - {"progress"}
        if unknown:
            raise TypeError(f"the pipeline has no parameter {sorted(unknown)[0]!r}; it has: batch_size, progress")
        return {}, {}, {name: kwargs[name] for name in ("progress",) if name in kwargs}

    def __call__(self, inputs: str | Iterable[str], *, batch_size: int | None = None, **kwargs: Any) -> Any:
        _, _, options = self._sanitize_parameters(**kwargs)
        return self.predictor(inputs, batch_size=batch_size, **{**self._postprocess_params, **options})

    # The steps of one molecule, for callers that drive a pipeline step by step.

    def preprocess(self, inputs: str) -> dict[str, Any]:
        return {"graphs": self.predictor.featurize([inputs])}

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:
        graphs = model_inputs["graphs"]
        values, reasons = self.predictor.forward(graphs, 1)
        return {"values": values, "reasons": reasons, "notes": self.predictor.notes(graphs, reasons)}

    def postprocess(self, model_outputs: dict[str, Any]) -> dict[str, Any]:
        return self.predictor.rows(*(model_outputs[name] for name in ("values", "reasons", "notes")))[0]


def _register() -> None:
    if TASK not in PIPELINE_REGISTRY.supported_tasks:
        PIPELINE_REGISTRY.register_pipeline(
            TASK, pipeline_class=MolecularPropertyPipeline, pt_model=AutoModelForPropertyPrediction, type="text"
        )
        # Else save_pretrained would note in config.json that the pipeline's code lies in the repository, which it does not.
        del MolecularPropertyPipeline._registered_impl


_register()
