"""Measure a model once: every signal asked for, on every record, from one query per variant of a record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vestige.errors import ModelError
from vestige.records import Records
from vestige.seeds import rng
from vestige.signals import create, measure_outputs
from vestige.signals.answers import resolution_of
from vestige.signals.base import OutputSignal, Signals
from vestige.signals.internal.inside import InsideSignal, measure_inside
from vestige.signals.queries import expand, variants_of
from vestige.target import Access, IntArray, Target

BLOCK = 16_384


def measure(
    target: Target,
    records: Records,
    rows: IntArray,
    keys: Sequence[str],
    *,
    queries: Sequence[str] = (),
    seed: int = 0,
    resolution: float | None = None,
) -> dict[str, Signals]:
    """Return for each key the (R, A) or (R, A, K) float32 values of ``rows``: A is one plain query and one per variant.

    ``resolution``: what an exact zero among probabilities stands for; by default what the first answers show.
    """
    signals = {key: create(key) for key in keys}
    from_outputs = [key for key in keys if isinstance(signals[key], OutputSignal)]
    out: dict[str, Signals] = {}
    if from_outputs:
        want = max(signals[key].access for key in from_outputs)
        out = _from_outputs(target, records, rows, from_outputs, Access(want), queries, seed, resolution)
    within = {key: signal for key, signal in signals.items() if isinstance(signal, InsideSignal)}
    if within:
        found = measure_inside(target, records, rows, within)
        out |= {key: _squeeze(values)[:, None] for key, values in found.items()}
    for key in keys:
        if key not in out:
            values = np.asarray(signals[key].measure(target, records, rows, rng(seed, "signal", key)), np.float32)
            out[key] = _squeeze(values)[:, None]
    return out


def _from_outputs(
    target: Target,
    records: Records,
    rows: IntArray,
    keys: Sequence[str],
    want: Access,
    queries: Sequence[str],
    seed: int,
    resolution: float | None,
) -> dict[str, Signals]:
    count = 1 + len(expand(queries))
    classes = len(records.classes) or None
    out: dict[str, Signals] = {}
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        x, y = records.rows_of(part), records.y[part]
        for place, variant in enumerate(variants_of(x, queries, seed=seed, start=start)):
            outputs = target.query(variant, want)
            if len(outputs) != len(part):
                raise ModelError(f"Expected {len(part)} answers for {len(part)} records, got {len(outputs)}.")
            resolution = resolution or resolution_of(outputs)
            for key, values in measure_outputs(outputs, y, keys, classes=classes, resolution=resolution).items():
                flat = _squeeze(values)
                if key not in out:
                    out[key] = np.empty((len(rows), count, *flat.shape[1:]), np.float32)
                out[key][start : start + len(part), place] = flat
    return out


def _squeeze(values: Signals) -> Signals:
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
