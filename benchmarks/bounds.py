"""Every bound that Vestige offers, as shipped and in its named designs, for the coverage benchmark to try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from mechanisms import MECHANISMS, Mechanism
from vestige.metrics.epsilon import (
    Bonferroni,
    Coins,
    EpsilonBound,
    Explicit,
    GuessBonferroni,
    GuessShare,
    GuessSplit,
    MultiSplit,
    Split,
    bayesian,
    claim_on_curve,
    clopper_pearson,
    family,
    gdp_fit,
    joint_region,
    limit_of,
    one_run,
    one_run_fdp,
    order_statistics,
    ratio,
)

CONFIDENCE = 0.95
Kind = Literal["bound", "estimate", "test"]


@dataclass(frozen=True)
class Audit:
    """One simulated audit: the coins and scores, what is declared of the mechanism, and the δ asked for."""

    coins: Coins
    mechanism: Mechanism
    delta: float

    @cached_property
    def members(self) -> np.ndarray:
        """Scores of the canaries that were included."""
        return self.coins.members

    @cached_property
    def nonmembers(self) -> np.ndarray:
        """Scores of those that were left out."""
        return self.coins.nonmembers


@dataclass(frozen=True)
class Found:
    """What a method said of an audit: a value and its ceiling, or that it refused."""

    value: float | None
    ceiling: float | None = None


@dataclass(frozen=True)
class Method:
    """A bound, an estimate, or a test (whose value is 1 when it breaks a true claim, and its ceiling a wrong one).

    ``share``: the part of the audits that it is run on, below 1 where a call is slow. ``gaussian``: must refuse any
    mechanism that is not declared Gaussian, and δ = 0. ``coupled``: promises as much where canaries share their fate.
    """

    name: str
    design: str
    compute: Callable[[Audit], EpsilonBound | Found]
    kind: Kind = "bound"
    share: float = 1.0
    gaussian: bool = False
    coupled: bool = False

    @property
    def title(self) -> str:
        """The name, and the design unless it is the default."""
        return f"{self.name}, {self.design}" if self.design else self.name

    def applies(self, mechanism: Mechanism, delta: float) -> bool:
        """Whether an answer is due; otherwise a refusal is."""
        return not self.gaussian or (mechanism.kind == "gaussian" and delta > 0)

    def __call__(self, audit: Audit) -> Found:
        """Ask about one audit."""
        found = self.compute(audit)
        return found if isinstance(found, Found) else Found(found.value, found.ceiling)


def _two(bound: Callable[..., EpsilonBound], **options: object) -> Callable[[Audit], EpsilonBound]:
    return lambda audit: bound(audit.members, audit.nonmembers, delta=audit.delta, confidence=CONFIDENCE, **options)


def _one(bound: Callable[..., EpsilonBound], **options: object) -> Callable[[Audit], EpsilonBound]:
    return lambda audit: bound(audit.coins, delta=audit.delta, confidence=CONFIDENCE, **options)


def _declared(bound: Callable[..., EpsilonBound], **options: object) -> Callable[[Audit], EpsilonBound]:
    return lambda audit: _one(bound, mechanism=audit.mechanism.kind, **options)(audit)


def _explicit(audit: Audit) -> EpsilonBound:
    return _two(clopper_pearson, thresholds=Explicit(audit.mechanism.middle))(audit)


def _largest(audit: Audit) -> EpsilonBound:
    ours = {
        "one_run": lambda confidence: one_run(audit.coins, delta=audit.delta, confidence=confidence),
        "joint_region": lambda confidence: joint_region(
            audit.members, audit.nonmembers, delta=audit.delta, confidence=confidence
        ),
    }
    return family(ours, confidence=CONFIDENCE).largest


@lru_cache(maxsize=64)
def _limit(name: str, *, true: bool) -> Callable[[np.ndarray], np.ndarray]:
    mechanism = MECHANISMS[name]
    return limit_of(mechanism.delta if true else mechanism.weaker)


def _curve(audit: Audit) -> Found:
    true, weaker = (
        claim_on_curve(audit.members, audit.nonmembers, _limit(audit.mechanism.name, true=each), confidence=CONFIDENCE)
        for each in (True, False)
    )
    return Found(float(true.broken), float(weaker.broken))


METHODS = (
    Method("one_run", "", _one(one_run), coupled=True),
    Method("one_run", "20 % guessed", _one(one_run, guesses=GuessShare()), coupled=True),
    Method("one_run", "Bonferroni", _one(one_run, guesses=GuessBonferroni()), coupled=True),
    Method("one_run", "split", _one(one_run, guesses=GuessSplit()), coupled=True),
    Method("one_run_fdp", "", _one(one_run_fdp), coupled=True),
    Method("one_run_fdp", "Bonferroni", _one(one_run_fdp, guesses=GuessBonferroni()), coupled=True),
    Method("joint_region", "", _two(joint_region)),
    Method("joint_region", "split", _two(joint_region, thresholds=Split())),
    Method("joint_region", "multi-split", _two(joint_region, thresholds=MultiSplit()), share=0.1),
    Method("clopper_pearson", "", _two(clopper_pearson)),
    Method("clopper_pearson", "one threshold given", _explicit),
    Method("clopper_pearson", "20 looks", _two(clopper_pearson, thresholds=Bonferroni(looks=20))),
    Method("clopper_pearson", "split", _two(clopper_pearson, thresholds=Split())),
    Method("clopper_pearson", "multi-split", _two(clopper_pearson, thresholds=MultiSplit())),
    Method("family", "one_run and joint_region", _largest),
    Method("one_run_fdp", "Gaussian declared", _declared(one_run_fdp, curve="gaussian"), gaussian=True),
    Method("gdp_fit", "", _declared(gdp_fit), gaussian=True),
    Method("gdp_fit", "normal scores", _declared(gdp_fit, scores="gaussian"), gaussian=True),
    Method("order_statistics", "", _declared(order_statistics), gaussian=True),
    Method("order_statistics", "all guessed", _declared(order_statistics, share=1.0), gaussian=True),
    Method("claim_on_curve", "", _curve, kind="test"),
    Method("ratio", "koopman", _two(ratio), kind="estimate", share=0.1),
    Method("ratio", "log", _two(ratio, form="log"), kind="estimate", share=0.05),
    Method("ratio", "log-adjusted", _two(ratio, form="log-adjusted"), kind="estimate", share=0.05),
    Method("bayesian", "", _two(bayesian), kind="estimate", share=0.1),
)
BY_TITLE = {method.title: method for method in METHODS}
