"""Mechanisms whose privacy is known exactly, and audits of them: fair coins, and one score per canary.

Needs numpy alone (and scipy for the Gaussian's ε), so that the drivers of other tools can draw the same audits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 50
"""Audits that one seed draws, one after the other."""

DELTA = 1e-5
SHOWN, SHOWN_TOGETHER = 0.01, 0.03
"""The probabilities with which two mechanisms give coins away: each by itself, and all at once."""

Scores = Callable[[np.random.Generator, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Mechanism:
    """What is known of a mechanism that each canary's coin (0 or 1) goes through by itself.

    ``scores``: generator and (m,) coins → (m,) scores, larger = more likely 1. ``epsilon``: δ → the smallest ε that
    holds; ``delta``: ε → δ. ``kind``: what is declared of it. ``middle``: the threshold that errs least. ``weaker``:
    ε → δ of a claim that is half as large, and so wrong. ``at``: the δ to audit at. ``coupled``: canaries share their
    fate, so that methods that take scores for independent have nothing to promise.
    """

    name: str
    words: str
    scores: Scores
    epsilon: Callable[[float], float]
    delta: Callable[[float], float]
    weaker: Callable[[float], float]
    kind: str = "other"
    middle: float = 0.5
    at: float = DELTA
    coupled: bool = False


def audits(mechanism: Mechanism, canaries: int, seeds: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield scores and included, both (canaries,), of `BLOCK` audits per seed."""
    for seed in seeds:
        draw = np.random.Generator(np.random.PCG64(seed))
        for _ in range(BLOCK):
            included = draw.random(canaries) < 0.5
            yield mechanism.scores(draw, included), included


def gaussian(mu: float) -> Mechanism:
    """N(μ·coin, 1)."""
    return Mechanism(
        name=f"gaussian {mu:g}",
        words=f"Gaussian, μ = {mu:g}",
        scores=lambda draw, coins: draw.normal(size=len(coins)) + mu * coins,
        epsilon=lambda delta: gaussian_epsilon(mu, delta),
        delta=lambda epsilon: gaussian_delta(mu, epsilon),
        weaker=lambda epsilon: gaussian_delta(mu / 2, epsilon),
        kind="gaussian",
        middle=mu / 2,
    )


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Return δ(ε) of N(0, 1) against N(μ, 1), as a difference of two normal tails."""
    if mu == 0:
        return 0.0
    return max(_tail(epsilon / mu - mu / 2) - math.exp(epsilon) * _tail(epsilon / mu + mu / 2), 0.0)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the ε at which δ(ε) = ``delta``; infinite at δ = 0."""
    if delta == 0:
        return math.inf if mu else 0.0
    if gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(mu, high) > delta:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_delta(mu, middle) > delta else (low, middle)
    return high


def _tail(x: float) -> float:
    return 0.5 * math.erfc(x / math.sqrt(2))


def _laplace(draw: np.random.Generator, coins: np.ndarray) -> np.ndarray:
    return draw.laplace(size=len(coins)) + coins


def _response(epsilon: float) -> Scores:
    kept = 1 / (1 + math.exp(-epsilon))
    return lambda draw, coins: (coins == (draw.random(len(coins)) < kept)).astype(np.float64)


def _untied(draw: np.random.Generator, coins: np.ndarray) -> np.ndarray:
    return _response(1.0)(draw, coins) + draw.random(len(coins))


def revealing(share: float, *, together: bool) -> Mechanism:
    """Randomised response that with probability ``share`` shows the coin, and that it does: exactly (1, share)-DP."""

    def scores(draw: np.random.Generator, coins: np.ndarray) -> np.ndarray:
        hidden = _response(1.0)(draw, coins)
        return np.where(draw.random(1 if together else len(coins)) < share, 3.0 * coins - 1.0, hidden)

    return Mechanism(
        name="revealing all" if together else "revealing",
        words=f"{'all coins at once' if together else 'the coin itself'} with probability {share:g}",
        scores=scores,
        epsilon=lambda delta: _response_epsilon((delta - share) / (1 - share)) if delta >= share else math.inf,
        delta=lambda epsilon: share + (1 - share) * response_delta(epsilon),
        weaker=lambda epsilon: response_delta(epsilon, 0.5),
        at=share,
        coupled=together,
    )


def laplace_delta(epsilon: float, claimed: float = 1.0) -> float:
    """Return δ(ε) of Laplace noise of scale 1/claimed on a coin."""
    return max(-math.expm1((epsilon - claimed) / 2), 0.0)


def response_delta(epsilon: float, claimed: float = 1.0) -> float:
    """Return δ(ε) of randomised response."""
    return max((math.exp(claimed) - math.exp(epsilon)) / (1 + math.exp(claimed)), 0.0)


def _response_epsilon(delta: float) -> float:
    return math.log(math.e - delta * (1 + math.e))


NOISE = Mechanism(
    name="noise",
    words="noise, ε = 0",
    scores=lambda draw, coins: draw.normal(size=len(coins)),
    epsilon=lambda _: 0.0,
    delta=lambda _: 0.0,
    weaker=lambda _: 0.0,
    kind="gaussian",
    middle=0.0,
)
LAPLACE = Mechanism(
    name="laplace",
    words="Laplace, ε = 1",
    scores=_laplace,
    epsilon=lambda delta: 1 + 2 * math.log1p(-delta),
    delta=laplace_delta,
    weaker=lambda epsilon: laplace_delta(epsilon, 0.5),
    kind="laplace",
)
RESPONSE = Mechanism(
    name="response",
    words="randomised response, ε = 1",
    scores=_response(1.0),
    epsilon=_response_epsilon,
    delta=response_delta,
    weaker=lambda epsilon: response_delta(epsilon, 0.5),
    kind="randomized_response",
)
UNTIED = Mechanism(
    name="response untied",
    words="randomised response, ties broken",
    scores=_untied,
    epsilon=_response_epsilon,
    delta=response_delta,
    weaker=lambda epsilon: response_delta(epsilon, 0.5),
    kind="randomized_response",
    middle=1.0,
)
ASKED = (NOISE, LAPLACE, RESPONSE, gaussian(0.5), gaussian(1.0), gaussian(2.0))
EXTRA = (
    UNTIED,
    revealing(SHOWN, together=False),
    revealing(SHOWN_TOGETHER, together=True),
    gaussian(0.01),
    gaussian(0.1),
)
MECHANISMS = {mechanism.name: mechanism for mechanism in (*ASKED, *EXTRA)}
PURE = (NOISE, LAPLACE, RESPONSE)
