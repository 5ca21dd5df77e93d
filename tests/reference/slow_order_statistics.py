"""Guessing the surest canaries the obvious way: adaptive quadrature, simulation, every order of the ties."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
from scipy import integrate, special, stats

ONE = NormalDist()  # the law of single numbers, hundreds of times as fast as scipy's, which is for arrays


def tail(right, canaries, guesses, mu):
    """P(at least ``right`` of the guesses are right) for fair coins: |x| of N(μ/2, 1), right where x is positive."""
    centre = mu / 2
    surer = stats.foldnorm(centre)

    def at(cut):
        mass = special.ndtr(centre - cut) + special.ndtr(-centre - cut)
        order = stats.beta.pdf(mass, guesses + 1, canaries - guesses) * (ONE.pdf(cut - centre) + ONE.pdf(cut + centre))
        return order * special.bdtrc(right - 1, guesses, special.ndtr(centre - cut) / mass)

    if guesses == canaries:
        return float(stats.binom.sf(right - 1, guesses, stats.norm.cdf(centre)))
    middle = float(surer.isf((guesses + 1) / (canaries + 1)))
    return sum(
        integrate.quad(at, *ends, epsabs=1e-12, epsrel=1e-11, limit=800)[0]
        for ends in ((0.0, middle), (middle, middle + 1), (middle + 1, centre + 12))
    )


def simulate(repeats, canaries, guesses, mu, rate, rng):
    """Counts of right guesses by an adversary who sees N(μ·coin, 1) and guesses where its posterior is surest."""
    counts = np.empty(repeats, dtype=np.int64)
    for i in range(repeats):
        coins = rng.random(canaries) < rate
        shown = rng.standard_normal(canaries) + mu * coins
        odds = mu * shown - mu * mu / 2 + math.log(rate / (1 - rate))
        surest = np.argsort(-np.abs(odds))[:guesses]
        counts[i] = np.sum((odds[surest] > 0) == coins[surest])
    return counts


def right(scores, included, guesses, rate):
    """Right guesses by trying every pair of cuts, and failing a clean one, every order of the ties."""
    pairs = sorted(zip(scores, included, strict=True), key=lambda pair: -pair[0])
    total, wanted = len(pairs), round(guesses * rate)
    clean = []
    for top in range(guesses + 1):
        bottom = guesses - top
        highest, others, lowest = pairs[:top], pairs[top : total - bottom], pairs[total - bottom :]
        values = [{score for score, _ in part} for part in (highest, others + lowest)]
        ends = [{score for score, _ in part} for part in (highest + others, lowest)]
        if not values[0] & values[1] and not ends[0] & ends[1]:
            count = sum(coin for _, coin in highest) + sum(not coin for _, coin in lowest)
            clean.append((abs(top - wanted), top, count))
    if clean:
        return min(clean)[2]
    orders = [
        list(itertools.chain(*order))
        for order in itertools.product(
            *(
                set(itertools.permutations([coin for score, coin in pairs if score == value]))
                for value in sorted(set(scores), reverse=True)
            )
        )
    ]
    bottom = guesses - wanted
    highest = min(sum(order[:wanted]) for order in orders)
    lowest = min(sum(not coin for coin in order[total - bottom :]) for order in orders)
    return highest + lowest
