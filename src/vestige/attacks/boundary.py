"""Boundary distance: members lie farther from the nearest point with another label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.errors import AuditError
from vestige.records import Task
from vestige.signals.base import key_of
from vestige.signals.labels.boundary import Boundary as Probe
from vestige.signals.labels.hop_skip_jump import FAILED, MISCLASSIFIED, Norm
from vestige.target import Access, FloatArray


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """Member if the decision boundary is far away, found by HopSkipJump with hard labels alone.

    Score (N,): the distance in units of the features, 0 for a misclassified record; larger = more likely a member. The
    adversary needs many labels for each record, of points of its own making. A record around which no other label was
    found scores as far as the farthest one found: it is at least not near. ``queries``: at most, per record; ``norm``:
    l2 or linf; ``subspace``: draw directions from a subspace of this size (QEBA); ``restarts``: searches that share the
    queries, of which the nearest point counts.
    """

    access: ClassVar[Access] = Access.LABEL
    paper: ClassVar[str] = (
        "Li & Zhang, Membership leakage in label-only exposures, CCS 2021, section 5; Choquette-Choo, Tramèr, "
        "Carlini & Papernot, Label-only membership inference attacks, ICML 2021, section 4.2"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})

    norm: Norm = "l2"
    queries: int = 1000
    subspace: int | None = None
    restarts: int = 1

    def __post_init__(self) -> None:
        self._probe()

    def _probe(self) -> Probe:
        return Probe(norm=self.norm, queries=self.queries, subspace=self.subspace, restarts=self.restarts)

    @property
    def key(self) -> str:
        """The signal it reads."""
        params = {"norm": self.norm, "queries": self.queries, "restarts": self.restarts, "subspace": self.subspace}
        return key_of("boundary", params)

    @property
    def needs(self) -> Needs:
        """The distance to the boundary."""
        return Needs(signals=(self.key,))

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) distances, larger = more likely a member."""
        found = evidence.target(self.key)[:, 0].astype(np.float64)
        distance, status = found[:, 0], found[:, 1]
        failed = status == FAILED
        if failed.all() and len(failed):
            raise AuditError(
                "No record with another label was found near any record: the target gives everything one label."
            )
        farthest = float(distance[~failed].max(initial=0.0))
        scores: FloatArray = np.where(failed, farthest, np.where(status == MISCLASSIFIED, 0.0, distance))
        return scores

    def queries_taken(self, evidence: Evidence) -> float:
        """Return how many labels a record took, on average."""
        return float(evidence.target(self.key)[:, 0, 2].mean())
