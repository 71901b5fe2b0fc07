"""Masked MAE over several tasks with missing labels, for ``evaluate.load``."""

from dc_graphsam.metrics.local_modules import masked_metric

MaskedMae = masked_metric("mae")  # evaluate looks for a class in this namespace
