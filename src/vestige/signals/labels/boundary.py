"""Boundary: how far a record lies from the nearest point with another label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vestige.errors import UsageError
from vestige.seeds import rng
from vestige.signals.base import Setting
from vestige.signals.labels.asking import Points, asker_of, box_of, matrix_of
from vestige.signals.labels.directions import subspace
from vestige.signals.labels.hop_skip_jump import FAILED, Norm, Search
from vestige.target import Access, FloatArray, IntArray, Target

STARTS = 200
FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """The distance from each record to the decision boundary, found with at most ``queries`` labels a record.

    Returns (R, 3): the distance (0 where the record is misclassified, NaN where the search failed), how it ended (0
    found, 1 misclassified, 2 failed), and the queries it took. Farther = more likely a member. ``subspace``: see
    `vestige.signals.labels.directions`; ``restarts``: searches of which the nearest point counts, sharing the queries.
    """

    access: ClassVar[Access] = Access.LABEL
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    norm: Norm = "l2"
    queries: int = 2500
    subspace: int | None = None
    restarts: int = 1

    def __post_init__(self) -> None:
        if self.norm not in ("l2", "linf"):
            raise UsageError(f"Expected norm to be l2 or linf, got '{self.norm}'.")
        if self.restarts < 1 or self.queries < FEWEST * self.restarts:
            raise UsageError(
                f"Expected at least {FEWEST} queries for each restart, got {self.queries} for {self.restarts}.",
                hint="With fewer, use the gap or the augmentation attack.",
            )

    @property
    def asks(self) -> str:
        """How many labels a record takes."""
        return f"up to {self.queries:,}"

    def probe(self, target: Target, setting: Setting) -> FloatArray:
        """Search around every record."""
        queries = self.queries if setting.budget is None else min(self.queries, setting.budget)
        each = queries // self.restarts
        if each < FEWEST:
            raise UsageError(f"A budget of {queries} queries a record is too small to find a boundary with.")
        records, rows = setting.records, setting.rows
        x, y = matrix_of(records, rows), np.asarray(records.y[rows], np.int64)
        low, high = box_of(records)
        shape = tuple(np.asarray(records.x).shape[1:])
        starts = starting_points(setting, low, high)
        found = np.full((len(rows), 3), np.nan)
        found[:, 1:] = FAILED, 0
        for again in range(self.restarts):
            asker = asker_of(target, records, len(rows))
            search = Search(norm=self.norm, queries=each, directions=subspace(shape, starts, self.subspace))
            one = search.run(asker, x, y, starts, low, high, rng(setting.seed, "boundary", again))
            better = np.isnan(found[:, 0]) | (one.distance < found[:, 0])
            found[better, 0], found[better, 1] = one.distance[better], one.status[better]
            found[:, 2] += one.spent
        return found


def starting_points(setting: Setting, low: Points, high: Points) -> Points:
    """Return points of many labels to start from: held-out records where there are any, and noise within the box."""
    spare: IntArray = setting.spare if len(setting.spare) else setting.rows
    chosen = setting.rng.permutation(spare)[:STARTS]
    noise = setting.rng.random((STARTS // 4, len(low)), np.float32) * (high - low) + low
    return np.concatenate([matrix_of(setting.records, np.sort(chosen)), noise])
