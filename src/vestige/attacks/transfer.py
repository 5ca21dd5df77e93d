"""Transfer: attack a copy that was trained on the target's hard labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.records import Task
from vestige.target import Access, FloatArray

KEY = "extraction"


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Member if a copy of the target, trained on the target's labels of held-out records, is sure of the true label.

    Score (N,): the copy's log-probability of the true label where the target itself gives that label, the others below
    all of those, in the copy's order; larger = more likely a member. The adversary needs records that the target did
    not train on, each of which it has labelled by the target once, and the recipe to train the copy by. Section 4 of
    the paper.
    """

    access: ClassVar[Access] = Access.LABEL
    paper: ClassVar[str] = "Li & Zhang, Membership leakage in label-only exposures, CCS 2021, section 4"
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})

    @property
    def needs(self) -> Needs:
        """What the copy says."""
        return Needs(signals=(KEY,))

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) scores, larger = more likely a member."""
        found = evidence.target(KEY)[:, 0].astype(np.float64)
        # The arc tangent keeps the order of log-probabilities within less than the step between right and wrong.
        scores: FloatArray = (found[:, 1] > 0.5) + np.arctan(found[:, 0]) / np.pi
        return scores
