"""What an audit could show, before it is run: a total leak, typical ones, and whether it could fail at all."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy import optimize

from vestige.canary.bounds import bound, group_delta, judged, levels, methods_of
from vestige.canary.design import Design
from vestige.log import CanaryPower, Reach
from vestige.metrics.epsilon.base import Coins
from vestige.metrics.epsilon.gdp import gdp_delta
from vestige.metrics.estimate import Array
from vestige.privacy_claim import PrivacyClaim
from vestige.seeds import rng
from vestige.target import BoolArray

LEAKS = (1.0, 2.0, 4.0, 8.0)
DRAWS = 3
"""Simulated audits behind each typical figure."""


def power(design: Design) -> CanaryPower:
    """Return what the primary method would show with these coins: at most, and typically for known leaks.

    A typical leak of ε is a mechanism that just has (ε, δ): Gaussian noise on each canary's bit, or Laplace noise when
    δ is 0. Neither the seed nor the scores matter, so designs that differ only in these share the answer.
    """
    claim = design.claim
    if claim is not None:
        claim = PrivacyClaim(
            epsilon=claim.epsilon, delta=claim.delta, adjacency=claim.adjacency, mechanism=claim.mechanism
        )
    score = "gradient" if design.planted else "loss"
    return _power(replace(design, claim=claim, score=score, access=None, references=0, seed=0))


@lru_cache(maxsize=64)
def _power(design: Design) -> CanaryPower:
    name = methods_of(design)[0]
    confidence = levels(design)[0]
    total = bound(name, _perfect(design), design, confidence)
    ceiling = total.ceiling if total.ceiling is not None else total.value
    claimed = None if design.claim is None else design.claim.epsilon
    leaks = sorted({*LEAKS, *([] if not claimed else [claimed, 2 * claimed])})
    reach = [Reach(epsilon=leak, shown=_typical(leak, name, design, confidence)) for leak in leaks]
    most = ceiling or 0.0 if claimed is None else _most(design)
    could = None if claimed is None else most > claimed
    return CanaryPower(
        ceiling=ceiling,
        reach=reach,
        could_fail=could,
        message=total.reason.rstrip(".") if total.refused else _message(ceiling, most, claimed, design),
    )


def _most(design: Design) -> float:
    """Return the largest ε that any of the methods that count could ever show."""
    counted = zip(methods_of(design), levels(design), judged(design), strict=True)
    found = [bound(name, _perfect(design), design, level) for name, level, counts in counted if counts]
    return max((one.ceiling or one.value or 0.0 for one in found), default=0.0)


def _message(ceiling: float | None, most: float, claimed: float | None, design: Design) -> str:
    what = f"{design.coins:,} coin flips"
    if not ceiling:
        return f"{what} can show nothing, whatever the training leaks: it takes more canaries or runs"
    if claimed is None:
        return f"a total leak would show as ε ≥ {ceiling:.2f} with {what}"
    if ceiling > claimed:
        return f"a total leak would show as ε ≥ {ceiling:.2f} with {what}, which would refute the claim of {claimed:g}"
    if most > claimed:
        return (
            f"a total leak would show as ε ≥ {ceiling:.2f} by the bound that is quoted with {what}, and as ε ≥ "
            f"{most:.2f} by another that counts, which would refute the claim of {claimed:g}"
        )
    return (
        f"this audit cannot fail: even a total leak would show as ε ≥ {most:.2f} only with {what}, and "
        f"{claimed:g} is claimed"
    )


def _perfect(design: Design) -> Coins:
    """Return coins that fell as evenly as they can, every one of them recognised."""
    included = np.arange(design.coins) % 2 == 0
    return Coins(scores=included.astype(np.float64), included=included)


def _typical(epsilon: float, name: str, design: Design, confidence: float) -> float:
    shown = []
    for draw in range(DRAWS):
        random = rng(0, "canary", "power", draw)
        included = random.random(design.coins) < 0.5
        noisy = _noisy(included, epsilon, design, random)
        found = bound(name, Coins(scores=noisy, included=included), design, confidence, roughly=True)
        shown.append(found.value or 0.0)
    return float(np.median(shown))


def _noisy(included: BoolArray, epsilon: float, design: Design, random: np.random.Generator) -> Array:
    """Return each bit plus the noise that gives one record (ε, δ); a group of copies is that much further apart."""
    delta, distance = design.bound_delta, float(design.inserted)
    if delta == 0 or group_delta(epsilon, delta, 1) >= 1:
        return included * distance + random.laplace(scale=1 / max(epsilon, 1e-9), size=len(included))
    return included * distance * mu_of(epsilon, delta) + random.standard_normal(len(included))


def mu_of(epsilon: float, delta: float) -> float:
    """Return the μ of the Gaussian mechanism that has (ε, δ), for 0 < δ < 1.

    >>> round(mu_of(4.3772, 1e-5), 4)
    1.0
    """
    low, high = 1e-6, 1.0
    while gdp_delta(high, epsilon) < delta:
        low, high = high, 2 * high
    return float(optimize.brentq(lambda mu: gdp_delta(mu, epsilon) - delta, low, high, xtol=1e-10))
