"""Snapshots: the course of the target's own training, for an adversary who kept what it was after every epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vestige.errors import AuditError, UsageError
from vestige.signals.base import Setting, Signals
from vestige.signals.process.distilled import Distilled
from vestige.signals.process.metrics import ask, metrics_of, sequence
from vestige.target import Access, FloatArray, IntArray, Target

TOLERANCE = 1e-2


@dataclass(frozen=True, kw_only=True)
class Snapshots:
    """Five metrics of a record after the epochs of the target's own training, the finished target last.

    Returns (R, (T + 1) * 5) in the order of the ``distilled`` signal, of T epochs spread evenly over the training, at
    most ``count``. The target is asked about each record once; its snapshots are not the target. A model trained here
    is trained once more, which gives the same bytes. Raises UsageError where the snapshots are not to be had, and
    AuditError where training again ends in another model.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    knows: ClassVar[tuple[str, ...]] = ("snapshots of the training",)

    count: int = 50

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"Expected at least one snapshot, got {self.count}.")

    def probe(self, target: Target, setting: Setting) -> FloatArray:
        """Follow the training, and keep the epochs wanted."""
        records, rows = setting.records, setting.rows
        if setting.history is None:
            raise UsageError(
                "There are no snapshots of this model's training: it was not trained here.",
                hint="Use the distilled trajectory instead, which needs only the model's answers.",
            )
        steps: list[Signals] = []
        setting.history(rows, lambda outputs: steps.append(metrics_of(outputs, records, rows)))
        last = ask(target, records, rows)
        if not steps or not np.allclose(steps[-1][:, 0], last[:, 0], rtol=TOLERANCE, atol=TOLERANCE):
            raise AuditError(
                "Training this model once more ended in another one, so its snapshots are not known.",
                hint="Was it trained on another device, or by a changed library?",
            )
        return sequence([*(steps[k] for k in chosen(len(steps) - 1, self.count)), last])

    def imagine(self, logits: FloatArray, y: IntArray) -> FloatArray:
        """Return what would be found on a simulated model."""
        return Distilled().imagine(logits, y)


def chosen(epochs: int, count: int) -> IntArray:
    """Return at most ``count`` of so many epochs, evenly spread, the last always among them."""
    places = np.linspace(epochs - 1, 0, min(count, epochs))[::-1] if epochs else np.empty(0)
    return np.asarray(np.rint(places), np.int64)
