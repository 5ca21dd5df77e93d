"""Signals of a classifier's answer. φ is log p_y - log(1 - p_y); y is the true class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vestige.errors import UsageError
from vestige.records import Task
from vestige.signals.answers import HardLabels, Predictions, Scores
from vestige.signals.output import AnswerSignal
from vestige.target import Access, FloatArray

LEAST_LOG_PROBABILITY = float(np.log(np.finfo(np.float32).tiny))
BOTH: frozenset[Task] = frozenset({"classification", "regression"})


@dataclass(frozen=True, kw_only=True)
class Loss(AnswerSignal):
    """Cross-entropy -log p_y of a classifier, or squared error of a regression; members have less."""

    reads: ClassVar[tuple[type[Any], ...]] = (Scores, Predictions)
    tasks: ClassVar[frozenset[Task]] = BOTH

    def read(self, answer: Scores | Predictions) -> FloatArray:
        """Return (R,) losses, ≥ 0."""
        return -answer.log_true if isinstance(answer, Scores) else answer.residual**2


@dataclass(frozen=True, kw_only=True)
class LogProbability(AnswerSignal):
    """log p_y, after dividing the scores by ``temperature``; members have more."""

    temperature: float = 1.0

    def __post_init__(self) -> None:
        positive("temperature", self.temperature)

    def read(self, answer: Scores) -> FloatArray:
        """Return (R,) log-probabilities, ≤ 0."""
        return at(answer, self.temperature).log_true


@dataclass(frozen=True, kw_only=True)
class LogOdds(AnswerSignal):
    """φ, the score of the true class minus the log-sum-exp of the others; members have more."""

    def read(self, answer: Scores) -> FloatArray:
        """Return (R,) log-odds."""
        return answer.log_odds


@dataclass(frozen=True, kw_only=True)
class Hinge(AnswerSignal):
    """The score of the true class minus the largest other score; members have more."""

    def read(self, answer: Scores) -> FloatArray:
        """Return (R,) margins, between φ and φ + log(C - 1)."""
        return np.where(answer.correct, -answer.runner_up, answer.gaps[answer.rows, answer.y])


@dataclass(frozen=True, kw_only=True)
class Entropy(AnswerSignal):
    """Entropy of the answer in nats, blind to the true class; members have less."""

    def read(self, answer: Scores) -> FloatArray:
        """Return (R,) entropies, 0 to log C."""
        surprise: FloatArray = (answer.probabilities * answer.gaps).sum(axis=1)
        return answer.log_total - surprise


@dataclass(frozen=True, kw_only=True)
class ModifiedEntropy(AnswerSignal):
    """Entropy that knows the true class, -(1 - p_y) log p_y - Σ_{j≠y} p_j log(1 - p_j); members have less.

    Song & Mittal, USENIX Security 2021, section 4.2.
    """

    def read(self, answer: Scores) -> FloatArray:
        """Return (R,) values ≥ 0, zero only for full confidence in the true class."""
        rows, y, top, wrong = answer.rows, answer.y, answer.top, ~answer.correct
        p = answer.probabilities
        others = p.copy()
        others[rows, y] = 0.0
        # The top class may be so close to 1 that 1 - p rounds to nothing: its term comes from the log-sum of the rest.
        others[rows, top] = 0.0
        rest: FloatArray = -(others * np.log1p(-others)).sum(axis=1)
        leader = p[rows, top] * (answer.log_total - answer.log_rest)
        not_true = np.exp(-np.logaddexp(0.0, answer.log_odds))
        return -not_true * answer.log_true + rest + np.where(wrong, leader, 0.0)


@dataclass(frozen=True, kw_only=True)
class MaxLogProbability(AnswerSignal):
    """Log of the largest probability, blind to the true class; members have more."""

    def read(self, answer: Scores) -> FloatArray:
        """Return (R,) log-probabilities, -log C to 0."""
        return -answer.log_total


@dataclass(frozen=True, kw_only=True)
class Correct(AnswerSignal):
    """1 where the target names the true class, else 0; members more often 1."""

    access: ClassVar[Access] = Access.LABEL
    reads: ClassVar[tuple[type[Any], ...]] = (Scores, HardLabels)

    def read(self, answer: Scores | HardLabels) -> FloatArray:
        """Return (R,) zeros and ones."""
        return answer.correct.astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class PredictedClass(AnswerSignal):
    """Index of the class that the target names; it says nothing of membership by itself."""

    access: ClassVar[Access] = Access.LABEL
    reads: ClassVar[tuple[type[Any], ...]] = (Scores, HardLabels)

    def read(self, answer: Scores | HardLabels) -> FloatArray:
        """Return (R,) whole numbers."""
        return (answer.named if isinstance(answer, HardLabels) else answer.top).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class StdProbability(AnswerSignal):
    """Standard deviation of the C probabilities, blind to the true class; members have more."""

    def read(self, answer: Scores) -> FloatArray:
        """Return (R,) values ≥ 0, dividing by C."""
        p = answer.probabilities
        spread: FloatArray = np.sqrt(((p - 1.0 / p.shape[1]) ** 2).mean(axis=1))
        return spread


@dataclass(frozen=True, kw_only=True)
class TopProbabilities(AnswerSignal):
    """The three largest log-probabilities, falling, whatever class they belong to; padded for two classes."""

    def read(self, answer: Scores) -> FloatArray:
        """Return (R, 3) log-probabilities; a class that does not exist has the smallest float's."""
        gaps = answer.gaps
        kept = min(3, gaps.shape[1])
        best = np.sort(np.partition(gaps, -kept, axis=1)[:, -kept:], axis=1)[:, ::-1]
        out = np.full((len(gaps), 3), LEAST_LOG_PROBABILITY)
        out[:, :kept] = best - answer.log_total[:, None]
        return out


@dataclass(frozen=True, kw_only=True)
class LogProbabilities(AnswerSignal):
    """The log-probability of every class, in class order."""

    def read(self, answer: Scores) -> FloatArray:
        """Return (R, C)."""
        return answer.gaps - answer.log_total[:, None]


@dataclass(frozen=True, kw_only=True)
class TaylorLogProbability(AnswerSignal):
    """log p_y under a softmax whose exponential is cut to a polynomial, with a margin, so that it saturates later.

    Scores are measured from the row's smallest and divided by ``temperature``, the true one less ``margin``. The
    polynomial's ``order`` must be even and the margin below one: then every term is positive and p_y rises with its
    score. Zarifzadeh, Liu & Shokri, ICML 2024, appendix on signals.
    """

    order: int = 4
    margin: float = 0.6
    temperature: float = 1.0

    def __post_init__(self) -> None:
        positive("temperature", self.temperature)
        if self.order < 2 or self.order % 2:
            raise UsageError(f"Expected an even order of 2 or more, got {self.order}.", hint="Odd ones go negative.")
        if not 0.0 <= self.margin < 1.0:
            raise UsageError(f"Expected a margin from 0 up to, not including, 1, got {self.margin}.")

    def read(self, answer: Scores) -> FloatArray:
        """Return (R,) log-probabilities, < 0."""
        gaps = answer.gaps
        x = (gaps - gaps.min(axis=1, keepdims=True)) / self.temperature
        own = self._polynomial(x[answer.rows, answer.y] - self.margin)
        powers = self._polynomial(x)
        powers[answer.rows, answer.y] = 0.0
        return np.asarray(-np.log1p(powers.sum(axis=1) / own))

    def _polynomial(self, x: FloatArray) -> FloatArray:
        total: FloatArray = np.ones_like(x)
        for degree in range(self.order, 0, -1):
            total = 1.0 + total * x / degree
        return total


def at(answer: Scores, temperature: float) -> Scores:
    """Return the same answer with its scores divided by ``temperature``."""
    return answer if temperature == 1.0 else Scores(answer.gaps / temperature, answer.y)


def positive(name: str, value: float) -> None:
    """Raise UsageError unless ``value`` is a positive finite number."""
    if not (0.0 < value < np.inf):
        raise UsageError(f"Expected a positive {name}, got {value}.")
