"""The bootstrap: resample members and non-members, and look how far a figure of the ROC curve moves.

A record drawn again has the score it had, so a resample is the same curve with other counts at its thresholds: the
scores are sorted once, and each of a thousand resamples costs a count and a running sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from vestige.errors import UsageError
from vestige.metrics.estimate import Array, Estimate, enclosing, share
from vestige.metrics.intervals import auc
from vestige.metrics.placements import placements
from vestige.metrics.roc import Roc, area
from vestige.seeds import rng

DRAWS = 1000
Statistics = Callable[[Roc], Sequence[float]]


def bootstrap(curve: Roc, statistics: Statistics, *, draws: int = DRAWS, seed: int = 0) -> Array:
    """Return (draws, S): the S statistics on ``draws`` resamples, members and non-members resampled separately.

    Records are resampled as if they were independent, and the model as given.
    """
    if draws < 2:
        raise UsageError(f"Expected at least 2 bootstrap draws, got {draws}.")
    return np.array([statistics(each) for each in _resamples(curve, draws, seed)], dtype=np.float64)


def areas(curve: Roc, *, draws: int = DRAWS, seed: int = 0) -> Array:
    """Return (draws,) AUCs of the same resamples as `bootstrap`, by counting what each member outscores."""
    if draws < 2:
        raise UsageError(f"Expected at least 2 bootstrap draws, got {draws}.")
    generator = rng(seed, "metrics", "bootstrap")
    n1, n0 = curve.members, curve.nonmembers
    block = _blocks(curve.hits)
    above, level = curve.alarms[block - 1], curve.alarms[block]
    tied = not np.array_equal(above, level)
    found = np.empty(draws)
    for draw in range(draws):
        times = np.bincount(generator.integers(0, n1, n1, dtype=np.int32), minlength=n1)
        counts = np.bincount(generator.integers(0, n0, n0, dtype=np.int32), minlength=n0)
        alarms = np.concatenate([[0], np.cumsum(counts)])
        lost = alarms[level] + alarms[above] if tied else 2 * alarms[level]
        found[draw] = 1 - np.sum(times * lost) / (2 * n1 * n0)
    return found


def _resamples(curve: Roc, draws: int, seed: int) -> Iterator[Roc]:
    generator = rng(seed, "metrics", "bootstrap")
    members, nonmembers = _blocks(curve.hits), _blocks(curve.alarms)
    for _ in range(draws):
        yield Roc(curve.thresholds, _drawn(members, curve, generator), _drawn(nonmembers, curve, generator))


def _blocks(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the vertex at which each record of one side is first called a member."""
    return np.repeat(np.arange(1, len(counts), dtype=np.int32), np.diff(counts))


def _drawn(blocks: NDArray[np.int32], curve: Roc, generator: np.random.Generator) -> NDArray[np.int64]:
    chosen = blocks[generator.integers(0, len(blocks), len(blocks), dtype=np.int32)]
    counts: NDArray[np.int64] = np.cumsum(np.bincount(chosen, minlength=len(curve.thresholds)))
    return counts


def bootstrap_auc(curve: Roc, *, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Return the AUC with its bias-corrected and accelerated bootstrap interval (Efron 1987).

    It agrees with `auc`, DeLong's, where both are good; where the resamples cannot move (perfect separation, all
    scores equal, one record on a side) there is nothing to resample, and the interval is `auc`'s.
    """
    value = area(curve)
    level = share(confidence, "the confidence")
    if min(curve.members, curve.nonmembers) == 1:
        return auc(curve, confidence=confidence)
    found = areas(curve, draws=draws, seed=seed)
    if np.ptp(found) == 0:
        return auc(curve, confidence=confidence)
    low, high = bca(found, value, _acceleration(curve), level)
    return enclosing(Estimate(value=value, low=low, high=high, method=f"BCa bootstrap, {draws:,} draws"))


def bca(draws: Array, value: float, acceleration: float, confidence: float) -> tuple[float, float]:
    """Return the ends of the BCa interval from (B,) bootstrap draws of a figure whose own value is ``value``."""
    below = (np.sum(draws < value) + np.sum(draws == value) / 2) / len(draws)
    bias = float(scipy.special.ndtri(np.clip(below, 0.5 / len(draws), 1 - 0.5 / len(draws))))
    tail = (1 - confidence) / 2
    shifted = bias + scipy.special.ndtri(np.array([tail, 1 - tail]))
    levels = scipy.special.ndtr(bias + shifted / (1 - acceleration * shifted))
    low, high = np.quantile(draws, np.clip(levels, 0.0, 1.0))
    return float(low), float(high)


def _acceleration(curve: Roc) -> float:
    """Return the skewness of the AUC's jackknife over both sides, a sixth of it."""
    inside, outside, hits, alarms = placements(curve)
    value = area(curve)
    cubes, squares = 0.0, 0.0
    for share_beaten, counts in ((inside, hits), (outside, alarms)):
        number = counts.sum()
        pull = (share_beaten - value) / number
        cubes += float(np.sum(counts * pull**3))
        squares += float(np.sum(counts * pull**2))
    return cubes / (6 * squares**1.5) if squares > 0 else 0.0
