"""Latency: targets that say how long an answer took, by a clock or by a rule, for records asked one at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends.answers import rows_in
from vestige.errors import ModelError, UsageError
from vestige.seeds import rng
from vestige.target import Access, Outputs, Target, require

Seconds = NDArray[np.float64]


class Stopwatch:
    """A target with a clock around it: answers one record at a time, and says how long each took.

    ``clock``: returns seconds; what lies between two records is not in them.
    """

    def __init__(self, inner: Target, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.inner = inner
        self.access = inner.access
        self.clock = clock

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer a batch."""
        return self.inner.query(x, want)

    def timed(self, x: Any, want: Access) -> tuple[Outputs, Seconds]:
        """Answer record after record, in the order given, and return the seconds (R,) that each took."""
        return one_by_one(self.inner, x, want, clock=self.clock)


class SimulatedLatency:
    """A target whose answers take as long as a rule says: the rule's seconds, plus normal noise, plus ``offset``.

    ``cost``: the seconds for a batch of one record, asked right before the target is; ``noise``: its standard
    deviation in seconds. Nothing is waited for. The draws follow from ``seed`` and the order of the questions.
    """

    def __init__(
        self, inner: Target, cost: Callable[[Any], float], *, noise: float = 0.0, offset: float = 0.0, seed: int = 0
    ) -> None:
        if not (math.isfinite(noise) and noise >= 0 and math.isfinite(offset)):
            raise UsageError(f"Expected noise ≥ 0 and a finite offset, in seconds, got {noise} and {offset}.")
        self.inner = inner
        self.access = inner.access
        self.cost = cost
        self.noise = noise
        self.offset = offset
        self._draw = rng(seed, "latency")

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer a batch."""
        return self.inner.query(x, want)

    def timed(self, x: Any, want: Access) -> tuple[Outputs, Seconds]:
        """Answer record after record, in the order given, and return the seconds (R,) that each is said to take."""
        at = 0.0

        def cost(piece: Any) -> None:
            nonlocal at
            at += float(self.cost(piece))

        outputs, seconds = one_by_one(self.inner, x, want, clock=lambda: at, before=cost)
        return outputs, seconds + self.offset + self.noise * self._draw.standard_normal(len(seconds))


def one_by_one(
    target: Target,
    x: Any,
    want: Access,
    *,
    clock: Callable[[], float] = time.perf_counter,
    before: Callable[[Any], None] | None = None,
) -> tuple[Outputs, Seconds]:
    """Ask about each record alone, in the order given; return the answers, and the seconds (R,) that each took.

    ``before``: called with each record once the clock is running. Raises ModelError for an empty batch.
    """
    require(target, want)
    total = rows_in(x)
    if not total:
        raise ModelError("Expected records to time, got none.")
    seconds = np.empty(total)
    answers = []
    for row in range(total):
        piece = x.iloc[row : row + 1] if hasattr(x, "iloc") else x[row : row + 1]
        start = clock()
        if before is not None:
            before(piece)
        answers.append(target.query(piece, want))
        seconds[row] = clock() - start
    return Outputs(answers[0].kind, np.concatenate([answer.values for answer in answers])), seconds
