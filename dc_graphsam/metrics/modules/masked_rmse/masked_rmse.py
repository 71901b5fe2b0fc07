"""Masked RMSE over several tasks with missing labels, for ``evaluate.load``."""

from dc_graphsam.metrics.local_modules import masked_metric

MaskedRmse = masked_metric("rmse")  # evaluate looks for a class in this namespace
