"""A claim's whole curve: the largest TPR that δ(ε) allows at each FPR, and whether measured scores break it.

One point (ε, δ) of a claim says little where few alarms are allowed; all its points together say the most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy
from numpy.typing import ArrayLike

from vestige.errors import UsageError
from vestige.metrics.epsilon.rounded import RADIUS_CENTRE, combined, tail
from vestige.metrics.epsilon.thresholds import Bonferroni, Counts, Thresholds
from vestige.metrics.epsilon.two_sample import Trials, assumed, least
from vestige.metrics.estimate import Array, share, vector

EPSILONS = np.concatenate([np.linspace(0, 10, 1001), np.linspace(10, 60, 1001)[1:]])
SMALLEST = 1e-300


class Loss(Protocol):
    """A privacy loss distribution, such as dp_accounting's."""

    def get_delta_for_epsilon(self, epsilon: Any) -> Any:
        """Return δ(ε)."""
        ...


Source = Callable[[float], float] | Loss | float
Limit = Callable[[Array], Array]


@dataclass(frozen=True, kw_only=True)
class CurveVerdict:
    """Whether scores break a claim's curve.

    ``p_value``: the probability of scores at least so far beyond the curve had the claim been true, corrected for all
    thresholds looked at; the claim is ``broken`` when it is at most 1 − ``confidence``. ``smallest``: the least p-value
    that this many scores could ever give; when it is larger than that, the test could not have failed.
    """

    broken: bool
    p_value: float
    smallest: float
    confidence: float
    assumption: str
    design: str

    @property
    def could_break(self) -> bool:
        """Whether any scores at all, this many, would have broken the claim."""
        return self.smallest <= 1 - self.confidence


def limit_of(source: Source) -> Limit:
    """Return FPR → the largest TPR that a claim allows, both directions of its definition used.

    ``source``: δ(ε) as a callable, a privacy loss distribution of dp_accounting (made pessimistically, as by default),
    or the μ of a Gaussian-DP claim, whose curve Φ(Φ⁻¹(FPR) + μ) is exact. The others are read at 2,001 values of ε in
    [0, 60], each of which is a true limit, so the grid can only allow more. Raises UsageError for anything else.
    """
    if isinstance(source, int | float):
        mu = float(source)
        if not mu >= 0:
            raise UsageError(f"Expected the mu of a Gaussian claim to be at least 0, got {source}.")
        return lambda fpr: scipy.special.ndtr(scipy.special.ndtri(fpr) + mu)
    deltas, grown = _deltas(source), np.exp(EPSILONS)
    slopes, heights, places = envelope(
        np.concatenate([grown, 1 / grown]), np.concatenate([deltas, 1 - (1 - deltas) / grown])
    )

    def limit(fpr: Array) -> Array:
        line = np.searchsorted(places, fpr)
        return np.clip(slopes[line] * fpr + heights[line], 0.0, 1.0)

    return limit


def envelope(slopes: Array, heights: Array) -> tuple[Array, Array, Array]:
    """Return the lines that are lowest somewhere, from the steepest on, and the places where each gives way."""
    order = np.lexsort((heights, -slopes))
    kept: list[tuple[float, float]] = []
    places: list[float] = []
    for slope, height in zip(slopes[order].tolist(), heights[order].tolist(), strict=True):
        if kept and slope == kept[-1][0]:
            continue
        while kept:
            meeting = (height - kept[-1][1]) / (kept[-1][0] - slope)
            if not places or meeting > places[-1]:
                places.append(meeting)
                break
            kept.pop()
            places.pop()
        kept.append((slope, height))
    lowest = np.array(kept)
    return lowest[:, 0], lowest[:, 1], np.array(places)


def _deltas(source: Callable[[float], float] | Loss) -> Array:
    """Return δ at each of the grid's ε."""
    if callable(source):
        values = np.array([float(source(float(epsilon))) for epsilon in EPSILONS])
    elif hasattr(source, "get_delta_for_epsilon"):
        values = np.asarray(source.get_delta_for_epsilon(EPSILONS), np.float64)
    else:
        raise UsageError(
            f"Expected a claim's curve as a function of epsilon, a privacy loss distribution or a mu, got {source!r}."
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise UsageError("Expected the claim's delta(epsilon) to stay between 0 and 1.")
    return values


def tpr_limit(fpr: ArrayLike, source: Source) -> Array:
    """Return the largest TPR that a claim allows at each FPR; see `limit_of`.

    >>> tpr_limit([0.001], 1.0).round(4).tolist()
    [0.0183]
    """
    rates = np.asarray(fpr, np.float64)
    if not ((rates >= 0) & (rates <= 1)).all():
        raise UsageError("Expected false-positive rates between 0 and 1.")
    return limit_of(source)(rates)


def claim_on_curve(
    members: ArrayLike,
    nonmembers: ArrayLike,
    limit: Limit,
    *,
    confidence: float = 0.95,
    thresholds: Thresholds | None = None,
    trials: Trials = "one_run",
) -> CurveVerdict:
    """Return whether the measured ROC breaks TPR ≤ ``limit``(FPR) anywhere that the design looks.

    ``members``: (n₁,), ``nonmembers``: (n₀,) scores, larger = more likely a member. ``limit``: non-decreasing and
    concave, from `limit_of`. At each threshold the exact binomial tests of both rates are combined as in
    `joint_region`, against the pair on the curve that they reject least. Raises as `clopper_pearson`.
    """
    inside, outside = vector(members, "member scores"), vector(nonmembers, "non-member scores")
    design = Bonferroni() if thresholds is None else thresholds
    error = 1 - share(confidence, "the confidence")

    def excess(counts: Counts, errors: Array) -> Array:
        return np.log(errors) - np.log(np.maximum(p_values(counts, limit), SMALLEST))

    def corrected(largest: float) -> float:
        return float(min(error * np.exp(-largest), 1.0))

    found = corrected(design.largest(inside, outside, excess, error))
    return CurveVerdict(
        broken=found <= error,
        p_value=found,
        smallest=corrected(design.ceiling(len(inside), len(outside), excess, error)),
        confidence=float(confidence),
        assumption=assumed(design, trials),
        design=design.words,
    )


def p_values(counts: Counts, limit: Limit) -> Array:
    """Return for each test the largest p-value over all pairs of rates that the limit allows."""
    hits, members, alarms, nonmembers = (
        each[:, None] for each in (counts.hits, counts.members, counts.alarms, counts.nonmembers)
    )
    _, second = RADIUS_CENTRE

    def highest(deviate: Array) -> Array:
        inner = scipy.special.betainccinv(alarms + 1, np.maximum(nonmembers - alarms, 1), scipy.special.ndtr(-deviate))
        return np.where(alarms == nonmembers, 1.0, inner)

    def from_hits(tpr: Array) -> Array:
        surprise = scipy.special.betainc(np.maximum(hits, 1), members - hits + 1, tpr)
        return np.where(hits == 0, -np.inf, -scipy.special.ndtri(np.maximum(surprise, SMALLEST)))

    def apart(deviate: Array) -> Array:
        return combined(from_hits(limit(highest(deviate))), deviate)

    # Below the FPR whose deviate is −b, a smaller FPR only makes the hits more surprising; the nearest pair is above.
    start = np.full_like(hits, -second)
    stop = apart(start) - second
    return tail(least(apart, start[:, 0], stop[:, 0], nodes=33, rounds=3))
