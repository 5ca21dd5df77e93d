"""Before and after: the whole answers of a model at both ends of its updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

from vestige.errors import AccessError
from vestige.records import Records, Task
from vestige.signals.answers import Scores
from vestige.signals.update.asking import answers_over_time, updated
from vestige.target import Access, FloatArray, IntArray, Target

Double = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BeforeAfter:
    """The probabilities of all classes before the first update, then after the last; (R, 2C).

    Updates that removed records are read backwards: the second half is always of the model that saw more records.
    """

    access: ClassVar[Access] = Access.SCORE
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})
    compares: ClassVar[bool] = True
    knows: ClassVar[tuple[str, ...]] = ("the model before the update",)
    asks: ClassVar[str] = "2"

    def measure(self, target: Target, records: Records, rows: IntArray, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
        """Ask the first and the last snapshot; return (R, 2C). Raises AccessError for a model that answers labels."""
        out = np.empty((len(rows), 2 * len(records.classes)))
        turn = -1 if updated(target).removed else 1
        for place, answers in answers_over_time(target, records, rows, ends=True):
            out[place] = np.hstack([_probabilities(one) for one in answers[::turn]])
        return out

    def imagine(self, logits: Double, y: IntArray) -> Double:  # noqa: ARG002
        """Return what would be found on a simulated model that knew nothing before its update."""
        after = special.softmax(logits, axis=1)
        return np.hstack([np.full_like(after, 1 / after.shape[1]), after])


def _probabilities(answer: object) -> Double:
    if not isinstance(answer, Scores):
        raise AccessError("Comparing whole answers needs scores of all classes, and a snapshot shows none.")
    return np.asarray(answer.probabilities, np.float64)
