"""Training runs: settings, data, training, evaluation, in a folder."""
