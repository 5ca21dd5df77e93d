"""What an audit would train and query, how long it would take, and what it would keep: measured on a short probe,
not guessed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vestige.records import Records
from vestige.shadow import Demand, Work
from vestige.signals.measure import measure
from vestige.signals.queries import expand
from vestige.split import Split
from vestige.target import IntArray, Recipe, Target

PROBE_EPOCHS = (1, 3)
SCORING_SECONDS_PER_VALUE = 6e-9
FIXED_SECONDS = 1.5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``seconds`` and ``disk_mb`` are estimates; the counts are exact."""

    name: str
    attacks: tuple[str, ...]
    records: int
    held_out: int
    rows_per_model: int
    models: int
    reused: int
    trainings: int
    target_queries: int
    shadow_queries: int
    seconds: float
    seconds_per_model: float
    disk_mb: float


@dataclass(frozen=True)
class Probe:
    """What one more model costs."""

    seconds: float
    bytes: int


def probe(recipe: Recipe, records: Records, split: Split, demand: Demand, *, workers: int) -> Probe:
    """Train a few models a little, measure one, and extrapolate; nothing is written to the store."""
    size = max(1, int(recipe.chunk_size(records))) if hasattr(recipe, "chunk_size") else 1
    models = range(min(size, 1 + split.shadows))
    rows = [split.rows(model) for model in models]
    epochs = getattr(recipe, "epochs", None)
    if isinstance(epochs, int) and epochs > PROBE_EPOCHS[1]:
        _timed(_for(recipe, 1), records, rows)
        short, _ = _timed(_for(recipe, PROBE_EPOCHS[0]), records, rows)
        long, targets = _timed(_for(recipe, PROBE_EPOCHS[1]), records, rows)
        per_epoch = max(0.0, long - short) / (PROBE_EPOCHS[1] - PROBE_EPOCHS[0])
        training = short + per_epoch * (epochs - PROBE_EPOCHS[0])
    else:
        training, targets = _timed(recipe, records, rows[:1])
        training *= len(rows)
    start = time.perf_counter()
    keys = [key for names in demand.sets(records.task) for key in names]
    values = measure(targets[0], records, demand.rows, keys, queries=demand.queries, seed=demand.seed)
    measuring = time.perf_counter() - start
    kept = sum(array.nbytes for array in values.values())
    state = getattr(targets[0], "state", None)
    kept += sum(array.nbytes for array in state().values()) if callable(state) else 0
    seconds = training / len(rows) + measuring
    return Probe(seconds / max(1, workers), kept)


def _for(recipe: Any, epochs: int) -> Recipe:
    shorter: Recipe = dataclasses.replace(recipe, epochs=epochs)
    return shorter


def _timed(recipe: Recipe, records: Records, rows: Sequence[IntArray]) -> tuple[float, list[Target]]:
    start = time.perf_counter()
    many = getattr(recipe, "fit_many", None)
    seeds = list(range(len(rows)))
    targets = (
        many(records, rows, seeds) if many else [recipe.fit(records, r, s) for r, s in zip(rows, seeds, strict=True)]
    )
    return time.perf_counter() - start, targets


def make_plan(
    *,
    name: str,
    attacks: Sequence[str],
    split: Split,
    demand: Demand,
    work: Work,
    cost: Probe,
    given: bool,
    stand_ins: int,
) -> Plan:
    """Put the counts and the probe together."""
    answers = 1 + len(expand(demand.queries))
    trainings = len(work.missing)
    scored = len(attacks) * (1 + stand_ins) * len(split.audited) * max(1, split.shadows)
    seconds = trainings * cost.seconds + scored * SCORING_SECONDS_PER_VALUE + FIXED_SECONDS
    return Plan(
        name=name,
        attacks=tuple(attacks),
        records=len(split.audited),
        held_out=len(split.population),
        rows_per_model=int(np.median(split.masks.sum(axis=1))),
        models=split.shadows + (not given),
        reused=work.reused,
        trainings=trainings,
        target_queries=len(demand.rows) * answers,
        shadow_queries=len(demand.rows) * answers * split.shadows,
        seconds=round(seconds, 2),
        seconds_per_model=round(cost.seconds, 4),
        disk_mb=round((split.shadows + (not given)) * cost.bytes / 1e6, 2),
    )
