"""Latency and exits: how long the target takes to answer, and by which exit a record left it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from vestige.errors import UsageError
from vestige.signals.base import Setting
from vestige.signals.timing.channel import Seconds, latencies
from vestige.signals.timing.groups import recover_exits
from vestige.target import Access, FloatArray, IntArray, Target

Average = Literal["median", "mean", "minimum"]
AVERAGES: dict[Average, Callable[..., Any]] = {"median": np.median, "mean": np.mean, "minimum": np.min}
LEVELS = (0.9, 0.7, 0.4)


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How long the target takes to answer about a record asked alone: seconds, the median of ``queries`` passes.

    Returns (R, 1). Each pass asks all records in a new random order, audited and held-out ones mixed, after some
    answers that are thrown away. ``average``: median; mean, sharper where noise is normal; minimum, by far the sharpest
    where other work interrupts the target, which only ever adds time. Needs a latency channel; raises AccessError
    without one.
    """

    access: ClassVar[Access] = Access.LABEL
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    knows: ClassVar[tuple[str, ...]] = ("how long answers take",)
    timed: ClassVar[bool] = True

    queries: int = 9
    average: Average = "median"

    def __post_init__(self) -> None:
        if self.queries < 1:
            raise UsageError(f"Expected at least one query per record, got {self.queries}.")
        if self.average not in get_args(Average):
            raise UsageError(f"Expected average to be median, mean or minimum, got '{self.average}'.")

    @property
    def asks(self) -> str:
        """How many answers a record takes."""
        return f"{self.queries:,}"

    def probe(self, target: Target, setting: Setting) -> FloatArray:
        """Time every record."""
        return self.seconds(target, setting)[:, None]

    def seconds(self, target: Target, setting: Setting) -> Seconds:
        """Return (R,) seconds."""
        found = latencies(target, setting.records, setting.rows, queries=self.queries, draw=setting.rng)
        return np.asarray(AVERAGES[self.average](found, axis=1), np.float64)

    def imagine(self, logits: FloatArray, y: IntArray) -> FloatArray:
        """Return what would be found on a simulated model that answers sooner the surer it is."""
        return Exits().imagine(logits, y)[:, 1:] * 1e-6


@dataclass(frozen=True, kw_only=True)
class Exits:
    """By which exit a record left the target, 0 the first, as far as its latency tells, and that latency.

    Returns (R, 2): the exit, and the latency in microseconds. ``queries``, ``average``: see the ``latency`` signal;
    ``exits``: how many the target has, where that is known; None lets the latencies say. An exit is a group of
    latencies, so which one a record is in depends on the other records measured. Needs scikit-learn.
    """

    access: ClassVar[Access] = Access.LABEL
    tasks: ClassVar[frozenset[str]] = Latency.tasks
    knows: ClassVar[tuple[str, ...]] = Latency.knows
    timed: ClassVar[bool] = True

    queries: int = 9
    average: Average = "median"
    exits: int | None = None

    def __post_init__(self) -> None:
        Latency(queries=self.queries, average=self.average)
        if self.exits is not None and self.exits < 1:
            raise UsageError(f"Expected at least one exit, got {self.exits}.")

    @property
    def asks(self) -> str:
        """How many answers a record takes."""
        return f"{self.queries:,}"

    def probe(self, target: Target, setting: Setting) -> FloatArray:
        """Time every record, and tell the groups apart."""
        seconds = Latency(queries=self.queries, average=self.average).seconds(target, setting)
        return np.column_stack([recover_exits(seconds, exits=self.exits, seed=setting.seed), seconds * 1e6])

    def imagine(self, logits: FloatArray, y: IntArray) -> FloatArray:  # noqa: ARG002
        """Return what would be found on a simulated model with an exit for each level of confidence."""
        sure: NDArray[np.float64] = softmax(np.asarray(logits, np.float64), axis=1).max(axis=1)
        left = sum((sure < level).astype(np.float64) for level in LEVELS)
        return np.column_stack([left, 80.0 + 25.0 * left])
