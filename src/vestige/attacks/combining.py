"""Several attacks' scores as one: put on a common scale that non-members set, then joined by a rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import log_ndtr, logsumexp, ndtri

Floats = NDArray[np.float64]
RIDGE = 1e-3
TINY = float(np.finfo(np.float64).tiny)
TAIL = 0.9
"""From this share of the non-members upwards a score's scale is read, to go on beyond the largest of them."""


@dataclass(frozen=True, eq=False)
class Scale:
    """A strictly rising map from one attack's scores to normal scores, under which non-members are N(0, 1).

    ``values``: the distinct scores of non-members, rising; ``levels``: their normal scores.
    """

    values: Floats
    levels: Floats

    def __call__(self, scores: Floats) -> Floats:
        """Return the normal scores, finite: interpolated among the non-members, slower and slower beyond them."""
        scores = np.asarray(scores, np.float64)
        if not len(self.values):
            return np.asarray(np.sign(scores) * np.log1p(np.abs(scores)), np.float64)
        above = np.maximum(scores - self.values[-1], 0.0) * _slope(self.values, self.levels)
        below = np.maximum(self.values[0] - scores, 0.0) * _slope(-self.values[::-1], -self.levels[::-1])
        inside = np.interp(scores, self.values, self.levels)
        return np.asarray(inside + np.log1p(above) - np.log1p(below), np.float64)


def scale_of(nonmembers: Floats) -> Scale:
    """Return the scale that the scores (n,) of n non-members set: rank k of n becomes Φ⁻¹(k / (n + 1)), ties midway."""
    values, counts = np.unique(np.asarray(nonmembers, np.float64), return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    return Scale(values, np.asarray(ndtri(middle / (counts.sum() + 1)), np.float64))


def _slope(values: Floats, levels: Floats) -> float:
    """Return how fast normal scores rise in the upper tail, or over all where the tail is one value, or 1."""
    for start in (int(TAIL * (len(values) - 1)), 0):
        run = float(values[-1] - values[start])
        if run > 0:
            return max(float(levels[-1] - levels[start]) / run, TINY)
    return 1.0


def mean_rank(z: Floats) -> Floats:
    """Return (N,) the log-odds of the mean over attacks of a record's rank among non-members, from (N, J)."""
    beaten, beating = (np.asarray(logsumexp(log_ndtr(side), axis=1), np.float64) for side in (z, -z))
    return beaten - beating


def union(z: Floats, alpha: float) -> Floats:
    """Return (N,) by how far the best of J attacks exceeds its threshold at α/J: ≥ 0 where any of them says "member".

    Among non-members that happens to α at most, however the attacks depend on one another.
    """
    return np.asarray(z.max(axis=1) - ndtri(1 - alpha / z.shape[1]), np.float64)


def intersection(z: Floats, alpha: float) -> Floats:
    """Return (N,) by how far the weakest of J attacks exceeds its threshold at α: ≥ 0 where all say "member"."""
    return np.asarray(z.min(axis=1) - ndtri(1 - alpha), np.float64)


def probit_weights(members: Floats, nonmembers: Floats) -> Floats:
    """Return the weights (J,) of normal scores, Σ⁻¹δ: no other sum tells Gaussian scores better apart.

    ``members``, ``nonmembers``: normal scores (n, J) whose truth is known; δ: how far their means lie apart; Σ: how
    scores vary together within either side, so that attacks that say the same are not counted twice. A little is added
    to its diagonal, because copies of one attack make it singular. No weight is negative: real scores are not quite
    Gaussian, and an attack that counts against records costs more on them than it gains. Equal weights where there is
    nothing to learn from.
    """
    columns = nonmembers.shape[1]
    if len(members) < 2 or len(nonmembers) < 2:
        return np.ones(columns)
    sigma = sum(np.atleast_2d(np.cov(side, rowvar=False)) for side in (members, nonmembers)) / 2
    shift = members.mean(axis=0) - nonmembers.mean(axis=0)
    sigma = sigma + RIDGE * max(float(np.trace(sigma)) / columns, TINY) * np.eye(columns)
    # The best w ≥ 0 for max (w·δ)² / wᵀΣw is the least-squares one of Lᵀw ≈ L⁻¹δ, where Σ = LLᵀ.
    root = np.linalg.cholesky(sigma)
    weights, _ = nnls(root.T, np.linalg.solve(root, shift))
    return np.asarray(weights, np.float64) if weights.any() else np.ones(columns)


def log_odds(probability: Floats) -> Floats:
    """Return log p − log(1 − p)."""
    p = np.asarray(probability, np.float64)
    return np.asarray(np.log(p) - np.log1p(-p), np.float64)
