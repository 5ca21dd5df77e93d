"""Readings: how what was seen of the canaries, step after step, becomes one score for each.

The adversary knows how a step is made: when a canary is in its batch, what is seen of it is larger by a known amount,
and the noise on it is as wide as on the other canaries of its group, which anybody can see. So each step tells how much
more likely what was seen is with the canary in the batch than without it, and a reading says how the steps add up. That
is free of any choice by the outcome, and where noise is missing in some steps or layers, those weigh the most.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vestige.errors import UsageError
from vestige.metrics.estimate import Array
from vestige.target import IntArray

FEW = 20
"""Smaller groups are judged by the noise on all canaries."""
LEAST = 0.1
"""Noise below this share of a canary's own part is taken for this much: what else is in a gradient is no Gaussian."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What one step shows of K canaries.

    ``values``: (K,); ``shift``: (K,) how much larger each is with its canary in the batch; ``groups``: (K,) equal for
    values with the same noise on them.
    """

    values: Array
    shift: Array
    groups: IntArray

    @classmethod
    def of(cls, values: Array, shift: float = 0.0) -> Seen:
        """Return values that all have the same noise on them."""
        return cls(values=values, shift=np.full(values.shape, shift), groups=np.zeros(values.shape, np.int64))

    def minus(self, other: Seen) -> Seen:
        """Return the difference to another step."""
        return Seen(values=self.values - other.values, shift=self.shift, groups=self.groups)

    @property
    def mirrored(self) -> Seen:
        """The same with the opposite sign."""
        return Seen(values=-self.values, shift=self.shift, groups=self.groups)


class Reading(Protocol):
    """Takes the steps in turn; `scores` are (K,), larger = more likely included."""

    def add(self, seen: Seen) -> None:
        """Take one step."""
        ...

    def scores(self) -> Array:
        """Return what all steps say together."""
        ...


@dataclass(kw_only=True)
class Plain:
    """Add up what was seen, for steps of which nothing is known."""

    total: Array | None = None

    def add(self, seen: Seen) -> None:
        """Take one step."""
        self.total = seen.values if self.total is None else self.total + seen.values

    def scores(self) -> Array:
        """Return the sums."""
        return _taken(self.total)


@dataclass(kw_only=True)
class Sampled:
    """Every batch holds a record with probability ``rate``, whatever other batches hold."""

    rate: float
    total: Array | None = None

    def add(self, seen: Seen) -> None:
        """Take one step."""
        value = mixed(odds(seen), self.rate)
        self.total = value if self.total is None else self.total + value

    def scores(self) -> Array:
        """Return the log-likelihood ratios."""
        return _taken(self.total)


@dataclass(kw_only=True)
class Ordered:
    """Every pass takes the same batches, cut in the records' own order; ``steps`` of them make a pass.

    ``place``: (K,) where in the records' order each canary stands, as a share of it, and so its batch, give or take
    ``slack``.
    """

    steps: int
    place: Array = field(repr=False)
    slack: int = 0
    sums: Array | None = None
    taken: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"Expected a pass to have at least 1 step, got {self.steps}.")

    def add(self, seen: Seen) -> None:
        """Take one step."""
        near = np.arange(-self.slack, self.slack + 1)
        if self.sums is None:
            self.sums = np.zeros((len(near), len(seen.values)))
        due = np.clip(np.floor(self.place * self.steps) + near[:, None], 0, self.steps - 1)
        self.sums += np.where(due == self.taken % self.steps, odds(seen), 0.0)
        self.taken += 1

    def scores(self) -> Array:
        """Return each canary's odds at the likeliest of the places where it may be."""
        best: Array = _taken(self.sums).max(axis=0)
        return best


@dataclass(kw_only=True)
class Repeated:
    """Every step has the same noise, which two steps' difference is rid of."""

    rate: float
    last: Seen | None = None
    total: Array | None = None

    def add(self, seen: Seen) -> None:
        """Take one step."""
        if self.last is not None:
            moved = seen.minus(self.last)
            both = np.logaddexp(odds(moved), odds(moved.mirrored)) - np.log(2.0)
            value = mixed(both, 2 * self.rate * (1 - self.rate))
            self.total = value if self.total is None else self.total + value
        self.last = seen

    def scores(self) -> Array:
        """Return the log-likelihood ratios."""
        return _taken(self.total)


def odds(seen: Seen) -> Array:
    """Return log p(seen | in the batch) − log p(seen | not), for Gaussian noise as wide as that on the group."""
    values, shift = seen.values, seen.shift
    centre, spread = np.empty_like(values), np.empty_like(values)
    for group in np.unique(seen.groups):
        mine = seen.groups == group
        part = values[mine] if mine.sum() >= FEW else values
        middle = np.median(part)
        centre[mine] = middle
        spread[mine] = 1.4826 * np.median(np.abs(part - middle))
    noise = np.maximum(spread, LEAST * np.abs(shift))
    # Without a shift the two are equally likely, whatever the noise.
    found: Array = shift * (values - centre - shift / 2) / np.where(shift == 0, 1.0, noise) ** 2
    return found


def mixed(odds: Array, rate: float) -> Array:
    """Return the log-likelihood ratio of being in the batch with probability ``rate`` against never.

    >>> mixed(np.array([0.0]), 0.5)
    array([0.])
    """
    if rate >= 1:
        return odds
    answer: Array = np.logaddexp(np.log1p(-rate), np.log(rate) + odds)
    return answer


def _taken(sums: Array | None) -> Array:
    if sums is None:
        raise UsageError("No step was read.")
    return sums
