"""Ask a model for labels of made-up records, a block at a time, and count every one against a budget per record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.errors import AuditError, UsageError
from vestige.records import Records
from vestige.target import Access, BoolArray, IntArray, Target

Points = NDArray[np.float32]
BLOCK = 4096


@dataclass(eq=False)
class Asker:
    """A model that answers with labels. ``shape``: of one record; ``spent``: (R,) queries made for each record."""

    target: Target
    shape: tuple[int, ...]
    spent: IntArray
    kind: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))

    def labels(self, points: Points, owners: IntArray) -> IntArray:
        """Return (P,) labels of the (P, d) points, each asked for one record's sake."""
        self.spent += np.bincount(owners, minlength=len(self.spent))
        return self.free(points)

    def free(self, points: Points) -> IntArray:
        """Return labels of points that are asked once for all records together."""
        parts = [
            self.target.query(self._shaped(points[start : start + BLOCK]), Access.LABEL)
            for start in range(0, len(points), BLOCK)
        ]
        if not parts:
            return np.empty(0, np.int64)
        return np.concatenate([np.asarray(part.values, np.int64) for part in parts])

    def _shaped(self, points: Points) -> Any:
        return points.reshape(-1, *self.shape).astype(self.kind, copy=False)


def matrix_of(records: Records, rows: IntArray) -> Points:
    """Return (R, d) float32 features; raises UsageError for tables, whose categories have no distances."""
    x = records.rows_of(rows)
    if hasattr(x, "columns"):
        raise UsageError(
            "A search for the decision boundary needs numeric arrays, and these records have named columns.",
            hint="Use the noise attack, which changes categories and numbers each in its own way.",
        )
    flat: Points = np.asarray(x, np.float32).reshape(len(rows), -1)
    if not np.isfinite(flat).all():
        raise AuditError("Expected finite features to start a search from, got NaN or infinity.")
    return flat


def box_of(records: Records) -> tuple[Points, Points]:
    """Return the smallest and the largest value of each feature over the pool: what a valid record may hold."""
    x = np.asarray(records.x)
    flat = x.reshape(len(x), -1)
    low, high = flat.min(axis=0).astype(np.float32), flat.max(axis=0).astype(np.float32)
    if x.ndim > 2:  # pixels share one range, also those that no record of the pool lights up
        low[:], high[:] = low.min(), high.max()
    return low, high


def asker_of(target: Target, records: Records, count: int) -> Asker:
    """Return what asks this target about made-up records like these."""
    kind = np.dtype(np.float32)
    return Asker(target, tuple(np.asarray(records.x).shape[1:]), np.zeros(count, np.int64), kind)


def right(labels: IntArray, wanted: IntArray) -> BoolArray:
    """Return where the label is the wanted one."""
    found: BoolArray = labels == wanted
    return found
