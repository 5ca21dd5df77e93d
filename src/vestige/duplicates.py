"""Exact duplicates: records with the same features, which would be member and non-member at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.records import Records
from vestige.seeds import rng

_ROWS = 4096


def exact_duplicates(records: Records) -> NDArray[np.int64]:
    """Return (N,): for every record the first row with identical features, its own row when it repeats none.

    ``exact_duplicates(r) != arange(N)`` marks the repeats; records are twins when their entries are equal. Labels are
    ignored.
    """
    if hasattr(records.x, "iloc"):
        frame = records.x
        keys = frame.groupby(list(frame.columns), sort=False, dropna=False, observed=True).ngroup().to_numpy()
        return _first_of(keys)
    matrix = np.ascontiguousarray(records.x).reshape(len(records), -1)
    return _confirmed(matrix, _first_of(_hashes(matrix)))


def distinct_rows(records: Records) -> NDArray[np.int64]:
    """Return the rows that repeat none before them: of every set of twins the first."""
    first = exact_duplicates(records)
    return np.flatnonzero(first == np.arange(len(first))).astype(np.int64)


def drop_duplicates(records: Records) -> Records:
    """Return the records without repeats."""
    rows = distinct_rows(records)
    return records if len(rows) == len(records) else records.take(rows)


def _first_of(keys: NDArray[Any]) -> NDArray[np.int64]:
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def _hashes(matrix: NDArray[Any]) -> NDArray[np.uint64]:
    """Return one 64-bit multilinear hash per row, over the bytes of its values."""
    width = matrix.shape[1] * matrix.dtype.itemsize
    words = -(-width // 8)
    factors = rng(0, "duplicates").integers(0, 2**64, words, np.uint64) | np.uint64(1)
    hashes = np.empty(len(matrix), np.uint64)
    padded = np.zeros((min(_ROWS, len(matrix)), words * 8), np.uint8)
    for start in range(0, len(matrix), _ROWS):
        rows = matrix[start : start + _ROWS]
        if rows.dtype.kind == "f":
            rows = rows + rows.dtype.type(0)  # −0.0 and 0.0 are equal, so their bytes must be too
        padded[: len(rows), :width] = rows.view(np.uint8).reshape(len(rows), width)
        values = padded[: len(rows)].view(np.uint64)
        values = (values ^ (values >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        hashes[start : start + len(rows)] = ((values ^ (values >> np.uint64(32))) * factors).sum(
            axis=1, dtype=np.uint64
        )
    return hashes


def _confirmed(matrix: NDArray[Any], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Compare every suspected repeat with its first row, so that a collision of hashes is never called a duplicate."""
    suspects = np.flatnonzero(first != np.arange(len(first)))
    result = first.copy()
    false = []
    for start in range(0, len(suspects), _ROWS):
        rows = suspects[start : start + _ROWS]
        equal = (matrix[rows] == matrix[first[rows]]).all(axis=1)
        false.append(rows[~equal])
    seen: dict[bytes, int] = {}
    for row in np.concatenate(false).tolist() if false else []:
        result[row] = seen.setdefault((matrix[row] + matrix.dtype.type(0)).tobytes(), row)
    return result
