"""Gaussian differential privacy the obvious way: areas under curves, scans over μ."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from scipy import integrate, stats

ONE = NormalDist()  # the law of single numbers, hundreds of times as fast as scipy's, which is for arrays


def gdp_delta(mu, epsilon):
    """The area by which the density of N(μ, 1) exceeds e^ε times that of N(0, 1)."""
    cross = epsilon / mu + mu / 2

    def excess(x):
        return ONE.pdf(x - mu) - math.exp(epsilon) * ONE.pdf(x)

    return integrate.quad(excess, cross, max(cross, mu) + 12, epsabs=0, epsrel=1e-10, limit=500)[0]


def gdp_epsilon(mu, delta):
    low, high = 0.0, 1.0
    if gdp_delta(mu, 0.0) <= delta:
        return 0.0
    while gdp_delta(mu, high) > delta:
        high *= 2
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if gdp_delta(mu, middle) > delta else (low, middle)
    return low


def auc_law(mu, members, nonmembers):
    """Mann & Whitney's variance with its two probabilities integrated: a draw that beats, or loses to, two others."""

    def mean_over(centre, chance):
        x = np.linspace(centre - 12, centre + 12, 4001)  # evenly spaced sums of such smooth curves are all but exact
        return float(np.sum(stats.norm.pdf(x - centre) * chance(x)) * (x[1] - x[0]))

    wins = mean_over(mu, stats.norm.cdf)
    member_twice = mean_over(mu, lambda x: stats.norm.cdf(x) ** 2)
    nonmember_twice = mean_over(0.0, lambda x: stats.norm.sf(x - mu) ** 2)
    variance = wins * (1 - wins)
    variance += (nonmembers - 1) * (member_twice - wins**2) + (members - 1) * (nonmember_twice - wins**2)
    return wins, math.sqrt(variance / (members * nonmembers))


def mu_from_auc(auc, members, nonmembers, confidence, step):
    """The first μ of a fine scan that does not make the AUC too unlikely."""
    z, mu = stats.norm.ppf(confidence), 0.0
    while True:
        mean, deviation = auc_law(mu, members, nonmembers)
        if auc - 0.5 / (members * nonmembers) <= mean + z * deviation:
            return mu
        mu += step


def noncentral_t_cdf(t, freedom, shift):
    """P(T ≤ t): a normal deviate below t times a chi over the root of its degrees of freedom."""
    spread = stats.chi(freedom, scale=1 / math.sqrt(freedom))
    low, high = spread.ppf(1e-13), spread.isf(1e-13)
    return integrate.quad(
        lambda s: spread.pdf(s) * ONE.cdf(t * s - shift), low, high, epsrel=1e-11, epsabs=1e-13, limit=400
    )[0]


def separates(mu, members, nonmembers):
    """P(every member's draw of N(μ, 1) exceeds every non-member's of N(0, 1)), over the largest non-member."""

    def at(x):
        return nonmembers * ONE.pdf(x) * ONE.cdf(x) ** (nonmembers - 1) * ONE.cdf(mu - x) ** members

    return integrate.quad(at, -12, 12, epsabs=1e-13, limit=800, points=list(np.linspace(-3, 6, 10)))[0]
