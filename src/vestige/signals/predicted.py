"""Signals for an adversary without the true labels: each model is measured against the class that it names itself.

In a table of signals such a column is marked, so that it never passes for one measured against the truth.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vestige.records import Records
from vestige.signals.base import SignalTable
from vestige.target import Access, IntArray, Outputs, Target

CLASS = "predicted_class"
MARK = "@predicted"
BLOCK = 16_384


def marked(key: str) -> str:
    """Return the key of the same signal measured against the class that the model names."""
    return key if key == CLASS else f"{key}{MARK}"


def is_marked(key: str) -> bool:
    """Whether a key is of a signal measured against the class that the model names."""
    return key.endswith(MARK)


def bare(key: str) -> str:
    """Return the signal's own key."""
    return key.removesuffix(MARK)


def as_seen(table: SignalTable) -> SignalTable:
    """Return what an adversary without the true labels may see of a table, under the signals' own keys."""
    columns = {bare(key): column for key, column in table.columns.items() if is_marked(key) or key == CLASS}
    return replace(table, columns=columns)


def named_by(outputs: Outputs) -> IntArray:
    """Return the (R,) classes that answers name: the largest score, the first of several, or the label itself."""
    values = np.asarray(outputs.values)
    if outputs.kind == "labels":
        return values.astype(np.int64)
    if values.shape[1] == 1:
        return np.asarray(values[:, 0] > (0.5 if outputs.kind == "probabilities" else 0.0), np.int64)
    return np.asarray(np.argmax(values, axis=1), np.int64)


def relabelled(records: Records, rows: IntArray, named: IntArray) -> Records:
    """Return the records with other labels on some rows."""
    y = records.y.copy()
    y[rows] = named
    return replace(records, y=y)


def ask_labels(target: Target, records: Records, rows: IntArray) -> IntArray:
    """Return the classes that the target names for ``rows``, one query each."""
    parts = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    found = [named_by(target.query(records.rows_of(part), Access.LABEL)) for part in parts]
    return np.concatenate(found) if found else np.empty(0, np.int64)
