"""Estimate: a number with its interval, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vestige.errors import DataError, UsageError

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with a two-sided interval.

    ``value``, ``low`` and ``high`` are None when the data cannot resolve the figure; ``reason`` then says what is
    missing. When a value is present, a ``reason`` is a caveat to print beside it. ``method`` names how the interval
    was made.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    reason: str = ""

    @property
    def withheld(self) -> bool:
        """Whether there is no value."""
        return self.value is None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval, None when there is none."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def withheld(reason: str, method: str = "") -> Estimate:
    """Return an estimate without a value."""
    return Estimate(method=method, reason=reason)


def enclosing(estimate: Estimate) -> Estimate:
    """Return the estimate with its interval stretched, where discreteness asks for it, to hold its own value."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=min(estimate.low, estimate.value), high=max(estimate.high, estimate.value))


def vector(scores: ArrayLike, what: str) -> Array:
    """Return finite float64 scores, shape (n,), n ≥ 1; raise DataError for anything else."""
    array: NDArray[Any] = np.asarray(scores)
    if array.ndim != 1 or array.size == 0:
        raise DataError(
            f"Expected the {what} to be a list of at least one number, got an array of shape {array.shape}."
        )
    try:
        array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"Expected the {what} to be numbers, got {array.dtype}.") from error
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise DataError(
            f"Expected the {what} to be finite, got {bad} NaN or infinite out of {array.size}.",
            hint="Clip or replace them where the score is computed; a ranking with NaN has no meaning.",
        )
    return array


def share(value: float, what: str) -> float:
    """Return a number strictly between 0 and 1; raise UsageError for anything else."""
    if not 0 < value < 1:
        raise UsageError(f"Expected {what} to lie strictly between 0 and 1, got {value}.")
    return float(value)
