"""Learning-rate schedules that ``transformers`` does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR

    from dc_graphsam.hf.training_args import GraphSAMTrainingArguments

__all__ = ["linear_exponential_factor", "linear_exponential_schedule", "released_schedule"]


def linear_exponential_factor(
    step: int, warmup_steps: float, decay_steps: float, initial: float, final: float
) -> float:
    r"""Learning rate at ``step`` as a share of its maximum.

    .. math:: f(s) = \begin{cases} f_0 + (1 - f_0)\, s / w & s \le w \\
                                  f_1^{(s - w) / (d - w)} & w < s \le d \\ f_1 & s > d \end{cases}

    which the released GraphSAM code uses (``CoMPT-main/utils.py:146-168``, ``scheduler.py``).

    Parameters
    ----------
    step
        Optimizer steps done, s.
    warmup_steps, decay_steps
        w and d in steps.
    initial, final
        f₀ and f₁, shares of the maximum.

    Examples
    --------
    >>> [round(linear_exponential_factor(s, 2, 6, 0.1, 0.1), 3) for s in range(8)]
    [0.1, 0.55, 1.0, 0.562, 0.316, 0.178, 0.1, 0.1]
    """
    if step < warmup_steps:
        return initial + (1 - initial) * step / warmup_steps
    if step >= decay_steps:
        return final
    return final ** ((step - warmup_steps) / (decay_steps - warmup_steps))


def linear_exponential_schedule(
    optimizer: Optimizer, warmup_steps: float, decay_steps: float, initial: float = 0.1, final: float = 0.1
) -> LambdaLR:
    """Scheduler of :func:`linear_exponential_factor`; the optimizer's learning rate is the maximum.

    Parameters
    ----------
    optimizer
        Its ``lr`` is the peak.
    warmup_steps, decay_steps, initial, final
        See :func:`linear_exponential_factor`.
    """
    from functools import partial

    from torch.optim.lr_scheduler import LambdaLR

    factor = partial(
        linear_exponential_factor, warmup_steps=warmup_steps, decay_steps=decay_steps, initial=initial, final=final
    )
    return LambdaLR(optimizer, factor)


def released_schedule(
    optimizer: Optimizer, args: GraphSAMTrainingArguments, num_training_steps: int, num_train_epochs: int
) -> LambdaLR:
    """The schedule that ``args`` ask for with ``lr_schedule="released"``.

    Parameters
    ----------
    optimizer, args
        What is trained with.
    num_training_steps, num_train_epochs
        Length of the run; a stream counts as one epoch that never ends.
    """
    epochs = num_train_epochs if num_train_epochs <= num_training_steps else 1
    warmup = min(args.lr_warmup_epochs / epochs, 0.5) * num_training_steps
    peak = args.learning_rate
    initial = 0.1 if args.initial_learning_rate is None else args.initial_learning_rate / peak
    final = 0.1 if args.final_learning_rate is None else args.final_learning_rate / peak
    return linear_exponential_schedule(optimizer, warmup, num_training_steps, initial, final)
