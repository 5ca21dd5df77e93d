"""ML-Leaks: three adversaries who know less and less about the target's training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.learned import Family, calibrated, check_family, draw_rows, fit
from vestige.errors import UsageError
from vestige.records import Task
from vestige.target import Access, FloatArray

KEY = "top_probabilities"
PAPER = "Salem et al., ML-Leaks: model and data independent membership inference attacks, NDSS 2019"
ROWS = 5000
HELD_OUT = 4
FEWEST = 24
Statistic = Literal["max", "std", "entropy"]
SIGNAL_OF: dict[str, tuple[str, float]] = {
    "max": ("max_log_probability", 1.0),
    "std": ("std_probability", 1.0),
    "entropy": ("entropy", -1.0),
}


@dataclass(frozen=True, kw_only=True)
class MLLeaks1:
    """One shadow model of the same kind, and one attack model for all classes on the three largest probabilities.

    Score (N,): the log-odds of membership, larger = more likely a member. The adversary needs one shadow model, trained
    on records like the target's. The features are sorted log-probabilities, so relabelling the classes changes nothing.
    ``family``: the kind of attack model. Raises MissingDependency without scikit-learn.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = f"{PAPER}, section III"
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})
    pools_records: ClassVar[bool] = True
    any_classes: ClassVar[bool] = True
    trains: ClassVar[bool] = True

    family: Family = "mlp"

    def __post_init__(self) -> None:
        check_family(self.family)

    @property
    def needs(self) -> Needs:
        """The largest probabilities of the target and of a single shadow model."""
        return Needs(signals=(KEY,), shadows=1, wants=1, side="both")

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) log-odds, larger = more likely a member."""
        return self.transfer(evidence, evidence)

    def transfer(self, known: Evidence, evidence: Evidence) -> FloatArray:
        """Return (N,) scores of ``evidence``, learning from the shadow model of ``known``, of other records perhaps."""
        own = evidence.target(KEY)[:, 0]
        rows = draw_rows(known, KEY, per_side=ROWS, by_class=False)
        if len(rows) < 2 * FEWEST:
            # Too few rows to learn anything from: the largest probability is what is left.
            return own[:, 0].astype(np.float64)
        place = np.arange(len(rows)) % HELD_OUT == HELD_OUT - 1
        rule = calibrated(fit(self.family, rows.pick(~place), known.seed), rows.pick(place))
        return rule(own)


@dataclass(frozen=True, kw_only=True)
class MLLeaks2(MLLeaks1):
    """One shadow model of another dataset or architecture, and an attack model that carries over from there.

    Score (N,): the log-odds of membership, larger = more likely a member. The adversary is the first one with less
    knowledge: its shadow model may be of other records (``[shadow] data``) or of another kind (``[shadow]
    architecture``), since the largest probabilities mean the same there. ``transfer`` takes the evidence on the other
    dataset; ``score`` learns from the shadow model it is given, which is what the audit's shadow data and architecture
    say it is.
    """

    paper: ClassVar[str] = f"{PAPER}, section IV"


@dataclass(frozen=True, kw_only=True)
class MLLeaks3:
    """No shadow model and no label: how sure the target is of whatever it says.

    Score (N,), larger = more likely a member: by ``statistic``, the log of the largest probability (``max``), the
    deviation of the probabilities (``std``), or minus their entropy (``entropy``).
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = f"{PAPER}, section V"
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})

    statistic: Statistic = "max"

    def __post_init__(self) -> None:
        if self.statistic not in get_args(Statistic):
            raise UsageError(f"Expected the statistic to be max, std or entropy, got '{self.statistic}'.")

    @property
    def needs(self) -> Needs:
        """One number of the target's answer."""
        return Needs(signals=(SIGNAL_OF[self.statistic][0],))

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) scores, larger = more likely a member."""
        key, sign = SIGNAL_OF[self.statistic]
        return sign * evidence.target(key)[:, 0].astype(np.float64)

    @staticmethod
    def threshold(noise: FloatArray, percent: float = 10.0) -> float:
        """Return the score that the top ``percent`` of the target's answers to random inputs exceed (section V.B).

        ``noise``: scores of random inputs. What is random depends on the data, so this only names a verdict; the
        ranking, and so every figure that does not depend on a threshold, is the same without it.
        """
        if not 0.0 < percent < 100.0:
            raise UsageError(f"Expected a percentage strictly between 0 and 100, got {percent}.")
        return float(np.percentile(noise, 100.0 - percent))
