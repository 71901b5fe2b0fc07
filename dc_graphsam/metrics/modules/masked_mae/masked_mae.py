"""Masked MAE over several tasks with missing labels, for ``evaluate.load``."""

# evaluate reads the imports line by line: one package per line
import datasets
import evaluate

from dc_graphsam.metrics.local_modules import DESCRIPTION, INPUTS, as_output
from dc_graphsam.metrics.masked import mae


class MaskedMae(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=DESCRIPTION["mae"],
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
        return as_output(mae(references, predictions, task_names))
