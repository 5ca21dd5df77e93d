"""Noise robustness: members keep their label under more noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.records import Task
from vestige.signals.base import key_of
from vestige.signals.labels.robustness import Kind, Robustness
from vestige.target import Access, FloatArray


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Member if noisy copies of the record still get its true label, a stand-in for its distance to the boundary.

    Score (N,): the share of ``queries`` copies that do, plus half a copy when the record itself does, which is asked
    too; larger = more likely a member. The adversary needs many labels for each record, and to know how the features
    are spread. ``kind``: gaussian, flip, salt_pepper, or auto (flips for binary features and categories, else
    gaussian); ``amount``: of noise, see `vestige.signals.labels.robustness`.
    """

    access: ClassVar[Access] = Access.LABEL
    paper: ClassVar[str] = (
        "Choquette-Choo, Tramèr, Carlini & Papernot, Label-only membership inference attacks, ICML 2021, section 4.3"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})
    extra_queries: ClassVar[int] = 1

    kind: Kind = "auto"
    amount: float | None = None
    queries: int = 100

    def __post_init__(self) -> None:
        Robustness(kind=self.kind, amount=self.amount, queries=self.queries)

    @property
    def key(self) -> str:
        """The signal it reads."""
        return key_of("robustness", {"kind": self.kind, "amount": self.amount, "queries": self.queries})

    @property
    def needs(self) -> Needs:
        """The share of noisy copies, and the record's own label."""
        return Needs(signals=("correct", self.key))

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) scores, larger = more likely a member."""
        share = evidence.target(self.key)[:, 0].astype(np.float64)
        own = evidence.target("correct")[:, 0].astype(np.float64)
        scores: FloatArray = share + own / (2 * self.queries)
        return scores

    def queries_taken(self, evidence: Evidence) -> float:  # noqa: ARG002
        """Return how many labels a record took."""
        return self.queries + self.extra_queries
