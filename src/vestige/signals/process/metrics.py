"""The five numbers that are read off every state of a model, and their order in a sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vestige.records import Records
from vestige.signals.base import Signals
from vestige.target import Access, FloatArray, IntArray, Outputs, Target

METRICS = ("loss", "max_probability", "std_probability", "entropy", "modified_entropy")
KEYS = ("loss", "max_log_probability", "std_probability", "entropy", "modified_entropy")
BLOCK = 16_384


def metrics_of(outputs: Outputs, records: Records, rows: IntArray) -> Signals:
    """Return (R, 5) from the answers to ``rows``, in the order of `METRICS`."""
    from vestige.signals import measure_outputs

    found = measure_outputs(outputs, records.y[rows], KEYS, classes=len(records.classes))
    columns = [np.exp(found[key]) if key == "max_log_probability" else found[key] for key in KEYS]
    return np.column_stack(columns)


def ask(target: Target, records: Records, rows: IntArray) -> Signals:
    """Return (R, 5), asking the target about each of ``rows`` once."""
    parts = [rows[start : start + BLOCK] for start in range(0, max(1, len(rows)), BLOCK)]
    return np.concatenate(
        [metrics_of(target.query(records.rows_of(part), Access.SCORE), records, part) for part in parts]
    )


def sequence(steps: Sequence[Signals]) -> FloatArray:
    """Return (R, steps * 5): step after step, the five numbers of each together."""
    return np.concatenate(list(steps), axis=1)
