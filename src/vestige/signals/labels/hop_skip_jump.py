"""HopSkipJump for many records at once: walk along the decision boundary to the nearest point with another label.

Chen, Jordan & Wainwright 2020, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack", arXiv:1904.02144,
algorithms 1 and 2. Every record keeps its own state; one block of queries serves all of them, and all use the same
random directions, so that the noise of the search is common to members and non-members and no record depends on its
company.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vestige.backends import memory
from vestige.signals.labels.asking import Asker, Points
from vestige.target import BoolArray, FloatArray, IntArray

Norm = Literal["l2", "linf"]
FIRST_BATCH = 100
LARGEST_BATCH = 10_000
FLOATS = 2_000_000
HALVINGS = 24

OK, MISCLASSIFIED, FAILED = 0, 1, 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """For each record: the distance to the nearest point found with another label, and how the search ended.

    ``status``: 0 found, 1 misclassified from the start (distance 0), 2 no point with another label was found (distance
    NaN). ``points``: (R, d), the points themselves.
    """

    distance: FloatArray
    status: IntArray
    points: Points
    spent: IntArray


@dataclass(frozen=True, kw_only=True)
class Search:
    """``queries``: per record, all included; ``batch``: directions of the first step; ``directions``: draws
    (count, d) of them, None for all directions alike.
    """

    norm: Norm = "l2"
    queries: int = 2500
    batch: int = FIRST_BATCH
    directions: Callable[[int, np.random.Generator], Points] | None = None

    def run(
        self, asker: Asker, x: Points, y: IntArray, starts: Points, low: Points, high: Points, rng: np.random.Generator
    ) -> Found:
        """Search from (R, d) records with true labels ``y``; ``starts``: (S, d) points to try as first other label."""
        walk = _Walk(self, asker, x, y, low, high)
        with memory.kept():
            walk.begin(starts)
            step = 1
            while walk.active.any() and walk.step(step, rng):
                step += 1
        return Found(
            distance=np.where(walk.status == FAILED, np.nan, walk.best),
            status=walk.status,
            points=walk.nearest,
            spent=asker.spent.copy(),
        )


class _Walk:
    def __init__(self, search: Search, asker: Asker, x: Points, y: IntArray, low: Points, high: Points) -> None:
        self.search, self.asker, self.x, self.y, self.low, self.high = search, asker, x, y, low, high
        self.records, self.features = x.shape
        # The boundary is found to this share of a line: the paper's theta.
        self.theta = self.features**-1.5 if search.norm == "l2" else self.features**-2.0
        self.status = np.full(self.records, FAILED, np.int64)
        self.points, self.nearest = x.copy(), x.copy()
        self.best = np.zeros(self.records)
        self.room = np.empty(0, np.float32)
        self.active: BoolArray = np.zeros(self.records, dtype=np.bool_)

    def begin(self, starts: Points) -> None:
        """See who is misclassified already, and give the others their first point with another label."""
        everyone = np.arange(self.records)
        wrong = self.asker.labels(self.x, everyone) != self.y
        self.status[wrong] = MISCLASSIFIED
        labels = self.asker.free(starts)
        for record in everyone[~wrong]:
            other = np.flatnonzero(labels != self.y[record])
            if len(other):
                gaps = self._length(starts[other] - self.x[record])
                self.points[record] = starts[other[int(np.argmin(gaps))]]
                self.active[record] = True
        rows = np.flatnonzero(self.active)
        self.status[rows] = OK
        self.points[rows] = self._to_boundary(rows, self.points[rows])
        self._note(rows)

    def step(self, number: int, rng: np.random.Generator) -> bool:
        """Take one step with every record that has queries left; return whether any had."""
        left = self.search.queries - self.asker.spent
        wanted = min(int(self.search.batch * np.sqrt(number)), LARGEST_BATCH)
        reserve = 2 + self._depth()
        count = int(min(wanted, (left[self.active] - reserve).max(initial=0)))
        self.active &= left >= count + reserve
        rows = np.flatnonzero(self.active)
        if count < 2 or not len(rows):
            return False
        drawn = self._directions(count, rng)
        # Directions take many questions for each record, the steps after them one: those are asked for more at a time.
        size, few = max(1, 4 * FLOATS // self.features), max(1, FLOATS // (count * self.features))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            pieces = [part[k : k + few] for k in range(0, len(part), few)]
            gradient = np.concatenate([self._gradient(piece, drawn, number) for piece in pieces])
            moved = self._jump(part, gradient, number)
            self.points[part] = self._to_boundary(part, moved)
            self._note(part)
        return True

    def _directions(self, count: int, rng: np.random.Generator) -> Points:
        if self.search.directions is not None:
            drawn = self.search.directions(count, rng)
        elif self.search.norm == "l2":
            drawn = rng.standard_normal((count, self.features), np.float32)
        else:
            drawn = rng.random((count, self.features), np.float32) * 2 - 1
        unit: Points = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        return unit

    def _gradient(self, rows: IntArray, drawn: Points, number: int) -> Points:
        """Return (R, d) unit directions (or signs) in which the chance of another label grows."""
        here = self.points[rows]
        gap = self._length(here - self.x[rows])
        if number == 1:
            reach = np.full(len(rows), 0.1 * float(np.max(self.high - self.low)))
        else:
            reach = gap * (self.features**0.5 if self.search.norm == "l2" else self.features) * self.theta
        reach = np.maximum(reach, 1e-7).astype(np.float32)
        tried = self._room(len(rows), len(drawn))
        for one, far, at in zip(tried, reach, here, strict=True):  # record by record, so that they stay in the cache
            np.multiply(drawn, far, out=one)
            one += at
            np.maximum(one, self.low, out=one)
            np.minimum(one, self.high, out=one)
        count = len(drawn)
        labels = self.asker.labels(tried.reshape(-1, self.features), np.repeat(rows, count))
        vote = np.where(labels.reshape(len(rows), count) != self.y[rows, None], 1.0, -1.0).astype(np.float32)
        mean = vote.mean(axis=1, keepdims=True)
        weight = np.where(np.abs(mean) == 1, vote, vote - mean)
        # The weighted mean of what was tried less the point itself, without writing the differences down.
        summed = np.matmul(weight[:, None], tried)[:, 0] - weight.sum(axis=1, keepdims=True) * here
        estimate = summed / (reach[:, None] * count)
        if self.search.norm == "linf":
            signs: Points = np.sign(estimate)
            return signs
        length = np.linalg.norm(estimate, axis=1, keepdims=True)
        unit: Points = estimate / np.where(length > 0, length, 1)
        return unit

    def _room(self, records: int, count: int) -> Points:
        """Return room for points to try: the same memory each time."""
        if self.room.size < records * count * self.features:
            self.room = np.empty(records * count * self.features, np.float32)
        room: Points = self.room[: records * count * self.features].reshape(records, count, self.features)
        return room

    def _jump(self, rows: IntArray, gradient: Points, number: int) -> Points:
        """Return points further along, as far as they keep another label; where none does, the point itself."""
        here = self.points[rows]
        reach = (self._length(here - self.x[rows]) / np.sqrt(number)).astype(np.float32)
        moved, open_ = here.copy(), np.ones(len(rows), dtype=np.bool_)
        for _ in range(HALVINGS):
            open_ &= self.search.queries - self.asker.spent[rows] > self._depth()
            at = np.flatnonzero(open_)
            if not len(at):
                break
            tried = np.clip(here[at] + reach[at, None] * gradient[at], self.low, self.high)
            found = self.asker.labels(tried, rows[at]) != self.y[rows[at]]
            moved[at[found]] = tried[found]
            open_[at[found]] = False
            reach[at] /= 2
        return moved

    def _depth(self) -> int:
        """Return how many halvings find the boundary on a line."""
        return int(np.ceil(np.log2(1 / self.theta)))

    def _to_boundary(self, rows: IntArray, far: Points) -> Points:
        """Return the points nearest to the records on the way to ``far`` that still have another label."""
        near = self.x[rows]
        low = np.zeros(len(rows))
        high: FloatArray = np.ones(len(rows)) if self.search.norm == "l2" else self._length(far - near)
        stop = np.maximum(high * self.theta, 1e-7)
        for _ in range(self._depth() + 1):
            open_ = (high - low > stop) & (self.asker.spent[rows] < self.search.queries)
            at = np.flatnonzero(open_)
            if not len(at):
                break
            middle = (low[at] + high[at]) / 2
            tried = self._between(near[at], far[at], middle)
            found = self.asker.labels(tried, rows[at]) != self.y[rows[at]]
            high[at[found]] = middle[found]
            low[at[~found]] = middle[~found]
        return self._between(near, far, high)

    def _between(self, near: Points, far: Points, share: FloatArray) -> Points:
        part = share.astype(np.float32)[:, None]
        if self.search.norm == "l2":
            # At a share of one this is ``far`` itself, to the bit: the only point known to have another label.
            mixed: Points = np.where(part == 1, far, near + part * (far - near))
            return mixed
        clipped: Points = np.clip(far, near - part, near + part)
        return clipped

    def _note(self, rows: IntArray) -> None:
        gap = self._length(self.points[rows] - self.x[rows])
        better = (self.best[rows] == 0) | (gap < self.best[rows])
        self.best[rows[better]] = gap[better]
        self.nearest[rows[better]] = self.points[rows[better]]

    def _length(self, offsets: Points) -> FloatArray:
        wide = offsets.astype(np.float64)
        if self.search.norm == "l2":
            found: FloatArray = np.linalg.norm(wide, axis=-1)
            return found
        largest: FloatArray = np.abs(wide).max(axis=-1)
        return largest
