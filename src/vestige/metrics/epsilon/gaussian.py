"""gdp_fit: a lower confidence bound on the μ of a mechanism declared Gaussian, from the AUC or from the scores."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import scipy

from vestige.errors import UsageError
from vestige.metrics.epsilon.base import Coins, EpsilonBound
from vestige.metrics.epsilon.declaration import SEPARATE_NOISE, Declaration
from vestige.metrics.roc import area, roc
from vestige.privacy_claim import Mechanism

Scores = Literal["any", "gaussian"]
NORMAL_LAW_FROM = 0.95  # below this confidence, and for fewer canaries than this, the normal law of the AUC may err
FEWEST = 12
LARGEST_T = 1e4  # the non-central t is summed term by term, and larger values say nothing more
NO_THRESHOLD = "no threshold"
ALIKE = "Every canary was {}, so there is nothing to compare."
TOO_FEW = f"Fewer than {FEWEST} canaries show nothing by their AUC."
NO_SPREAD = "The scores do not vary among canaries of the same coin, so they are not Gaussian."


def gdp_fit(
    coins: Coins, *, mechanism: Mechanism, delta: float, confidence: float = 0.95, scores: Scores = "any"
) -> EpsilonBound:
    """Return a lower bound on ε at ``delta`` through a lower bound on μ, for a mechanism declared Gaussian.

    ``scores="any"`` reads the ranks alone. Given how many canaries were included, no score of a μ-GDP mechanism has a
    stochastically larger AUC than N(μ, 1) against N(0, 1): given what the mechanism shows of each canary the coins
    are independent but for their sum, and a rank sum is largest when the highest ranks sit on the likeliest coins. The
    largest AUC that μ makes likely comes from its exact mean and variance; its upper tail is shorter than the normal
    law's, which errs on the safe side from 12 canaries and a confidence of 0.95 on; less confidence is answered with
    0.95, and fewer canaries with zero.

    ``scores="gaussian"`` also declares that the scores themselves are normal with one variance, and bounds
    the standardised difference of means by the non-central t. It tells more when the leak is large, and fails when
    the scores are not what was declared.

    Neither holds when one noise hides many canaries: a mechanism can be μ-GDP for each canary and yet leak all of them
    in the same runs. ``one_run_fdp`` assumes no independence, and says less.

    A mechanism declared anything but Gaussian is refused: the value is None and the reason says why. For
    "subsampled_gaussian" the answer is an estimate.
    """
    if scores not in ("any", "gaussian"):
        raise UsageError(f"Expected scores to be 'any' or 'gaussian', got {scores!r}.")
    ranks = scores == "any"
    normal = "the scores are normal with one mean for included canaries, one for the others, and one variance"
    declared = Declaration(
        method="gdp_fit" if ranks else "gdp_fit(scores='gaussian')",
        mechanism=mechanism,
        delta=delta,
        confidence=confidence,
        assumption=SEPARATE_NOISE if ranks else f"{SEPARATE_NOISE}; {normal}",
    )
    if declared.objection:
        return declared.refuse()
    if coins.included.all() or not coins.included.any():
        alike = ALIKE.format("included" if coins.included.all() else "left out")
        return declared.answer(0.0, 0.0, design=NO_THRESHOLD, reason=alike)
    return _from_ranks(coins, declared) if ranks else _from_means(coins, declared)


def _from_ranks(coins: Coins, declared: Declaration) -> EpsilonBound:
    if len(coins) < FEWEST:
        return declared.answer(0.0, 0.0, design=NO_THRESHOLD, reason=TOO_FEW)
    inside, outside = coins.members, coins.nonmembers
    low, most = (
        mu_from_auc(auc, len(inside), len(outside), confidence=declared.confidence)
        for auc in (area(roc(inside, outside)), 1.0)
    )
    return declared.answer(low, most, design=f"{NO_THRESHOLD}: the AUC")


def _from_means(coins: Coins, declared: Declaration) -> EpsilonBound:
    design = f"{NO_THRESHOLD}: the difference of mean scores"
    inside, outside = coins.members, coins.nonmembers
    if np.ptp(inside) == np.ptp(outside) == 0:
        return declared.answer(0.0, 0.0, design=design, reason=NO_SPREAD)
    unit = np.abs(coins.scores).max()  # keeps the squares of enormous and of minute scores finite and above zero
    freedom = len(coins) - 2
    squares = sum(float(np.sum((side / unit - np.mean(side / unit)) ** 2)) for side in (inside, outside))
    if squares == 0:
        return declared.answer(0.0, 0.0, design=design, reason=NO_SPREAD)
    per_t = math.sqrt(1 / len(inside) + 1 / len(outside))
    t = float(np.mean(inside / unit) - np.mean(outside / unit)) / (math.sqrt(squares / freedom) * per_t)
    low, most = (per_t * noncentrality(value, freedom, confidence=declared.confidence) for value in (t, LARGEST_T))
    return declared.answer(low, most, design=design)


def auc_law(mu: float, members: int, nonmembers: int) -> tuple[float, float]:
    """Return the mean and standard deviation of the AUC of n₁ draws of N(μ, 1) against n₀ of N(0, 1).

    The variance is that of Mann & Whitney's statistic; a pair shares a draw with probability Φ₂ at correlation ½,
    which is Owen's T.
    """
    height = mu / math.sqrt(2)
    mean = float(scipy.special.ndtr(height))
    wrong = float(scipy.special.ndtr(-height))
    both = wrong - 2 * float(scipy.special.owens_t(height, 1 / math.sqrt(3)))  # P(one draw loses to two others)
    shared = max(both - wrong * wrong, 0.0)
    variance = (mean * wrong + (members + nonmembers - 2) * shared) / (members * nonmembers)
    return mean, math.sqrt(variance)


@lru_cache(maxsize=256)  # a ceiling hangs on the number of canaries alone, and is the same for many audits
def mu_from_auc(auc: float, members: int, nonmembers: int, *, confidence: float) -> float:
    """Return the smallest μ ≥ 0 under which an AUC of at least ``auc`` is not too unlikely."""
    z = float(scipy.special.ndtri(max(confidence, NORMAL_LAW_FROM)))
    reached = auc - 0.5 / (members * nonmembers)  # half a step of the AUC, as always with a discrete statistic

    def excess(mu: float) -> float:
        mean, deviation = auc_law(mu, members, nonmembers)
        return reached - mean - z * deviation

    if excess(0.0) <= 0:
        return 0.0
    return float(scipy.optimize.brentq(excess, 0.0, math.sqrt(2) * float(scipy.special.ndtri(reached)), xtol=1e-12))


@lru_cache(maxsize=256)
def noncentrality(t: float, freedom: int, *, confidence: float) -> float:
    """Return the smallest non-centrality ≥ 0 under which a t of at least ``t`` is not too unlikely."""
    t = min(t, LARGEST_T)
    if scipy.special.stdtr(freedom, t) <= confidence:
        return 0.0
    # The root if only the deviation were uncertain; what the means add to that is about one normal deviate
    high = max(t, 0.0) * math.sqrt(float(scipy.special.chdtri(freedom, confidence)) / freedom)
    while scipy.special.nctdtr(freedom, high, t) > confidence:
        high = 2 * high + 1
    low = max(high - 2 - float(scipy.special.ndtri(confidence)), 0.0)
    if scipy.special.nctdtr(freedom, low, t) < confidence:
        low = 0.0
    return float(
        scipy.optimize.brentq(lambda shift: scipy.special.nctdtr(freedom, shift, t) - confidence, low, high, xtol=1e-12)
    )
