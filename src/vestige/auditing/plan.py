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

from vestige.attacks.assemble import Field
from vestige.attacks.base import Attack
from vestige.auditing.protocol import lacking
from vestige.records import Records
from vestige.shadow import Demand, Work
from vestige.signals.base import Signals, SignalTable
from vestige.signals.measure import measure
from vestige.signals.queries import expand
from vestige.split import Split, draw
from vestige.target import Access, IntArray, Recipe, Target

FEWEST = 20

PROBE_EPOCHS = (1, 3)
TOO_SHORT, MORE_EPOCHS = 0.2, 20  # a difference this small is mostly noise
PROBE_RECORDS, PROBE_SHADOWS = 2000, 12
START_SECONDS = 2.2  # the interpreter, the libraries, the report
LIGHT_SECONDS = 0.9  # the same where models need no heavy library
WORKER_SECONDS = 2.5  # processes of their own, each with its libraries
CHECK_SECONDS = 0.6
JUDGING_SECONDS = 0.06  # per attack and target: curves and their intervals


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
    """What one more model costs, and what its signals look like."""

    seconds: float
    bytes: int
    signals: dict[str, Signals]


def probe(recipe: Recipe, records: Records, split: Split, demand: Demand, *, workers: int) -> Probe:
    """Train a few models a little, measure one, and extrapolate; nothing is written to the store."""
    size = max(1, int(recipe.chunk_size(records))) if hasattr(recipe, "chunk_size") else 1
    models = range(min(size, 1 + split.shadows))
    rows = [split.rows(model) for model in models]
    epochs = getattr(recipe, "epochs", None)
    if isinstance(epochs, int) and epochs > PROBE_EPOCHS[1]:
        _timed(_for(recipe, 1), records, rows)
        short, _ = _timed(_for(recipe, PROBE_EPOCHS[0]), records, rows)
        many = PROBE_EPOCHS[1]
        long, targets = _timed(_for(recipe, many), records, rows)
        if long - short < TOO_SHORT:
            many = min(epochs, MORE_EPOCHS)
            long, targets = _timed(_for(recipe, many), records, rows)
        per_epoch = max(0.0, long - short) / (many - PROBE_EPOCHS[0])
        training = short + per_epoch * (epochs - PROBE_EPOCHS[0])
    else:
        inside = getattr(recipe, "inner", None)
        if isinstance(getattr(inside, "epochs", None), int):
            _timed(_for(inside, 1), records, rows[:1])  # loads the library, which is no part of a training
        training, targets = _timed(recipe, records, rows[:1])
        training *= len(rows)
    keys = [key for names in demand.sets(records.task) for key in names]
    few = demand.rows[:64]
    # Once on a few records, which loads what measuring needs; then twice, since a busy machine can stall either.
    measure(targets[0], records, few, keys, queries=demand.queries, seed=demand.seed)
    measuring = np.inf
    for _ in range(2):
        start = time.perf_counter()
        values = measure(targets[0], records, demand.rows, keys, queries=demand.queries, seed=demand.seed)
        measuring = min(measuring, time.perf_counter() - start)
    kept = sum(array.nbytes for array in values.values())
    state = getattr(targets[0], "state", None)
    kept += sum(array.nbytes for array in state().values()) if callable(state) else 0
    seconds = training / len(rows) + measuring
    return Probe(seconds / max(1, workers), kept, values)


def attack_seconds(
    attacks: Sequence[Attack],
    records: Records,
    split: Split,
    demand: Demand,
    signals: dict[str, Signals],
    *,
    passes: int,
) -> float:
    """Run each attack once on a few records and made-up shadow models, and extrapolate to all of them."""
    count, shadows = min(len(split.audited), PROBE_RECORDS), min(split.shadows, PROBE_SHADOWS)
    rng = np.random.default_rng(0)
    few = np.sort(rng.permutation(len(split.audited))[:count])
    held = np.arange(len(split.audited), len(demand.rows))[:PROBE_RECORDS]
    rows = np.concatenate([few, held])
    columns = {key: [_shaken(values[rows], rng) for _ in range(1 + shadows)] for key, values in signals.items()}
    inner = draw(count, shadows=shadows, seed=0) if count >= FEWEST else None
    if inner is None:
        return 0.0
    masks = np.zeros((1 + shadows, len(rows)), bool)
    masks[:, :count] = inner.masks
    small = Split(masks, inner.blocks, np.arange(count), np.arange(count, len(rows)), 0, inner.design)
    field = Field(
        records=records.take(demand.rows[rows]),
        split=small,
        table=SignalTable(columns, len(rows), 1 + shadows),
        access=Access.WHITE_BOX,
        seed=0,
    )
    total = 0.0
    for attack in attacks:
        if lacking(field, attack):
            continue
        start = time.perf_counter()
        try:
            attack.score(field.evidence(0, attack))
        except Exception:  # it fails in the audit too, where the reason is kept; here only its time was asked for
            continue
        wide = attack.needs.side != "none" and attack.needs.wants is None
        scale = len(split.audited) / count * (max(1.0, split.shadows / max(1, shadows)) if wide else 1.0)
        total += (time.perf_counter() - start) * scale * (3 if getattr(attack, "trains", False) else passes)
    return total


def _shaken(values: Signals, rng: np.random.Generator) -> Signals:
    return (values + 0.05 * rng.standard_normal(values.shape)).astype(np.float32)


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
    targets: int,
    elsewhere: int,
    scoring: float,
    processes: bool,
    light: bool,
) -> Plan:
    """Put the counts and the probes together; ``elsewhere`` counts shadow models of other records."""
    answers = 1 + len(expand(demand.queries))
    trainings = len(work.missing) + elsewhere
    seconds = trainings * cost.seconds + scoring + (LIGHT_SECONDS if light else START_SECONDS) + CHECK_SECONDS
    seconds += len(attacks) * targets * JUDGING_SECONDS + (WORKER_SECONDS if processes and trainings else 0.0)
    return Plan(
        name=name,
        attacks=tuple(attacks),
        records=len(split.audited),
        held_out=len(split.population),
        rows_per_model=int(np.median(split.masks.sum(axis=1))),
        models=split.shadows + (not given) + elsewhere,
        reused=work.reused,
        trainings=trainings,
        target_queries=len(demand.rows) * answers,
        shadow_queries=len(demand.rows) * answers * (split.shadows + elsewhere),
        seconds=round(seconds, 2),
        seconds_per_model=round(cost.seconds, 4),
        disk_mb=round((split.shadows + (not given) + elsewhere) * cost.bytes / 1e6, 2),
    )
