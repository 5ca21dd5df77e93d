"""A lower bound on ε from one training run: guess which canaries were included, and count what was right.

Steinke, Nasr & Jagielski 2023, "Privacy Auditing with One (1) Training Run", arXiv:2305.08846, §5. Nothing is assumed
of the mechanism: the bound holds for anything that is (ε, δ)-DP with respect to adding or removing one canary.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy

from vestige.errors import UsageError
from vestige.metrics.epsilon.base import Coins, EpsilonBound, check_delta
from vestige.metrics.epsilon.guess_law import any_event, crossing, fixed_count, highest, right
from vestige.metrics.epsilon.guesses import (
    Guesses,
    GuessScan,
    GuessShare,
    GuessSplit,
    IntArray,
    Looks,
    look,
    parted,
    perfect,
)
from vestige.metrics.estimate import Array, share

ASSUMPTION = "each canary was included by its own coin; any mechanism"
FALLBACK = 0.2


def one_run(
    coins: Coins,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
    guesses: Guesses | None = None,
    seed: int = 0,
) -> EpsilonBound:
    """Return a lower bound on the ε of the run that these coins went into.

    ``guesses``: how many canaries are guessed, declared beforehand; by default ``GuessScan()``, or ``GuessShare()``
    where δ times the number of canaries is too large for a scan. ``seed``: breaks ties between scores and draws the
    part that a ``GuessSplit`` chooses on. Raises UsageError for a δ or a confidence outside its range.
    """
    delta, alpha = check_delta(delta), 1 - share(confidence, "the confidence")
    design = guesses if guesses is not None else planned(len(coins), delta, alpha)
    if isinstance(design, GuessSplit):
        value, ceiling = _split(coins, design, delta, alpha, seed)
    else:
        value = bound(look(coins, design.shares, design.tails, seed=seed), design, delta, alpha)
        ceiling = _ceiling(len(coins), coins.rate, design, delta, alpha)
    return EpsilonBound(
        method="one_run",
        assumption=ASSUMPTION,
        delta=delta,
        confidence=confidence,
        value=value,
        ceiling=ceiling,
        design=str(design),
        reason="" if ceiling > 0 else powerless(len(coins), delta),
    )


def epsilon_of_guesses(
    canaries: int, guessed: int, correct: int, *, delta: float = 0.0, confidence: float = 0.95
) -> float:
    """Return the largest ε that ``correct`` of ``guessed`` guesses reject, among ``canaries`` with fair coins.

    Theorem 5.2 of the paper, inverted. Raises UsageError unless 0 ≤ correct ≤ guessed ≤ canaries.
    """
    if not 0 <= correct <= guessed <= canaries:
        raise UsageError(f"Expected 0 ≤ correct ≤ guessed ≤ canaries, got {correct}, {guessed} and {canaries}.")
    counts = Looks(
        canaries=canaries,
        rate=0.5,
        inside=np.array([guessed]),
        outside=np.array([0]),
        correct=np.array([correct]),
    )
    return _of_count(counts, check_delta(delta), 1 - share(confidence, "the confidence"))


def planned(canaries: int, delta: float, alpha: float) -> Guesses:
    """Return the design used when none is declared; it knows nothing of scores or coins."""
    return GuessScan() if canaries * delta <= alpha else GuessShare()


def bound(looks: Looks, design: Guesses, delta: float, alpha: float) -> float:
    """Return the bound that a design draws from its looks."""
    if isinstance(design, GuessScan):
        return _of_scan(looks, delta, alpha)
    return max(_of_count(looks.only(j), delta, alpha / len(looks)) for j in range(len(looks)))


def _of_count(looks: Looks, delta: float, alpha: float) -> float:
    """Return the bound from one count, fixed beforehand."""
    guessed, correct = int(looks.guessed[0]), int(looks.correct[0])
    if correct == 0:
        return 0.0

    def tail(epsilon: float) -> float:
        if looks.rate == 0.5:
            return float(scipy.special.betainc(correct, guessed - correct + 1, scipy.special.expit(epsilon)))
        return crossing(epsilon, looks, looks.correct)

    def slack(epsilon: float) -> float:
        if delta == 0:
            return 0.0
        general = any_event(epsilon, looks.canaries, looks.rate, delta)
        if looks.rate != 0.5:
            return general
        return min(general, fixed_count(epsilon, guessed, correct, looks.canaries, delta))

    return highest(tail, slack, alpha)


def _of_scan(looks: Looks, delta: float, alpha: float) -> float:
    """Return the bound from all looks together.

    The statistic is the largest of the looks' own bounds at a common local level. That it reaches what was observed
    is that the walk of right guesses crosses a boundary somewhere, an event that only grows with more right guesses,
    so that randomised response is the least favourable mechanism. The local level shapes the boundary; the error is
    kept by the crossing probability whatever it is.
    """
    level = alpha / (1 + (len(looks) - 1) / 3)
    own = np.array([_local(looks.only(j), level) for j in range(len(looks))])
    best = int(np.argmax(own))
    if own[best] == -np.inf:
        return 0.0
    needed = _boundary(looks, float(own[best]), level)
    needed[best] = looks.correct[best]

    def tail(epsilon: float) -> float:
        return crossing(epsilon, looks, needed)

    def slack(epsilon: float) -> float:
        return any_event(epsilon, looks.canaries, looks.rate, delta)

    return highest(tail, slack, alpha, start=float(own[best]))


def _local(one: Looks, level: float) -> float:
    """Return the ε, possibly negative, at which the count's tail equals the level; −∞ for a count of nought."""
    guessed, correct = int(one.guessed[0]), int(one.correct[0])
    if correct == 0:
        return -np.inf
    if one.rate == 0.5:
        return float(scipy.special.logit(scipy.special.betaincinv(correct, guessed - correct + 1, level)))
    reach = 1.0
    while crossing(reach, one, one.correct) <= level:
        reach *= 2
    while crossing(-reach, one, one.correct) > level:
        reach *= 2
    return float(scipy.optimize.brentq(lambda e: crossing(e, one, one.correct) - level, -reach, reach, xtol=1e-10))


def _boundary(looks: Looks, epsilon: float, level: float) -> IntArray:
    """Return, for each look, the least count whose tail at ε is at most the level."""
    needed = [
        _least(right(int(inside), int(outside), epsilon, looks.rate), level)
        for inside, outside in zip(looks.inside, looks.outside, strict=True)
    ]
    return np.array(needed, np.int64)


def _least(pmf: Array, level: float) -> int:
    tail = np.cumsum(pmf[::-1])  # tail[i] = P(count ≥ n − i)
    return len(pmf) - int(np.searchsorted(tail, level, side="right"))


def _split(coins: Coins, design: GuessSplit, delta: float, alpha: float, seed: int) -> tuple[float, float]:
    """Return the bound and the ceiling of a split: what the first part chooses, the second pays in full for."""
    if len(coins) < 2:
        return 0.0, 0.0
    first, second = parted(coins, design.fraction, seed=seed)
    tried = look(first, design.shares, design.tails, seed=seed)
    trials = [_of_count(tried.only(j), delta, alpha) for j in range(len(tried))]
    chosen = design.shares[int(np.argmax(trials))] if max(trials) > 0 else FALLBACK
    value = _of_count(look(second, (chosen,), design.tails, seed=seed), delta, alpha)
    best = (
        _ceiling(len(second), coins.rate, GuessShare(share=one, tails=design.tails), delta, alpha)
        for one in {*design.shares, FALLBACK}
    )
    return value, max(best)


@lru_cache(maxsize=256)
def _ceiling(canaries: int, rate: float, design: Guesses, delta: float, alpha: float) -> float:
    return bound(perfect(canaries, rate, design.shares, design.tails), design, delta, alpha)


def powerless(canaries: int, delta: float) -> str:
    """Say that an audit could not have failed, and why."""
    where = f" at delta={delta:g}" if delta else ""
    return f"{canaries} canaries could not have shown any leak{where}, had every guess been right; use more."
