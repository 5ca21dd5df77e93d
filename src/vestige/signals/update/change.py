"""Change: by how much an update moved a signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vestige.errors import UsageError
from vestige.records import Records, Task
from vestige.signals import create
from vestige.signals.answers import Answer
from vestige.signals.output import AnswerSignal
from vestige.signals.update.asking import answers_over_time, updated
from vestige.target import Access, FloatArray, IntArray, Outputs, Target

Double = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A signal of the model after an update minus that before it; (R, T) of T updates, in order of time.

    ``signal``: which signal, one number per answer. Updates that removed records are read backwards, before minus
    after, as if they had added them. A difference of log-odds is the logarithm of a ratio of odds, and one of
    ``negative_log_loss`` that of a ratio of losses. A residual counts without its sign. Kept in float64, since small
    changes of large numbers matter. Raises UsageError where ``signal`` is none of that kind, and for a model without
    snapshots.
    """

    access: ClassVar[Access] = Access.SCORE
    exact: ClassVar[bool] = True
    compares: ClassVar[bool] = True
    knows: ClassVar[tuple[str, ...]] = ("the model before the update",)
    asks: ClassVar[str] = "1 per snapshot"

    signal: str = "log_odds"

    def __post_init__(self) -> None:
        if not isinstance(create(self.signal), AnswerSignal):
            raise UsageError(
                f"Expected a change of a signal that one answer shows, got '{self.signal}'.",
                hint="Take log_odds, loss, negative_log_loss or, for a regression, residual.",
            )

    @property
    def tasks(self) -> frozenset[Task]:
        """Those of the signal that changes."""
        return self._signal.tasks

    @property
    def _signal(self) -> AnswerSignal:
        signal = create(self.signal)
        assert isinstance(signal, AnswerSignal)
        return signal

    def measure(self, target: Target, records: Records, rows: IntArray, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
        """Ask every snapshot about ``rows`` and return (R, T) float64."""
        model = updated(target)
        out = np.empty((len(rows), len(model.snapshots) - 1))
        for place, answers in answers_over_time(target, records, rows):
            out[place] = np.diff(np.column_stack([self._read(one) for one in answers]), axis=1)
        return -out if model.removed else out

    def _read(self, answer: Answer) -> Double:
        values = self._signal.read_checked(answer)
        if values.shape[1] != 1:
            raise UsageError(f"Expected a change of one number per record, and '{self.signal}' is {values.shape[1]}.")
        plain = np.asarray(values[:, 0], np.float64)
        return np.abs(plain) if self.signal == "residual" else plain

    def imagine(self, logits: Double, y: IntArray) -> Double:
        """Return what would be found on a simulated model that knew nothing before its update."""
        values = logits.ndim == 1
        blank = np.asarray(y, np.float64) + 1 if values else np.zeros_like(logits)
        kind = "values" if values else "logits"
        after, before = (
            np.asarray(self._signal.of(Outputs(kind, one), y), np.float64)  # type: ignore[arg-type]
            for one in (logits, blank)
        )
        return np.abs(after) - np.abs(before) if self.signal == "residual" else after - before
