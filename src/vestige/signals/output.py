"""Signals that are functions of a target's answer, and the one pass that computes many of them from one query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vestige.errors import AccessError, ModelError
from vestige.records import Records, Task
from vestige.signals.answers import Answer, HardLabels, Scores, describe, read_answer, resolution_of
from vestige.signals.base import OutputSignal, Signals
from vestige.target import Access, FloatArray, IntArray, Outputs, Target

CHUNK = 1 << 17


@dataclass(frozen=True, kw_only=True)
class AnswerSignal:
    """A signal read from one answer; a subclass says which kinds of answer it ``reads`` and how."""

    access: ClassVar[Access] = Access.SCORE
    reads: ClassVar[tuple[type[Any], ...]] = (Scores,)
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})

    def read(self, answer: Any) -> FloatArray:
        """Return (R,) or (R, K) from an answer of a kind that the signal reads."""
        raise NotImplementedError

    def of(self, outputs: Outputs, y: IntArray | FloatArray) -> FloatArray:
        """Return (R, K) float64 from the answers to R records and their true labels."""
        return self.read_checked(read_answer(outputs, y))

    def measure(self, target: Target, records: Records, rows: IntArray, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
        """Ask the target about ``rows`` and return (R, K); the generator is not used."""
        return self.of(target.query(records.rows_of(rows), self.access), records.y[rows])

    def read_checked(self, answer: Answer) -> FloatArray:
        """Return (R, K) from any answer; raises AccessError or ModelError when it does not hold the signal."""
        name = type(self).__name__
        if not isinstance(answer, self.reads):
            if isinstance(answer, HardLabels):
                raise AccessError(
                    f"The signal {name} needs scores, but the target answered labels only.",
                    hint="Audit with access = 'label', or let the target answer probabilities.",
                )
            raise ModelError(
                f"The signal {name} cannot be read from a target that answers {describe(answer)}.",
                hint="Classification and regression targets have different signals: see `vestige list signals`.",
            )
        values = self.read(answer)
        return values[:, None] if values.ndim == 1 else values


def measure_signals(
    outputs: Outputs,
    y: IntArray | FloatArray,
    signals: Mapping[str, OutputSignal],
    *,
    classes: int | None = None,
    resolution: float | None = None,
) -> dict[str, Signals]:
    """Return (R, K) float32 per key: one pass over the answer, in runs of rows that fit the processor's cache."""
    if len(outputs) != len(y):
        raise ModelError(f"Expected one answer per record, got {len(outputs)} answers for {len(y)} records.")
    resolution = resolution or resolution_of(outputs)
    width = outputs.values.shape[1] if outputs.values.ndim == 2 else 1
    step = max(1, CHUNK // max(1, width))
    out: dict[str, Signals] = {}
    for start in range(0, max(1, len(y)), step):
        part = Outputs(outputs.kind, outputs.values[start : start + step])
        labels = y[start : start + step]
        try:
            answer = read_answer(part, labels, classes=classes, resolution=resolution)
        except ModelError:
            # The message counts rows: let it count all of them, not those of one run.
            read_answer(outputs, y, classes=classes, resolution=resolution)
            raise
        for key, signal in signals.items():
            values = signal.read_checked(answer) if isinstance(signal, AnswerSignal) else signal.of(part, labels)
            if key not in out:
                out[key] = np.empty((len(y), values.shape[1]), np.float32)
            out[key][start : start + len(labels)] = values
    return out
