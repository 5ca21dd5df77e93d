"""Answers with less in them: the largest few scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vestige.defend.base import Named, Stage, Trait, Unfitted, probabilities
from vestige.defend.blocks import spans
from vestige.defend.tickets import Tickets
from vestige.errors import ConfigError
from vestige.privacy_claim import Guarantee
from vestige.target import Outputs

FEW = 16
"""Up to so many, taking the largest again and again is faster than sorting."""


@dataclass(frozen=True, kw_only=True)
class TopK(Unfitted):
    """Answers the ``k`` largest probabilities and zero for the other classes; the rows no longer sum to one.

    Ties at the edge go to the lower class. Shokri, Stronati, Song & Shmatikov 2017, "Membership Inference Attacks
    Against Machine Learning Models", IEEE S&P, section VIII.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.KEEPS_LABEL})
    adaptive: ClassVar[tuple[Named, ...]] = ("gap",)
    reserve: ClassVar[bool] = False
    stage: ClassVar[Stage] = Stage.TRUNCATION
    paper: ClassVar[str] = "Shokri et al. 2017"

    k: int = 3

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not 1 <= self.k < math.inf or self.k != int(self.k):
            raise ConfigError(f"Expected k to be a whole number of at least 1, got {self.k!r}.")

    def apply(self, outputs: Outputs, tickets: Tickets) -> Outputs:  # noqa: ARG002
        """Keep the largest k."""
        scores = probabilities(outputs)
        if self.k >= scores.shape[1]:
            return Outputs("probabilities", scores)
        if self.k > FEW:
            kept = np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
            found = np.zeros_like(scores)
            np.put_along_axis(found, kept, np.take_along_axis(scores, kept, 1), 1)
            return Outputs("probabilities", found)
        found = np.zeros_like(scores)
        for span in spans(scores):
            left, block = scores[span].copy(), found[span]
            rows = np.arange(len(left))
            for _ in range(self.k):
                first = left.argmax(1)
                block[rows, first] = left[rows, first]
                left[rows, first] = -1
        return Outputs("probabilities", found)
