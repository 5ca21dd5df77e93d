"""ROC figures the obvious way: every pair, every threshold, every value of the hidden count."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, stats


def area_by_pairs(members, nonmembers):
    wins = sum(1.0 if m > n else 0.5 if m == n else 0.0 for m in members for n in nonmembers)
    return wins / (len(members) * len(nonmembers))


def tpr_by_scan(members, nonmembers, fpr):
    """The best TPR over every threshold worth trying, FPR compared in whole non-members."""
    best = 0.0
    for threshold in [math.inf, -math.inf, *members, *nonmembers]:
        alarms = sum(n > threshold for n in nonmembers)
        if alarms <= fpr * len(nonmembers) + 1e-9:
            best = max(best, sum(m > threshold for m in members) / len(members))
    return best


def accuracy_by_scan(members, nonmembers):
    rates = [
        (np.mean(members > threshold) + np.mean(nonmembers <= threshold)) / 2
        for threshold in [math.inf, -math.inf, *members, *nonmembers]
    ]
    return max(rates)


def delong_error(members, nonmembers):
    """Sen's structural components from the full matrix of pairs."""
    wins = (members[:, None] > nonmembers) + 0.5 * (members[:, None] == nonmembers)
    return math.sqrt(
        np.var(wins.mean(axis=1), ddof=1) / len(members) + np.var(wins.mean(axis=0), ddof=1) / len(nonmembers)
    )


def tpr_interval(members, nonmembers, fpr, confidence=0.95):
    """The mixture written out over every J, inverted by Brent's method."""
    n1, n0 = len(members), len(nonmembers)
    weights = stats.binom.pmf(np.arange(n0 + 1), n0, fpr)
    most = [round(tpr_by_scan(members, nonmembers, j / n0) * n1) for j in range(n0 + 1)]
    counts = np.array([((most[j - 1] if j else 0) + most[j]) / 2 for j in range(n0 + 1)])
    x = stats.norm.ppf((np.arange(n0 + 1) + 0.5) / (n0 + 1))
    y = stats.norm.ppf((counts + 0.5) / (n1 + 1))
    slope, centre = np.polyfit(x, y, 1, w=np.sqrt(weights))
    line = np.clip(stats.norm.cdf(slope * x + centre) * (n1 + 1) - 0.5, 0, n1)
    pull = min(1.0, 2 / math.sqrt(n0 * fpr * (1 - fpr)))
    mixed = (1 - pull) * counts + pull * line

    def below(p):
        return float(weights @ stats.beta.cdf(p, mixed + 0.5, n1 - mixed + 0.5))

    tail = (1 - confidence) / 2
    low, high = (
        optimize.brentq(lambda p, level=level: below(p) - level, 0, 1, xtol=1e-12) for level in (tail, 1 - tail)
    )
    value = tpr_by_scan(members, nonmembers, fpr)
    return (0.0 if value == 0 else low), (1.0 if value == 1 else high)


def isotonic_by_minimax(values, weights):
    """The largest lower, smallest upper weighted mean: max over i ≤ k of min over j ≥ k of mean(i..j)."""
    n = len(values)

    def mean(i, j):
        return np.average(values[i : j + 1], weights=weights[i : j + 1])

    return np.array([max(min(mean(i, j) for j in range(k, n)) for i in range(k + 1)) for k in range(n)])
