"""Difficulty calibration: what the target shows, less what models that say nothing about membership would show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vestige.attacks import centres
from vestige.attacks.base import Evidence, Needs
from vestige.attacks.moments import Floats
from vestige.attacks.orientation import filled, oriented
from vestige.records import Task
from vestige.target import Access


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """The target's signal less its mean over references that did not train on the record.

    Score (N,) float64, the mean over queries; larger = more likely a member. The adversary needs shadow models that did
    not train on the record. ``signal`` is any scalar signal, turned so that members have more of it; log-odds tell
    several times more at low false-positive rates than the loss does. Section 4 of the paper.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = (
        "Watson, Guo, Cormode & Sablayrolles, "
        "On the importance of difficulty calibration in membership inference attacks, ICLR 2022, arXiv:2111.08440"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification", "regression"})

    signal: str = "log_odds"

    @property
    def needs(self) -> Needs:
        """The signal of OUT references, one at least."""
        return Needs(signals=(self.signal,), shadows=1, side="out")

    def score(self, evidence: Evidence) -> Floats:
        """Return (N,) float64 scores, finite, larger = more likely a member."""
        own, out, _ = oriented(evidence, self.signal)
        difference: Floats = (own - filled(out.mean)).mean(axis=1)
        return difference


@dataclass(frozen=True, kw_only=True)
class Sablayrolles:
    """The target's signal less the midpoint between its means over IN and over OUT references.

    Score (N,) float64, the mean over queries, above zero on the members' side; larger = more likely a member. The
    adversary needs shadow models that trained on the record and others that did not. ``signal`` is any scalar signal,
    turned so that members have more of it: minus the loss by default, as in the paper's section 4.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = (
        "Sablayrolles, Douze, Ollivier, Schmid & Jégou, "
        "White-box vs black-box: Bayes optimal strategies for membership inference, ICML 2019, arXiv:1908.11229"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification", "regression"})

    signal: str = "loss"

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records: only when it lacks IN or OUT references."""
        return True

    @property
    def needs(self) -> Needs:
        """The signal of IN and OUT references."""
        return Needs(signals=(self.signal,), shadows=2, side="both")

    def score(self, evidence: Evidence) -> Floats:
        """Return (N,) float64 scores, finite, larger = more likely a member."""
        own, out, inside = oriented(evidence, self.signal)
        at = centres.plain(out, inside)
        difference: Floats = (own - 0.5 * (at.out + at.inside)).mean(axis=1)
        return difference
