"""Simulated models: what a target and its shadow models would answer if they remembered their records this well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vestige.attacks.base import Evidence, Needs
from vestige.records import Task
from vestige.seeds import rng
from vestige.signals import SignalTable, create, measure_outputs
from vestige.signals.base import OutputSignal
from vestige.target import Access, BoolArray, IntArray, Outputs
from vestige.testing.imagined import imagined

GRID = 4096.0


class Trial(NamedTuple):
    """Evidence, and the truth it does not hold: (N,) True for the target's members."""

    evidence: Evidence
    members: BoolArray


def simulate(
    needs: Needs,
    *,
    seed: int = 0,
    records: int = 240,
    population: int = 160,
    shadows: int = 16,
    classes: int = 8,
    memory: float = 2.0,
    target_memory: float | None = None,
    difficulty: float = 1.5,
    queries: int = 1,
    shift: float = 0.0,
    scale: float = 1.0,
    task: Task = "classification",
    access: Access = Access.SCORE,
) -> Trial:
    """Return what an attack with these needs would see of simulated models.

    Each record has scores of its own for every class, higher for its true class by an amount that varies from record to
    record with deviation ``difficulty``; every model adds noise, and ``memory`` to the true class of its training
    records (a regression divides its residual by e^memory). Shadow models come in pairs that split the records in two
    halves; the target's half is drawn independently and it remembers ``target_memory`` (None: as the shadows do).
    ``shift`` is added to every score and ``scale`` multiplies them; scores lie on a grid, so that neither rounds.
    """
    total = records + population
    count = 0 if needs.side == "none" else min(shadows, needs.wants or shadows)
    members = _half(rng(seed, "simulation", "target"), records)
    masks = np.zeros((1 + count, total), np.bool_)
    masks[1:, :records] = _pairs(rng(seed, "simulation", "shadows"), count, records)
    remembered = memory * masks.astype(np.float64)
    remembered[0, :records] = (memory if target_memory is None else target_memory) * members
    draw = rng(seed, "simulation", "models")
    hardness = difficulty * draw.standard_normal(total)
    if task == "regression":
        labels: NDArray[Any] = draw.standard_normal(total)
        errors = draw.choice((-1.0, 1.0), total) * np.exp(0.3 * hardness)
        errors = errors[:, None] + 0.3 * draw.standard_normal((1 + count, total, queries))
        answers = labels[:, None] + errors * np.exp(-remembered)[:, :, None]
    else:
        labels = draw.integers(0, classes, total)
        own = draw.standard_normal((total, classes))
        own[np.arange(total), labels] += hardness
        answers = own[None, :, None, :] + 0.7 * draw.standard_normal((1 + count, total, queries, classes))
        answers[:, np.arange(total), :, labels] += remembered.T[:, :, None]
        answers = (np.round(answers * GRID) / GRID * scale + shift).astype(np.float32)
    features = np.column_stack([hardness, draw.standard_normal((total, 3))]).astype(np.float32)
    columns = {key: _measured(key, answers, labels, task) for key in needs.signals}

    def cut(start: int, stop: int) -> Evidence:
        part = {key: values[:, start:stop] for key, values in columns.items()}
        return Evidence(
            access=access,
            needs=needs,
            labels=labels[start:stop],
            classes=classes if task == "classification" else 0,
            own=SignalTable({key: values[:1] for key, values in part.items()}, stop - start, 1),
            shadows=SignalTable({key: values[1:] for key, values in part.items()}, stop - start, count),
            masks=masks[1:, start:stop],
            features=features[start:stop] if needs.features else None,
            seed=seed,
        )

    outside = cut(records, total) if needs.population and population else None
    return Trial(replace(cut(0, records), population=outside), members)


def synthetic_evidence(needs: Needs, **options: Any) -> Evidence:
    """Return the evidence of `simulate`, without the truth."""
    return simulate(needs, **options).evidence


def take_records(evidence: Evidence, rows: IntArray) -> Evidence:
    """Return the same evidence on these records only, in this order; the population stays."""
    return replace(
        evidence,
        labels=evidence.labels[rows],
        own=evidence.own.take(rows),
        shadows=evidence.shadows.take(rows),
        masks=evidence.masks[:, rows],
        features=None if evidence.features is None else evidence.features[rows],
    )


def _half(draw: np.random.Generator, records: int) -> BoolArray:
    members = np.zeros(records, np.bool_)
    members[draw.permutation(records)[: (records + 1) // 2]] = True
    return members


def _pairs(draw: np.random.Generator, count: int, records: int) -> BoolArray:
    masks = np.zeros((count + count % 2, records), np.bool_)
    for row in range(0, count, 2):
        masks[row] = _half(draw, records)
        masks[row + 1] = ~masks[row]
    return masks[:count]


def _measured(key: str, answers: NDArray[Any], labels: NDArray[Any], task: Task) -> NDArray[np.float32]:
    models, total, queries = answers.shape[:3]
    y = np.tile(np.repeat(labels, queries), models)
    if task == "regression":
        outputs = Outputs("values", answers.reshape(-1))
    else:
        outputs = Outputs("logits", answers.reshape(-1, answers.shape[3]))
    if isinstance(create(key), OutputSignal):
        values = measure_outputs(outputs, y, [key])[key]
    else:
        values = imagined(key, np.asarray(outputs.values), y).astype(np.float32)
    shape = (models, total, queries)
    return values.reshape(shape if values.shape[1] == 1 else (*shape, values.shape[1]))
