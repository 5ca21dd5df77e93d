"""EpsilonBound: a lower bound on ε (or, labelled so, an estimate), with all that must hold for it to mean anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from vestige.errors import DataError, UsageError
from vestige.metrics.estimate import Array, share, vector
from vestige.target import BoolArray

Kind = Literal["bound", "estimate"]


@dataclass(frozen=True, kw_only=True)
class EpsilonBound:
    """What scores show about ε.

    ``kind``: a ``bound`` lies below the true ε with probability at least ``confidence`` when ``assumption`` holds; an
    ``estimate`` promises no such thing. ``value``: at least 0, or None when refused, and ``reason`` says why (with a
    value present, ``reason`` is a caveat). ``ceiling``: the largest value that this many records could ever show by
    this method, had the leak been total; a claim above it cannot be refuted, so the audit could not have failed.
    ``design``: how thresholds or guesses were chosen, in words.
    """

    method: str
    kind: Kind = "bound"
    assumption: str
    delta: float
    confidence: float
    value: float | None
    ceiling: float | None = None
    design: str = ""
    reason: str = ""

    @property
    def refused(self) -> bool:
        """Whether there is no value."""
        return self.value is None

    def could_refute(self, claimed: float) -> bool:
        """Whether this audit could have failed a claim of ``claimed``, whatever the model leaks."""
        return self.kind == "bound" and self.ceiling is not None and self.ceiling > claimed

    def refutes(self, claimed: float) -> bool:
        """Whether the bound exceeds the claim."""
        return self.kind == "bound" and self.value is not None and self.value > claimed


@dataclass(frozen=True, kw_only=True, eq=False)
class Coins:
    """One training run's canaries: (m,) ``scores``, larger = more likely included, and (m,) bool ``included``.

    ``rate``: the probability with which each was included, independently of all others.
    """

    scores: Array
    included: BoolArray
    rate: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", vector(self.scores, "canary scores"))
        included = np.asarray(self.included)
        if included.shape != self.scores.shape or included.dtype != np.bool_:
            raise DataError(
                f"Expected one true-or-false coin per canary score, got {included.dtype} of shape {included.shape} "
                f"for {len(self.scores)} scores."
            )
        object.__setattr__(self, "included", included)
        share(self.rate, "the inclusion rate")

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def members(self) -> Array:
        """Scores of the canaries that were included."""
        return self.scores[self.included]

    @property
    def nonmembers(self) -> Array:
        """Scores of those that were left out."""
        return self.scores[~self.included]


def coins(members: ArrayLike, nonmembers: ArrayLike) -> Coins:
    """Return the coins behind two lists of scores, for a run in which each record was included by a fair coin."""
    inside, outside = vector(members, "member scores"), vector(nonmembers, "non-member scores")
    included = np.zeros(len(inside) + len(outside), dtype=np.bool_)
    included[: len(inside)] = True
    return Coins(scores=np.concatenate([inside, outside]), included=included)


def check_delta(delta: float) -> float:
    """Return a δ in [0, 1); raise UsageError for anything else."""
    if not 0 <= delta < 1:
        raise UsageError(f"Expected delta to be at least 0 and below 1, got {delta}.")
    return float(delta)
