"""Random numbers that belong to a query: the same query draws the same ones under the same key, so that asking twice
averages nothing out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from vestige.errors import DataError

KEY_BYTES = 32
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHORT = 32
"""Up to so many numbers a row, BLAKE2 reads it in one block and nothing is gained by folding it first."""
_PIECE, _BITS, _FOLDS = 1024, 26, 5
"""Numbers folded at once, bits of each secret factor, folds: 1024 · 2 halves · 2¹⁶ · 2²⁶ = 2⁵³, exact in a double."""
_CELLS, _SCALE, _STEPS, _FARTHEST = 8, 1 << 6, 1 << 8, float(1 << 33)
"""Directions of the grid, units of their factors, steps in one grain, and the farthest step: 1024 · 2⁹ · 2³³ ≤ 2⁵³."""
_BINS, _EDGE = 1 << 16, 256
"""Bins of the normal quantiles, and how many at each end are too curved for straight lines."""
_BLOCK = 1 << 15
"""Draws made at once: few enough to stay in the caches."""


class Tickets:
    """One keyed ticket per query of a batch: what it draws depends on the query's features and a secret key alone.

    ``x``: (R, …) an array or a data frame; numbers are compared as float32, so that the same record asked as doubles or
    as bytes draws the same. ``key``: up to 64 secret bytes; whoever knows it can predict every draw.
    """

    def __init__(self, x: Any, key: bytes) -> None:
        self._x, self._key = x.detach().cpu().numpy() if hasattr(x, "detach") else x, key

    def __len__(self) -> int:
        return len(self._x)

    @cached_property
    def digests(self) -> NDArray[np.uint64]:
        """(R,) uint64, a keyed hash of each query."""
        hashed = hashlib.blake2b
        found = b"".join([hashed(row, digest_size=8, key=self._key).digest() for row in _rows(self._x, self._key)])
        return np.frombuffer(found, np.uint64)

    def near(self, grain: float) -> Tickets:
        """Return tickets that queries close to each other share: those of the cells of a secret grid.

        Numbers are projected on a few secret directions, and the projections rounded to multiples of ``grain``. A query
        that is moved by ``e`` (root mean square over its numbers) leaves its cell with a probability of about 6 e /
        grain, however many numbers it has; one that is moved by more than ``grain`` nearly always does. Text and
        columns that are not numbers count as they stand. A grain of 0 returns the queries' own tickets.
        """
        if not grain:
            return self
        flat = _numbers(self._x)
        if not flat.size:
            return self
        cells = self._cells(flat, grain)
        if not hasattr(self._x, "select_dtypes"):
            return Tickets(cells, self._key)
        rest = self._x.select_dtypes(exclude="number")
        return Tickets(rest.assign(**{f"cell {k}": column for k, column in enumerate(cells.T)}), self._key)

    def _cells(self, flat: NDArray[Any], grain: float) -> NDArray[np.float64]:
        factors, shifts = _directions(self._key, flat.shape[1])
        found = np.zeros((len(flat), _CELLS))
        size = max(1, _BLOCK // min(flat.shape[1], _PIECE))
        for start in range(0, flat.shape[1], _PIECE):
            own = factors[start : start + _PIECE]
            for first in range(0, len(flat), size):
                steps = _as_float32(flat[first : first + size, start : start + _PIECE]).astype(np.float64)
                steps *= _STEPS / grain
                np.nan_to_num(steps, copy=False, nan=0.0)
                np.clip(np.rint(steps, out=steps), -_FARTHEST, _FARTHEST, out=steps)
                # Whole numbers again: whoever else is asked in the batch, a query falls into the same cell.
                found[first : first + size] += steps @ own
        found *= 1 / (_STEPS * _SCALE * np.sqrt(flat.shape[1]))
        return np.floor(found + shifts) + 0.0

    def uniform(self, columns: int, stream: str) -> NDArray[np.float64]:
        """Return (R, columns) draws strictly between 0 and 1; defences in one chain use streams of their own."""
        found = np.empty((len(self), columns))
        for rows, mixed in self._mixed(columns, stream):
            found[rows] = _unit(mixed)
        return found

    def normal(self, columns: int, stream: str) -> NDArray[np.float64]:
        """Return (R, columns) standard normal draws, right to a millionth."""
        found = np.empty((len(self), columns))
        steps, slopes = _quantiles()
        for rows, mixed in self._mixed(columns, stream):
            places = (mixed >> np.uint64(48)).astype(np.int32)
            shares = (mixed >> np.uint64(11) & np.uint64((1 << 37) - 1)).astype(np.float64)
            found[rows] = steps.take(places) + (shares + 0.5) * slopes.take(places)
            tail = (places < _EDGE) | (places >= _BINS - _EDGE)
            if tail.any():
                found[rows][tail] = scipy.special.ndtri(_unit(mixed[tail]))
        return found

    def laplace(self, columns: int, stream: str) -> NDArray[np.float64]:
        """Return (R, columns) draws of a Laplace law of scale 1."""
        found = np.empty((len(self), columns))
        for rows, mixed in self._mixed(columns, stream):
            centred = _unit(mixed) - 0.5
            found[rows] = np.copysign(np.log1p(-2 * np.abs(centred)), centred)
        return found

    def _mixed(self, columns: int, stream: str) -> Iterator[tuple[slice, NDArray[np.uint64]]]:
        """Yield 64 random bits for every draw, some rows at a time."""
        named = np.frombuffer(hashlib.blake2b(stream.encode(), digest_size=8, key=self._key).digest(), np.uint64)
        starts = self.digests ^ named
        offsets = _GOLDEN * np.arange(1, columns + 1, dtype=np.uint64)
        size = max(1, _BLOCK // max(columns, 1))
        for first in range(0, len(starts), size):
            state = starts[first : first + size, None] + offsets
            state ^= state >> np.uint64(30)
            state *= _FIRST
            state ^= state >> np.uint64(27)
            state *= _SECOND
            state ^= state >> np.uint64(31)
            yield slice(first, first + len(state)), state


def spread(x: Any) -> float:
    """Return how far apart two of these queries lie: the root mean square over their numbers and over all pairs."""
    flat = _numbers(x).astype(np.float64)
    return float(np.sqrt(2 * np.nan_to_num(flat).var(0).mean())) if flat.size else 0.0


def _numbers(x: Any) -> NDArray[Any]:
    """Return the numbers of each query, flat; no columns where it has none."""
    if hasattr(x, "select_dtypes"):
        return np.asarray(x.select_dtypes("number").to_numpy(np.float64, na_value=np.nan))
    array = np.asarray(x)
    if array.dtype.kind not in "biuf" or not array.size:
        return np.zeros((len(array), 0))
    return array.reshape(len(array), -1)


def _unit(mixed: NDArray[np.uint64]) -> NDArray[np.float64]:
    return np.asarray(((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53, np.float64)


@lru_cache(maxsize=1)
def _quantiles() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the normal quantile at the start of each bin, and its rise over one of the bin's 2³⁷ steps."""
    edges = scipy.special.ndtri(np.arange(_BINS + 1) / _BINS)
    edges[0], edges[-1] = edges[1], edges[-2]
    return edges[:-1], np.diff(edges) * 2.0**-37


def _rows(x: Any, key: bytes) -> Iterable[bytes]:
    """Return the bytes that stand for each query."""
    if hasattr(x, "itertuples"):
        return [repr(tuple(row)).encode() for row in x.itertuples(index=False, name=None)]
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        if array.dtype.kind not in "OUS":
            raise DataError(f"Expected queries of numbers or text, got {array.dtype}.")
        return [repr(row.tolist()).encode() for row in array]
    flat = array.reshape(len(array), -1) if array.size else np.zeros((len(array), 0), np.float32)
    if flat.shape[1] > _SHORT:
        return _cut(_folded(flat, key))
    return _cut(_as_float32(flat))


def _as_float32(flat: NDArray[Any]) -> NDArray[np.float32]:
    # Zero has two signs in floating point, and no query differs by it.
    return np.ascontiguousarray(flat, np.float32) + np.float32(0)


def _cut(array: NDArray[Any]) -> list[bytes]:
    width, joined = array.shape[1] * array.itemsize, array.tobytes()
    return [joined[start : start + width] for start in range(0, len(joined), width)] if width else [b""] * len(array)


def _folded(flat: NDArray[Any], key: bytes) -> NDArray[np.float64]:
    """Return each row folded into few whole numbers: sums of its 16-bit halves times secret factors.

    Two given rows agree in one fold for at most one in 2²⁶ of the factors that could have been drawn, so in all five of
    them for at most one in 2¹³⁰. What is folded is hashed again, and nobody sees it.
    """
    pieces = -(-flat.shape[1] // _PIECE)
    found = np.empty((len(flat), pieces, _FOLDS))
    size = max(1, _BLOCK // min(flat.shape[1], _PIECE))
    factors = _factors(key, flat.shape[1])
    for place in range(pieces):
        span = slice(place * _PIECE, (place + 1) * _PIECE)
        own = factors[2 * span.start : 2 * span.stop]
        for first in range(0, len(flat), size):
            halves = _as_float32(flat[first : first + size, span]).view(np.uint16)
            # Every partial sum is a whole number below 2⁵³: exact, whatever the order of the additions.
            found[first : first + size, place] = halves.astype(np.float64) @ own
    return found.reshape(len(flat), -1)


@lru_cache(maxsize=4)
def _factors(key: bytes, width: int) -> NDArray[np.float64]:
    stream = hashlib.shake_256(b"folds" + key).digest(2 * width * _FOLDS * 4)
    return (np.frombuffer(stream, np.uint32) & np.uint32((1 << _BITS) - 1)).astype(np.float64).reshape(-1, _FOLDS)


@lru_cache(maxsize=4)
def _directions(key: bytes, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (width, cells) whole factors of a normal law, of 64 units a standard deviation, and (cells,) shifts."""
    stream = hashlib.shake_256(b"cells" + key).digest(2 * (width + 1) * _CELLS * 4)
    shares = (np.frombuffer(stream, np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    normal = scipy.special.ndtri(np.clip(shares[:-_CELLS], 2.0**-50, 1 - 2.0**-50)) * _SCALE
    return np.clip(np.rint(normal), 1 - 8 * _SCALE, 8 * _SCALE - 1).reshape(width, _CELLS), shares[-_CELLS:]
