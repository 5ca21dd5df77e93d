"""Ask every snapshot of a model that was updated, and count what was asked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vestige.backends.updated import Updated
from vestige.errors import UsageError
from vestige.records import Records
from vestige.signals.answers import Answer, read_answer, resolution_of
from vestige.target import Access, CountingTarget, IntArray, Target, require

BLOCK = 16_384


def updated(target: Target) -> Updated:
    """Return the model with its snapshots, out of what counts its queries; raises UsageError for any other model."""
    owner = target
    while isinstance(owner, CountingTarget):
        owner = owner.inner
    if not isinstance(owner, Updated):
        raise UsageError(
            f"Expected a model that was updated, with its snapshots before and after, got a {type(owner).__name__}.",
            hint="Name [target] before, add an [update] table, or pass vestige.Updated([before, after]).",
        )
    return owner


def answers_over_time(
    target: Target, records: Records, rows: IntArray, *, ends: bool = False
) -> Iterator[tuple[slice, list[Answer]]]:
    """Yield runs of the rows, each with what every snapshot answers to them, in order of time.

    ``ends``: only the first and the last. A zero among probabilities stands for the same in every snapshot.
    """
    require(target, Access.SCORE)
    asked = updated(target).snapshots
    asked = [asked[0], asked[-1]] if ends else asked
    classes = len(records.classes) or None
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        x, y = records.rows_of(part), np.asarray(records.y[part])
        found = [one.query(x, Access.SCORE) for one in asked]
        if isinstance(target, CountingTarget):
            target.queries += len(part) * len(found)
        coarsest = max(map(resolution_of, found))
        answers = [read_answer(one, y, classes=classes, resolution=coarsest) for one in found]
        yield slice(start, start + len(part)), answers
