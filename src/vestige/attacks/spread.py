"""How far a reference signal strays from its centre: per record, pooled over records, or shrunk between the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.special import digamma, polygamma

from vestige.attacks.moments import Floats, Moments
from vestige.errors import UsageError

Variance = Literal["shrunk", "pooled", "per_record"]
_FLOOR = 1e-6  # of the pooled variance: a record whose references agree exactly is certain, but not infinitely so
_FEW = 10  # records with a variance of their own that it takes to learn how variances vary
_ENDLESS = 1e6  # degrees of freedom that stand for a prior that leaves nothing to the record


@dataclass(frozen=True, eq=False)
class Spread:
    """``variance``: (N, A), positive; ``freedom``: (N, A) its degrees of freedom, infinite when taken as known."""

    variance: Floats
    freedom: Floats


def spread(moments: Moments, kind: Variance) -> Spread:
    """Return the variance of each record's references about their mean.

    ``per_record``: the record's own sample variance, the pooled one when it has fewer than two references.
    ``pooled``: residuals of all records about their own means, so that differences between records do not count as
    noise. ``shrunk``: the posterior under a scaled inverse chi-square prior whose two parameters match the mean and
    variance of the log-variances over records (Smyth, "Linear models and empirical Bayes methods", 2004).
    """
    if kind not in get_args(Variance):
        raise UsageError(f"Expected variance to be one of {', '.join(get_args(Variance))}, got '{kind}'.")
    columns = [_column(moments.scatter[:, a], moments.freedom, kind) for a in range(moments.scatter.shape[1])]
    return Spread(np.stack([v for v, _ in columns], axis=1), np.stack([f for _, f in columns], axis=1))


def pooled(scatter: Floats, freedom: Floats) -> float:
    """Return the variance of all residuals; one when there are none, because any constant gives the same ranking."""
    known = freedom > 0
    total = float(freedom[known].sum())
    value = float(scatter[known].sum()) / total if total else 0.0
    return value if value > 0 and np.isfinite(value) else 1.0


def _column(scatter: Floats, freedom: Floats, kind: Variance) -> tuple[Floats, Floats]:
    shared = pooled(scatter, freedom)
    known = freedom > 0
    own = np.where(known, scatter, 0.0)
    endless = np.full(len(own), np.inf)
    if kind == "pooled":
        return np.full(len(own), shared), endless
    if kind == "per_record":
        variance = np.divide(own, freedom, out=np.full(len(own), shared), where=known)
        return np.maximum(variance, _FLOOR * shared), endless
    strength, typical = prior(own[known], freedom[known], shared)
    return (strength * typical + own) / (strength + freedom), strength + freedom


def prior(scatter: Floats, freedom: Floats, shared: float) -> tuple[float, float]:
    """Return (degrees of freedom, scale) of the prior on variances, from records that have a scatter."""
    informative = scatter > _FLOOR * shared * freedom
    scatter, freedom = scatter[informative], freedom[informative]
    if len(scatter) < _FEW:
        return _ENDLESS, shared
    half = freedom / 2
    levels, place = np.unique(half, return_inverse=True)
    log_variance = np.log(scatter / freedom) - (digamma(levels) - np.log(levels))[place]
    excess = float(log_variance.var(ddof=1) - polygamma(1, levels)[place].mean())
    if excess <= polygamma(1, _ENDLESS / 2):
        return _ENDLESS, shared
    strength = 2 * trigamma_inverse(excess)
    return strength, float(np.exp(log_variance.mean() + digamma(strength / 2) - np.log(strength / 2)))


def trigamma_inverse(value: float) -> float:
    """Return y with trigamma(y) = value > 0, by Newton's method on the reciprocal, which converges from below."""
    y = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, y))
        y += step
        if abs(step) <= 1e-10 * y:
            break
    return y
