"""Training records dealt out to several models; records of one person stay together."""

from __future__ import annotations

import numpy as np

from vestige.records import Records
from vestige.seeds import rng
from vestige.target import BoolArray, IntArray


def units(records: Records, rows: IntArray) -> tuple[IntArray, int]:
    """Return which unit each row belongs to, 0 … count - 1, and how many there are: the row itself, or its group."""
    if records.groups is None:
        return np.arange(len(rows), dtype=np.int64), len(rows)
    codes, places = np.unique(records.groups[rows], return_inverse=True)
    return places.astype(np.int64), len(codes)


def parts(records: Records, rows: IntArray, count: int, seed: int) -> list[IntArray]:
    """Return ``count`` disjoint parts of the rows, of about one size."""
    own, total = units(records, rows)
    part = np.empty(total, np.int64)
    part[rng(seed, "parts").permutation(total)] = np.arange(total) % count
    return [rows[part[own] == k] for k in range(count)]


def withheld(records: Records, rows: IntArray, models: int, without: int, seed: int) -> BoolArray:
    """Return (models, R): whether a row is withheld from a model; each row is from ``without`` of them, at random."""
    own, total = units(records, rows)
    ranks = rng(seed, "withheld").random((models, total)).argsort(0).argsort(0)
    return np.asarray((ranks < without)[:, own])
