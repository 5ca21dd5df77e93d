"""Honest choices of threshold: which tests are looked at, and how the permitted error is shared among them.

The largest of many bounds is no bound: each look at the data must be paid for. A design says beforehand what it will
look at, so that its largest bound errs no more often than was allowed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vestige.errors import DataError, UsageError
from vestige.metrics.estimate import Array, share
from vestige.metrics.roc import roc
from vestige.seeds import rng

FEWEST, WIDEST = 4, 0.4  # after the rank that allows no error, ranks run from four errors to errors on 40 % of records
CANDIDATES = 16


@dataclass(frozen=True, eq=False)
class Counts:
    """What K tests "this score is above the threshold: a member" got right and wrong; each (K,) float64."""

    hits: Array
    members: Array
    alarms: Array
    nonmembers: Array

    def reversed(self) -> Counts:
        """Return the counts of the opposite tests, "this score is not above the threshold: not a member"."""
        return Counts(self.nonmembers - self.alarms, self.nonmembers, self.members - self.hits, self.members)


Lower = Callable[[Counts, Array], Array]
"""(K,) counts and (K,) error probabilities → (K,) lower bounds, rising with the hits and falling with the alarms."""


class Thresholds(Protocol):
    """A design: what to look at, fixed before looking."""

    @property
    def words(self) -> str:
        """The design in words."""
        ...

    @property
    def ranks_only(self) -> bool:
        """Whether only the order of the scores is read, never their values."""
        ...

    def largest(self, members: Array, nonmembers: Array, lower: Lower, error: float) -> float:
        """Return the largest lower bound, wrong with probability at most ``error``."""
        ...

    def ceiling(self, members: int, nonmembers: int, lower: Lower, error: float, slack: int = 0) -> float:
        """Return what `largest` gives for this many scores that separate perfectly: nothing can exceed it.

        ``slack``: look also this many errors short of separation, for forms that are not quite monotone.
        """
        ...


@dataclass(frozen=True)
class Explicit:
    """Thresholds known before the scores were: "score > threshold" means member.

    ``weights``: shares of the permitted error, equal unless given.
    """

    thresholds: float | Sequence[float]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        given = tuple(float(t) for t in np.atleast_1d(np.asarray(self.thresholds, np.float64)))
        if not given or np.isnan(given).any():
            raise UsageError(f"Expected at least one threshold and no NaN, got {self.thresholds}.")
        object.__setattr__(self, "thresholds", given)
        if self.weights is not None:
            object.__setattr__(self, "weights", shares(self.weights, len(given)))

    @property
    def words(self) -> str:
        """The design in words."""
        count = len(self._places)
        return "one threshold fixed beforehand" if count == 1 else f"{count} thresholds fixed beforehand, error split"

    @property
    def ranks_only(self) -> bool:
        """Whether only the order of the scores is read: no, a threshold is a value."""
        return False

    @property
    def _places(self) -> Array:
        return np.asarray(self.thresholds, np.float64)

    def _errors(self, error: float) -> Array:
        return error * np.asarray(shares(self.weights, len(self._places)))

    def largest(self, members: Array, nonmembers: Array, lower: Lower, error: float) -> float:
        """Return the largest lower bound over the thresholds."""
        counts = counts_above(members, nonmembers, self._places)
        return float(np.max(lower(counts, self._errors(error))))

    def ceiling(self, members: int, nonmembers: int, lower: Lower, error: float, slack: int = 0) -> float:
        """Return the bound if the threshold with the largest share separated all."""
        return corner(members, nonmembers, lower, float(np.max(self._errors(error))), slack)


@dataclass(frozen=True)
class Bonferroni:
    """Thresholds at ranks fixed by the number of records alone, the permitted error split over all that are looked at.

    Half of the ``looks`` are non-members: the r-th largest of them, r on a geometric grid from 1 to 40 % of them; a
    share above it that is Beta-distributed whatever the scores' law, so that an exact binomial bound stays exact at
    this random place. The other half are members, counted from below, and bound the other side of the curve. Equal
    scores are put in an order by ``seed`` that owes nothing to who is a member.
    """

    looks: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.looks < 1:
            raise UsageError(f"Expected at least one look, got looks={self.looks}.")

    @property
    def words(self) -> str:
        """The design in words."""
        return f"thresholds at up to {self.looks} ranks fixed beforehand on both sides of the curve, error split evenly"

    @property
    def ranks_only(self) -> bool:
        """Whether only the order of the scores is read: yes."""
        return True

    def largest(self, members: Array, nonmembers: Array, lower: Lower, error: float) -> float:
        """Return the largest lower bound over the ranks."""
        counts = self.counts(members, nonmembers)
        return float(np.max(lower(counts, np.full(len(counts.hits), error / len(counts.hits)))))

    def ceiling(self, members: int, nonmembers: int, lower: Lower, error: float, slack: int = 0) -> float:
        """Return the largest bound over the ranks if every member outscored every non-member."""
        best = self._counts(np.arange(members + nonmembers) < members)
        errors = np.full(len(best.hits), error / len(best.hits))
        return max(
            float(np.max(lower(replace(best, hits=np.maximum(best.hits - short, 0.0)), errors)))
            for short in range(slack + 1)
        )

    def counts(self, members: Array, nonmembers: Array) -> Counts:
        """Return the counts at each rank, those counted from below reversed."""
        return self._counts(by_rank(members, nonmembers, self.seed))

    def _counts(self, descending: NDArray[np.bool_]) -> Counts:
        below = self.looks // 2
        inside = int(descending.sum())
        alarms = ranks(len(descending) - inside, self.looks - below)
        hits = np.flatnonzero(~descending)[alarms] - alarms
        misses = ranks(inside, below)
        passed = np.flatnonzero(descending[::-1])[misses] - misses
        places = np.concatenate([np.full(len(alarms), inside), np.full(len(misses), len(descending) - inside)])
        return Counts(
            np.concatenate([hits, passed]).astype(np.float64),
            places.astype(np.float64),
            np.concatenate([alarms, misses]).astype(np.float64),
            (len(descending) - places).astype(np.float64),
        )


@dataclass(frozen=True)
class Split:
    """One threshold chosen on a random ``fraction`` of the scores, and used on the others only."""

    fraction: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        share(self.fraction, "the fraction of scores that choose the threshold")

    @property
    def words(self) -> str:
        """The design in words."""
        return f"one threshold, chosen on {self.fraction:.0%} of the scores and used on the others only"

    @property
    def ranks_only(self) -> bool:
        """Whether only the order of the scores is read: no, a value is carried from one part to the other."""
        return False

    def largest(self, members: Array, nonmembers: Array, lower: Lower, error: float) -> float:
        """Return the lower bound at the chosen threshold, from the scores that did not choose it."""
        draw = rng(self.seed, "epsilon", "split")
        # Sorted first, so that the order in which records came in cannot matter.
        inside, outside = draw.permutation(np.sort(members)), draw.permutation(np.sort(nonmembers))
        first, second = self._chosen(len(members), "members"), self._chosen(len(nonmembers), "non-members")
        threshold = chosen(inside[:first], outside[:second], lower, error)
        counts = counts_above(inside[first:], outside[second:], np.array([threshold]))
        return float(lower(counts, np.array([error]))[0])

    def ceiling(self, members: int, nonmembers: int, lower: Lower, error: float, slack: int = 0) -> float:
        """Return the bound if the threshold separated all scores that did not choose it."""
        inside = members - self._chosen(members, "members")
        return corner(inside, nonmembers - self._chosen(nonmembers, "non-members"), lower, error, slack)

    def _chosen(self, records: int, what: str) -> int:
        if records < 2:
            raise DataError(
                f"Expected at least 2 {what} to split, got {records}.", hint="Use Explicit or Bonferroni instead."
            )
        return min(max(round(self.fraction * records), 1), records - 1)


@dataclass(frozen=True)
class MultiSplit:
    """The median over many splits, each at half of the permitted error (Meinshausen, Meier & Bühlmann 2009).

    It depends less on the seed than one split does: were the median wrong, half of the splits would be.
    """

    splits: int = 21
    fraction: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.splits < 1:
            raise UsageError(f"Expected at least one split, got splits={self.splits}.")
        share(self.fraction, "the fraction of scores that choose the threshold")

    @property
    def words(self) -> str:
        """The design in words."""
        return f"the median over {self.splits} random splits, {self.fraction:.0%} of the scores choosing the threshold"

    @property
    def ranks_only(self) -> bool:
        """Whether only the order of the scores is read: no."""
        return False

    def largest(self, members: Array, nonmembers: Array, lower: Lower, error: float) -> float:
        """Return the value that at least half of the splits' bounds reach, each at half the error."""
        found = sorted(
            Split(self.fraction, self.seed + split).largest(members, nonmembers, lower, error / 2)
            for split in range(self.splits)
        )
        return found[self.splits // 2]

    def ceiling(self, members: int, nonmembers: int, lower: Lower, error: float, slack: int = 0) -> float:
        """Return the bound of one split at half the error, had it separated all."""
        return Split(self.fraction, self.seed).ceiling(members, nonmembers, lower, error / 2, slack)


def shares(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """Return positive weights as shares of one, equal if none are given; raise UsageError for anything else."""
    if weights is None:
        return (1 / count,) * count
    given = np.asarray(weights, np.float64)
    if given.shape != (count,) or not np.isfinite(given).all() or not (given > 0).all():
        raise UsageError(f"Expected {count} positive weights, one for each look, got {list(weights)}.")
    return tuple(float(weight) for weight in given / given.sum())


@lru_cache(maxsize=256)
def ranks(records: int, looks: int) -> NDArray[np.int64]:
    """Return how many of ``records`` may be above the threshold at each look: none, then a geometric grid."""
    if looks == 0:
        return np.zeros(0, np.int64)
    last = min(max(WIDEST * records, 1.0), records - 1.0)
    grid = np.geomspace(min(FEWEST, last), last, looks - 1) if last >= 1 else np.zeros(0)
    found = np.unique(np.append(0, np.rint(grid).astype(np.int64)))
    found.flags.writeable = False
    return found


def by_rank(members: Array, nonmembers: Array, seed: int) -> NDArray[np.bool_]:
    """Return, from the largest score down, whether it is a member's; equal scores in random order."""
    scores = np.concatenate([members, nonmembers])
    inside = np.arange(len(scores)) < len(members)
    order = np.lexsort((inside, -scores))
    ranked = scores[order]
    tied = ranked[1:] == ranked[:-1]
    if np.any(tied):
        # Other scores, another order: with one order for all, a lucky seed would be lucky in every audit.
        data = hashlib.blake2b(tied.tobytes() + inside[order].tobytes(), digest_size=8).hexdigest()
        order = order[np.lexsort((rng(seed, "epsilon", "ties", data).random(len(order)), -ranked))]
    descending: NDArray[np.bool_] = inside[order]
    return descending


def counts_above(members: Array, nonmembers: Array, thresholds: Array) -> Counts:
    """Return how many scores exceed each of (K,) thresholds."""
    above = [len(scores) - np.searchsorted(np.sort(scores), thresholds, "right") for scores in (members, nonmembers)]
    sizes = [np.full(len(thresholds), float(len(scores))) for scores in (members, nonmembers)]
    return Counts(above[0].astype(np.float64), sizes[0], above[1].astype(np.float64), sizes[1])


def chosen(members: Array, nonmembers: Array, lower: Lower, error: float) -> float:
    """Return the threshold with the largest lower bound among those at geometric ranks, between two scores."""
    curve = roc(members, nonmembers)
    above = np.searchsorted(curve.alarms, _grid(curve.nonmembers), "right") - 1
    below = np.searchsorted(curve.hits, curve.members - _grid(curve.members), "left")
    places = np.unique(np.concatenate([above, below]))
    size = np.ones(len(places))
    counts = Counts(
        curve.hits[places].astype(np.float64),
        size * curve.members,
        curve.alarms[places].astype(np.float64),
        size * curve.nonmembers,
    )
    gap = counts.hits / counts.members - counts.alarms / counts.nonmembers
    best = int(places[np.lexsort((gap, lower(counts, size * error)))[-1]])  # too few to bound anything: the widest gap
    here, above_it = float(curve.thresholds[best]), float(curve.thresholds[max(best - 1, 0)])
    return here if best == 0 or here == -np.inf else here + (above_it - here) / 2


def _grid(records: int) -> NDArray[np.int64]:
    return np.unique(np.append(0, np.rint(np.geomspace(1, records, CANDIDATES)).astype(np.int64)))


def corner(members: int, nonmembers: int, lower: Lower, error: float, slack: int) -> float:
    """Return the lower bound when one threshold separates all, or the largest up to ``slack`` errors short of it."""
    misses, alarms = (axis.ravel() for axis in np.meshgrid(*2 * [np.arange(slack + 1.0)]))
    size = np.ones(len(alarms))
    counts = Counts(
        np.maximum(members - misses, 0.0), size * members, np.minimum(alarms, nonmembers), size * nonmembers
    )
    return float(np.max(lower(counts, size * error)))
