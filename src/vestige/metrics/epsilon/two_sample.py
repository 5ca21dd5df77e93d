"""ε from two rates: bounds for P(score > threshold) of members and of non-members, put into the definition of privacy.

(ε, δ)-differential privacy asks TPR ≤ e^ε·FPR + δ and TNR ≤ e^ε·FNR + δ of every test. Whatever region holds the true
(TPR, FPR) with the wanted confidence, its most private point bounds ε from below, on both sides of the curve at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike

from vestige.errors import UsageError
from vestige.metrics.epsilon.base import EpsilonBound, Kind, check_delta
from vestige.metrics.epsilon.rounded import RADIUS_CENTRE, radius
from vestige.metrics.epsilon.thresholds import Bonferroni, Counts, Lower, Thresholds
from vestige.metrics.estimate import Array, share, vector

Trials = Literal["one_run", "separate_runs"]

ASSUMPTIONS: dict[Trials, str] = {
    "separate_runs": (
        "chance alone decided who is a member, and given that, the scores are independent of one another (each has its "
        "own training run or its own fresh noise), the members' of one law and the non-members' of another"
    ),
    "one_run": (
        "chance alone decided who is a member, and given that, the scores of this one model are treated as independent "
        "draws, the members' of one law and the non-members' of another; training couples the records of a run, so the "
        "independence is assumed of this model and does not follow from differential privacy (one_run needs no such "
        "assumption)"
    ),
}
RANKS_ONLY = "; that anything leaks at all, a value above 0, needs only independent fair coins: only ranks are read"


def clopper_pearson(
    members: ArrayLike,
    nonmembers: ArrayLike,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
    thresholds: Thresholds | None = None,
    trials: Trials = "one_run",
) -> EpsilonBound:
    """Return max{ln((TPR↓ − δ)/FPR↑), ln((TNR↓ − δ)/FNR↑)} from exact binomial intervals (Clopper & Pearson 1934).

    ``members``: (n₁,), ``nonmembers``: (n₀,) scores, larger = more likely a member. Each rate gets half of the
    permitted error. ``thresholds``: `Bonferroni` unless given. ``trials``: whether each score had a training run of its
    own; it changes what is assumed, not the value. Nasr et al. 2021 (arXiv:2101.04535), section 4. Raises DataError
    for scores that are empty or not finite, UsageError for an impossible δ or confidence.
    """
    lower = partial(rectangle, delta=check_delta(delta))
    return largest(
        members, nonmembers, lower, "Clopper–Pearson", delta, confidence, thresholds=thresholds, trials=trials
    )


def joint_region(
    members: ArrayLike,
    nonmembers: ArrayLike,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
    thresholds: Thresholds | None = None,
    trials: Trials = "one_run",
) -> EpsilonBound:
    """Return the same bound from one exact confidence region for both rates, its corner rounded off.

    Two separate intervals pay twice for an unlucky sample of each. Here the two exact binomial tests, which are
    independent, are combined before the error is spent, so this is as valid as `clopper_pearson` and nearly always
    larger. Arguments and errors as there.
    """
    lower = partial(rounded_corner, delta=check_delta(delta))
    return largest(
        members, nonmembers, lower, "joint exact region", delta, confidence, thresholds=thresholds, trials=trials
    )


def largest(
    members: ArrayLike,
    nonmembers: ArrayLike,
    lower: Lower,
    method: str,
    delta: float,
    confidence: float,
    *,
    thresholds: Thresholds | None,
    trials: Trials,
    kind: Kind = "bound",
    reason: str = "",
    slack: int = 0,
) -> EpsilonBound:
    """Return the largest of a design's lower bounds, with what has to hold for it to be one."""
    inside, outside = vector(members, "member scores"), vector(nonmembers, "non-member scores")
    design = Bonferroni() if thresholds is None else thresholds
    error = 1 - share(confidence, "the confidence")
    ceiling = max(design.ceiling(len(inside), len(outside), lower, error, slack), 0.0)
    value = max(design.largest(inside, outside, lower, error), 0.0)
    if not reason and ceiling == 0:
        reason = f"{len(inside)} members and {len(outside)} non-members could show nothing even if they separated fully"
    return EpsilonBound(
        method=method,
        kind=kind,
        assumption=assumed(design, trials),
        delta=float(delta),
        confidence=float(confidence),
        value=value,
        ceiling=ceiling,
        design=design.words,
        reason=reason,
    )


def assumed(design: Thresholds, trials: Trials) -> str:
    """Return what two rates from these trials take for granted; raise UsageError for unknown trials."""
    if trials not in ASSUMPTIONS:
        raise UsageError(f"Expected trials to be one_run or separate_runs, got {trials!r}.")
    return ASSUMPTIONS[trials] + (RANKS_ONLY if trials == "one_run" and design.ranks_only else "")


def rectangle(counts: Counts, errors: Array, *, delta: float) -> Array:
    """Return the bounds from two intervals, half of the error for each."""
    return both_sides(counts, lambda side, _: log_ratio(side, errors / 2, errors / 2, delta))


def rounded_corner(counts: Counts, errors: Array, *, delta: float) -> Array:
    """Return the bounds from the region in which the two tests together do not reject."""
    reach = radius(errors)

    def side(counts: Counts, flipped: bool) -> Array:
        first, second = RADIUS_CENTRE

        def at(angle: Array) -> Array:
            wide = Counts(*(each[:, None] for each in (counts.hits, counts.members, counts.alarms, counts.nonmembers)))
            from_members = scipy.special.ndtr(first - reach[:, None] * np.cos(angle))
            from_nonmembers = scipy.special.ndtr(second - reach[:, None] * np.sin(angle))
            tails = (from_nonmembers, from_members) if flipped else (from_members, from_nonmembers)
            return log_ratio(wide, *tails, delta)

        return least(at, np.zeros(len(reach)), np.full(len(reach), np.pi / 2))

    return both_sides(counts, side)


def both_sides(counts: Counts, side: Callable[[Counts, bool], Array]) -> Array:
    """Return the larger of what a region says about TPR against FPR and about TNR against FNR."""
    larger: Array = np.maximum(side(counts, False), side(counts.reversed(), True))
    return larger


def log_ratio(counts: Counts, hit_error: Array, alarm_error: Array, delta: float) -> Array:
    """Return ln((TPR↓ − δ)/FPR↑), either end wrong with the given probability; −∞ when δ alone explains the hits."""
    hits, members, alarms, nonmembers = counts.hits, counts.members, counts.alarms, counts.nonmembers
    low = np.where(hits == 0, 0.0, scipy.special.betaincinv(np.maximum(hits, 1), members - hits + 1, hit_error))
    high = scipy.special.betainccinv(alarms + 1, np.maximum(nonmembers - alarms, 1), alarm_error)
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(low - delta, 0.0)) - np.log(np.where(alarms == nonmembers, 1.0, high))


def least(curve: Callable[[Array], Array], start: Array, stop: Array, nodes: int = 9, rounds: int = 3) -> Array:
    """Return each row's minimum of a curve with one valley: finer grids of (K, nodes) places, then a parabola."""
    steps = np.linspace(0, 1, nodes)
    for _ in range(rounds):
        places = start[:, None] + (stop - start)[:, None] * steps
        values = curve(places)
        best = np.argmin(values, axis=1)
        rows = np.arange(len(best))
        before, after = np.maximum(best - 1, 0), np.minimum(best + 1, nodes - 1)
        start, stop = places[rows, before], places[rows, after]
    least, left, right = values[rows, best], values[rows, before], values[rows, after]
    inside = (before < best) & (best < after) & np.isfinite(left + least + right)
    with np.errstate(invalid="ignore", divide="ignore"):
        dip = (left - right) ** 2 / (8 * (left - 2 * least + right))
    found: Array = least - np.where(inside & np.isfinite(dip), dip, 0.0)
    return found
