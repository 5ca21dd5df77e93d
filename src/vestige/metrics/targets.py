"""Averages over several models that took the target's place, with the spread between them in the interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from vestige.errors import UsageError
from vestige.metrics.estimate import Array, Estimate, enclosing, share, withheld
from vestige.metrics.roc import Roc, roc
from vestige.metrics.tpr import Band
from vestige.seeds import rng

PARTS = 40


@dataclass(frozen=True, kw_only=True)
class TargetMean:
    """The mean over targets, the values it is a mean of, and their standard deviation (None with fewer than two)."""

    mean: Estimate
    values: tuple[float | None, ...]
    sd: float | None


def mean_over_targets(
    estimates: Sequence[Estimate],
    *,
    confidence: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
    record_variance: float = 0.0,
) -> TargetMean:
    """Return the mean of one figure over targets, each judged at its own threshold.

    With one target its own interval is kept. With T ≥ 2 the interval is Student's, from the variance between targets
    pooled with the mean variance within them at the weight of one degree of freedom, and never narrower than the
    latter alone allows: two targets that happen to agree prove little. ``record_variance`` is the variance that
    sampling the records gives the mean (`record_variances`); what of it all targets share, because they were judged on
    the same records, is added, with degrees of freedom after Satterthwaite (1946). Withheld when any target's figure
    is.
    """
    if not estimates:
        raise UsageError("Expected the figures of at least one target, got none.")
    values = tuple(estimate.value for estimate in estimates)
    known = np.array([value for value in values if value is not None])
    if len(known) < len(values):
        reason = next(estimate.reason for estimate in estimates if estimate.withheld)
        return TargetMean(mean=withheld(reason, estimates[0].method), values=values, sd=None)
    if len(known) == 1:
        return TargetMean(mean=estimates[0], values=values, sd=None)
    tail = (1 - share(confidence, "the confidence")) / 2
    normal = float(-scipy.special.ndtri(tail))
    number = len(known)
    within = float(np.mean([((e.half_width or 0.0) / normal) ** 2 for e in estimates]))
    between = float(np.var(known, ddof=1))
    pooled = max(within, ((number - 1) * between + within) / number)
    # Of a target's own variance, what it has in common with the others does not show between them.
    shared = max(0.0, (number * record_variance - within) / (number - 1))
    total = pooled / number + shared
    freedom = total**2 / ((pooled / number) ** 2 / number + shared**2 / (PARTS - 1)) if total > 0 else number
    reach = float(-scipy.special.stdtrit(freedom, tail)) * np.sqrt(total)
    reach = max(reach, float(-scipy.special.stdtrit(PARTS - 1, tail)) * np.sqrt(record_variance))
    mean = float(np.mean(known))
    estimate = Estimate(
        value=mean,
        low=max(mean - reach, bounds[0]),
        high=min(mean + reach, bounds[1]),
        method=f"Student's t over {len(known)} targets",
        reason=next((e.reason for e in estimates if e.reason), ""),
    )
    return TargetMean(mean=enclosing(estimate), values=values, sd=float(np.sqrt(between)))


def record_variances(
    scores: Sequence[Array],
    truths: Sequence[NDArray[np.bool_]],
    statistics: Callable[[Roc], Sequence[float]],
    *,
    seed: int = 0,
) -> Array:
    """Return, for each of the statistics of a ROC curve, the variance that sampling the records gives its mean over
    targets.

    ``scores``, ``truths``: one (N,) array per target, over the same records in the same order. A few records that every
    model memorises move all targets' figures together, so that variance does not shrink with the number of targets.
    Delete-a-group jackknife (Kott 2001) with 40 random groups of records.
    """
    part = rng(seed, "record-variances").permutation(len(scores[0])) % PARTS
    found = np.array(
        [
            np.mean([statistics(_without(s, t, part != left)) for s, t in zip(scores, truths, strict=True)], axis=0)
            for left in range(PARTS)
        ]
    )
    variances: Array = (PARTS - 1) / PARTS * np.sum((found - found.mean(axis=0)) ** 2, axis=0)
    return variances


def _without(scores: Array, truth: NDArray[np.bool_], kept: NDArray[np.bool_]) -> Roc:
    return roc(scores[kept & truth], scores[kept & ~truth])


def mean_band(bands: Sequence[Band], *, confidence: float = 0.95) -> Band:
    """Return the vertical average of curves that were measured at the same false-positive rates."""
    if not bands:
        raise UsageError("Expected the curves of at least one target, got none.")
    first = bands[0]
    if any(not np.array_equal(each.fpr, first.fpr) for each in bands):
        raise UsageError(
            "Expected all curves at the same false-positive rates, got different ones.", hint="Give band() one grid."
        )
    if len(bands) == 1:
        return first
    low, high = np.empty(len(first.fpr)), np.empty(len(first.fpr))
    tpr = np.mean([each.tpr for each in bands], axis=0)
    for place in range(len(first.fpr)):
        points = [
            Estimate(value=float(b.tpr[place]), low=float(b.low[place]), high=float(b.high[place])) for b in bands
        ]
        mean = mean_over_targets(points, confidence=confidence).mean
        low[place], high[place] = mean.low, mean.high
    return Band(first.fpr, tpr, low, high)
