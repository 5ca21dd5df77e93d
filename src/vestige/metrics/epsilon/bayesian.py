"""ε as a degree of belief: the posterior of two rates, put into the definition of privacy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import scipy
from numpy.typing import ArrayLike

from vestige.metrics.epsilon.base import EpsilonBound, check_delta
from vestige.metrics.epsilon.quadrature import legendre
from vestige.metrics.epsilon.thresholds import Counts, Thresholds
from vestige.metrics.epsilon.two_sample import Trials, largest
from vestige.metrics.estimate import Array

NOT_COVERAGE = "a credible limit under a Jeffreys prior: how sure to be, not how often such a figure is right"
PRIOR = 0.5
HIGHEST, STEPS = 40.0, 16
NODES = 32
REACH = 4.5  # nine standard deviations of an angle whose sine squared is the FPR


def bayesian(
    members: ArrayLike,
    nonmembers: ArrayLike,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
    thresholds: Thresholds | None = None,
    trials: Trials = "one_run",
) -> EpsilonBound:
    """Return the ε that the posterior exceeds with probability ``confidence``: an estimate, not a bound.

    ``members``: (n₁,), ``nonmembers``: (n₀,) scores, larger = more likely a member. The two rates have independent
    Beta(½, ½) priors, and each of a design's looks is given its share of 1 − ``confidence``. Zanella-Béguelin et al.
    2023 (arXiv:2206.05199). Other arguments and errors as for `clopper_pearson`.
    """
    lower = partial(credible, delta=check_delta(delta))
    return largest(
        members,
        nonmembers,
        lower,
        "Bayesian",
        delta,
        confidence,
        thresholds=thresholds,
        trials=trials,
        kind="estimate",
        reason=NOT_COVERAGE,
    )


def credible(counts: Counts, errors: Array, *, delta: float) -> Array:
    """Return the ε ≥ 0 below which the posterior has the given probability.

    As a normal deviate the posterior is nearly straight in ε, so that false position finds it in a few steps.
    """
    wanted = scipy.special.ndtri(errors)

    def excess(epsilon: Array) -> Array:
        return np.asarray(scipy.special.ndtri(np.clip(posterior(counts, epsilon, delta), 1e-300, 1 - 1e-16)) - wanted)

    low, high = np.zeros(len(errors)), np.full(len(errors), HIGHEST)
    below, above = excess(low), excess(high)
    nothing, last = below >= 0, np.zeros(len(errors))
    for _ in range(STEPS):
        middle = np.where(nothing, low, low + (high - low) * below / np.where(below == above, 1.0, below - above))
        found = excess(middle)
        under = found < 0
        # The Illinois rule: an end that stays twice running counts half, so that it moves at last.
        above = np.where(under, np.where(last < 0, above / 2, above), found)
        below = np.where(under, found, np.where(last > 0, below / 2, below))
        low, high = np.where(under, middle, low), np.where(under, high, middle)
        last = np.where(under, -1.0, 1.0)
    return np.where(nothing, 0.0, middle)


def posterior(counts: Counts, epsilon: Array, delta: float) -> Array:
    """Return the posterior probability that both sides of each test allow its ε or less.

    The two conditions on the rates cross at one pair. Below its TPR, the probability is an integral over the TPR; what
    is left is one over the FPR. Either integrand then moves slowly along its axis, however large ε is.
    """
    grown = np.exp(epsilon)[:, None]
    fpr_kink = (1 - delta) / (1 + grown)
    tpr_kink = 1 - fpr_kink
    tpr_law = (counts.hits + PRIOR)[:, None], (counts.members - counts.hits + PRIOR)[:, None]
    fpr_law = (counts.alarms + PRIOR)[:, None], (counts.nonmembers - counts.alarms + PRIOR)[:, None]

    def enough_alarms(tpr: Array) -> Array:
        return np.asarray(scipy.special.betaincc(*fpr_law, np.clip((tpr - delta) / grown, 0.0, 1.0)), np.float64)

    def few_hits(fpr: Array) -> Array:
        most = np.clip(1 - (1 - delta - fpr) / grown, 0.0, 1.0)
        return np.asarray(scipy.special.betainc(*tpr_law, most) - scipy.special.betainc(*tpr_law, tpr_kink), np.float64)

    least, most = np.full_like(grown, delta), np.full_like(grown, 1 - delta)
    inner = _mean(*tpr_law, least, tpr_kink, enough_alarms) + _mean(*fpr_law, fpr_kink, most, few_hits)
    # a TPR below δ, or an FPR above 1 − δ, is allowed whatever the other rate
    outer = scipy.special.betainc(*tpr_law, least) + scipy.special.betaincc(*fpr_law, most) * scipy.special.betaincc(
        *tpr_law, tpr_kink
    )
    whole: Array = inner + outer[:, 0]
    return whole


def _mean(a: Array, b: Array, low: Array, high: Array, value: Callable[[Array], Array]) -> Array:
    """Return the integral of a value of the rate ~ Beta(a, b) from ``low`` to ``high``; all (K, 1).

    In the angle whose sine squared is the rate, the density has no poles and the same width everywhere.
    """
    centre, reach = np.arcsin(np.sqrt(a / (a + b))), REACH / np.sqrt(a + b)
    start = np.maximum(np.arcsin(np.sqrt(low)), centre - reach)
    stop = np.maximum(np.minimum(np.arcsin(np.sqrt(high)), centre + reach), start)
    half, (places, weights) = (stop - start) / 2, legendre(NODES)
    angle = start + half * (places + 1)
    log_density = scipy.special.xlogy(2 * a - 1, np.sin(angle)) + scipy.special.xlogy(2 * b - 1, np.cos(angle))
    density = 2 * np.exp(log_density - scipy.special.betaln(a, b))
    mean: Array = (value(np.sin(angle) ** 2) * density * half) @ weights
    return mean
