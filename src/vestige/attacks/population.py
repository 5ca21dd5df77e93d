"""Attack-P: how unusual the target's loss on a record would be for a record that nobody trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vestige.attacks.base import Evidence, Needs
from vestige.errors import AuditError
from vestige.records import Task
from vestige.target import Access, FloatArray

LEAST_LOSS = 1e-46


@dataclass(frozen=True, kw_only=True)
class AttackP:
    """How few of the records that nobody trained on have as small a loss under the target as this one.

    Score (N,) ≥ 0: minus the log of that share, a p-value, so ``score > -log α`` has a false-positive rate of about α;
    larger = more likely a member. The adversary needs records that the target did not train on, and no shadow model.
    The empirical distribution is joined up by straight lines in log-loss, which leaves the ranking, and so the ROC,
    exactly that of the loss. Raises AuditError without population records.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = (
        "Ye, Maddi, Murakonda, Bindschaedler & Shokri, "
        "Enhanced membership inference attacks against machine learning models, CCS 2022, section 4"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification", "regression"})

    @property
    def needs(self) -> Needs:
        """The target's loss on the record and on the population."""
        return Needs(signals=("loss",), population=True)

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) scores, larger = more likely a member."""
        if evidence.population is None or not len(evidence.population):
            raise AuditError(
                "Attack-P compares with population records that no model trained on, but there are none.",
                hint="Hold some records out of every model's training.",
            )
        population = _log(evidence.population.target("loss")[:, 0])
        return -log_share_below(_log(evidence.target("loss")[:, 0]), population)


def log_share_below(values: FloatArray, population: FloatArray) -> NDArray[np.float64]:
    """Return the log of the share of ``population`` below each value: continuous, strictly rising, at most 0."""
    knots, counts = np.unique(population, return_counts=True)
    size = len(population)
    # Half of the records tied at a knot count as below it, so every level is strictly between 0 and 1.
    levels = (np.cumsum(counts) - counts / 2.0) / size
    share = np.log(np.interp(values, knots, levels))
    below, above = values < knots[0], values > knots[-1]
    share[below] += values[below] - knots[0]
    left = (1.0 - levels[-1]) / (1.0 + values[above] - knots[-1])
    share[above] = np.log1p(-left)
    return share


def _log(losses: FloatArray) -> NDArray[np.float64]:
    return np.log(np.maximum(losses.astype(np.float64), LEAST_LOSS))
