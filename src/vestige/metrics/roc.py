"""The exact empirical ROC: scores that are equal move together, and nothing is interpolated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vestige.errors import UsageError
from vestige.metrics.estimate import Array, share, vector

Counts = NDArray[np.int64]
ROUNDING = 1e-9  # 0.1 × 30 is 3.0000000000000004, and three false alarms in thirty are a rate of 0.1


@dataclass(frozen=True, eq=False)
class Roc:
    """The vertices of a ROC curve, from "nobody is a member" to "everybody is".

    ``thresholds``: (V,) descending, the last −inf; at vertex i everyone with score > ``thresholds[i]`` is called a
    member, which is right for ``hits[i]`` of ``members`` and wrong for ``alarms[i]`` of ``nonmembers``. Larger scores
    mean "more likely a member".
    """

    thresholds: Array
    hits: Counts
    alarms: Counts

    @property
    def members(self) -> int:
        """The number of members."""
        return int(self.hits[-1])

    @property
    def nonmembers(self) -> int:
        """The number of non-members."""
        return int(self.alarms[-1])

    @property
    def tpr(self) -> Array:
        """(V,) true-positive rates."""
        return self.hits / self.members

    @property
    def fpr(self) -> Array:
        """(V,) false-positive rates."""
        return self.alarms / self.nonmembers

    def vertex_at(self, fpr: float) -> int:
        """Return the last vertex whose empirical FPR is at most ``fpr``: none with more hits qualifies."""
        allowed = np.floor(share(fpr, "a false-positive rate") * self.nonmembers + ROUNDING)
        return int(np.searchsorted(self.alarms, allowed, side="right")) - 1

    def reversed(self) -> Roc:
        """Return the curve of the opposite question: who is confidently not a member, with the scores negated."""
        hits = self.nonmembers - self.alarms[::-1]
        alarms = self.members - self.hits[::-1]
        return Roc(np.append(-self.thresholds[-2::-1], -np.inf), hits, alarms)


def roc(members: ArrayLike, nonmembers: ArrayLike) -> Roc:
    """Return the ROC of (n₁,) member scores against (n₀,) non-member scores; raises DataError for NaN or nothing.

    >>> roc([3, 2], [2, 1]).tpr.tolist(), roc([3, 2], [2, 1]).fpr.tolist()
    ([0.0, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0])
    """
    inside, outside = vector(members, "member scores"), vector(nonmembers, "non-member scores")
    scores = np.concatenate([inside, outside])
    order = np.argsort(scores)[::-1]
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    hits = np.cumsum(order < len(inside), dtype=np.int64)[ends]
    first = np.zeros(1, dtype=np.int64)
    return Roc(
        np.append(ranked[ends], -np.inf),
        np.concatenate([first, hits]),
        np.concatenate([first, ends + 1 - hits]),
    )


def area(curve: Roc) -> float:
    """Return the AUC: the chance that a member outscores a non-member, ties counting one half (Mann & Whitney 1947)."""
    doubled = np.sum(np.diff(curve.alarms) * (curve.hits[1:] + curve.hits[:-1]))
    return float(doubled / 2 / curve.members / curve.nonmembers)


def threshold_at_fpr(nonmembers: ArrayLike, fpr: float) -> float:
    """Return the smallest threshold that at most a share ``fpr`` of these non-members exceeds.

    >>> threshold_at_fpr([1, 2, 3, 4], 0.25)
    3.0
    """
    scores = np.sort(vector(nonmembers, "non-member scores"))
    allowed = int(np.floor(share(fpr, "a false-positive rate") * len(scores) + ROUNDING))
    return float(scores[len(scores) - 1 - allowed])


def best_threshold(curve: Roc) -> tuple[float, float]:
    """Return (threshold, balanced accuracy) where ½(TPR + TNR) is largest; it is never below one half."""
    gap = curve.tpr - curve.fpr
    best = int(np.argmax(gap))
    return float(curve.thresholds[best]), float(0.5 + gap[best] / 2)


def ppv(tpr: float, fpr: float, prior: float) -> float | None:
    """Return P(member | called a member) when a share ``prior`` are members; None if nobody is called one."""
    called = share(prior, "a prior") * tpr + (1 - prior) * fpr
    return prior * tpr / called if called > 0 else None


def distinct_above(curve: Roc, threshold: float) -> int:
    """Return how many different score values lie above ``threshold``: few mean that the rates there move in jumps."""
    return int(np.sum(curve.thresholds[:-1] > threshold))


def thin(curve: Roc, points: int = 200) -> Array:
    """Return at most ``points`` false-positive rates to draw the curve at on logarithmic axes, ascending.

    The rates are ones that the curve takes, so nothing drawn is interpolated: all the smallest, where a log axis
    looks closest, then evenly spaced logarithms, and always 1.
    """
    if points < 2:
        raise UsageError(f"Expected at least 2 points to draw a curve, got {points}.")
    taken = np.unique(curve.alarms)
    taken = taken[taken > 0]
    if len(taken) > points:
        grid = np.geomspace(1, curve.nonmembers, 4 * points)
        near = np.unique(np.searchsorted(taken, grid).clip(max=len(taken) - 1))
        while len(near) > points:
            near = np.unique(np.append(near[: points // 4], np.append(near[points // 4 :: 2], near[-1])))
        taken = taken[near]
    return taken / curve.nonmembers
