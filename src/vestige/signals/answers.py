"""What a target's answer to R records means once it is checked: class scores, a hard label or a number.

Each kind computes what several signals share once, in float64, in forms that stay exact when the answer saturates:
nothing is ever written as 1 - p.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vestige.errors import ModelError
from vestige.target import BoolArray, FloatArray, IntArray, Outputs

Double = NDArray[np.float64]

UNDERFLOW = 1e-290
WIDEST_GAP = 745.0
COARSEST = 1e-3


@dataclass(frozen=True, eq=False)
class HardLabels:
    """The class a target named for each of R records, beside the true one; both (R,) indices."""

    named: IntArray
    y: IntArray

    @cached_property
    def correct(self) -> BoolArray:
        """(R,) True where the target named the true class."""
        return np.asarray(self.named == self.y)


@dataclass(frozen=True, eq=False)
class Predictions:
    """The number a target predicted for each of R records, beside the true one; both (R,)."""

    values: Double
    y: Double

    @cached_property
    def residual(self) -> Double:
        """(R,) prediction minus truth."""
        return self.values - self.y


@dataclass(frozen=True, eq=False)
class Scores:
    """A target's scores for C classes: ``logits`` (R, C), known up to a constant per row; ``y`` (R,) true indices."""

    logits: Double
    y: IntArray

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def rows(self) -> IntArray:
        """0 … R-1, to pick one class of each row."""
        return np.arange(len(self.y))

    @cached_property
    def top(self) -> IntArray:
        """(R,) the class with the largest score, the first of several."""
        return np.asarray(np.argmax(self.logits, axis=1), np.int64)

    @cached_property
    def correct(self) -> BoolArray:
        """(R,) True where the true class has the largest score."""
        return np.asarray(self.top == self.y)

    @cached_property
    def gaps(self) -> Double:
        """(R, C) each score minus its row's largest: all ≤ 0, and free of the row's constant."""
        return self.logits - self.logits[self.rows, self.top][:, None]

    @cached_property
    def odds(self) -> Double:
        """(R, C) each class's probability over the top class's: all ≤ 1."""
        return np.exp(self.gaps)

    @cached_property
    def runner_up(self) -> Double:
        """(R,) the second largest score minus the largest, ≤ 0."""
        return np.asarray(_without(self.gaps, self.rows, self.top, -np.inf).max(axis=1))

    @cached_property
    def rest(self) -> Double:
        """(R,) the odds of all classes but the top one, summed without the top one's 1 so that no digit is lost."""
        return np.asarray(_without(self.odds, self.rows, self.top, 0.0).sum(axis=1))

    @cached_property
    def log_rest(self) -> Double:
        """(R,) log of ``rest``, also where every odds underflowed."""
        with np.errstate(divide="ignore"):
            out = np.log(self.rest)
        lost = np.flatnonzero(self.rest < UNDERFLOW)
        if lost.size:
            gaps = _without(self.gaps[lost], np.arange(lost.size), self.top[lost], -np.inf)
            second = self.runner_up[lost]
            out[lost] = second + np.log(np.exp(gaps - second[:, None]).sum(axis=1))
        return out

    @cached_property
    def log_total(self) -> Double:
        """(R,) log of the sum of all odds: minus the log-probability of the top class."""
        return np.log1p(self.rest)

    @cached_property
    def probabilities(self) -> Double:
        """(R, C) softmax."""
        return self.odds / (1.0 + self.rest)[:, None]

    @cached_property
    def log_odds(self) -> Double:
        """(R,) log p_y - log(1 - p_y), the score of the true class minus the log-sum-exp of the others."""
        own = self.gaps[self.rows, self.y]
        others = 1.0 + (self.rest - np.exp(own))
        return np.where(self.correct, -self.log_rest, own - np.log(np.maximum(others, 1.0)))

    @cached_property
    def log_true(self) -> Double:
        """(R,) log p_y, with full relative precision however close p_y is to 1."""
        return -np.logaddexp(0.0, -self.log_odds)


Answer: TypeAlias = Scores | HardLabels | Predictions


def resolution_of(outputs: Outputs) -> float:
    """Return the probability below which an answer says nothing: what an exact zero in it stands for.

    Half the smallest positive probability shown, at most 1e-3, when there are exact zeros (a forest's votes, rounded or
    truncated answers); otherwise the smallest normal float of its type.
    """
    values: Any = outputs.values
    tiny = float(np.finfo(values.dtype if values.dtype.kind == "f" else np.float64).tiny)
    if outputs.kind != "probabilities" or not values.size:
        return tiny
    if float(values.min()) > 0.0:
        return tiny
    shown = float(values.min(initial=1.0, where=values > 0.0))
    return max(tiny, min(shown / 2.0, COARSEST))


def read_answer(
    outputs: Outputs, y: IntArray | FloatArray, *, classes: int | None = None, resolution: float | None = None
) -> Answer:
    """Check an answer and return its meaning; raises ModelError when it is not an answer to these records."""
    if len(outputs) != len(y):
        raise ModelError(f"Expected one answer per record, got {len(outputs)} answers for {len(y)} records.")
    if outputs.kind == "labels":
        return HardLabels(np.asarray(outputs.values), np.asarray(y))
    values = np.asarray(outputs.values, dtype=np.float64)
    _refuse(np.isnan(values), "NaN", outputs.kind)
    if outputs.kind == "values":
        _refuse(np.isinf(values), "an infinite number", outputs.kind)
        return Predictions(values, np.asarray(y, np.float64))
    scores = _logits(values) if outputs.kind == "logits" else _log_of(values, resolution or resolution_of(outputs))
    if np.asarray(y).dtype.kind not in "iu":
        raise ModelError("Expected whole-number class labels for a model that answers class scores, got fractions.")
    labels = np.asarray(y, np.int64)
    columns = scores.shape[1]
    if classes is not None and columns != max(classes, 2):
        raise ModelError(
            f"Expected {classes} columns, one per class, got {columns}.",
            hint="The model and the records must agree on the classes and their order.",
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < columns:
        raise ModelError(
            f"Expected a column per class, got {columns} columns and labels from {labels.min()} to {labels.max()}.",
            hint="The model and the records must agree on the classes and their order.",
        )
    return Scores(np.ascontiguousarray(scores), labels)


def _without(values: Double, rows: IntArray, columns: IntArray, fill: float) -> Double:
    out = values.copy()
    out[rows, columns] = fill
    return out


def _refuse(bad: Any, what: str, kind: str) -> None:
    if bad.any():
        rows = int(bad.reshape(len(bad), -1).any(axis=1).sum())
        raise ModelError(
            f"Expected finite {kind}, got {what} in {rows:,} of {len(bad):,} rows.",
            hint="Check the model's training and the scaling of its inputs.",
        )


def _logits(values: Double) -> Double:
    infinite = np.isinf(values)
    if infinite.any():
        _refuse(values == np.inf, "an infinite number", "logits")
        _refuse(infinite.all(axis=1), "only infinite numbers", "logits")
        values = np.maximum(values, values.max(axis=1, keepdims=True) - WIDEST_GAP)
    return np.column_stack([np.zeros(len(values)), values]) if values.shape[1] == 1 else values


def _log_of(values: Double, resolution: float) -> Double:
    _refuse((values < -1e-6) | (values > 1.0 + 1e-6), "a number outside 0 to 1", "probabilities")
    if values.shape[1] == 1:
        values = np.column_stack([1.0 - values[:, 0], values[:, 0]])
    _refuse(~(values > 0.0).any(axis=1, keepdims=True), "only zeros", "probabilities")
    hidden = values < resolution
    if not hidden.any():
        return np.log(values)
    # A truncated answer (top-k) keeps its sum below one: the classes it hides share what is left, but none of them
    # can have more than the least class shown.
    left = np.maximum(1.0 - values.sum(axis=1), 0.0) / np.maximum(hidden.sum(axis=1), 1)
    least = values.min(axis=1, initial=1.0, where=~hidden)
    share = np.maximum(np.minimum(left, least), resolution)
    return np.log(np.where(hidden, share[:, None], values))


def describe(answer: Answer) -> str:
    """Return what a target shows, in words."""
    words = {Scores: "class scores", HardLabels: "labels only", Predictions: "numbers"}
    return words[type(answer)]
