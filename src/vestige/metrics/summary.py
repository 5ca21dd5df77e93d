"""Every figure that member scores and non-member scores can give, each with its interval or the bound's conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from vestige.errors import MissingDependency
from vestige.metrics.bootstrap import DRAWS, bootstrap_auc
from vestige.metrics.epsilon import (
    Coins,
    EpsilonBound,
    bayesian,
    clopper_pearson,
    coins,
    gdp_fit,
    joint_region,
    one_run,
    one_run_fdp,
    order_statistics,
    ratio,
)
from vestige.metrics.estimate import Estimate, vector
from vestige.metrics.intervals import auc, balanced_accuracy
from vestige.metrics.roc import roc
from vestige.metrics.tpr import tprs_at
from vestige.privacy_claim import Mechanism

FPRS = (0.001, 0.01, 0.1)
DELTA = 1e-5


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What two lists of scores show.

    ``auc``: with DeLong's interval, ``auc_bootstrap``: with the bootstrap's. ``tpr``: by false-positive rate.
    ``epsilon``: by method, every one at the full confidence; each holds by itself, and the largest of them is no bound.
    """

    members: int
    nonmembers: int
    auc: Estimate
    auc_bootstrap: Estimate
    balanced_accuracy: Estimate
    tpr: Mapping[float, Estimate]
    epsilon: Mapping[str, EpsilonBound]


def summary(
    members: ArrayLike,
    nonmembers: ArrayLike,
    *,
    fprs: Sequence[float] = FPRS,
    delta: float = DELTA,
    confidence: float = 0.95,
    mechanism: Mechanism = "other",
    draws: int = DRAWS,
    seed: int = 0,
) -> Summary:
    """Return all figures of (n₁,) member scores against (n₀,) non-member scores, larger = more likely a member.

    The bounds on ε from one run take each record to have been a member by its own fair coin; ``mechanism``: what the
    noise was declared to be, without which the Gaussian methods refuse.
    """
    inside, outside = vector(members, "member scores"), vector(nonmembers, "non-member scores")
    curve = roc(inside, outside)
    rates = tprs_at(curve, fprs, confidence=confidence)
    return Summary(
        members=curve.members,
        nonmembers=curve.nonmembers,
        auc=auc(curve, confidence=confidence),
        auc_bootstrap=bootstrap_auc(curve, confidence=confidence, draws=draws, seed=seed),
        balanced_accuracy=balanced_accuracy(curve, confidence=confidence),
        tpr=dict(zip(fprs, rates, strict=True)),
        epsilon=epsilons(coins(inside, outside), delta=delta, confidence=confidence, mechanism=mechanism, seed=seed),
    )


def epsilons(
    flipped: Coins, *, delta: float = DELTA, confidence: float = 0.95, mechanism: Mechanism = "other", seed: int = 0
) -> dict[str, EpsilonBound]:
    """Return every method's bound or estimate by name; which one is quoted is to be settled before looking."""
    inside, outside = flipped.members, flipped.nonmembers
    methods: dict[str, Callable[[], EpsilonBound]] = {
        "one_run_fdp": lambda: one_run_fdp(flipped, delta=delta, confidence=confidence, seed=seed),
        "one_run": lambda: one_run(flipped, delta=delta, confidence=confidence, seed=seed),
        "one_run_gdp": lambda: one_run_fdp(
            flipped, delta=delta, confidence=confidence, curve="gaussian", mechanism=mechanism, seed=seed
        ),
        "gdp": lambda: gdp_fit(flipped, mechanism=mechanism, delta=delta, confidence=confidence),
        "order_statistics": lambda: order_statistics(flipped, mechanism=mechanism, delta=delta, confidence=confidence),
        "clopper_pearson": lambda: clopper_pearson(inside, outside, delta=delta, confidence=confidence),
        "joint_region": lambda: joint_region(inside, outside, delta=delta, confidence=confidence),
        "ratio": lambda: _ratio(flipped, delta, confidence),
        "bayesian": lambda: bayesian(inside, outside, delta=delta, confidence=confidence),
    }
    return {name: compute() for name, compute in methods.items()}


def _ratio(flipped: Coins, delta: float, confidence: float) -> EpsilonBound:
    """Return the ratio's estimate, or why there is none where its library is not installed."""
    try:
        return ratio(flipped.members, flipped.nonmembers, delta=delta, confidence=confidence)
    except MissingDependency as error:
        return EpsilonBound(
            method="koopman ratio",
            kind="estimate",
            assumption="",
            delta=delta,
            confidence=confidence,
            value=None,
            reason=str(error),
        )
