"""How much noise a budget takes: the least with which a training costs no more than a target ε."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from vestige.defend.private.accounting import CLOSE, FINE, LEAST_NOISE, WHOLE, Account
from vestige.errors import ConfigError

COARSE = 1e-3
"""The grid on which noise is searched for; what it finds is put right on the fine one."""
STEEP, FAR = 1.2, 0.3
"""ε falls at least as fast as the noise rises: so much further than it is off lies the other side, this far at most."""
MOST_NOISE = 1e5

Excess = Callable[[float], float]


def noise_for(epsilon: float, delta: float, event_of: Callable[[float], Any]) -> float:
    """Return the least noise multiplier σ, to two parts in ten thousand of ε, at which ``event_of(σ)`` costs at most ε.

    Never less: the ε of the σ returned does not exceed ``epsilon``. Raises ConfigError where no σ in reach does that.
    """
    goal = math.log(epsilon)

    def beyond(spent: float) -> float:
        return math.log(max(spent, 1e-12)) - goal

    def by(grid: float) -> Excess:
        return lambda noise: beyond(Account(event_of(noise), grid=grid).epsilon(delta))

    # Rényi's ε is cheap and never below the exact one, so its σ is an upper end, and a close one.
    high = _upper(
        lambda noise: beyond(Account(event_of(noise), orders=WHOLE).renyi(delta)), f"({epsilon:g}, {delta:g})"
    )
    return _least(by(FINE), _least(by(COARSE), high))


def _upper(excess: Excess, budget: str) -> float:
    """Return a noise that keeps the budget, and at most two hundredths of which are too much."""
    low, high = LEAST_NOISE, 1.0
    while excess(high) > 0:
        low, high = high, 2 * high
        if high > MOST_NOISE:
            raise ConfigError(f"No noise makes this training {budget}-private.", hint="Train less.")
    while high / low > 1.02:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high


def _least(excess: Excess, start: float) -> float:
    """Return the least noise that keeps the budget, looking from ``start`` on."""
    above, at_above = start, excess(start)
    while at_above > 0:
        above *= math.exp(STEEP * min(at_above, FAR))
        at_above = excess(above)
    below, at_below = above, at_above
    while at_below <= -CLOSE:
        above, at_above = below, at_below
        if below <= LEAST_NOISE:
            return below
        below = max(LEAST_NOISE, below * math.exp(STEEP * max(at_below, -FAR)))
        at_below = excess(below)
    if at_below <= 0:
        return below
    for _ in range(60):
        if -CLOSE < at_above <= 0:
            break
        share = at_below / (at_below - at_above)
        # A step that always lands a little on the safe side ends the search from there.
        middle = below * (above / below) ** min(max(share + 0.02, 0.05), 0.98)
        found = excess(middle)
        if found > 0:
            below, at_below = middle, found
        else:
            above, at_above = middle, found
    return above
