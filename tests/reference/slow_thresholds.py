"""Thresholds, risk scores and ranks by exhaustive loops."""

from __future__ import annotations

import math
from fractions import Fraction


def slow_cut(values, members) -> float:
    """The largest observed value with the best balanced accuracy of "member iff ≥ it"."""
    inside = [v for v, m in zip(values, members, strict=True) if m]
    outside = [v for v, m in zip(values, members, strict=True) if not m]
    if not inside or not outside:
        return math.nan
    best, found = Fraction(-1), math.nan
    for cut in sorted(set(map(float, values)), reverse=True):
        caught = Fraction(sum(v >= cut for v in inside), len(inside))
        spared = Fraction(sum(v < cut for v in outside), len(outside))
        if (caught + spared) / 2 > best:
            best, found = (caught + spared) / 2, cut
    return found


def slow_risk(value, inside, outside, bins: int, prior: float) -> float:
    """The posterior of one value given members' and non-members' values of its class."""
    logs = [math.log(max(v, 1e-10)) for v in [*inside, *outside]]
    low, high = min(logs), max(logs)

    def place(v) -> int:
        if high == low:
            step = math.floor(math.log(max(v, 1e-10)) - low)
        else:
            step = math.floor((math.log(max(v, 1e-10)) - low) / ((high - low) / bins))
        return min(max(step, 0), bins - 1)

    share_in = [sum(place(v) == b for v in inside) / len(inside) for b in range(bins)]
    share_out = [sum(place(v) == b for v in outside) / len(outside) for b in range(bins)]
    filled = [b for b in range(bins) if share_in[b] + share_out[b] > 0]
    b = min(filled, key=lambda other: (abs(other - place(value)), other))
    return prior * share_in[b] / (prior * share_in[b] + (1 - prior) * share_out[b])


def slow_auc(scores, members) -> float:
    """The share of member, non-member pairs that the member wins, ties counted half."""
    inside = [s for s, m in zip(scores, members, strict=True) if m]
    outside = [s for s, m in zip(scores, members, strict=True) if not m]
    wins = sum((a > b) + 0.5 * (a == b) for a in inside for b in outside)
    return wins / (len(inside) * len(outside))
