"""Terms of a training under a Rényi filter: what each record may spend, and what a gradient of some length costs it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from vestige.defend.private.accounting import (
    LEAST_NOISE,
    ORDERS,
    Account,
    gaussian_steps,
    quiet,
    renyi_seconded,
    seconded,
)
from vestige.defend.private.calibration import noise_for
from vestige.defend.private.ledger import library
from vestige.defend.private.terms import Terms
from vestige.errors import ConfigError

LEAST = 1e-3
"""The shortest length that is charged, as a share of the norm: what rounding hides of a gradient is shorter."""
POINTS = 33
SAFE = 1 - 1e-4


@dataclass(frozen=True, kw_only=True)
class FilterTerms(Terms):
    """Noisy steps of which each record may take as many as ``allowed`` would cost with gradients as long as the norm.

    ``noise``: such that ``allowed`` steps cost ε, whereas ``steps`` in each epoch are taken.
    """

    allowed: int

    @property
    def event(self) -> Any:
        """A record's budget: the steps that are allowed, each with a gradient as long as the norm."""
        steps = gaussian_steps(self.noise, self.rate, self.allowed)
        # Of steps that were chosen on the way and sampled only Rényi bounds are known, and an event that costs nothing
        # and has no loss distribution keeps every accountant to them.
        return steps if self.rate >= 1 else library().ComposedDpEvent([steps, library().ZCDpEvent(0.0)])

    @property
    def accountant(self) -> str:
        """Which accountant the budget is of, and what others say: two where the Gaussian's exact ε counts, else one."""
        if self.rate >= 1:
            return seconded(Account(self.event), [(self.noise, 1.0, self.allowed)], self.delta)
        return renyi_seconded(self.noise, self.rate, self.allowed, self.delta)

    @property
    def prices(self) -> Prices:
        """What a step costs."""
        return _prices(self.noise, self.rate)


@dataclass(frozen=True, eq=False)
class Prices:
    """What a step costs a record at each of K Rényi orders, by its gradient's squared length as a share of the norm's.

    ``lengths``: (P,) growing squared lengths s, the last 1; ``costs``: (P, K). Between two of them the price is never
    below the true one. E[ratio^α] = E[(1 − q + q x)^α] is convex in s, since the law of the log-normal x spreads with s
    and x² (1 − q + q x)^(α − 2) is convex in x; for whole α it is a sum of e^(s k (k − 1) / 2), whose logarithm is
    convex too. So prices lie on straight lines for whole orders, and between powers for others.
    """

    orders: tuple[float, ...]
    lengths: NDArray[np.float64]
    costs: NDArray[np.float64]

    def of(self, squares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, K) costs of (n,) squared lengths between the first and the last."""
        upper = np.clip(np.searchsorted(self.lengths, squares), 1, len(self.lengths) - 1)
        low, high = self.lengths[upper - 1], self.lengths[upper]
        share = np.clip((squares - low) / (high - low), 0.0, 1.0)[:, None]
        first, last = self.costs[upper - 1], self.costs[upper]
        found: NDArray[np.float64] = (1 - share) * first + share * last
        broken = np.array([order % 1 > 0 for order in self.orders])
        power = np.array(self.orders)[broken] - 1
        with np.errstate(divide="ignore"):
            both = np.log1p(-share) + power * first[:, broken], np.log(share) + power * last[:, broken]
        found[:, broken] = np.logaddexp(*both) / power
        return found

    def budget(self, allowed: int) -> NDArray[np.float64]:
        """Return (K,) what so many steps with the longest gradients cost, added up as a record's own costs are."""
        total = np.zeros(len(self.orders))
        for _ in range(allowed):
            total = total + self.costs[-1]
        return total


def allowed_steps(steps: int, stretch: float) -> int:
    """Return how many full steps a record may take of so many.

    >>> allowed_steps(100, 2.0), allowed_steps(3, 10.0)
    (50, 1)
    """
    return max(1, math.floor(steps / stretch + 1e-9))


@lru_cache(maxsize=64)
def filter_noise(epsilon: float, delta: float, rate: float, allowed: int) -> float:
    """Return the noise multiplier with which a budget of ``allowed`` steps costs at most ε.

    Without sampling, steps of any lengths that add up to μ² are together no less private than one Gaussian step with
    noise 1 / μ, however each was chosen (fully adaptive composition), so that the Gaussian's exact ε counts. With it
    only Rényi bounds hold, at the orders that the filter watches, which are all that are ever asked. Raises
    ConfigError where no noise does.
    """
    if rate >= 1:
        return noise_for(epsilon, delta, lambda noise: gaussian_steps(noise, 1.0, allowed))

    def excess(log: float) -> float:
        spent = Account(gaussian_steps(math.exp(log), rate, allowed)).renyi(delta)
        return math.log(max(spent, 1e-12)) - math.log(epsilon * SAFE)

    low, high = math.log(LEAST_NOISE), 0.0
    if excess(low) <= 0:
        return LEAST_NOISE
    while excess(high) > 0:
        low, high = high, high + math.log(2)
        if high > math.log(1e5):
            raise ConfigError(f"No noise makes this training ({epsilon:g}, {delta:g})-private.", hint="Train less.")
    return math.exp(brentq(excess, low, high, xtol=1e-6) + 2e-6)


@lru_cache(maxsize=16)
def _prices(noise: float, rate: float) -> Prices:
    if rate >= 1:
        # Every order's cost is the same multiple of the squared length, so one stands for all.
        return Prices((1.0,), np.array([LEAST**2, 1.0]), np.array([[LEAST**2], [1.0]]))
    return _priced(noise, rate, tuple(np.geomspace(LEAST**2, 1.0, POINTS)))


def _priced(noise: float, rate: float, lengths: tuple[float, ...]) -> Prices:
    from dp_accounting.rdp import RdpAccountant

    events = library()
    costs = []
    with quiet():
        for square in lengths:
            account = RdpAccountant(list(ORDERS))
            account.compose(events.PoissonSampledDpEvent(rate, events.GaussianDpEvent(noise / math.sqrt(square))))
            costs.append(np.asarray(account.rdp, np.float64))
    table = np.array(costs)
    for place in range(len(table) - 2, -1, -1):
        # Where a series did not converge, a longer gradient's cost is high enough.
        table[place] = np.where(np.isfinite(table[place]), table[place], table[place + 1])
    kept = np.isfinite(table).all(0)
    return Prices(tuple(np.array(ORDERS, np.float64)[kept].tolist()), np.asarray(lengths), table[:, kept])
