"""What every signal read from a target's answer must do."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from vestige.errors import AccessError
from vestige.seeds import rng
from vestige.signals.base import OutputSignal
from vestige.target import Access, FloatArray, IntArray, Outputs
from vestige.testing.conformance import ConformanceError, close, hold

RECORDS = 64


def check_signal(signal: OutputSignal, *, seed: int = 0) -> None:
    """Check a signal that is a function of the answer; raises ConformanceError with what fails."""
    hold((type(signal).__doc__ or "").strip(), f"{signal!r}: it has a docstring")
    hold(isinstance(signal.access, Access), f"{signal!r}: its access is an Access")
    if "classification" in getattr(signal, "tasks", ("classification",)):
        for classes in (2, 7):
            _check_classification(signal, classes, seed)
        _check_access(signal)
    if "regression" in getattr(signal, "tasks", ()):
        draw = rng(seed, "check_signal", "regression")
        y = draw.standard_normal(RECORDS)
        _check_rows(signal, "values", y + draw.standard_normal(RECORDS), y)


def _check_classification(signal: OutputSignal, classes: int, seed: int) -> None:
    draw = rng(seed, "check_signal", classes)
    y = draw.integers(0, classes, RECORDS)
    logits = np.round(3.0 * draw.standard_normal((RECORDS, classes)) * 4096.0) / 4096.0
    values = _check_rows(signal, "logits", logits, y)
    shifted = signal.of(Outputs("logits", logits + 16.0), y)
    close(values, shifted, f"{signal!r}: adding a constant to a record's logits changes nothing", relative=1e-12)
    for kind, answer in (("logits", log_softmax(logits, axis=1)), ("probabilities", softmax(logits, axis=1))):
        again = signal.of(Outputs(kind, answer), y)  # type: ignore[arg-type]
        close(values, again, f"{signal!r}: {kind} that mean the same give the same", relative=1e-9)
    _check_rows(signal, "logits", logits * 1000.0, y)
    certain = np.eye(classes)[draw.integers(0, classes, RECORDS)]
    _check_rows(signal, "probabilities", certain, y)


def _check_rows(signal: OutputSignal, kind: Any, answer: FloatArray, y: IntArray | FloatArray) -> FloatArray:
    answer.setflags(write=False)
    values: Any = signal.of(Outputs(kind, answer), y)
    shaped = isinstance(values, np.ndarray) and values.ndim == 2 and len(values) == len(y)
    hold(shaped, f"{signal!r}: it returns (R, K)")
    hold(np.isfinite(values).all(), f"{signal!r}: it is finite for {kind}")
    order = rng(0, "check_signal", "order").permutation(len(y))
    moved = signal.of(Outputs(kind, answer[order]), y[order])
    hold(np.array_equal(values[order], moved), f"{signal!r}: shuffling the records shuffles it")
    half = signal.of(Outputs(kind, answer[::2]), y[::2])
    hold(np.array_equal(values[::2], half), f"{signal!r}: a record's value does not depend on the others")
    result: FloatArray = values
    return result


def _check_access(signal: OutputSignal) -> None:
    labels = np.zeros(4, np.int64)
    try:
        values = signal.of(Outputs("labels", labels), labels)
    except AccessError:
        hold(signal.access > Access.LABEL, f"{signal!r}: labels are enough for a signal that declares label access")
        return
    if signal.access > Access.LABEL:
        raise ConformanceError(f"{signal!r}: it declares {signal.access.label} access, yet labels are enough: {values}")
