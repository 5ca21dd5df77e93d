"""μ-Gaussian differential privacy as (ε, δ): the curve of a Gaussian mechanism, and its inverse."""

from __future__ import annotations

import math

import scipy

from vestige.errors import UsageError
from vestige.metrics.estimate import share

TINY = 5e-324  # keeps the logarithm of a difference that rounds to nothing finite


def gdp_delta(mu: float, epsilon: float) -> float:
    """Return the δ at which μ-GDP implies (ε, δ)-DP; increasing in ``mu``, decreasing in ``epsilon``.

    δ = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ): Dong, Roth & Su 2022, corollary 1; Balle & Wang 2018, theorem 8.
    """
    _check(mu)
    if not epsilon >= 0:
        raise UsageError(f"Expected epsilon to be at least 0, got {epsilon}.")
    if mu == 0 or math.isinf(epsilon):
        return 0.0
    return math.exp(_log_delta(mu, epsilon))


def gdp_epsilon(mu: float, delta: float) -> float:
    """Return the smallest ε for which μ-GDP implies (ε, δ)-DP, for δ in (0, 1); increasing in ``mu``.

    >>> round(gdp_epsilon(1.0, 1e-5), 3)
    4.377
    """
    _check(mu)
    target = math.log(share(delta, "delta"))
    if scipy.special.erf(mu / math.sqrt(8)) <= delta:  # δ(0) = 2Φ(μ/2) − 1
        return 0.0
    # Where the first term alone is δ, the difference is below it
    most = mu * (mu / 2 - float(scipy.special.ndtri(delta)))
    return float(
        scipy.optimize.brentq(lambda epsilon: _log_delta(mu, epsilon) - target, 0.0, most, xtol=1e-15, rtol=1e-13)
    )


def _log_delta(mu: float, epsilon: float) -> float:
    # Both terms underflow long before their ratio loses its digits, so the difference is taken between logarithms
    reach = epsilon / mu - mu / 2
    first = float(scipy.special.log_ndtr(-reach))
    second = epsilon + float(scipy.special.log_ndtr(-reach - mu))
    return first + math.log(max(-math.expm1(min(second - first, 0.0)), TINY))


def _check(mu: float) -> None:
    if not 0 <= mu < math.inf:
        raise UsageError(f"Expected mu to be a finite number of at least 0, got {mu}.")
