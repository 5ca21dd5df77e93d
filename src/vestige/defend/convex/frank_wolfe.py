"""Private Frank–Wolfe: a sparse linear model in an L1 ball, one noisy choice of a corner per step."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from vestige.defend.convex.losses import Double, MarginLoss
from vestige.errors import ConfigError


@lru_cache(maxsize=256)
def step_epsilon(epsilon: float, delta: float, steps: int) -> float:
    """Return ε₀ of each of ``steps`` exponential mechanisms whose sum, at Tε₀²/8 zCDP, is (ε, δ)-DP.

    Cesari & Cesar's and Dong, Durfee & Rogers' bounded-range argument gives ε₀²/8 a choice; the conversion is the
    optimal one over Rényi orders.
    """
    if delta <= 0:
        raise ConfigError("Private Frank–Wolfe needs a delta above 0.", hint="Set delta = 1e-5.")
    from vestige.defend.convex.curves import ORDERS, epsilon_of

    low, high = 0.0, 8 * epsilon + 8
    for _ in range(100):
        middle = (low + high) / 2
        if epsilon_of(ORDERS * steps * middle**2 / 8, delta) <= epsilon:
            low = middle
        else:
            high = middle
    return low


def choose(scores: Double, sensitivity: float, epsilon: float, rng: np.random.Generator) -> int:
    """Return the place of a small score: each s with probability in proportion to exp(−ε s / (2 sensitivity))."""
    if math.isinf(epsilon):
        return int(scores.argmin())
    return int((-epsilon * scores / (2 * sensitivity) + rng.gumbel(size=len(scores))).argmax())


def frank_wolfe(
    x: Double,
    y: Double,
    loss: MarginLoss,
    *,
    radius: float,
    largest: float,
    steps: int,
    epsilon: float,
    rng: np.random.Generator,
    count: int | None = None,
) -> Double:
    """Return θ of ‖θ‖₁ ≤ ``radius`` with at most ``steps`` entries that are not zero.

    ``x``: (n, d) with entries of size at most ``largest``; ``epsilon``: of each step, see `step_epsilon`, ∞ for the
    algorithm without noise. Every step reads the gradient over all records: one over a sample would need an argument
    that nobody has given. Exponential mechanisms for adding or removing a record; ``count``: the n by which the
    gradient is divided, which must not move with a record. Talwar, Thakurta & Zhang 2015, "Nearly-Optimal Private
    LASSO", NeurIPS, algorithm 2.
    """
    n, d = len(x) if count is None else count, x.shape[1]
    signed = x * y[:, None]
    theta = np.zeros(d)
    sensitivity = largest * radius / n
    for t in range(steps):
        gradient = signed.T @ loss.slope(signed @ theta) / n
        scores = radius * np.concatenate([gradient, -gradient])
        corner = choose(scores, sensitivity, epsilon, rng)
        share = 2 / (t + 2)
        theta *= 1 - share
        theta[corner % d] += share * (radius if corner < d else -radius)
    return theta
