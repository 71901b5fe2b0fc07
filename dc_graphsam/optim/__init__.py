"""Sharpness-aware optimizers and radius schedules. torch only: nothing here knows of molecules.

In loops that are not one's own:

* a plain loop without a closure: ``GraphSAM(params, anchor="in-stream", anchor_every=n, ...)`` or ``MomentumSAM``, with
  ``optimizer.train()`` before each forward pass and ``optimizer.eval()`` before evaluation and saving; a method that needs
  two gradients, or a forgotten ``train()``, is an error at ``step()``;
* the stock ``transformers.Trainer``: the same two, as ``Trainer(..., optimizers=(optimizer, None))``; it calls ``train()`` and
  ``eval()`` itself, so that evaluation and checkpoints see clean weights;
* Lightning's automatic optimization: every method, returned by ``configure_optimizers``; it hands a closure to ``step``. Where
  epochs matter call ``self.optimizers().optimizer.set_epoch(self.current_epoch)`` in ``on_train_epoch_start``.
  ``accumulate_grad_batches`` above 1 is an error, since its first micro-batches never meet the perturbed weights.
"""

from __future__ import annotations

from dc_graphsam._lazy import exports
from dc_graphsam.catalogue import METHODS

__all__, __getattr__, __dir__ = exports(
    __name__,
    {
        **{method.cls: f".methods.{method.module}" for method in METHODS.values() if method.cls},
        "GradientProbe": ".looking.diagnostics",
        "OPTIMIZERS": ".registry",
        "RHO_SCHEDULES": ".rho.schedules",
        "RhoSchedule": ".rho.schedules",
        "SameNoise": ".perturbed.noise",
        "SharpnessAwareOptimizer": ".stepping.base",
        "StepRecord": ".stepping.step",
        "build_optimizer": ".registry",
        "closure_of": ".stepping.closure",
        "frozen_running_statistics": ".perturbed.batch_norm",
        "largest_hessian_eigenvalue": ".looking.flatness",
        "sharpness": ".looking.flatness",
    },
)
