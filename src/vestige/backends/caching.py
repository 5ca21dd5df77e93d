"""A cache in front of a model, as serving systems have: what was asked lately is not computed again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from vestige.backends.answers import rows_in
from vestige.backends.latency import Seconds, one_by_one
from vestige.errors import UsageError
from vestige.target import Access, OutputKind, Outputs, Target, require

Key = tuple[Access, bytes]


class CachedTarget:
    """A target that remembers its answers to the last ``size`` records that it was asked about (least recent out).

    It shows answers alone, whatever the model behind it would show. ``hits`` and ``misses`` count records.
    """

    def __init__(self, inner: Target, *, size: int = 1024) -> None:
        if size < 1:
            raise UsageError(f"Expected room for at least one record, got {size}.")
        self.inner = inner
        self.access = min(inner.access, Access.SCORE)
        self.size = size
        self.hits = 0
        self.misses = 0
        self._kept: OrderedDict[Key, tuple[OutputKind, Any]] = OrderedDict()

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer a batch: what is remembered at once, the rest by asking the model once about all of it."""
        require(self, want)
        keys = [_key(x, row, want) for row in range(rows_in(x))]
        found = {key: self._kept[key] for key in keys if key in self._kept}
        missing = {key: row for row, key in enumerate(keys) if key not in found}
        self.hits += len(keys) - len(missing)
        self.misses += len(missing)
        if missing or not keys:
            rows = list(missing.values())
            answer = self.inner.query(x.iloc[rows] if hasattr(x, "iloc") else x[rows], want)
            if not keys:
                return answer
            found |= {key: (answer.kind, answer.values[place]) for place, key in enumerate(missing)}
        for key in keys:
            self._kept[key] = found[key]
            self._kept.move_to_end(key)
        while len(self._kept) > self.size:
            self._kept.popitem(last=False)
        return Outputs(found[keys[0]][0], np.stack([found[key][1] for key in keys]))

    def timed(self, x: Any, want: Access) -> tuple[Outputs, Seconds]:
        """Answer record after record, and return the seconds (R,) that each took by the clock."""
        return one_by_one(self, x, want)

    def holds(self, x: Any, want: Access = Access.SCORE) -> bool:
        """Whether the answer to a batch of one record is remembered; asking this changes nothing."""
        return _key(x, 0, want) in self._kept


def _key(x: Any, row: int, want: Access) -> Key:
    if hasattr(x, "iloc"):
        return want, repr(tuple(x.iloc[row])).encode()
    return want, np.ascontiguousarray(x[row]).tobytes()
