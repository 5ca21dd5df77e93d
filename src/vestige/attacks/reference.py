"""Attack-R: how unusual the target's signal is among models that did not train on the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import log_ndtr

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.moments import Floats, collect, runs, scalars
from vestige.attacks.orientation import sign
from vestige.attacks.spread import spread
from vestige.records import Task
from vestige.target import Access, BoolArray


@dataclass(frozen=True, kw_only=True)
class AttackR:
    """How few of the models that did not train on a record show as much of a signal as the target does.

    Score (N,) float64: the log-odds of the empirical p-value among the record's OUT references, the mean over queries;
    larger = more likely a member. The adversary needs shadow models that did not train on the record. With n references
    the p-value has n + 1 levels, so Pr[score > log((1 − α)/α)] ≤ α for non-members at α = 1/(n + 1), 2/(n + 1), …;
    within a level, records are ordered by interpolation between neighbouring references, and beyond the outermost by
    how many deviations they lie off, exact far into the tail. ``signal`` is any scalar signal, turned so that members
    have more of it.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = (
        "Ye, Maddi, Murakonda, Bindschaedler & Shokri, "
        "Enhanced membership inference attacks against machine learning models, CCS 2022, section 4"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification", "regression"})

    signal: str = "loss"

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records: in how fast its tails fall."""
        return True

    @property
    def needs(self) -> Needs:
        """The signal of OUT references, one at least."""
        return Needs(signals=(self.signal,), shadows=1, side="out")

    def score(self, evidence: Evidence) -> Floats:
        """Return (N,) float64 scores, finite, larger = more likely a member."""
        return tail_log_odds(evidence, self.signal)


def tail_log_odds(evidence: Evidence, key: str) -> Floats:
    """Return (N,) log F − log(1 − F), F the share of a record's OUT references with less of the signal."""
    turn = sign(key)
    own = turn * scalars(evidence, key)
    out, _ = collect(evidence, key)
    scale = np.sqrt(spread(out, "shrunk").variance)
    total = np.zeros(len(own))
    for start, stop in runs(evidence) if len(evidence.masks) else ():
        seen = evidence.outside(start, stop)
        values = evidence.reference(key, start, stop, hidden=0.0)
        for query in range(own.shape[1]):
            block = turn * values[:, :, query].astype(np.float64)
            total[start:stop] += _log_odds(own[start:stop, query], block, seen, scale[start:stop, query])
    total /= own.shape[1]
    return total


def _log_odds(own: Floats, references: Floats, seen: BoolArray, scale: Floats) -> Floats:
    """(n,) values against (M, n) references, of which only those ``seen`` count."""
    below, above = seen & (references < own), seen & (references > own)
    less, more, count = (mask.sum(axis=0).astype(np.float64) for mask in (below, above, seen))
    equal = count - less - more
    highest, lowest = (equal == 0) & (more == 0), (equal == 0) & (less == 0)
    floor = np.where(below, references, -np.inf).max(axis=0, initial=-np.inf)
    ceiling = np.where(above, references, np.inf).min(axis=0, initial=np.inf)
    floor, ceiling = np.where(less > 0, floor, own - 1), np.where(more > 0, ceiling, own + 1)
    part = np.where(highest | lowest, 0.5, (own - floor) / np.maximum(ceiling - floor, np.finfo(np.float64).tiny))
    level = np.where(equal > 0, less + (equal + 1) / 2, less + part)
    gap = np.where(highest, own - floor, np.where(lowest, ceiling - own, 0.0))
    # Twice a normal tail: one whole level at the outermost reference, next to nothing many deviations further out.
    tail = np.log(2.0) + log_ndtr(-gap / scale)
    rest = np.log(count + 1 - np.exp(tail))
    log_odds: Floats = np.log(level) - np.log(count + 1 - level)
    log_odds = np.where(highest, rest - tail, np.where(lowest, tail - rest, log_odds))
    log_odds[count == 0] = 0.0
    return log_odds
