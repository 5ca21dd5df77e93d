"""Model update: who was added, who was removed, and when, from a model before and after."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.learned import Family, Rows, check_family, draw_rows, fit
from vestige.attacks.lira import LiRA
from vestige.attacks.orientation import sign
from vestige.attacks.pairs import Features, check_features, features_of
from vestige.errors import UsageError
from vestige.records import Task
from vestige.signals.base import SignalTable, key_of
from vestige.target import Access, FloatArray, IntArray

Rule = Literal["difference", "ratio", "lira", "learned"]
Drift = Literal["mean", "none"]
Double = NDArray[np.float64]
LOG_LOSS = "negative_log_loss"
PAIR = "before_after"
MODELS = 10


@dataclass(frozen=True, kw_only=True)
class ModelUpdate:
    """Member of an update if the record's answers improved from one snapshot to the next more than others' did.

    Score (N,); larger = more likely that the update added the record or, where it took records away, removed it. The
    adversary needs the model before and after the update. ``rule``: ``difference`` of the ``signal`` before and after;
    ``ratio`` of the losses, as a logarithm; ``lira``, the likelihood ratio of the difference under shadow models with
    and without the record in the same kind of update; ``learned``, an attack model taught by such shadow models on both
    answers, as in the audit of machine unlearning. ``features`` it is shown are direct_concat, sorted_concat,
    direct_diff, sorted_diff or euclidean; ``family`` is its kind and ``rows`` the most shadow rows of each side that it
    learns from. ``drift``: ``mean`` takes away what the update changed on average for records held out from every
    model, where there are such; ``none`` takes nothing away. Of several updates, the score is that of the largest jump,
    and `when` says at which. Raises UsageError for an unknown option.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = (
        "Chen, Zhang, Wang, Backes, Humbert & Zhang, When machine unlearning jeopardizes privacy, CCS 2021, section 3; "
        "Jagielski et al., How to combine membership-inference attacks on multiple updated models, PoPETs 2023, "
        "arXiv:2205.06369, section 3"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification", "regression"})

    rule: Rule = "difference"
    signal: str = "log_odds"
    drift: Drift = "mean"
    features: Features = "sorted_concat"
    family: Family = "boosting"
    rows: int = 10_000

    def __post_init__(self) -> None:
        for name, allowed in (("rule", get_args(Rule)), ("drift", get_args(Drift))):
            if getattr(self, name) not in allowed:
                raise UsageError(f"Expected {name} to be {', '.join(allowed)}, got '{getattr(self, name)}'.")
        check_features(self.features)
        check_family(self.family)
        if self.rows < 1:
            raise UsageError(f"Expected at least one row, got {self.rows}.")

    @property
    def key(self) -> str:
        """The signal it reads."""
        if self.rule == "learned":
            return PAIR
        return key_of("change", {"signal": self._of})

    @property
    def _of(self) -> str:
        return LOG_LOSS if self.rule == "ratio" else self.signal

    @property
    def _turn(self) -> float:
        # A residual enters without its sign, and members have less of that.
        return -1.0 if self._of == "residual" else sign(self._of)

    @property
    def asks(self) -> str:
        """How many answers a record takes, in words."""
        return "2" if self.rule == "learned" else "1 per snapshot"

    @property
    def trains(self) -> bool:
        """Whether it trains a model each time."""
        return self.rule == "learned"

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records, through what shadow models showed of them."""
        return self.rule in ("lira", "learned")

    @property
    def needs(self) -> Needs:
        """What the update changed; and under shadow models that were updated too, where the rule compares with them."""
        if self.rule == "lira":
            return Needs(signals=(self.key,), shadows=LiRA().needs.shadows, side="both")
        if self.rule == "learned":
            return Needs(signals=(self.key,), shadows=1, wants=MODELS, side="both")
        return Needs(signals=(self.key,))

    def queries_taken(self, evidence: Evidence) -> float:
        """Return how many answers a record takes: one of each snapshot."""
        return 2.0 if self.rule == "learned" else 1.0 + _steps(evidence.target(self.key)).shape[-1]

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) float64 scores, larger = more likely in an update.

        Of snapshots that are all the same they are 0, but for what an attack model was taught to make of such.
        """
        if self.rule == "learned":
            return self._learned(evidence)
        own = self._jumps(evidence)
        if self.rule != "lira" or not own.any():
            return np.asarray(own.max(axis=1), np.float64)
        shadows = np.stack([one.max(axis=1) for one in self._shadow_jumps(evidence)])
        both = replace(
            evidence,
            own=SignalTable({self.key: own.max(axis=1)[None, :, None]}, len(evidence), 1),
            shadows=SignalTable({self.key: shadows[:, :, None]}, len(evidence), len(shadows)),
        )
        return LiRA(signal=self.key).score(both)

    def when(self, evidence: Evidence) -> IntArray:
        """Return (N,) at which update each record was added or removed, if it was; the first is 1."""
        if self.rule == "learned":
            raise UsageError("The learned rule compares the ends alone and cannot say when.", hint="Use another rule.")
        return np.asarray(self._jumps(evidence).argmax(axis=1) + 1, np.int64)

    def remarks(self, evidence: Evidence) -> dict[str, FloatArray]:
        """Return what else can be said of each record: at which of several updates it jumped."""
        if self.rule == "learned" or _steps(evidence.target(self.key)).shape[-1] < 2:
            return {}
        return {"when": self.when(evidence).astype(np.float64)}

    def _jumps(self, evidence: Evidence) -> Double:
        """Return (N, T) changes towards membership, less what records outside changed on average."""
        turn, outside = self._turn, self._outside(evidence)
        own = turn * _steps(evidence.target(self.key))
        drift = 0.0 if outside is None else turn * _steps(outside.target(self.key)).mean(axis=0)
        return np.asarray(own - drift, np.float64)

    def _outside(self, evidence: Evidence) -> Evidence | None:
        outside = None if self.drift == "none" else evidence.population
        return outside if outside is not None and len(outside) else None

    def _shadow_jumps(self, evidence: Evidence) -> list[Double]:
        """Return the (N, T) jumps of every shadow model, each less its own drift."""
        turn, outside = self._turn, self._outside(evidence)
        values = evidence.reference(self.key)
        drifts = (
            [0.0] * len(values) if outside is None else [_steps(v).mean(axis=0) for v in outside.reference(self.key)]
        )
        return [turn * (_steps(own) - drift) for own, drift in zip(values, drifts, strict=True)]

    def _learned(self, evidence: Evidence) -> FloatArray:
        drawn = draw_rows(evidence, PAIR, per_side=self.rows, by_class=False)
        taught = Rows(features_of(self.features, drawn.features), drawn.members, drawn.labels)
        own = features_of(self.features, np.asarray(evidence.target(PAIR)[:, 0]))
        if not len(drawn):
            return np.zeros(len(evidence))
        return fit(self.family, taught, evidence.seed)(own)


def _steps(values: FloatArray) -> Double:
    """Return (N, T) changes of the plain query, one per update."""
    return np.asarray(values[:, 0], np.float64).reshape(len(values), -1)
