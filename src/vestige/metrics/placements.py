"""Placements: each record's own win rate against the other side, of which the AUC is the mean.

They carry the AUC's sampling error (DeLong, DeLong & Clarke-Pearson 1988), alone and jointly for two curves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vestige.metrics.estimate import Array
from vestige.metrics.roc import Counts, Roc, area


def placements(curve: Roc) -> tuple[Array, Array, Counts, Counts]:
    """Return, per block of equal scores, a member's and a non-member's win rate, and how many of each it holds."""
    hits, alarms = np.diff(curve.hits), np.diff(curve.alarms)
    inside = 1 - (curve.alarms[:-1] + alarms / 2) / curve.nonmembers
    outside = (curve.hits[:-1] + hits / 2) / curve.members
    return inside, outside, hits, alarms


def delong(curve: Roc) -> float:
    """Return the standard error of the AUC from the spread of every record's own win rate."""
    inside, outside, hits, alarms = placements(curve)
    n1, n0, value = curve.members, curve.nonmembers, area(curve)
    spread_in = np.sum(hits * (inside - value) ** 2) / max(n1 - 1, 1)
    spread_out = np.sum(alarms * (outside - value) ** 2) / max(n0 - 1, 1)
    return float(np.sqrt(spread_in / n1 + spread_out / n0))


def influence(scores: Array, member: NDArray[np.bool_]) -> Array:
    """Return (N,) what each record contributes to the AUC's error: the squares sum to DeLong's variance."""
    inside, outside = np.sort(scores[member]), np.sort(scores[~member])
    pull = np.empty(len(scores))
    for side, other, sign in ((member, outside, 1.0), (~member, inside, -1.0)):
        mine = scores[side]
        below = (np.searchsorted(other, mine, "left") + np.searchsorted(other, mine, "right")) / (2 * len(other))
        count = len(mine)
        pull[side] = sign * (below - below.mean()) / np.sqrt(count * max(count - 1, 1))
    return pull
