"""Terms of a training whose records have budgets by group: each group's own sampling rate, or its own norm.

A group's guarantee follows from its rate and norm and the noise, never from how many records it has: the shares are
public guesses that decide the size of a batch alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from scipy.optimize import brentq

from vestige.defend.private.accounting import FINE, LEAST_NOISE, Account, gaussian_steps, seconded
from vestige.defend.private.calibration import COARSE
from vestige.defend.private.terms import Terms, _account, _event, _noise
from vestige.errors import ConfigError

Method = Literal["sample", "scale"]
CLOSE = 2e-3
TURNS = 40


@dataclass(frozen=True, kw_only=True)
class GroupTerms(Terms):
    """One rate and one norm for each group; ``noise`` is a multiple of the longest norm.

    ``rates``: with which a group's records come into each batch; ``lengths``: their norms, as multiples of the norm
    that all would have; ``rate``: of all records together.
    """

    epsilons: tuple[float, ...]
    rates: tuple[float, ...]
    lengths: tuple[float, ...]

    @classmethod
    def between(cls, plain: Terms, method: Method, epsilons: Sequence[float], shares: Sequence[float]) -> GroupTerms:
        """Return the terms under which each group spends its ε, with batches and an average norm as the plain ones.

        Raises ConfigError where that cannot be.
        """
        total, budgets = plain.steps * len(plain.factors), tuple(epsilons)
        parts = tuple(share / sum(shares) for share in shares)
        if method == "sample":
            noise, rates = sampled(budgets, parts, plain.delta, plain.rate, total)
            lengths: tuple[float, ...] = (1.0,) * len(rates)
        else:
            noise, lengths = scaled(budgets, parts, plain.delta, plain.rate, plain.steps, plain.factors)
            rates = (plain.rate,) * len(lengths)
        return cls(
            count=plain.count,
            rate=plain.rate,
            divisor=plain.divisor,
            steps=plain.steps,
            noise=noise,
            delta=plain.delta,
            factors=plain.factors,
            epsilons=budgets,
            rates=rates,
            lengths=lengths,
        )

    @property
    def noises(self) -> tuple[float, ...]:
        """The noise as a multiple of each group's own norm."""
        return tuple(self.noise * max(self.lengths) / length for length in self.lengths)

    @property
    def events(self) -> tuple[Any, ...]:
        """The training as each group's records see it."""
        return tuple(
            _event(noise, rate, self.steps, self.factors) for noise, rate in zip(self.noises, self.rates, strict=True)
        )

    @property
    def accounts(self) -> tuple[Account, ...]:
        """What the training costs each group."""
        return tuple(
            _account(noise, rate, self.steps, self.factors) for noise, rate in zip(self.noises, self.rates, strict=True)
        )

    @property
    def event(self) -> Any:
        """The training as the group with the largest budget sees it."""
        return self.events[self.largest]

    @property
    def account(self) -> Account:
        """What the training costs the group with the largest budget."""
        return self.accounts[self.largest]

    @property
    def accountant(self) -> str:
        """Which accountant is quoted, and what others say, of the group with the largest budget; all are compared."""
        total = self.steps * len(self.factors)
        said = [
            seconded(account, [(noise, rate, total)], self.delta)
            for account, noise, rate in zip(self.accounts, self.noises, self.rates, strict=True)
        ]
        return said[self.largest]

    @property
    def largest(self) -> int:
        """The number of the group with the largest budget."""
        return self.epsilons.index(max(self.epsilons))


@lru_cache(maxsize=64)
def scaled(
    epsilons: tuple[float, ...],
    shares: tuple[float, ...],
    delta: float,
    rate: float,
    steps: int,
    factors: tuple[float, ...],
) -> tuple[float, tuple[float, ...]]:
    """Return the noise, as a multiple of the longest norm, and each group's norm, whose average by shares is 1."""
    own = [_noise(epsilon, delta, rate, steps, factors) for epsilon in epsilons]
    spread = 1 / sum(share / noise for share, noise in zip(shares, own, strict=True))
    # Rounding must not make a group's noise smaller than what its budget takes.
    return min(own) * (1 + 1e-9), tuple(spread / noise for noise in own)


@lru_cache(maxsize=64)
def sampled(
    epsilons: tuple[float, ...], shares: tuple[float, ...], delta: float, rate: float, count: int
) -> tuple[float, tuple[float, ...]]:
    """Return the noise, and each group's sampling rate, whose average by shares is ``rate``.

    No group spends more than its budget, and each to two thousandths as much, but for one that comes into every batch.
    The central limit says how rates and noise hang together, μ = q √(T (e^(1/σ²) − 1)); each group's μ is moved until
    the exact accountant agrees, on a coarse grid first. Raises ConfigError where batches are all records, which leaves
    nothing to choose.
    """
    if rate >= 1:
        raise ConfigError(
            "Budgets by sampling need batches that are smaller than the data.",
            hint="Lower batch_size, or set method = 'scale'.",
        )
    aims = [epsilon * (1 - CLOSE / 2) for epsilon in epsilons]
    reach = [gaussian_mu(aim, delta) for aim in aims]
    grids = [COARSE, FINE]
    for _ in range(TURNS):
        noise, rates = _joint(reach, shares, rate, count)
        spent = [Account(gaussian_steps(noise, own, count), grid=grids[0]).epsilon(delta) for own in rates]
        groups = list(zip(spent, epsilons, rates, strict=True))
        least = 1.0 if noise <= LEAST_NOISE else CLOSE
        if all(cost <= most and (cost > most * (1 - least) or own == 1) for cost, most, own in groups):
            if len(grids) == 1:
                return noise, rates
            del grids[0]
            continue
        reach = [
            mu if own == 1 and cost <= most else mu * gaussian_mu(aim, delta) / gaussian_mu(cost, delta)
            for mu, aim, (cost, most, own) in zip(reach, aims, groups, strict=True)
        ]
    raise ConfigError(
        f"No sampling rates give the groups budgets of {', '.join(f'{one:g}' for one in epsilons)}.",
        hint="Bring the budgets closer together, or set method = 'scale'.",
    )


def _joint(reach: Sequence[float], shares: Sequence[float], rate: float, count: int) -> tuple[float, tuple[float, ...]]:
    """Return noise and rates for these μ by the central limit, so that the rates' average is what is asked."""

    def rates(steep: float) -> tuple[float, ...]:
        return tuple(min(1.0, mu * steep) for mu in reach)

    def excess(log: float) -> float:
        return math.fsum(share * own for share, own in zip(shares, rates(math.exp(log)), strict=True)) - rate

    low, high = math.log(rate / max(reach)) - 1e-6, math.log(1 / min(reach)) + 1e-6
    steep = math.exp(brentq(excess, low, high, xtol=1e-14, rtol=1e-14))
    # 1 / steep² = T (e^(1/σ²) − 1)
    noise = math.log1p(1 / (count * steep**2)) ** -0.5
    return max(noise, LEAST_NOISE), rates(steep)


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Return the μ of the Gaussian mechanism that is exactly (ε, δ)-private."""
    from dp_accounting import get_sigma_gaussian

    return 1 / float(get_sigma_gaussian(max(epsilon, 1e-9), delta))
