"""The latency channel: a target that says how long each answer took, and how an adversary measures with it.

It stands beside the access: whoever sees labels, scores or weights may or may not also see how long an answer took.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vestige.errors import AccessError, ModelError
from vestige.records import Records
from vestige.target import Access, CountingTarget, FloatArray, IntArray, Outputs, Target, require

Seconds = NDArray[np.float64]
WARM_UP = 20
BLOCK = 2048


@runtime_checkable
class Timed(Protocol):
    """A target with a latency channel."""

    def timed(self, x: Any, want: Access) -> tuple[Outputs, FloatArray]:
        """Answer R records one at a time, in the order given; also return the seconds (R,) that each took."""
        ...


def has_channel(target: Target) -> bool:
    """Whether the target says how long its answers take."""
    return isinstance(_inside(target), Timed)


def timed(target: Target, x: Any, want: Access) -> tuple[Outputs, Seconds]:
    """Ask through the latency channel; raises AccessError where there is none. Every record counts as a query."""
    require(target, want)
    owner = _inside(target)
    if not isinstance(owner, Timed):
        raise AccessError(
            "The target does not say how long its answers take.",
            hint="Give it a method timed(x, want) -> (Outputs, seconds), or wrap it in Stopwatch.",
        )
    outputs, found = owner.timed(x, want)
    seconds = np.asarray(found, np.float64)
    if seconds.shape != (len(x),) or len(outputs) != len(x) or not np.isfinite(seconds).all():
        raise ModelError(
            f"Expected an answer and a finite number of seconds for each of {len(x)} records, got {len(outputs)} "
            f"answers and seconds of shape {seconds.shape}."
        )
    layer: Any = target
    while isinstance(layer, CountingTarget):
        layer.queries += len(x)
        layer = layer.inner
    return outputs, seconds


def latencies(
    target: Target, records: Records, rows: IntArray, *, queries: int, draw: np.random.Generator, warm_up: int = WARM_UP
) -> Seconds:
    """Return (R, queries) seconds: each record asked alone, ``queries`` times, in passes of a new random order each.

    Random order keeps a machine that slows down, or clocks down, from telling one group of records from another; the
    first ``warm_up`` answers of a pass, to records drawn at random, are thrown away.
    """
    found = np.empty((len(rows), queries))
    for turn in range(queries if len(rows) else 0):
        warm = draw.integers(0, len(rows), min(warm_up, len(rows)))
        order = np.concatenate([warm, draw.permutation(len(rows))])
        seconds = [
            timed(target, records.rows_of(rows[order[start : start + BLOCK]]), Access.LABEL)[1]
            for start in range(0, len(order), BLOCK)
        ]
        found[order[len(warm) :], turn] = np.concatenate(seconds)[len(warm) :]
    return found


def _inside(target: Target) -> Any:
    owner: Any = target
    while isinstance(owner, CountingTarget):
        owner = owner.inner
    return owner
