"""Intervals for rates, for the AUC, and for balanced accuracy at a fixed threshold or at the best of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from vestige.errors import DataError
from vestige.metrics.estimate import Array, Estimate, enclosing, share, vector, withheld
from vestige.metrics.placements import delong
from vestige.metrics.roc import Roc, area
from vestige.seeds import rng

POINTS = 128
DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What a threshold chosen without the audited scores achieves on them."""

    threshold: float
    fpr: Estimate
    tpr: Estimate
    balanced_accuracy: Estimate


def clopper_pearson(count: ArrayLike, trials: ArrayLike, *, confidence: float = 0.95) -> tuple[Array, Array]:
    """Return the exact binomial interval (low, high) of counts out of trials, elementwise (Clopper & Pearson 1934)."""
    tail = (1 - share(confidence, "the confidence")) / 2
    k, n = np.broadcast_arrays(np.asarray(count, np.float64), np.asarray(trials, np.float64))
    if np.any(n < 1) or np.any(k < 0) or np.any(k > n):
        raise DataError("Expected counts between 0 and the number of trials, which must be at least 1.")
    low = np.where(k == 0, 0.0, scipy.special.betaincinv(np.maximum(k, 1), n - k + 1, tail))
    high = np.where(k == n, 1.0, scipy.special.betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail))
    return low, high


def proportion(count: int, trials: int, *, confidence: float = 0.95) -> Estimate:
    """Return count/trials with its exact binomial interval; withheld when there are no trials."""
    if trials == 0:
        return withheld("there is nothing to count", "Clopper–Pearson")
    low, high = clopper_pearson(count, trials, confidence=confidence)
    return Estimate(value=count / trials, low=float(low), high=float(high), method="Clopper–Pearson")


def auc(curve: Roc, *, confidence: float = 0.95) -> Estimate:
    """Return the AUC with DeLong's interval on the logit scale (DeLong, DeLong & Clarke-Pearson 1988; Sun & Xu 2014).

    When the scores separate perfectly, or are all equal, DeLong's variance is zero; the interval is then the bound
    that follows from min(n₁, n₀) independent pairs that all came out alike.
    """
    n1, n0 = curve.members, curve.nonmembers
    value = area(curve)
    tail = (1 - share(confidence, "the confidence")) / 2
    if min(n1, n0) == 1:
        return Estimate(value=value, low=0.0, high=1.0, method="none: one record on a side has no spread")
    error = delong(curve)
    if error == 0.0:
        unseen = 1 - tail ** (1 / min(n1, n0))
        low, high = (
            (value - unseen, value + unseen) if value in (0.0, 1.0) else (value - unseen / 2, value + unseen / 2)
        )
        return Estimate(value=value, low=max(low, 0.0), high=min(high, 1.0), method="exact, all pairs alike")
    centre, step = scipy.special.logit(value), -float(scipy.special.ndtri(tail)) * error / (value * (1 - value))
    low, high = scipy.special.expit(centre - step), scipy.special.expit(centre + step)
    return enclosing(Estimate(value=value, low=float(low), high=float(high), method="DeLong, logit scale"))


def operating_point(
    members: ArrayLike, nonmembers: ArrayLike, threshold: float, *, confidence: float = 0.95
) -> OperatingPoint:
    """Return what "score > threshold means member" achieves, for a threshold chosen without looking at these scores."""
    inside, outside = vector(members, "member scores"), vector(nonmembers, "non-member scores")
    hits, alarms = int(np.sum(inside > threshold)), int(np.sum(outside > threshold))
    tpr = proportion(hits, len(inside), confidence=confidence)
    fpr = proportion(alarms, len(outside), confidence=confidence)
    both = _newcombe(hits, len(inside), len(outside) - alarms, len(outside), confidence)
    return OperatingPoint(threshold=float(threshold), fpr=fpr, tpr=tpr, balanced_accuracy=both)


def _newcombe(hits: int, members: int, rejected: int, nonmembers: int, confidence: float) -> Estimate:
    """Return ½(TPR + TNR), the two Wilson intervals combined as for a difference (Newcombe 1998, method 10)."""
    z = float(scipy.special.ndtri(1 - (1 - share(confidence, "the confidence")) / 2))
    tpr, tpr_low, tpr_high = _wilson(hits, members, z)
    tnr, tnr_low, tnr_high = _wilson(rejected, nonmembers, z)
    value = (tpr + tnr) / 2
    low = value - np.hypot(tpr - tpr_low, tnr - tnr_low) / 2
    high = value + np.hypot(tpr_high - tpr, tnr_high - tnr) / 2
    return Estimate(
        value=value, low=max(float(low), 0.0), high=min(float(high), 1.0), method="Newcombe, fixed threshold"
    )


def _wilson(count: int, trials: int, z: float) -> tuple[float, float, float]:
    rate = count / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    reach = z / (1 + z * z / trials) * np.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials**2))
    return rate, float(centre - reach), float(centre + reach)


def balanced_accuracy(curve: Roc, *, confidence: float = 0.95) -> Estimate:
    """Return max over thresholds of ½(TPR + TNR): an oracle's figure, chosen on the very scores it is measured on.

    The maximum is biased upwards, so its lower end gives up what the largest of the nearly best thresholds may gain
    by chance: the quantile of a simulated Gaussian process over them (Chernozhukov, Lee & Rosen 2013). The upper end
    is the normal one.
    """
    tail = (1 - share(confidence, "the confidence")) / 2
    gap = curve.tpr - curve.fpr
    best = int(np.argmax(gap))
    if len(gap) > POINTS:
        kept = np.unique(np.append(np.linspace(0, len(gap) - 1, POINTS).astype(np.int64), best))
    else:
        kept = np.arange(len(gap))
    noise = _gap_noise(curve.tpr[kept], curve.fpr[kept], curve.members, curve.nonmembers)
    slack = 2 * np.quantile(noise.max(axis=1), 1 - tail)
    close = gap[kept] >= gap[best] - slack
    optimism = np.quantile(noise[:, close].max(axis=1), 1 - tail)
    error = np.sqrt(_binomial(curve.tpr[best]) / curve.members + _binomial(curve.fpr[best]) / curve.nonmembers)
    low = 0.5 + max(float(gap[best] - optimism), 0.0) / 2
    high = 0.5 + min(float(gap[best] + scipy.special.ndtri(1 - tail) * error), 1.0) / 2
    method = "best threshold, corrected for the choice"
    return enclosing(Estimate(value=float(0.5 + gap[best] / 2), low=low, high=high, method=method))


def _binomial(rate: float) -> float:
    return rate * (1 - rate)


def _gap_noise(tpr: Array, fpr: Array, members: int, nonmembers: int) -> Array:
    """Return (DRAWS, P) draws of the error of TPR − FPR along the curve: two independent Brownian bridges."""
    generator = rng(0, "metrics", "balanced_accuracy")
    noise = np.zeros((DRAWS, len(tpr)))
    for rates, count in ((tpr, members), (fpr, nonmembers)):
        steps = np.sqrt(np.diff(rates, prepend=0.0)) * generator.standard_normal((DRAWS, len(rates)))
        walk = np.cumsum(steps, axis=1)
        noise += (walk - rates * walk[:, -1:]) / np.sqrt(count)
    return noise
