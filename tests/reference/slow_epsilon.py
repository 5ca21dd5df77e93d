"""ε from two rates the obvious way: scan whole regions, count thresholds one by one, integrate twice."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from scipy import integrate, optimize, special, stats

ONE = NormalDist()  # the law of single numbers, hundreds of times as fast as scipy's, which is for arrays

HITS, ALARMS = 1.5, 3.0  # how far behind the origin the rounded region has its centre


def clopper_pearson(hits, members, alarms, nonmembers, delta, error):
    """Both sides from scipy's exact two-sided intervals."""
    tpr = stats.binomtest(hits, members).proportion_ci(1 - error, "exact")
    fpr = stats.binomtest(alarms, nonmembers).proportion_ci(1 - error, "exact")
    return max(_log(tpr.low - delta, fpr.high), _log(1 - fpr.high - delta, 1 - tpr.low))


def _log(top, bottom):
    return math.log(top / bottom) if top > 0 else -math.inf


def radius(error):
    """The distance that two normal deviates exceed with the given probability, by double integration."""

    def tail(far):
        def inside(z):
            room = far**2 - max(z + HITS, 0) ** 2
            return ONE.pdf(z) * ONE.cdf(math.sqrt(room) - ALARMS) if room > 0 else 0.0

        return 1 - integrate.quad(inside, -9, far - HITS, points=[-HITS], limit=200, epsabs=1e-13)[0]

    return optimize.brentq(lambda far: tail(far) - error, ALARMS, 30)


def joint_region(hits, members, alarms, nonmembers, delta, error, steps=3000):
    """The most private pair of rates that is not rejected: for each FPR on a grid, the smallest TPR allowed."""
    reach = radius(error)
    best_one = best_other = math.inf
    rates = np.union1d(np.linspace(0, 1, steps + 1)[1:-1], np.geomspace(1e-7, 0.9, steps))
    unlikely = stats.norm.isf(stats.binom.cdf(alarms, nonmembers, rates))
    for fpr, deviate in zip(rates, unlikely, strict=True):
        second = max(deviate + ALARMS, 0)
        if second >= reach:
            break
        room = ONE.cdf(HITS - math.sqrt(reach**2 - second**2))  # how unlikely the hits may be
        tpr = special.betaincinv(hits, members - hits + 1, room) if hits else 0.0
        best_one = min(best_one, _log(tpr - delta, fpr))
        best_other = min(best_other, _log(1 - fpr - delta, 1 - tpr))
    return max(best_one, best_other)


def rank_counts(members, nonmembers, rank):
    """(members above the (rank + 1)-th largest non-member), one by one."""
    threshold = sorted(nonmembers, reverse=True)[rank]
    return sum(m > threshold for m in members)


def posterior(hits, members, alarms, nonmembers, epsilon, delta):
    """The posterior probability that both sides allow ε or less, by a double integral over the two rates."""
    fpr_law = stats.beta(alarms + 0.5, nonmembers - alarms + 0.5)
    tpr_law = stats.beta(hits + 0.5, members - hits + 0.5)

    def inner(q):
        allowed = min(math.exp(epsilon) * q + delta, 1 - math.exp(-epsilon) * (1 - delta - q))
        return fpr_law.pdf(q) * tpr_law.cdf(allowed)

    cuts = [float(fpr_law.ppf(u)) for u in (1e-6, 0.01, 0.5, 0.99, 1 - 1e-6)]
    edges = [1e-12, *cuts, 1 - 1e-12]
    return sum(integrate.quad(inner, a, b, limit=200)[0] for a, b in pairwise(edges))


def largest_p_value(hits, members, alarms, nonmembers, limit, steps=20000):
    """The largest p-value over pairs on a claim's curve, by a plain scan."""
    fpr = np.linspace(0, 1, steps + 1)[1:-1]
    tpr = limit(fpr)
    first = stats.norm.isf(stats.binom.sf(hits - 1, members, tpr))
    second = stats.norm.isf(stats.binom.cdf(alarms, nonmembers, fpr))
    nearest = np.min(np.hypot(np.maximum(first + HITS, 0), np.maximum(second + ALARMS, 0)))
    draws = np.random.default_rng(0).standard_normal((2, 4_000_000))
    return float(np.mean(np.hypot(np.maximum(draws[0] + HITS, 0), np.maximum(draws[1] + ALARMS, 0)) >= nearest))


def toy_scores(name, size, draw):
    """One run of a mechanism with known ε on fair coins: (member scores, non-member scores)."""
    coins = draw.random(size) < 0.5
    if name == "laplace":
        scores = coins + draw.laplace(size=size)
    elif name.startswith("response"):
        kept = draw.random(size) < math.e / (1 + math.e)
        scores = np.where(kept, coins, ~coins).astype(float)
        scores = scores if name == "response, tied" else scores + 1e-3 * draw.random(size)
    else:
        scores = (0.0 if name == "null" else float(name)) * coins + draw.normal(size=size)
    return scores[coins], scores[~coins]


def gaussian_delta(mu):
    """δ(ε) of the Gaussian mechanism with GDP parameter mu (Balle & Wang 2018)."""

    def delta(epsilon):
        near, far = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
        return max(float(special.ndtr(near) - math.exp(epsilon + special.log_ndtr(far))), 0.0)

    return delta


def pure_delta(epsilon):
    """δ(ε) of randomised response with ε = 1, which dominates every (1, 0)-private mechanism."""
    return max((math.e - math.exp(epsilon)) / (1 + math.e), 0.0) if epsilon < 1 else 0.0


def true_epsilon(name, delta):
    """The ε that a toy mechanism has at δ."""
    if name == "null":
        return 0.0
    if name == "laplace":
        return 1 + 2 * math.log1p(-delta) if delta < 0.3 else 0.0
    if name.startswith("response"):
        return math.log(math.e - delta * (1 + math.e))
    curve = gaussian_delta(float(name))
    return optimize.brentq(lambda e: curve(e) - delta, 0, 60)
