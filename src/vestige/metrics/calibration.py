"""P(member | score): learnt on models that take the target's place, whose members are known, then read off for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from vestige.errors import DataError
from vestige.metrics.estimate import Array, share, vector
from vestige.metrics.intervals import clopper_pearson

LEAST = 25


@dataclass(frozen=True, eq=False)
class Posterior:
    """(N,) calibrated membership probabilities with the interval of each."""

    value: Array
    low: Array
    high: Array


@dataclass(frozen=True, eq=False)
class Calibration:
    """A rising step function from score to P(member | score).

    ``starts``: (L,) ascending, the smallest score of each level, the first −inf; ``value``, ``low``, ``high``: (L,)
    probabilities in [0, 1] that do not fall; ``counts``: (L, 2) members and non-members the level was learnt from.
    """

    starts: Array
    value: Array
    low: Array
    high: Array
    counts: NDArray[np.int64]

    def __call__(self, scores: ArrayLike) -> Posterior:
        """Return the posterior of (N,) scores; beyond the scores it was learnt from the outermost level applies."""
        level = np.searchsorted(self.starts, vector(scores, "scores"), side="right") - 1
        return Posterior(self.value[level], self.low[level], self.high[level])


def calibrate(
    members: ArrayLike, nonmembers: ArrayLike, *, prior: float = 0.5, confidence: float = 0.95, least: int = LEAST
) -> Calibration:
    """Return P(member | score) from scores of known members and non-members, assumed to rise with the score.

    ``prior``: the share of members where it will be used, whatever the shares here. Scores are grouped, ties
    together, into runs of at least ``least``; runs out of order are pooled (isotonic regression, Zadrozny & Elkan
    2002). Each level's share of members has a half added to both counts, so that no level claims certainty, and an
    exact binomial interval, which takes the level as given and the records as independent.
    """
    inside, outside = vector(members, "member scores"), vector(nonmembers, "non-member scores")
    odds = share(prior, "a prior") / (1 - prior) * len(outside) / len(inside)
    starts, counts = _runs(inside, outside, least)
    totals = counts.sum(axis=1)
    fitted = scipy.optimize.isotonic_regression(counts[:, 0] / totals, weights=totals.astype(np.float64))
    first = fitted.blocks[:-1]
    counts = np.add.reduceat(counts, first, axis=0)
    totals = counts.sum(axis=1)
    low, high = clopper_pearson(counts[:, 0], totals, confidence=confidence)
    value = (counts[:, 0] + 0.5) / (totals + 1)
    ends = (_rising(_reweighted(each, odds), totals) for each in (value, low, high))
    value, low, high = ends
    starts = starts[first].copy()
    starts[0] = -np.inf
    return Calibration(starts, value, np.minimum(low, value), np.maximum(high, value), counts)


def _runs(inside: Array, outside: Array, least: int) -> tuple[Array, NDArray[np.int64]]:
    """Return (R,) smallest scores and (R, 2) counts of runs of at least ``least`` records, equal scores together."""
    if len(inside) + len(outside) < least:
        raise DataError(
            f"Expected at least {least} scores to calibrate on, got {len(inside) + len(outside)}.",
            hint="Use more shadow models or more records.",
        )
    scores = np.concatenate([inside, outside])
    order = np.argsort(scores)
    ranked, member = scores[order], order < len(inside)
    fresh = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    wanted = np.arange(0, len(ranked), least)
    begins = np.unique(fresh[np.minimum(np.searchsorted(fresh, wanted), len(fresh) - 1)])
    if len(begins) > 1 and len(ranked) - begins[-1] < least:
        begins = begins[:-1]
    sizes = np.diff(np.append(begins, len(ranked)))
    hits = np.add.reduceat(member.astype(np.int64), begins)
    return ranked[begins], np.stack([hits, sizes - hits], axis=1)


def _reweighted(shares: Array, odds: float) -> Array:
    """Return shares of members as they would be were the odds of being one multiplied by ``odds``."""
    return shares * odds / (shares * odds + (1 - shares))


def _rising(values: Array, weights: NDArray[np.int64]) -> Array:
    fitted = scipy.optimize.isotonic_regression(values, weights=weights.astype(np.float64))
    return np.asarray(fitted.x, dtype=np.float64)


def reliability(posterior: ArrayLike, member: ArrayLike, *, bins: int = 10) -> list[tuple[float, float, int]]:
    """Return (mean posterior, share of members, records) per equal posterior bin, leaving out empty bins."""
    claimed, truth = vector(posterior, "posteriors"), np.asarray(member, dtype=bool)
    place = np.minimum((claimed * bins).astype(np.int64), bins - 1)
    number = np.bincount(place, minlength=bins)
    mean = np.bincount(place, weights=claimed, minlength=bins)
    found = np.bincount(place, weights=truth, minlength=bins)
    return [(float(mean[b] / number[b]), float(found[b] / number[b]), int(number[b])) for b in np.flatnonzero(number)]
