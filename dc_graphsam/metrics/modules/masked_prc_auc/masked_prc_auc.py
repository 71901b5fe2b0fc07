"""Masked PRC-AUC over several tasks with missing labels, for ``evaluate.load``."""

from dc_graphsam.metrics.local_modules import masked_metric

MaskedPrcAuc = masked_metric("prc_auc")  # evaluate looks for a class in this namespace
