"""Answers with fewer digits, or without scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vestige.defend.base import Named, Stage, Trait, Unfitted, probabilities
from vestige.defend.blocks import spans
from vestige.defend.tickets import Tickets
from vestige.errors import ConfigError, ModelError
from vestige.privacy_claim import Guarantee
from vestige.target import Access, Outputs

MOST_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Rounding(Unfitted):
    """Rounds every probability to ``digits`` decimals; the rows no longer sum to one, and classes may tie.

    Where rounding ties the most likely class with a lower one, the lower one is rounded down instead, so that the
    predicted class stays. Shokri, Stronati, Song & Shmatikov 2017, "Membership Inference Attacks Against Machine
    Learning Models", IEEE S&P, section VIII.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.KEEPS_LABEL})
    adaptive: ClassVar[tuple[Named, ...]] = ("gap",)
    reserve: ClassVar[bool] = False
    stage: ClassVar[Stage] = Stage.ROUNDING
    paper: ClassVar[str] = "Shokri et al. 2017"

    digits: int = 2

    def __post_init__(self) -> None:
        if isinstance(self.digits, bool) or not 0 <= self.digits <= MOST_DIGITS or self.digits != int(self.digits):
            raise ConfigError(f"Expected digits to be a whole number from 0 to {MOST_DIGITS}, got {self.digits!r}.")

    def apply(self, outputs: Outputs, tickets: Tickets) -> Outputs:  # noqa: ARG002
        """Round."""
        scores = probabilities(outputs)
        found = np.empty_like(scores)
        for span in spans(scores):
            found[span] = self._rounded(scores[span])
        return Outputs("probabilities", found)

    def _rounded(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.round(scores, self.digits)
        first = scores.argmax(1)
        lost = np.flatnonzero(found.argmax(1) != first)
        if not len(lost):
            return found
        # A lower class has come to tie with the most likely one.
        rows = np.arange(len(lost))
        first, some = first[lost], found[lost]
        step = 10.0**-self.digits
        tied = (some == some[rows, first][:, None]) & (np.arange(scores.shape[1]) < first[:, None])
        some = np.where(tied, np.maximum(np.round(some - step, self.digits), 0), some)
        # Where nothing is left to take away, every class stands at zero: the first of them gets the smallest step.
        empty = some.argmax(1) != first
        some[rows[empty], first[empty]] = step
        found[lost] = some
        return found


@dataclass(frozen=True, kw_only=True)
class LabelOnly(Unfitted):
    """Answers the most likely class and no score.

    Label-only attacks (Choquette-Choo, Tramèr, Carlini & Papernot 2021, "Label-Only Membership Inference Attacks",
    ICML) see as much of it as before.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.KEEPS_LABEL})
    adaptive: ClassVar[tuple[Named, ...]] = ("gap", "noise", "boundary")
    reserve: ClassVar[bool] = False
    stage: ClassVar[Stage] = Stage.LABELS
    paper: ClassVar[str] = "Choquette-Choo et al. 2021"

    def shows(self, access: Access) -> Access:
        """Lower scores to labels."""
        return min(access, Access.LABEL)

    def apply(self, outputs: Outputs, tickets: Tickets) -> Outputs:  # noqa: ARG002
        """Keep the class alone."""
        if outputs.kind == "values":
            raise ModelError("This defence answers classes, and the model answers numbers.", hint="Remove it.")
        if outputs.kind == "labels":
            return outputs
        return Outputs("labels", outputs.values.argmax(1).astype(np.int64))
