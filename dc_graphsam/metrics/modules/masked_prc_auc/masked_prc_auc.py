"""Masked PRC-AUC over several tasks with missing labels, for ``evaluate.load``."""

# evaluate reads the imports line by line: one package per line
import datasets
import evaluate

from dc_graphsam.metrics.local_modules import DESCRIPTION, INPUTS, as_output
from dc_graphsam.metrics.masked import prc_auc


class MaskedPrcAuc(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=DESCRIPTION["prc_auc"],
            citation="",
            inputs_description=INPUTS,
            features=[
                datasets.Features(
                    {
                        "predictions": datasets.Sequence(datasets.Value("float64")),
                        "references": datasets.Sequence(datasets.Value("float64")),
                    }
                ),
                datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}),
            ],
        )

    def _compute(self, predictions, references, task_names=None):
        return as_output(prc_auc(references, predictions, task_names))
