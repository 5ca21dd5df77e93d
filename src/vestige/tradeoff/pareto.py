"""The Pareto front of utility and leakage: who is on it, who is dominated beyond noise, how much of the page it covers.

Accuracy is compared as it is, leakage by its logarithm, and not below the floor, the smallest rate that the records can
show: two leakages down there are alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Box:
    """One candidate: (low, value, high) of its accuracy, more is better, and of its leakage, less is better."""

    utility: tuple[float, float, float]
    leakage: tuple[float, float, float]

    def floored(self, floor: float) -> Box:
        """Return the box with no end of its leakage below the floor."""
        low, value, high = (max(end, floor) for end in self.leakage)
        return Box(utility=self.utility, leakage=(low, value, high))


def front(boxes: Sequence[Box]) -> list[bool]:
    """Return which candidates no other one beats by its figures: better in one, and no worse in the other."""
    return [not any(_beats(other, box) for other in boxes) for box in boxes]


def _beats(one: Box, other: Box) -> bool:
    utility, leakage = one.utility[1] - other.utility[1], other.leakage[1] - one.leakage[1]
    return utility >= 0 and leakage >= 0 and utility + leakage > 0


def dominators(boxes: Sequence[Box]) -> list[list[int]]:
    """Return for each candidate who dominates it beyond noise: whose box is nowhere worse, and better somewhere."""
    return [[k for k, one in enumerate(boxes) if _dominates(one, box)] for box in boxes]


def _dominates(one: Box, other: Box) -> bool:
    no_worse = one.utility[0] >= other.utility[2] and one.leakage[2] <= other.leakage[0]
    return no_worse and (one.utility[0] > other.utility[2] or one.leakage[2] < other.leakage[0])


def hypervolume(points: Sequence[tuple[float, float]], *, chance: float, floor: float) -> float:
    """Return the share of the page behind some (accuracy, leakage) points, as seen from (``chance``, 1).

    The page goes from chance accuracy to 1, and from a leakage of 1 down to the floor by its logarithm: 0 for nothing
    better than chance, 1 for a perfect model that gives nothing away.
    """
    if not (chance < 1 and 0 < floor < 1):
        return 0.0
    corners = []
    for accuracy, leakage in points:
        wide = (min(accuracy, 1.0) - chance) / (1 - chance)
        tall = math.log(min(max(leakage, floor), 1.0)) / math.log(floor)
        if wide > 0 and tall > 0:
            corners.append((wide, tall))
    area, reached = 0.0, 0.0
    for wide, tall in sorted(corners, key=lambda corner: (-corner[0], -corner[1])):
        if tall > reached:
            area += wide * (tall - reached)
            reached = tall
    return area
