"""You only query once: one label per record, of a point that shadow models say is telling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.records import Task
from vestige.signals.base import key_of
from vestige.signals.labels.one_query import OneQuery
from vestige.target import Access, FloatArray


@dataclass(frozen=True, kw_only=True)
class YOQO:
    """Member if the target keeps the true label at a point where models without the record would not.

    Score (N,): 1 if it does, else 0, plus less than a half that orders equal answers by how sure the shadow models
    without the record are of another label there; larger = more likely a member. The adversary needs one label for each
    record, and shadow models that can be differentiated, which only networks can. ``online``: shadow models with the
    record help to find the point; ``models``: at most, of each kind; ``steps`` and ``rate`` of the descent that finds
    it.
    """

    access: ClassVar[Access] = Access.LABEL
    paper: ClassVar[str] = (
        "Wu, Qiu, Guo et al., You only query once: an efficient label-only membership inference attack, ICLR 2024"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})

    online: bool = False
    models: int = 16
    steps: int = 50
    rate: float = 0.01

    def __post_init__(self) -> None:
        OneQuery(online=self.online, models=self.models, steps=self.steps, rate=self.rate)

    @property
    def key(self) -> str:
        """The signal it reads."""
        params = {"models": self.models, "online": self.online, "rate": self.rate, "steps": self.steps}
        return key_of("one_query", params)

    @property
    def needs(self) -> Needs:
        """The answer to the one query."""
        return Needs(signals=(self.key,), shadows=2, side="both")

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) scores, larger = more likely a member."""
        found = evidence.target(self.key)[:, 0].astype(np.float64)
        scores: FloatArray = found[:, 0] + np.arctan(found[:, 1]) / (np.pi + 1e-6)
        return scores

    def queries_taken(self, evidence: Evidence) -> float:  # noqa: ARG002
        """Return how many labels a record took."""
        return 1.0
