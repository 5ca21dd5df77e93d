"""Timing: networks that answer as soon as they are sure tell by their latency how sure they were."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.learned import Family, check_family
from vestige.attacks.ml_leaks import KEY as POSTERIOR
from vestige.attacks.ml_leaks import MLLeaks1
from vestige.errors import UsageError
from vestige.records import Task
from vestige.signals.base import Signals, SignalTable, key_of
from vestige.signals.timing.latency import Average, Exits
from vestige.target import Access, FloatArray

Rule = Literal["order", "learned", "labels"]
USUAL = Exits()


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Member if the target answers early: the exit that latencies betray, together with the answer itself.

    Score (N,), larger = more likely a member. ``rule``: by ``order``, minus the exit, and minus the loss among records
    of one exit; ``learned``, the log-odds of membership by an attack model that multi-exit shadow models taught what
    exits and the largest probabilities say; ``labels``, for an adversary with label access, minus the exit, and whether
    the label is right among records of one exit. The adversary sees how long each answer takes
    (``[audit] timing = true``) of a target that takes longer over some records than over others; a target without a
    latency channel is not attacked. ``queries``: how often each record is timed, and ``average``: median, mean or
    minimum; ``exits``: how many the target has, where the adversary knows; ``family``: the kind of attack model. With
    ``timing`` false it is the same attack without the clock: the loss, the attack model on probabilities alone
    (``ml_leaks_1``), or the gap.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = "Li et al., Auditing membership leakages of multi-exit networks, CCS 2022, the hybrid attack"
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})

    rule: Rule = "order"
    timing: bool = True
    queries: int = USUAL.queries
    average: Average = USUAL.average
    exits: int | None = None
    family: Family = "mlp"

    def __post_init__(self) -> None:
        Exits(queries=self.queries, average=self.average, exits=self.exits)
        check_family(self.family)
        if self.rule not in get_args(Rule):
            raise UsageError(f"Expected rule to be order, learned or labels, got '{self.rule}'.")
        if self.rule == "labels":
            # What it may be given follows from what it reads, and the class can name only one of both.
            object.__setattr__(self, "access", Access.LABEL)

    @property
    def extra_queries(self) -> int:
        """How many queries a record takes beside those that are timed; without timing there is but that one."""
        return 1 if self.timing else 1 - self.queries

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records, through what an attack model learnt from them."""
        return self.rule == "learned"

    @property
    def trains(self) -> bool:
        """Whether it trains a model of its own."""
        return self.rule == "learned"

    @property
    def key(self) -> str:
        """The signal that is timed."""
        given: dict[str, Any] = {"queries": self.queries, "average": self.average, "exits": self.exits}
        return key_of("exits", {name: value for name, value in given.items() if value != getattr(USUAL, name)})

    @property
    def needs(self) -> Needs:
        """The loss, the label, or the largest probabilities of the target and a shadow model; and the exits."""
        clock = (self.key,) if self.timing else ()
        if self.rule != "learned":
            return Needs(signals=(*clock, "loss" if self.rule == "order" else "correct"))
        return Needs(signals=(*clock, POSTERIOR), shadows=1, wants=1, side="both")

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) scores, larger = more likely a member."""
        if self.rule != "learned":
            return self._ordered(evidence)
        attack = MLLeaks1(family=self.family)
        return attack.score(self._joined(evidence, attack.needs) if self.timing else evidence)

    def queries_taken(self, evidence: Evidence) -> float:  # noqa: ARG002
        """Return how many answers a record took."""
        return 1.0 + (self.queries if self.timing else 0)

    def _ordered(self, evidence: Evidence) -> FloatArray:
        if self.rule == "labels":
            answer = evidence.target("correct")[:, 0].astype(np.float64)
            within = answer / 2
        else:
            answer = -evidence.target("loss")[:, 0].astype(np.float64)
            with np.errstate(divide="ignore"):  # a loss of zero is the best there is
                within = 0.5 - np.arctan(np.log(np.maximum(-answer, 0.0))) / np.pi
        # Within one exit less than a whole step lies between the best and the worst answer.
        return within - evidence.target(self.key)[:, 0, 0] if self.timing else answer

    def _joined(self, evidence: Evidence, needs: Needs) -> Evidence:
        """Return the evidence with the exit, a column for each, beside the probabilities."""
        taught = evidence.reference(self.key)[..., 0]
        # What a shadow model never did, no attack model can have learnt: later exits count as the last one seen.
        count = 1 + int(taught.max(initial=0.0))
        own = _beside(evidence.target(POSTERIOR), evidence.target(self.key)[..., 0], count)
        others = _beside(evidence.reference(POSTERIOR), taught, count)
        return replace(
            evidence,
            needs=needs,
            own=SignalTable({POSTERIOR: own[None]}, len(evidence), 1),
            shadows=SignalTable({POSTERIOR: others}, len(evidence), len(others)),
        )


def _beside(posterior: Signals, exits: NDArray[Any], count: int) -> Signals:
    marked = np.eye(count, dtype=np.float32)[np.minimum(exits.astype(np.int64), count - 1)]
    joined: Signals = np.concatenate([posterior, marked], axis=-1)
    return joined
