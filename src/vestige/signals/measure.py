"""Measure a model once: every signal asked for, on every record, from one query per variant of a record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vestige.errors import ModelError
from vestige.records import Records
from vestige.seeds import rng
from vestige.signals import create, measure_outputs
from vestige.signals.answers import resolution_of
from vestige.signals.base import OutputSignal, Signals
from vestige.signals.internal.inside import InsideSignal, measure_inside
from vestige.signals.predicted import ask_labels, bare, is_marked, named_by, relabelled
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

    ``resolution``: what an exact zero among probabilities stands for; by default what the first answers show. Marked
    keys (see `vestige.signals.predicted`) are measured against the class that the target names for the plain record.
    """
    signals = {key: create(bare(key)) for key in keys}
    from_outputs = [key for key in keys if isinstance(signals[key], OutputSignal)]
    out: dict[str, Signals] = {}
    if from_outputs:
        want = max(signals[key].access for key in from_outputs)
        out = _from_outputs(target, records, rows, from_outputs, Access(want), queries, seed, resolution)
    for blind in (False, True):
        left = {key: signal for key, signal in signals.items() if key not in out and is_marked(key) == blind}
        if not left:
            continue
        asked = relabelled(records, rows, ask_labels(target, records, rows)) if blind else records
        within = {key: signal for key, signal in left.items() if isinstance(signal, InsideSignal)}
        if within:
            found = measure_inside(target, asked, rows, within)
            out |= {key: _squeeze(values)[:, None] for key, values in found.items()}
        for key, signal in left.items():
            if key not in out:
                kind: Any = np.float64 if getattr(signal, "exact", False) else np.float32
                values = np.asarray(signal.measure(target, asked, rows, rng(seed, "signal", bare(key))), kind)
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
    truthful, blind = [key for key in keys if not is_marked(key)], [key for key in keys if is_marked(key)]
    out: dict[str, Signals] = {}
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        x, named = records.rows_of(part), None
        for place, variant in enumerate(variants_of(x, queries, seed=seed, start=start)):
            outputs = target.query(variant, want)
            if len(outputs) != len(part):
                raise ModelError(f"Expected {len(part)} answers for {len(part)} records, got {len(outputs)}.")
            resolution = resolution or resolution_of(outputs)
            named = named_by(outputs) if blind and named is None else named
            for group, y in ((truthful, records.y[part]), (blind, named)):
                if not group or y is None:
                    continue
                plain = {bare(key): key for key in group}
                found = measure_outputs(outputs, y, list(plain), classes=classes, resolution=resolution)
                for key, values in found.items():
                    flat, kept = _squeeze(values), plain[key]
                    if kept not in out:
                        out[kept] = np.empty((len(rows), count, *flat.shape[1:]), np.float32)
                    out[kept][start : start + len(part), place] = flat
    return out


def _squeeze(values: Signals) -> Signals:
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
