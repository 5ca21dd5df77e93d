"""Bounds on ε from the coins: which methods fit a design, how they share the error, and what several copies mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from vestige.canary.design import Design
from vestige.errors import UsageError
from vestige.metrics.epsilon.base import Coins, EpsilonBound
from vestige.metrics.epsilon.gaussian import gdp_fit
from vestige.metrics.epsilon.guesses import GuessScan
from vestige.metrics.epsilon.one_run import one_run
from vestige.metrics.epsilon.one_run_fdp import one_run_fdp
from vestige.metrics.epsilon.two_sample import clopper_pearson, joint_region
from vestige.metrics.shares import shares
from vestige.privacy_claim import GAUSSIAN
from vestige.registry import did_you_mean

Bounding = Callable[[Coins, float, float, Design], EpsilonBound]
"""``(coins, delta, confidence, design) -> bound``; for a fixed design it falls as δ grows."""

TWO_SAMPLE = ("joint_region", "clopper_pearson")
RESOLUTION = 1e-3


def _one_run(coins: Coins, delta: float, confidence: float, design: Design) -> EpsilonBound:
    # Several δ are asked about for several copies, and the guesses must not change from one to the next.
    guesses = GuessScan() if design.inserted > 1 else None
    return one_run(coins, delta=delta, confidence=confidence, guesses=guesses)


def _one_run_fdp(coins: Coins, delta: float, confidence: float, _: Design) -> EpsilonBound:
    return one_run_fdp(coins, delta=delta, confidence=confidence)


def _one_run_gdp(coins: Coins, delta: float, confidence: float, design: Design) -> EpsilonBound:
    mechanism = "other" if design.claim is None else design.claim.mechanism
    found = one_run_fdp(coins, delta=delta, confidence=confidence, curve="gaussian", mechanism=mechanism)
    return replace(found, method="one_run_gdp")


def _clopper_pearson(coins: Coins, delta: float, confidence: float, _: Design) -> EpsilonBound:
    return clopper_pearson(coins.members, coins.nonmembers, delta=delta, confidence=confidence, trials="separate_runs")


def _joint_region(coins: Coins, delta: float, confidence: float, _: Design) -> EpsilonBound:
    return joint_region(coins.members, coins.nonmembers, delta=delta, confidence=confidence, trials="separate_runs")


def _gdp(coins: Coins, delta: float, confidence: float, design: Design) -> EpsilonBound:
    mechanism = "other" if design.claim is None else design.claim.mechanism
    return gdp_fit(coins, mechanism=mechanism, delta=delta, confidence=confidence)


METHODS: dict[str, Bounding] = {
    "one_run": _one_run,
    "one_run_fdp": _one_run_fdp,
    "one_run_gdp": _one_run_gdp,
    "joint_region": _joint_region,
    "clopper_pearson": _clopper_pearson,
    "gdp": _gdp,
}


def methods_of(design: Design) -> tuple[str, ...]:
    """Return the methods of a design, the quoted one first; raises UsageError for one that there is not."""
    for name in design.methods:
        if name not in METHODS:
            raise UsageError(
                f"There is no method called '{name}' to bound ε.",
                hint=did_you_mean(name, list(METHODS)) or f"There are: {', '.join(METHODS)}.",
            )
    if design.methods:
        return tuple(dict.fromkeys(design.methods))
    usual = ("joint_region", "clopper_pearson") if design.independent else ("one_run", "one_run_fdp")
    declared = design.claim is not None and design.claim.mechanism in GAUSSIAN
    return (*usual, "one_run_gdp", "gdp") if declared else usual


def judged(design: Design) -> list[bool]:
    """Return for each method of the design whether it counts against the claim, or is only shown.

    A bound that assumes a Gaussian mechanism counts when the claim says that the mechanism is one; subsampling makes
    its curve another one, which the Gaussian only comes near. The fit of a Gaussian needs noise of its own in every
    score: one training for each, or directions of their own in one. Two bounds from the same two rates count once.
    """
    names = methods_of(design)
    gaussian = design.claim is not None and design.claim.mechanism == "gaussian"
    counts = {
        "one_run_gdp": gaussian,
        "gdp": gaussian and (design.independent or design.planted),
        "joint_region": design.independent,
        "clopper_pearson": design.independent and (names[0] == "clopper_pearson" or "joint_region" not in names),
    }
    return [counts.get(name, True) for name in names]


def levels(design: Design) -> list[float]:
    """Return each method's confidence: those that count share the error, one that is only shown has its own."""
    counts = judged(design)
    shared = iter(shares(sum(counts), design.confidence))
    return [next(shared) if one else design.confidence for one in counts]


def group_delta(epsilon: float, delta: float, copies: int) -> float:
    """Return δ for a group of ``copies`` records where one record has (ε, δ): it is (copies·ε, this)-private."""
    if delta == 0 or copies == 1:
        return delta
    if epsilon < 1e-12:
        return min(delta * copies, 1.0)
    try:
        return min(delta * math.expm1(copies * epsilon) / math.expm1(epsilon), 1.0)
    except OverflowError:
        return 1.0


def for_one_record(
    bound_at: Callable[[float], EpsilonBound], delta: float, copies: int, *, roughly: bool = False
) -> EpsilonBound:
    """Return the bound on one record's ε from a bound on that of ``copies`` copies of it.

    ``bound_at(δ)``: the group's bound at a δ. Were a record's ε really e, the group would be (copies·e, δ(e))-private
    with δ(e) as in `group_delta`, so every e at which the group's bound at δ(e) exceeds copies·e is refuted. That bound
    falls in δ, so what is refuted is an interval from 0, whose end is returned: with δ = 0, the group's bound divided.
    ``roughly``: for a forecast, the value to two digits and no ceiling.
    """
    group = bound_at(delta)
    if copies == 1 or group.value is None:
        return group
    words = f"a bound on {copies} copies together, brought back to one record by group privacy"
    return replace(
        group,
        value=_refuted(lambda at: bound_at(at).value, group.value, delta, copies, 0.03 if roughly else RESOLUTION),
        ceiling=None
        if group.ceiling is None or roughly
        else _refuted(lambda at: bound_at(at).ceiling, group.ceiling, delta, copies, RESOLUTION),
        design=f"{group.design}; {words}" if group.design else words,
    )


def _refuted(figure_at: Callable[[float], float | None], highest: float, delta: float, copies: int, to: float) -> float:
    """Return the largest ε of one record known to be refuted, by halving what lies between it and one that is not."""
    low, high = 0.0, highest / copies
    if delta == 0:
        return high
    while high - low > to:
        middle = (low + high) / 2
        at = group_delta(middle, delta, copies)
        refuted = at < 1 and (figure_at(at) or 0.0) > copies * middle
        low, high = (middle, high) if refuted else (low, middle)
    return low


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A method's name, its bound, and whether it counts against a claim."""

    method: str
    bound: EpsilonBound
    counts: bool


def bounds(coins: Coins, design: Design) -> list[Judged]:
    """Return the bound of each method, the quoted one first; those that count hold together with its confidence."""
    return [
        Judged(method=name, bound=bound(name, coins, design, level), counts=counts)
        for name, level, counts in zip(methods_of(design), levels(design), judged(design), strict=True)
    ]


def bound(name: str, coins: Coins, design: Design, confidence: float, *, roughly: bool = False) -> EpsilonBound:
    """Return one method's bound on one record's ε."""
    delta = design.bound_delta
    if name in TWO_SAMPLE:
        reason = _dependent(coins, design)
        if reason:
            return EpsilonBound(
                method=name,
                assumption="every score comes from a training of its own",
                delta=delta,
                confidence=confidence,
                value=None,
                reason=reason,
            )
    method = METHODS[name]
    return for_one_record(lambda at: method(coins, at, confidence, design), delta, design.inserted, roughly=roughly)


def _dependent(coins: Coins, design: Design) -> str:
    if not design.independent:
        return f"it needs independent scores, and {design.count:,} canaries share each model: ask for one per run"
    if coins.included.all() or not coins.included.any():
        return "all coins fell on one side: more runs are needed"
    return ""
