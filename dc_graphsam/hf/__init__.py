"""The Hugging Face door: processor, training arguments, trainer, runs and predictions.

Names are loaded on first use, since ``transformers`` takes seconds to import.
"""

from __future__ import annotations

from dc_graphsam._lazy import exports

__all__, __getattr__, __dir__ = exports(
    __name__,
    {
        "AutoModelForPropertyPrediction": "dc_graphsam.models.auto",
        "GraphSAMTrainer": "dc_graphsam.hf.trainer",
        "GraphSAMTrainingArguments": "dc_graphsam.hf.training_args",
        "ModelCard": "dc_graphsam.hub.card",
        "MoleculePredictor": "dc_graphsam.hf.pipeline",
        "MoleculeProcessor": "dc_graphsam.processing.molecule_processor",
        "RunSettings": "dc_graphsam.runs.settings",
        "draw_atom_scores": "dc_graphsam.explain.attribution",
        "evaluate_run": "dc_graphsam.runs.evaluate",
        "explain_atoms": "dc_graphsam.explain.attribution",
        "fit_baselines": "dc_graphsam.runs.baselines",
        "load_run": "dc_graphsam.predict.loading",
        "predict_csv": "dc_graphsam.predict.table",
        "predict_smiles": "dc_graphsam.predict.molecules",
        "publish_run": "dc_graphsam.hub.publish",
        "train_run": "dc_graphsam.runs.train",
        "write_report": "dc_graphsam.report.page",
    },
)
