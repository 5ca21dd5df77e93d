"""Quantile regression: how much surer the target is of a record than of others with such features it never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.moments import Floats, scalars
from vestige.attacks.orientation import sign
from vestige.attacks.quantile_heads import boosted, linear
from vestige.errors import AuditError, UsageError
from vestige.records import Task
from vestige.seeds import rng, seed_for
from vestige.target import Access, IntArray

Regressor = Literal["boosting", "linear"]
_FEWEST = 20  # non-members from which a mean and a spread can be learnt at all
_MOST = 20_000  # and beyond which more of them cost time but no longer teach


@dataclass(frozen=True, kw_only=True)
class Quantile:
    """How many conditional deviations the target's signal lies above what non-members with such features show.

    Score (N,) float64: z = (s − μ(x, y)) / σ(x, y), so "member iff z ≥ Φ⁻¹(1 − α)" has a false-positive rate of about
    α; larger = more likely a member. μ and σ are the Gaussian head of the paper's section 3, learnt from the target's
    answers on population records; without a population, from references' answers on records they did not train on.
    ``signal`` is any scalar signal, turned so that members have more of it; ``regressor``: ``boosting`` (trees, needs
    scikit-learn) or ``linear`` (features, their squares and the label); ``use_label``: whether μ and σ may depend on
    the true label. Raises AuditError without non-members to learn from.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = (
        "Bertran, Tang, Kearns, Morgenstern, Roth & Wu, Scalable membership inference attacks via quantile regression, "
        "NeurIPS 2023, arXiv:2307.03694"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification", "regression"})

    signal: str = "hinge"
    regressor: Regressor = "boosting"
    use_label: bool = True

    population_or_references: ClassVar[bool] = True
    trains: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.regressor not in get_args(Regressor):
            raise UsageError(f"Expected regressor to be boosting or linear, got '{self.regressor}'.")

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records: without a population they are what is learnt from."""
        return True

    @property
    def needs(self) -> Needs:
        """The signal, features, and non-members: a population where there is one, else OUT references."""
        return Needs(signals=(self.signal,), side="out", population=True, features=True)

    def score(self, evidence: Evidence) -> Floats:
        """Return (N,) float64 scores, finite, larger = more likely a member."""
        x, values = self._non_members(evidence)
        if len(x) > _MOST:
            kept = np.sort(rng(evidence.seed, "quantile", "rows").choice(len(x), _MOST, replace=False))
            x, values = x[kept], values[kept]
        seed = seed_for(evidence.seed, "quantile", "trees")
        head = linear(x, values) if self.regressor == "linear" else boosted(x, values, seed=seed)
        mean, deviation = head(self._inputs(evidence))
        z: Floats = (self._answers(evidence) - mean) / np.maximum(deviation, np.finfo(np.float64).tiny)
        return z

    def _answers(self, evidence: Evidence) -> Floats:
        mean: Floats = sign(self.signal) * scalars(evidence, self.signal).mean(axis=1)
        return mean

    def _inputs(self, evidence: Evidence) -> Floats:
        if evidence.features is None:
            raise AuditError("The attack 'quantile' predicts from the records' features, but there are none.")
        x = np.asarray(evidence.features, np.float64).reshape(len(evidence), -1)
        if not self.use_label:
            return x
        if evidence.classes:
            label = np.asarray(evidence.labels, np.int64)[:, None] == np.arange(evidence.classes)
            return np.concatenate([x, label.astype(np.float64)], axis=1)
        return np.concatenate([x, np.asarray(evidence.labels, np.float64)[:, None]], axis=1)

    def _non_members(self, evidence: Evidence) -> tuple[Floats, Floats]:
        """Return features and answers of (record, model) pairs where the model did not train on the record."""
        population = evidence.population
        if population is not None and len(population) >= _FEWEST:
            return self._inputs(population), self._answers(population)
        rows, values = _one_reference_each(evidence, self.signal)
        if len(rows) < _FEWEST:
            raise AuditError(
                f"The attack 'quantile' needs at least {_FEWEST} non-members to learn from, got {len(rows)}.",
                hint="Hold records out of every model's training, or train shadow models.",
            )
        return self._inputs(evidence)[rows], sign(self.signal) * values


def _one_reference_each(evidence: Evidence, key: str) -> tuple[IntArray, Floats]:
    """Return the records that have an OUT reference, and what the first one of each shows: one row per record."""
    if not len(evidence.masks):
        return np.empty(0, np.int64), np.empty(0)
    rows, values = [], []
    for start, stop in evidence.blocks():
        outside = evidence.outside(start, stop)
        first, some = outside.argmax(axis=0), outside.any(axis=0)
        shown = evidence.reference(key, start, stop)[first, np.arange(stop - start)].mean(axis=1, dtype=np.float64)
        rows.append(np.flatnonzero(some) + start)
        values.append(shown[some])
    return np.concatenate(rows), np.concatenate(values)
