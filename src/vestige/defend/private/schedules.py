"""Noise over a training: how its size changes from epoch to epoch, by the number of the epoch alone.

What follows the loss, the gradients or the accuracy on private records is not such a schedule: each look at them would
be a release of its own.
"""

from __future__ import annotations

from typing import Literal, get_args

from vestige.errors import ConfigError

Schedule = Literal["constant", "linear", "exponential", "step"]


def check_schedule(schedule: str, decay: float) -> None:
    """Raise ConfigError for a schedule that there is not, or a decay that is none."""
    if schedule not in get_args(Schedule):
        raise ConfigError(f"Expected schedule to be one of {', '.join(get_args(Schedule))}, got {schedule!r}.")
    if not 0 < decay <= 1:
        raise ConfigError(f"Expected decay to be above 0 and at most 1, got {decay!r}.")


def factors(schedule: Schedule, decay: float, epochs: int) -> tuple[float, ...]:
    """Return each epoch's factor on the noise multiplier: from 1 in the first to ``decay`` in the last.

    ``step`` falls once, half-way.

    >>> factors("linear", 0.5, 3)
    (1.0, 0.75, 0.5)
    """
    check_schedule(schedule, decay)
    shares = [epoch / (epochs - 1) if epochs > 1 else 0.0 for epoch in range(epochs)]
    if schedule == "linear":
        return tuple(1 - (1 - decay) * share for share in shares)
    if schedule == "exponential":
        return tuple(decay**share for share in shares)
    if schedule == "step":
        return tuple(1.0 if 2 * epoch < epochs else decay for epoch in range(epochs))
    return (1.0,) * epochs
