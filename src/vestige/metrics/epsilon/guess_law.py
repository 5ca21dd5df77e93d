"""How often guesses about an (ε, δ)-DP mechanism can be right: the laws behind every one-run audit.

Given the output and the coins of the other canaries, a guess is right with probability at most that of randomised
response, save for what δ adds (Steinke, Nasr & Jagielski 2023, "Privacy Auditing with One (1) Training Run", §5).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import scipy

from vestige.metrics.epsilon.guesses import IntArray, Looks
from vestige.metrics.estimate import Array

NEGLIGIBLE = 1e-18
STEPS = 32


def odds(epsilon: float, rate: float) -> tuple[float, float]:
    """Return the log-odds with which a guess of *in*, and one of *out*, is right at most."""
    prior = float(scipy.special.logit(rate))
    return epsilon + prior, epsilon - prior


def right(inside: int, outside: int, epsilon: float, rate: float) -> Array:
    """Return the pmf of the number of right guesses, each kind a binomial."""
    high, low = odds(epsilon, rate)
    if high == low:
        return _binomial(inside + outside, high)
    return np.convolve(_binomial(inside, high), _binomial(outside, low))


def _binomial(trials: int, log_odds: float) -> Array:
    pmf: Array = np.exp(_log_binomial(trials, log_odds))
    return pmf


def _log_binomial(trials: int, log_odds: float) -> Array:
    count = np.arange(trials + 1)
    log_pmf: Array = (
        _log_choose(trials)
        + count * scipy.special.log_expit(log_odds)
        + count[::-1] * scipy.special.log_expit(-log_odds)
    )
    return log_pmf


@lru_cache(maxsize=256)
def _log_choose(trials: int) -> Array:
    below = scipy.special.gammaln(np.arange(1, trials + 2, dtype=np.float64))
    logs: Array = below[-1] - below - below[::-1]
    logs.flags.writeable = False
    return logs


def crossing(epsilon: float, looks: Looks, needed: IntArray) -> float:
    """Return the probability that at some look at least ``needed`` guesses are right; rounding can only raise it."""
    alive, offset = np.ones(1), 0
    before = (0, 0)
    for inside, outside, need in zip(looks.inside.tolist(), looks.outside.tolist(), needed.tolist(), strict=True):
        if need <= 0:
            return 1.0
        step, start = _trimmed(right(inside - before[0], outside - before[1], epsilon, looks.rate))
        alive, lost = _trimmed(np.convolve(alive, step)[: max(need - offset - start, 0)])
        offset += start + lost
        before = (inside, outside)
        if not len(alive):
            return 1.0
    return min(max(1.0 - float(alive.sum()), 0.0), 1.0)


def _trimmed(pmf: Array) -> tuple[Array, int]:
    """Return the part of a pmf that matters and where it starts."""
    (kept,) = np.nonzero(pmf > NEGLIGIBLE)
    return (pmf[kept[0] : kept[-1] + 1], int(kept[0])) if len(kept) else (pmf[:0], 0)


def any_event(epsilon: float, canaries: int, rate: float, delta: float) -> float:
    """Return what δ can add to the probability of any event that grows with every right guess.

    Reveal the guesses one by one: each changes the event's conditional probability by at most one, and beyond a coin
    of the pure mechanism's bias it is right too often by at most δ·rate·(1 − q) when the guess is *in*, and by
    δ·(1 − rate)·(1 − q') when it is *out*. The sum over all canaries bounds the whole gain, for any rule that chooses
    guesses from the output.
    """
    high, low = odds(epsilon, rate)
    return canaries * delta * float(rate * scipy.special.expit(-high) + (1 - rate) * scipy.special.expit(-low))


def fixed_count(epsilon: float, guessed: int, correct: int, canaries: int, delta: float) -> float:
    """Return what δ can add to the probability of ``correct`` right guesses (Steinke et al. 2023, Theorem 5.2).

    For fair coins and a number of guesses fixed beforehand: 2mδ·max over i ≥ 1 of P(v > W ≥ v − i)/i, where W is the
    number of right guesses about randomised response.
    """
    if correct == 0:
        return 0.0
    short = np.cumsum(right(guessed, 0, epsilon, 0.5)[correct - 1 :: -1])
    return 2 * canaries * delta * float(np.max(short / np.arange(1, correct + 1)))


def fixed_count_sharp(epsilon: float, guessed: int, correct: int, canaries: int, delta: float) -> float:
    """Return the least that holds in place of ``fixed_count`` when every set of counts is taken into account.

    With p_t the probability of t right among r guesses, (ε, δ)-DP of each of m canaries, fair coins, implies
    Σ_t [(t + 1)·p_{t+1} − e^ε·(r − t)·p_t]₊ ≤ mδ. The largest tail P(C ≥ v) under it is a binomial mixed with one
    that starts at some a ≤ v, and gains mδ·max over a of β_v·(1 − β_a)/(a·b_a), with b the binomial pmf, β its tail.
    """
    if correct == 0 or delta == 0:
        return 0.0
    logs = _log_binomial(guessed, odds(epsilon, 0.5)[0])
    starts = np.arange(1, correct + 1)
    # In logarithms: where b_a underflows the gain need not, for the tail is then as small.
    below = np.logaddexp.accumulate(logs[:correct])
    gain = scipy.special.logsumexp(logs[correct:]) + below - np.log(starts) - logs[starts]
    return min(canaries * delta * float(np.exp(min(float(np.max(gain)), 700.0))), 1.0)


def highest(tail: Callable[[float], float], slack: Callable[[float], float], alpha: float, start: float = 1.0) -> float:
    """Return the largest ε at which tail(ε) + slack(ε) ≤ α; 0 when there is none.

    ``tail`` must rise with ε, to 1 as ε grows. The sum need not be monotone: a larger ε can leave less room to δ. A
    test that rejects ε rejects every smaller one, for what satisfies those satisfies it too.
    """

    def excess(epsilon: float) -> float:
        return tail(epsilon) + slack(epsilon) - alpha

    high = max(start, 1e-3)
    while tail(high) <= alpha:
        high *= 1.5
    if excess(0.0) <= 0:
        return float(scipy.optimize.brentq(excess, 0.0, high, xtol=1e-10))
    if tail(0.0) > alpha:
        return 0.0
    above = high
    for step in range(1, STEPS):
        below = high * (1 - step / STEPS)
        if excess(below) <= 0:
            return float(scipy.optimize.brentq(excess, below, above, xtol=1e-10))
        above = below
    return 0.0
