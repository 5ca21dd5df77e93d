"""Caches: which records somebody asked a target about lately, as far as quick answers tell.

That says who was asked about, never who was trained on: what is found here is no membership score, and no audit counts
it as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vestige.errors import UsageError
from vestige.seeds import rng
from vestige.signals.timing.channel import WARM_UP, Seconds, timed
from vestige.target import Access, BoolArray, Target

FEWEST = 20
VISIBLE = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class CacheReading:
    """Which of R records a target had been asked about lately; it does not say who was trained on.

    ``asked_lately``: (R,) bool, all False where no cache shows; ``seconds``: (R,), the first answer's latency;
    ``threshold``: below it an answer came out of a cache; ``separation``: the probability that a record asked about for
    the second time was answered sooner than one asked about for the first time, 0.5 without a cache; ``false_alarms``:
    the share of records that nobody had asked about and that count as asked, on controls the threshold was not set on.
    """

    asked_lately: BoolArray
    seconds: Seconds
    threshold: float
    separation: float
    false_alarms: float

    @property
    def cached(self) -> bool:
        """Whether the target answers sooner when asked again."""
        return self.separation >= VISIBLE


def probe_cache(target: Target, x: Any, controls: Any, *, want: Access = Access.LABEL, seed: int = 0) -> CacheReading:
    """Tell which records a target with a cache was asked about lately, by asking once about each.

    ``x``: the records, of which each can be probed once only, for asking puts it into the cache; ``controls``: records
    of the same kind that nobody has asked about, at least 40, to learn how long first and second answers take. All are
    asked one at a time in random order, controls among the others. Raises AccessError without a latency channel.

    Such channels are known from web caches (Felten & Schneider, Timing attacks on web privacy, CCS 2000) and from
    shared prompt caches of language models.
    """
    count, spare = len(x), len(controls)
    if spare < 2 * FEWEST:
        raise UsageError(f"Expected at least {2 * FEWEST} control records, got {spare}.")
    draw = rng(seed, "cache")
    both = np.concatenate([np.asarray(x), np.asarray(controls)])
    order = draw.permutation(count + spare)
    for _ in range(WARM_UP):  # always the same control, which takes no further part
        timed(target, both[count : count + 1], want)
    first = np.empty(count + spare)
    first[order] = timed(target, both[order], want)[1]
    once = first[count + 1 :]
    again = _second(target, both[count + 1 :], want, draw)
    teach = draw.permutation(len(once)) % 2 == 0
    threshold = float((np.median(once[teach]) + np.median(again[teach])) / 2)
    separation = float(np.mean((again[:, None] < once) + 0.5 * (again[:, None] == once)))
    seen = separation >= VISIBLE
    return CacheReading(
        asked_lately=(first[:count] < threshold) & seen,
        seconds=first[:count],
        threshold=threshold,
        separation=separation,
        false_alarms=float(np.mean(once[~teach] < threshold)) if seen else 0.0,
    )


def _second(target: Target, x: Any, want: Access, draw: np.random.Generator) -> Seconds:
    """Return (R,) the latency of a record's second answer in a row, which a cache of any size remembers."""
    seconds = np.empty(len(x))
    for row in draw.permutation(len(x)):
        seconds[row] = timed(target, np.repeat(x[row : row + 1], 2, axis=0), want)[1][1]
    return seconds
