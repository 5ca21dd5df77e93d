"""Signals of a regression's answer, and the log-scaled loss that Gaussian attacks read for either task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vestige.records import Task
from vestige.signals.answers import Predictions, Scores
from vestige.signals.classification import BOTH, Loss
from vestige.signals.output import AnswerSignal
from vestige.target import FloatArray

TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, kw_only=True)
class Residual(AnswerSignal):
    """Prediction minus truth, in the label's units; members' are nearer zero."""

    reads: ClassVar[tuple[type[Any], ...]] = (Predictions,)
    tasks: ClassVar[frozenset[Task]] = frozenset({"regression"})

    def read(self, answer: Predictions) -> FloatArray:
        """Return (R,) residuals."""
        return answer.residual


@dataclass(frozen=True, kw_only=True)
class NegativeLogLoss(AnswerSignal):
    """-log(loss + the smallest float), which is nearly normal over models where the loss is not; members have more."""

    reads: ClassVar[tuple[type[Any], ...]] = (Scores, Predictions)
    tasks: ClassVar[frozenset[Task]] = BOTH

    def read(self, answer: Scores | Predictions) -> FloatArray:
        """Return (R,) values."""
        return np.asarray(-np.log(Loss().read(answer) + TINY))
