"""Score histograms of members and non-members over shared bins that outliers cannot stretch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vestige.errors import UsageError
from vestige.metrics.estimate import Array, vector


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """(B + 1,) edges, ascending, and the (B,) shares of members and of non-members in each bin; each sums to 1."""

    edges: Array
    members: Array
    nonmembers: Array


def histogram(members: ArrayLike, nonmembers: ArrayLike, *, bins: int = 40) -> ScoreHistogram:
    """Return shares per bin between the 0.5 % and 99.5 % quantiles; the end bins hold what lies beyond."""
    if bins < 1:
        raise UsageError(f"Expected at least 1 bin, got {bins}.")
    inside, outside = vector(members, "member scores"), vector(nonmembers, "non-member scores")
    low, high = (float(q) for q in np.quantile(np.concatenate([inside, outside]), (0.005, 0.995)))
    margin = (
        max(abs(low), abs(high), 1.0) * 1e-6
    )  # room for bins that are wider than rounding when all scores are equal
    edges = (
        np.linspace(low, high, bins + 1) if high - low > margin else np.linspace(low - margin, high + margin, bins + 1)
    )

    def shares(scores: Array) -> Array:
        place = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, bins - 1)
        counts: Array = np.bincount(place, minlength=bins) / len(scores)
        return counts

    return ScoreHistogram(edges, shares(inside), shares(outside))
