"""The true-positive rate at a fixed false-positive rate, with an interval that knows the threshold is random too.

Let n₀ non-members be given, and let the true threshold be the one that a share α of all non-members exceeds. The
number J of the n₀ that exceed it is Binomial(n₀, α) whatever the law of the scores. Were J known, the members above
the J-th largest non-member would be a binomial count and its Jeffreys posterior would be the interval; since it is
not, the interval inverts the mixture of those posteriors over J. No bootstrap, and no assumption on the laws.

The empirical ROC moves in steps, and with few non-members above the threshold (n₀α ≲ 20) the steps' own noise would
count twice; the counts are therefore pulled towards a line through them on normal-deviate axes (Swets 1986), by
2/√(n₀α(1−α)) at most fully.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from vestige.metrics.estimate import Array, Estimate, enclosing, share, withheld
from vestige.metrics.roc import Roc, roc

METHOD = "binomial mixture over the random threshold"
NODES = 64
NEWTON, HALVINGS = 8, 22
CLOSE = 1e-7
SMOOTHING = 2.0


@dataclass(frozen=True, eq=False)
class Band:
    """A ROC curve to draw: (P,) false-positive rates, the TPR at each and its pointwise interval."""

    fpr: Array
    tpr: Array
    low: Array
    high: Array


def tpr_at_fpr(members: ArrayLike, nonmembers: ArrayLike, fpr: float, *, confidence: float = 0.95) -> Estimate:
    """Return the largest TPR over thresholds whose empirical FPR is at most ``fpr``, with its interval.

    ``members``: (n₁,), ``nonmembers``: (n₀,), larger = more likely a member. Withheld below n₀ = 1/``fpr``; up to
    10/``fpr`` it carries a caveat.
    """
    return tprs_at(roc(members, nonmembers), [fpr], confidence=confidence)[0]


def tprs_at(curve: Roc, fprs: Sequence[float], *, confidence: float = 0.95) -> list[Estimate]:
    """Return `tpr_at_fpr` for several rates of one curve."""
    rates = np.array([share(fpr, "a false-positive rate") for fpr in fprs])
    values, low, high = _interval(curve, rates, confidence)
    return [
        _resolved(curve.nonmembers, float(rate), Estimate(value=float(v), low=float(a), high=float(b), method=METHOD))
        for rate, v, a, b in zip(rates, values, low, high, strict=True)
    ]


def tnr_at_fnr(members: ArrayLike, nonmembers: ArrayLike, fnr: float, *, confidence: float = 0.95) -> Estimate:
    """Return the largest TNR over thresholds whose empirical FNR is at most ``fnr``: who is surely not a member."""
    return tprs_at(roc(members, nonmembers).reversed(), [fnr], confidence=confidence)[0]


def band(curve: Roc, fprs: Array, *, confidence: float = 0.95) -> Band:
    """Return the curve at (P,) rates in (0, 1] with its pointwise intervals; below 1/n₀ the lower end is 0."""
    inner = np.minimum(fprs, 1 - 0.5 / curve.nonmembers)
    values, low, high = _interval(curve, inner, confidence)
    values = curve.tpr[np.searchsorted(curve.fpr, fprs + 1e-12, side="right") - 1]
    low = np.where(fprs * curve.nonmembers < 1, 0.0, np.minimum(low, values))
    return Band(fprs, values, low, np.maximum(high, values))


def needed(fpr: float) -> int:
    """Return how many non-members resolve a false-positive rate well: ten expected above the threshold."""
    return int(np.ceil(10 / fpr - 1e-6))


def _resolved(nonmembers: int, fpr: float, estimate: Estimate) -> Estimate:
    least = int(np.ceil(1 / fpr - 1e-6))
    if nonmembers < least:
        return withheld(
            f"a false-positive rate of {fpr:g} needs at least {least:,} non-members, better {needed(fpr):,}; "
            f"there are {nonmembers:,}",
            METHOD,
        )
    if nonmembers >= needed(fpr):
        return enclosing(estimate)
    caveat = f"coarse: {nonmembers:,} non-members, {needed(fpr):,} would resolve a false-positive rate of {fpr:g}"
    return enclosing(Estimate(value=estimate.value, low=estimate.low, high=estimate.high, method=METHOD, reason=caveat))


def _interval(curve: Roc, rates: Array, confidence: float) -> tuple[Array, Array, Array]:
    """Return the TPR at each rate and the two ends of its interval."""
    tail = (1 - share(confidence, "the confidence")) / 2
    values = np.array([curve.tpr[curve.vertex_at(rate)] for rate in rates])
    counts, weights = _mixture(curve, rates)
    low = np.where(values == 0, 0.0, _quantile(counts, weights, curve.members, tail))
    high = np.where(values == 1, 1.0, _quantile(counts, weights, curve.members, 1 - tail))
    return values, low, high


def _mixture(curve: Roc, rates: Array) -> tuple[Array, Array]:
    """Return (A, K) counts of members above the true threshold and their weights, over what J may be."""
    total = curve.nonmembers
    reach = np.searchsorted(curve.alarms, np.arange(total + 1), side="right") - 1
    best = curve.hits[reach].astype(np.float64)
    # With J alarms the true threshold lies between two non-members: the members in between are above it or not.
    middle = (best + np.concatenate([[0.0], best[:-1]])) / 2
    running = np.concatenate([[0.0], np.cumsum(middle)])
    spread = np.sqrt(total * rates * (1 - rates))
    first = np.floor(np.maximum(total * rates - 7 * spread - 7, 0))
    last = np.ceil(np.minimum(total * rates + 7 * spread + 7, total)) + 1
    steps = np.linspace(0, 1, NODES + 1)
    edges = np.round(first[:, None] + steps * (last - first)[:, None]).astype(np.int64)
    below = scipy.special.bdtr(np.maximum(edges - 1, 0), total, rates[:, None])
    weights = np.diff(np.where(edges == 0, 0.0, below), axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    width = np.maximum(np.diff(edges, axis=1), 1)
    counts = (running[edges[:, 1:]] - running[edges[:, :-1]]) / width
    places = np.clip((edges[:, 1:] + edges[:, :-1]) / 2, 0.5, total + 0.5)
    pull = np.minimum(1.0, SMOOTHING / np.maximum(spread, 1e-9))[:, None]
    return (1 - pull) * counts + pull * _line(counts, places, weights, curve), weights


def _line(counts: Array, places: Array, weights: Array, curve: Roc) -> Array:
    """Return the counts on the weighted straight line through them, both axes in normal deviates."""
    members, total = curve.members, curve.nonmembers
    y = scipy.special.ndtri((counts + 0.5) / (members + 1))
    x = scipy.special.ndtri(places / (total + 1))
    x_mean = np.sum(weights * x, axis=1, keepdims=True)
    y_mean = np.sum(weights * y, axis=1, keepdims=True)
    square = np.sum(weights * (x - x_mean) ** 2, axis=1, keepdims=True)
    slope = np.sum(weights * (x - x_mean) * (y - y_mean), axis=1, keepdims=True) / np.maximum(square, 1e-300)
    line = scipy.special.ndtr(y_mean + slope * (x - x_mean)) * (members + 1) - 0.5
    clipped: Array = np.clip(line, 0.0, float(members))
    return clipped


def _quantile(counts: Array, weights: Array, members: int, level: float) -> Array:
    """Return the quantile of each row's mixture of Beta(count + ½, members − count + ½)."""
    a, b = counts + 0.5, members - counts + 0.5
    mean = np.sum(weights * a, axis=1) / (members + 1)
    square = np.sum(weights * a * (a + 1), axis=1) / ((members + 1) * (members + 2))
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    reach = spread / np.sqrt(min(level, 1 - level)) + 1e-12  # Cantelli
    low, high = np.maximum(mean - reach, 0), np.minimum(mean + reach, 1)
    scale = scipy.special.betaln(a, b)
    found: Array = np.clip(mean + scipy.special.ndtri(level) * spread, low, high)
    open_ = np.arange(len(found))
    for step in range(NEWTON + HALVINGS):
        at = found[open_]
        some = (a[open_], b[open_], at[:, None])
        under = np.sum(weights[open_] * scipy.special.betainc(*some), axis=1) - level
        low[open_] = np.where(under < 0, at, low[open_])
        high[open_] = np.where(under < 0, high[open_], at)
        after = (low[open_] + high[open_]) / 2
        if step < NEWTON:
            guess = at - under / np.sum(weights[open_] * _density(*some, scale[open_]), axis=1)
            after = np.where((low[open_] < guess) & (guess < high[open_]), guess, after)
        found[open_] = after
        open_ = open_[(np.abs(after - at) > CLOSE) | (np.abs(under) > CLOSE)]
        if not len(open_):
            break
    return found


def _density(a: Array, b: Array, x: Array, scale: Array) -> Array:
    """Return the density of Beta(a, b), whose log beta function is ``scale``; at least the smallest number above 0."""
    logs = scipy.special.xlogy(a - 1, x) + scipy.special.xlog1py(b - 1, -x) - scale
    density: Array = np.exp(np.clip(logs, -700, 700))
    return density
