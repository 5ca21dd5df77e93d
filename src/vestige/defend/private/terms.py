"""The terms of a private training: its rate, its steps and its noise, which follow from public numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

from vestige.defend.private.accounting import LEAST_NOISE, Account, gaussian_steps, seconded
from vestige.defend.private.calibration import noise_for
from vestige.defend.private.ledger import library
from vestige.errors import ConfigError

DIGITS = 2


def public_count(members: int) -> int:
    """Return how many records are said to be trained on: the number's first two digits.

    The sampling rate and the divisor must not move with a single record, so they are made of a rounded number.

    >>> public_count(2505), public_count(87)
    (2500, 87)
    """
    return max(1, round(members, DIGITS - len(str(members))) if members >= 10**DIGITS else members)


def usual_delta(count: int) -> float:
    """Return a tenth of one over the number of records, and at most 1e-5."""
    return min(1e-5, 1 / (10 * count))


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Poisson-sampled Gaussian steps: ``factors`` has each epoch's factor on the noise multiplier ``noise``.

    ``rate``: with which each record comes into each batch; ``divisor``: the expected size of a batch; ``count``: of
    records, as it is made public.
    """

    count: int
    rate: float
    divisor: float
    steps: int
    noise: float
    delta: float
    factors: tuple[float, ...]

    @classmethod
    def of(
        cls,
        *,
        members: int,
        batch_size: int,
        factors: Sequence[float],
        delta: float | None,
        epsilon: float | None,
        noise: float | None,
    ) -> Terms:
        """Return the terms for so many records, with the noise given or with what ``epsilon`` takes."""
        count = public_count(members)
        divisor = min(batch_size, count)
        rate, steps = divisor / count, -(-count // divisor)
        given = usual_delta(count) if delta is None else delta
        if given * count >= 1:
            raise ConfigError(
                f"A delta of {given:g} for {count} records allows that one of them is published whole.",
                hint=f"Leave delta out, or set it well below {1 / count:g}.",
            )
        sigma = noise if noise is not None else _noise(float(epsilon or 0), given, rate, steps, tuple(factors))
        return cls(
            count=count,
            rate=rate,
            divisor=float(divisor),
            steps=steps,
            noise=sigma,
            delta=given,
            factors=tuple(factors),
        )

    @property
    def event(self) -> Any:
        """The training as an event of dp_accounting."""
        return _event(self.noise, self.rate, self.steps, self.factors)

    @property
    def account(self) -> Account:
        """What the training costs."""
        return _account(self.noise, self.rate, self.steps, self.factors)

    @property
    def accountant(self) -> str:
        """Which accountant ε is of, and what two others say; raises ModelError where they contradict each other."""
        return _accountant(self.noise, self.rate, self.steps, self.factors, self.delta)


@lru_cache(maxsize=64)
def _accountant(noise: float, rate: float, steps: int, factors: tuple[float, ...], delta: float) -> str:
    history = [(noise * factor, rate, count) for factor, count in _runs(steps, factors)]
    return seconded(_account(noise, rate, steps, factors), history, delta)


@lru_cache(maxsize=64)
def _account(noise: float, rate: float, steps: int, factors: tuple[float, ...]) -> Account:
    return Account(_event(noise, rate, steps, factors))


@lru_cache(maxsize=256)
def _noise(epsilon: float, delta: float, rate: float, steps: int, factors: tuple[float, ...]) -> float:
    # The search starts where even the quietest epoch can be counted.
    quietest = min(factors)
    least = noise_for(epsilon, delta, lambda noise: _event(noise / quietest, rate, steps, factors))
    return max(least, LEAST_NOISE) / quietest


def _event(noise: float, rate: float, steps: int, factors: tuple[float, ...]) -> Any:
    if not noise:
        return library().NonPrivateDpEvent()
    parts = [gaussian_steps(noise * factor, rate, count) for factor, count in _runs(steps, factors)]
    return parts[0] if len(parts) == 1 else library().ComposedDpEvent(parts)


def _runs(steps: int, factors: tuple[float, ...]) -> list[tuple[float, int]]:
    return [(factor, len(list(alike)) * steps) for factor, alike in groupby(factors)]
