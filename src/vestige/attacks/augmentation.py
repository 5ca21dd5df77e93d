"""Augmentation: members keep their label under the changes that training data goes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.learned import Family, check_family, draw_rows, fit, same_classes
from vestige.errors import UsageError
from vestige.records import Task
from vestige.signals.base import key_of
from vestige.signals.labels.decisions import Decisions, Kind
from vestige.target import Access, FloatArray

Rule = Literal["counted", "learned"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Member if shifted, turned, mirrored or partly re-imputed copies of the record still get its true label.

    Score (N,): larger = more likely a member; by the ``rule`` ``counted``, how many do, and by ``learned``, the
    log-odds by an attack model that shadow models taught what each variant says. The adversary needs a label for each
    variant, and shadow models to learn from. ``kind``: rotation, translation, flip, imputation, or auto (translation
    for images, imputation otherwise); ``reach``: how far; ``family``: the kind of attack model; ``rows``: what it
    learns from.
    """

    access: ClassVar[Access] = Access.LABEL
    paper: ClassVar[str] = (
        "Choquette-Choo, Tramèr, Carlini & Papernot, Label-only membership inference attacks, ICML 2021, section 4.1"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})

    rule: Rule = "counted"
    kind: Kind = "auto"
    reach: int | None = None
    family: Family = "logistic"
    rows: int = 5000

    def __post_init__(self) -> None:
        Decisions(kind=self.kind, reach=self.reach)
        check_family(self.family)
        if self.rule not in ("counted", "learned"):
            raise UsageError(f"Expected rule to be counted or learned, got '{self.rule}'.")
        if self.rows < 1:
            raise UsageError(f"Expected at least one row, got {self.rows}.")

    @property
    def key(self) -> str:
        """The signal it reads."""
        return key_of("decisions", {"kind": self.kind, "reach": self.reach})

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records, through what an attack model learnt from them."""
        return self.rule == "learned"

    @property
    def trains(self) -> bool:
        """Whether it trains a model of its own."""
        return self.rule == "learned"

    @property
    def needs(self) -> Needs:
        """The decisions; and those of shadow models to learn from."""
        if self.rule == "counted":
            return Needs(signals=(self.key,))
        return Needs(signals=(self.key,), shadows=1, wants=10, side="both")

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) scores, larger = more likely a member."""
        return self.transfer(evidence, evidence)

    def transfer(self, known: Evidence, evidence: Evidence) -> FloatArray:
        """Return (N,) scores of ``evidence``, learning from the shadow models of ``known``."""
        own = evidence.target(self.key)[:, 0]
        own = own.reshape(len(own), -1)
        if self.rule == "counted":
            counts: FloatArray = own.sum(axis=1, dtype=np.float64)
            return counts
        same_classes(known, evidence)
        taught = fit(self.family, draw_rows(known, self.key, per_side=self.rows, by_class=False), known.seed)
        return taught(own)

    def queries_taken(self, evidence: Evidence) -> float:
        """Return how many labels a record took."""
        return float(evidence.target(self.key)[:, 0].reshape(len(evidence), -1).shape[1])
