"""The masked metrics as ``evaluate`` modules that load without a network."""

from __future__ import annotations

from pathlib import Path

from dc_graphsam.exceptions import check_choice
from dc_graphsam.metrics import masked
from dc_graphsam.metrics.masked import MetricResult
from dc_graphsam.optional import require

__all__ = ["DESCRIPTION", "INPUTS", "MODULES", "as_output", "load_metric", "masked_metric", "module_folder"]

MODULES = ("masked_roc_auc", "masked_prc_auc", "masked_rmse", "masked_mae", "masked_r2")
_FOLDER = Path(__file__).with_name("modules")

DESCRIPTION = {
    "roc_auc": "Area under the ROC curve, mean over the tasks with labels of both classes; NaN labels are missing.",
    "prc_auc": "Area under the precision-recall curve (average precision), mean over the tasks with labels of both "
    "classes; NaN labels are missing.",
    "rmse": "Root mean squared error, mean over the tasks with labels; NaN labels are missing.",
    "mae": "Mean absolute error, mean over the tasks with labels; NaN labels are missing.",
    "r2": "Coefficient of determination, mean over the tasks whose labels vary; NaN labels are missing.",
}
INPUTS = """
Args:
    predictions: floats [molecules] or [molecules, tasks]; for areas under curves, logits or probabilities
    references: labels of the same shape, NaN where nothing was measured
    task_names (optional): one name per task
Returns:
    a dict with the metric; for several tasks, or if one is left out, also `per_task` (name to value) and `left_out`
    (name to reason)
"""


def as_output(result: MetricResult) -> dict:
    """What an ``evaluate`` module returns for a result.

    >>> as_output(MetricResult("mae", 0.5, {"task_0": 0.5}, {}))
    {'mae': 0.5}
    """
    output: dict = {result.name: result.value}
    if result.left_out or len(result.per_task) > 1:
        output.update(per_task=result.per_task, left_out=result.left_out)
    return output


def masked_metric(name: str) -> type:
    """The ``evaluate.Metric`` of one masked metric, for the scripts in modules/, which evaluate copies elsewhere and runs there.

    Parameters
    ----------
    name
        A function of :mod:`dc_graphsam.metrics.masked`: ``"roc_auc"``, ``"prc_auc"``, ``"rmse"``, ``"mae"`` or ``"r2"``.

    Examples
    --------
    >>> masked_metric("mae").__name__
    'MaskedMae'
    """
    import datasets
    import evaluate

    function, number = getattr(masked, check_choice("name", name, tuple(DESCRIPTION))), datasets.Value("float64")

    class Masked(evaluate.Metric):
        def _info(self):
            return evaluate.MetricInfo(
                description=DESCRIPTION[name],
                citation="",
                inputs_description=INPUTS,
                features=[
                    datasets.Features({"predictions": feature, "references": feature})
                    for feature in (datasets.Sequence(number), number)
                ],
            )

        def _compute(self, predictions, references, task_names=None):
            return as_output(function(references, predictions, task_names))

    Masked.__name__ = Masked.__qualname__ = "Masked" + name.title().replace("_", "")
    return Masked


def module_folder(name: str) -> Path:
    """Folder of an ``evaluate`` module, to give to ``evaluate.load`` or to upload to a Space.

    >>> module_folder("masked_rmse").name
    'masked_rmse'
    """
    return _FOLDER / check_choice("name", name, MODULES)


def load_metric(name: str, **options):
    """Load a masked metric as an ``evaluate`` module, from the package, without a network.

    Parameters
    ----------
    name
        One of ``MODULES``: ``masked_roc_auc``, ``masked_prc_auc``, ``masked_rmse``, ``masked_mae``, ``masked_r2``.
    options
        Passed to ``evaluate.load``. In one process, predictions are kept in memory unless ``keep_in_memory=False``:
        the file cache of ``evaluate`` takes locks that outlive a killed process.

    Returns
    -------
    evaluate.Metric
        ``.compute(predictions=…, references=…)`` with floats [M] or [M, T], NaN in ``references`` for missing labels,
        and optionally ``task_names=…``; gives ``{"<metric>": value}``; for several tasks, or if one is left out,
        also ``"per_task"`` and ``"left_out"``.

    Raises
    ------
    InvalidArgumentError
        There is no module of that name.
    MissingPackageError
        ``evaluate`` is not installed.

    Examples
    --------
    >>> metric = load_metric("masked_rmse")
    >>> metric.compute(predictions=[1.0, 3.0, 0.0], references=[2.0, 2.0, float("nan")])
    {'rmse': 1.0}
    """
    folder = module_folder(name)
    evaluate = require("evaluate", "load_metric")
    options.setdefault("keep_in_memory", options.get("num_process", 1) == 1)
    return evaluate.load(str(folder), **options)
