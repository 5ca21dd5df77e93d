"""Design: everything about a canary audit that is settled before a model is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from vestige.errors import UsageError
from vestige.metrics.estimate import share
from vestige.privacy_claim import FORMAL, PrivacyClaim
from vestige.records import Records
from vestige.registry import did_you_mean
from vestige.target import Access, FloatArray, Target

Kind = Literal["natural", "mislabelled", "out_of_distribution", "duplicated", "blank", "gradient"]
KINDS: tuple[str, ...] = get_args(Kind)
DUPLICATES = 4
USUAL_DELTA = 1e-5

Scorer = Callable[[Target, Records], "Mapping[Any, float] | FloatArray"]
"""``score(target, canaries)``: one number per canary, larger = more likely trained on; by id, or in their order."""

RISING = {
    "log_probability": 1.0,
    "log_odds": 1.0,
    "hinge": 1.0,
    "max_log_probability": 1.0,
    "std_probability": 1.0,
    "correct": 1.0,
    "taylor_log_probability": 1.0,
    "negative_log_loss": 1.0,
    "loss": -1.0,
    "entropy": -1.0,
    "modified_entropy": -1.0,
}
"""Signals that are one number per record, and which way they point: +1 where members have more."""

GRADIENT = "gradient"


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class Design:
    """A canary audit's design.

    ``kind``: which canaries; ``count``: how many in each of ``runs`` trainings, each with fresh coins; ``copies``: how
    often an included canary is inserted (None: once, and four times when duplicated); ``score``: a signal's name,
    ``gradient``, or a function ``score(target, canaries)``; ``references``: models with coins of their own on which
    scores are calibrated; ``claim``: what is said to hold; ``delta``: δ of the bounds (None: the claim's, or 1e-5);
    ``methods``: how ε is bounded, the first to be quoted (empty: what fits); ``confidence``: with which all hold.
    """

    kind: Kind = "natural"
    count: int = 1000
    runs: int = 1
    copies: int | None = None
    score: str | Scorer = "loss"
    access: Access | None = None
    references: int = 0
    claim: PrivacyClaim | None = None
    delta: float | None = None
    confidence: float = 0.95
    methods: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(
                f"There are no canaries called '{self.kind}'.",
                hint=did_you_mean(str(self.kind), list(KINDS)) or f"There are: {', '.join(KINDS)}.",
            )
        for name, value, least in (
            ("count", self.count, 1),
            ("runs", self.runs, 1),
            ("references", self.references, 0),
            ("copies", 1 if self.copies is None else self.copies, 1),
        ):
            if not _whole(value) or value < least:
                raise UsageError(f"Expected {name} to be a whole number of at least {least}, got {value!r}.")
        for name in ("count", "runs", "references", "copies", "seed"):
            value = getattr(self, name)
            if isinstance(value, np.integer):
                object.__setattr__(self, name, int(value))
        share(self.confidence, "the confidence")
        if self.delta is not None and not 0 <= self.delta < 1:
            raise UsageError(f"Expected delta to be at least 0 and below 1, got {self.delta}.")
        if not _whole(self.seed):
            raise UsageError(f"Expected the seed to be a whole number, got {self.seed!r}.")
        if self.claim is not None:
            self._check_claim(self.claim)
        self._check_score()

    def _check_claim(self, claim: PrivacyClaim) -> None:
        if not isinstance(claim, PrivacyClaim):
            raise UsageError(
                f"Expected the claim to be a PrivacyClaim, got a {type(claim).__name__}.",
                hint="Say PrivacyClaim(epsilon=…, delta=…).",
            )
        if not math.isfinite(claim.epsilon):
            raise UsageError(
                f"Expected a finite claimed epsilon, got {claim.epsilon}.", hint="Leave the claim out instead."
            )
        if self.bound_delta < claim.delta:
            raise UsageError(
                f"Expected delta to be at least the claimed one, {claim.delta:g}, got {self.bound_delta:g}: at a "
                "smaller delta a larger epsilon is no contradiction.",
                hint="Leave delta out.",
            )
        if claim.guarantee not in FORMAL:
            raise UsageError(
                f"A claim of class {claim.guarantee} promises no (ε, δ) that a bound could refute.",
                hint="Leave the claim out.",
            )
        if claim.guarantee == "G2" and self.by_steps:
            raise UsageError(
                "A claim of class G2 is for the model's answers, and gradient scores see every step of the training.",
                hint="Score what the model answers, such as score = 'loss', or leave the claim out.",
            )

    def _check_score(self) -> None:
        if self.kind == GRADIENT and self.score not in (GRADIENT, "loss"):
            raise UsageError(
                "Canaries planted in the gradient can only be scored by the gradient.", hint="Set score = 'gradient'."
            )
        if self.by_steps:
            if self.access is not None and self.access < Access.WHITE_BOX:
                raise UsageError(
                    f"Gradient scores need white-box access, got {self.access.label}.",
                    hint="Set access = 'white_box', or score what the model answers, such as score = 'loss'.",
                )
            if self.references:
                raise UsageError("Gradient scores are not calibrated on references.", hint="Set references = 0.")
            return
        if callable(self.score):
            return
        name = str(self.score).partition("(")[0]
        if name not in RISING:
            raise UsageError(
                f"There is no canary score called '{self.score}'.",
                hint=did_you_mean(name, [*RISING, GRADIENT]) or f"There are: {', '.join([*RISING, GRADIENT])}.",
            )
        if self.access == Access.LABEL and name != "correct":
            raise UsageError(f"The score '{self.score}' needs score access, got label.", hint="Set score = 'correct'.")
        if self.references == 1:
            raise UsageError("Expected no references, or at least 2: one of each pair saw a canary, the other did not.")

    @property
    def by_steps(self) -> bool:
        """Whether the scores are taken during training, from each step's gradient."""
        return GRADIENT in (self.kind, self.score)

    @property
    def planted(self) -> bool:
        """Whether the canaries are directions planted in the gradient, and not records."""
        return self.kind == GRADIENT

    @property
    def score_name(self) -> str:
        """What is measured, in a word."""
        if self.by_steps:
            return GRADIENT
        return getattr(self.score, "__name__", type(self.score).__name__) if callable(self.score) else str(self.score)

    @property
    def sees(self) -> Access:
        """What the adversary sees."""
        if self.access is not None:
            return self.access
        return Access.WHITE_BOX if self.by_steps else Access.LABEL if self.score == "correct" else Access.SCORE

    @property
    def inserted(self) -> int:
        """How many copies of an included canary there are."""
        return self.copies if self.copies is not None else DUPLICATES if self.kind == "duplicated" else 1

    @property
    def replaces(self) -> bool:
        """Whether a canary that is left out has another record in its place, so that the number of records stays."""
        return self.claim is not None and self.claim.adjacency == "replace_one"

    @property
    def bound_delta(self) -> float:
        """δ of the bounds."""
        if self.delta is not None:
            return self.delta
        return USUAL_DELTA if self.claim is None else self.claim.delta

    @property
    def independent(self) -> bool:
        """Whether no two coins share a model, so that their scores are independent."""
        return self.count == 1

    @property
    def coins(self) -> int:
        """The number of coin flips over all runs."""
        return self.count * self.runs
