"""Which exit a record left by, recovered from how long its answers took: groups of latencies along one line."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.errors import MissingDependency, UsageError
from vestige.seeds import seed_for
from vestige.target import FloatArray, IntArray

Double = NDArray[np.float64]
MOST = 8
"""The most exits that are looked for where their number is not known."""
FITTED = 4000
TRIM = 0.002
DIP = 0.8
GRID = 400
LEAST_SHARE = 1e-3
SPREAD = 1e-3


def recover_exits(seconds: FloatArray, *, exits: int | None = None, seed: int = 0) -> IntArray:
    """Return (R,) the exit of each record, 0 the fastest, from its latency (R,).

    A mixture of normal densities is fitted, of as many components as the Bayesian information criterion asks for, of
    which those without a dip between them count as one exit. Where that gives another number than ``exits``, if it is
    known, a mixture of just so many components decides. Adding a constant to all latencies, or
    multiplying them by one, changes nothing, nor does their order. An exit that no record leaves by cannot be seen, so
    numbers are ranks of those that are. Raises MissingDependency without scikit-learn.
    """
    values = np.asarray(seconds, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise UsageError(f"Expected one finite latency per record, got an array of shape {values.shape}.")
    if exits is not None and exits < 1:
        raise UsageError(f"Expected at least one exit, got {exits}.")
    if exits == 1 or len(np.unique(values)) < 2:
        return np.zeros(len(values), np.int64)
    values = _scaled(values)
    cuts = _cuts(np.sort(values), exits, seed)
    return np.searchsorted(cuts, values, side="right").astype(np.int64)


def _scaled(values: Double) -> Double:
    """Return the values on a scale of their own; the few farthest out, which were interrupted, are drawn in."""
    low, high = np.quantile(values, [TRIM, 1 - TRIM])
    middle = np.median(values)
    width = float(high - low) or float(np.ptp(values))
    inside = np.clip(values, low - 0.1 * width, high + 0.1 * width)
    return np.asarray((inside - middle) / width, np.float64)


def _cuts(ordered: Double, exits: int | None, seed: int) -> list[float]:
    # Evenly spaced ranks stand for all of them, whatever order they came in.
    sample = ordered[np.unique(np.linspace(0, len(ordered) - 1, FITTED).round().astype(np.int64))]
    distinct = len(np.unique(sample))
    tried = [_fitted(sample, count, seed) for count in range(1, min(MOST, distinct) + 1)]
    best = min(tried, key=lambda model: float(model.bic(sample[:, None])))
    groups = _merged(_components(best))
    if exits is not None and len(groups) != exits:
        groups = [[one] for one in _components(_fitted(sample, min(exits, distinct), seed))]
    return [_cut(left, right) for left, right in pairwise(groups)]


Component = tuple[float, float, float]
"""Weight, mean and standard deviation."""


def _fitted(sample: Double, count: int, seed: int) -> Any:
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise MissingDependency("scikit-learn", extra="sklearn", purpose="Recovering exits from latencies") from error
    model = GaussianMixture(
        count, n_init=2, reg_covar=SPREAD**2, max_iter=300, random_state=seed_for(seed, "exits", count) % 2**32
    )
    # Numbers on a line are too little work to share: threads would mostly wait for each other.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(sample[:, None])


def _components(model: Any) -> list[Component]:
    deviations = np.sqrt(model.covariances_[:, 0, 0])
    found = zip(model.weights_, model.means_[:, 0], deviations, strict=True)
    return sorted(((float(w), float(m), float(s)) for w, m, s in found), key=lambda one: one[1])


def _density(components: Sequence[Component], at: Double) -> Double:
    return np.asarray(
        sum(w / s * np.exp(-0.5 * ((at - m) / s) ** 2) for w, m, s in components) + np.zeros_like(at), np.float64
    )


def _merged(components: Sequence[Component]) -> list[list[Component]]:
    """Put neighbours together that no dip of the density lies between, and what is too rare to be an exit."""
    groups = [[components[0]]]
    for one in components[1:]:
        last = groups[-1]
        top = max(last, key=lambda c: c[0] / c[2])
        between = _density(components, np.linspace(top[1], one[1], GRID))
        deep = between.min() < DIP * min(between[0], between[-1])
        if deep and one[0] >= LEAST_SHARE and sum(c[0] for c in last) >= LEAST_SHARE:
            groups.append([one])
        else:
            last.append(one)
    return groups


def _cut(left: Sequence[Component], right: Sequence[Component]) -> float:
    """Return where a latency is as likely of the one group as of the other."""
    start, stop = max(left, key=lambda c: c[0])[1], max(right, key=lambda c: c[0])[1]
    at = np.linspace(start, stop, GRID + 1)
    ahead = _density(right, at) - _density(left, at)
    crossings = np.flatnonzero((ahead[:-1] < 0) & (ahead[1:] >= 0))
    if not len(crossings):
        return float((start + stop) / 2)
    place = int(crossings[0])
    share = ahead[place] / (ahead[place] - ahead[place + 1])
    return float(at[place] + share * (at[place + 1] - at[place]))
