"""A lower bound on ε from one training run that uses the whole trade-off curve of the mechanism.

Mahloujifar, Melis & Chaudhuri 2024, "Auditing f-Differential Privacy in One Run", arXiv:2410.22235. A family of curves
is tested member by member: the (ε, δ) curves, which assume nothing more than differential privacy does, or the
Gaussian ones, which need the mechanism to have been declared Gaussian.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import scipy

from vestige.errors import UsageError
from vestige.metrics.epsilon.base import Coins, EpsilonBound, check_delta
from vestige.metrics.epsilon.declaration import Declaration
from vestige.metrics.epsilon.guess_law import fixed_count_sharp, highest
from vestige.metrics.epsilon.guesses import GuessBonferroni, GuessShare, Looks, look, perfect
from vestige.metrics.epsilon.one_run import powerless
from vestige.metrics.estimate import share
from vestige.privacy_claim import Mechanism

Curve = Literal["approximate", "gaussian"]
Blame = Callable[[float], float]

ANY = "each canary was included by its own fair coin; any mechanism"
GAUSSIAN = (
    "each canary was included by its own fair coin; the mechanism is Gaussian as declared, with the trade-off curve of "
    "N(0, 1) against N(μ, 1) for each canary"
)
SMALLEST = 1e-6


def one_run_fdp(
    coins: Coins,
    *,
    delta: float,
    confidence: float = 0.95,
    curve: Curve = "approximate",
    mechanism: Mechanism = "other",
    guesses: GuessShare | GuessBonferroni | None = None,
    seed: int = 0,
) -> EpsilonBound:
    """Return a lower bound on ε at ``delta`` within a family of trade-off curves.

    ``curve``: "approximate" for the curves of (ε, δ)-DP; "gaussian" for those of a Gaussian mechanism, refused unless
    ``mechanism`` declares one. ``guesses``: how many canaries are guessed, declared beforehand. ``seed``: breaks ties.
    Refused too for coins that were not fair. Raises UsageError for a δ, a confidence or a curve out of range.
    """
    delta, alpha = check_delta(delta), 1 - share(confidence, "the confidence")
    if curve not in ("approximate", "gaussian"):
        raise UsageError(f'Expected the curve to be "approximate" or "gaussian", got {curve!r}.')
    design = guesses if guesses is not None else GuessShare()
    if not isinstance(design, GuessShare | GuessBonferroni):
        raise UsageError(
            f"Expected guesses to be a GuessShare or a GuessBonferroni, got {type(design).__name__}.",
            hint="The joint law of several counts is known for one_run only.",
        )
    declared = Declaration(
        method="one_run_fdp", mechanism=mechanism, delta=delta, confidence=confidence, assumption=GAUSSIAN
    )
    if coins.rate != 0.5:
        return EpsilonBound(
            method="one_run_fdp",
            assumption=GAUSSIAN if curve == "gaussian" else ANY,
            delta=delta,
            confidence=confidence,
            value=None,
            reason=f"The theorem is for fair coins, and canaries were included at rate {coins.rate:g}; use one_run.",
        )
    if curve == "gaussian" and declared.objection:
        return declared.refuse()
    looks = look(coins, design.shares, design.tails, seed=seed)
    value, ceiling = _bound(looks, curve, delta, alpha), _ceiling(len(coins), design, curve, delta, alpha)
    caveat = "" if ceiling > 0 else powerless(len(coins), delta)
    if curve == "gaussian":
        return declared.answer(value, ceiling, design=str(design), reason=caveat)
    return EpsilonBound(
        method="one_run_fdp",
        assumption=ANY,
        delta=delta,
        confidence=confidence,
        value=value,
        ceiling=ceiling,
        design=str(design),
        reason=caveat,
    )


def _bound(looks: Looks, curve: Curve, delta: float, alpha: float) -> float:
    """Return the largest ε, or for a Gaussian μ, that any look rejects at its part of the error."""
    counts, part = zip(looks.guessed.tolist(), looks.correct.tolist(), strict=True), alpha / len(looks)
    if curve == "gaussian":
        return max(_gaussian(looks.canaries, r, v, part) for r, v in counts)
    return max(_approximate(looks.canaries, r, v, delta, part) for r, v in counts)


@lru_cache(maxsize=256)
def _ceiling(canaries: int, design: GuessShare | GuessBonferroni, curve: Curve, delta: float, alpha: float) -> float:
    return _bound(perfect(canaries, 0.5, design.shares, design.tails), curve, delta, alpha)


def _approximate(canaries: int, guessed: int, correct: int, delta: float, alpha: float) -> float:
    """Return the largest ε rejected in the (ε, δ) family, where the extremal law has a closed form."""
    if correct == 0:
        return 0.0
    return highest(
        lambda epsilon: float(scipy.special.betainc(correct, guessed - correct + 1, scipy.special.expit(epsilon))),
        lambda epsilon: fixed_count_sharp(epsilon, guessed, correct, canaries, delta),
        alpha,
    )


def _gaussian(canaries: int, guessed: int, correct: int, alpha: float) -> float:
    """Return the largest μ rejected in the Gaussian family."""
    if correct == 0:
        return 0.0

    def excess(mu: float) -> float:
        return (
            least_mass(
                alpha, canaries, guessed, correct, lambda x: float(scipy.special.ndtr(scipy.special.ndtri(x) - mu))
            )
            - 1
        )

    low, high = SMALLEST, 1.0
    if excess(low) <= 0:
        return 0.0
    while excess(high) > 0:
        low, high = high, 2 * high
    return float(scipy.optimize.brentq(excess, low, high, xtol=1e-9))


def least_mass(tail: float, canaries: int, guessed: int, correct: int, blame: Blame) -> float:
    """Return the least total mass of a law of right guesses that has P(C ≥ correct) = ``tail``; above 1, none exists.

    ``blame``: the inverse x ↦ f̄⁻¹(x) of f̄ = 1 − f, convex and rising. Put T_i = P(C ≥ i), and count right and wrong
    guesses i of the event that at least i of the others are right. f-DP of every canary, fair coins and Jensen give

        E[(guessed − C); C ≥ i] / canaries ≥ f̄⁻¹(E[C; C ≥ i + 1] / canaries),

    and in terms of tails (guessed − i)·T_i ≥ S + m·f̄⁻¹((i·T_{i+1} + S)/m), with S = Σ_{j>i} T_j. The right side rises
    with every T_j, so the smallest T_i follow downwards from T_correct = tail and no tail beyond it.
    """
    above, beyond = tail, 0.0  # T_{i+1} and Σ_{j>i+1} T_j
    for i in range(correct - 1, -1, -1):
        load = (i * above + above + beyond) / canaries
        if load >= 1:
            return 1 + load
        need = (above + beyond + canaries * blame(load)) / (guessed - i)
        if need <= above:
            return above  # no mass is needed here, and so none further down
        above, beyond = need, beyond + above
        if above > 1:
            break
    return above
