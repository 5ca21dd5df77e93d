"""What a noisy count answers and what its answers cost, one number at a time: sums and integrals, no logarithms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

Votes = Sequence[int]


def chances(votes: Votes, noise: float, kind: str) -> list[float]:
    """Return how likely each class is to have the largest noisy count: its density times all others' distributions."""
    reach = 12 * noise if kind == "gaussian" else 45 * noise
    points = np.linspace(min(votes) - reach, max(votes) + reach, 4_001)
    found = []
    for place, own in enumerate(votes):
        weights = density(points - own, noise, kind)
        for other, count in enumerate(votes):
            if other != place:
                weights = weights * below(points - count, noise, kind)
        found.append(float(np.trapezoid(weights, points)))
    return found


def density(values: np.ndarray, noise: float, kind: str) -> np.ndarray:
    """Return the noise's density."""
    if kind == "gaussian":
        return np.exp(-(values**2) / (2 * noise**2)) / (noise * math.sqrt(2 * math.pi))
    return np.exp(-np.abs(values) / noise) / (2 * noise)


def below(values: np.ndarray, noise: float, kind: str) -> np.ndarray:
    """Return how likely the noise is to stay below each value."""
    if kind == "gaussian":
        return np.array([0.5 * math.erfc(-value / (noise * math.sqrt(2))) for value in values.tolist()])
    half = 0.5 * np.exp(-np.abs(values) / noise)
    return np.where(values < 0, half, 1 - half)


def neighbours(votes: Votes) -> Iterator[list[int]]:
    """Yield the votes of every data set with one member more or less: a teacher changes its mind, leaves or comes."""
    classes = range(len(votes))
    for loser in [*classes, None]:
        for winner in [*classes, None]:
            moved = list(votes)
            if loser is not None:
                moved[loser] -= 1
            if winner is not None:
                moved[winner] += 1
            if loser != winner and min(moved) >= 0:
                yield moved


def divergence(one: Sequence[float], other: Sequence[float], order: float) -> float:
    """Return the Rényi divergence of one law of answers from another."""
    return math.log(sum(p**order * q ** (1 - order) for p, q in zip(one, other, strict=True))) / (order - 1)


def worst(votes: Votes, noise: float, order: float, kind: str) -> float:
    """Return the largest divergence of the answer to these votes from that to any neighbouring ones."""
    own = chances(votes, noise, kind)
    return max(divergence(own, chances(moved, noise, kind), order) for moved in neighbours(votes))


def theorem_six(votes: Votes, noise: float, order: float) -> float:
    """Return the Rényi cost of one answer by Gaussian noise, as theorem 6 of Papernot et al. 2018 words it."""
    best = votes.index(max(votes))
    lead = [votes[best] - count for place, count in enumerate(votes) if place != best]
    q = min(sum(0.5 * math.erfc(gap / (2 * noise)) for gap in lead), 1 - 1 / len(votes))
    anyway = order / noise**2
    if q == 0:
        return 0.0
    second = noise * math.sqrt(math.log(1 / q))
    first = second + 1
    if second <= 1 or order > first:
        return anyway
    of_first, of_second = first / noise**2, second / noise**2
    most = math.exp((second - 1) * of_second) / (first / (first - 1) * second / (second - 1)) ** second
    if q > most or q * math.exp(of_second) >= 1:
        return anyway
    a = (1 - q) / (1 - (q * math.exp(of_second)) ** ((second - 1) / second))
    b = math.exp(of_first) / q ** (1 / (first - 1))
    return min(anyway, math.log((1 - q) * a ** (order - 1) + q * b ** (order - 1)) / (order - 1))


def theorem_three(votes: Votes, noise: float, order: float) -> float:
    """Return the Rényi cost of one answer by Laplace noise, as theorem 3 of Papernot et al. 2017 words it.

    Their moment λ is the order less one, their γ one over the scale, and the moment the cost times λ.
    """
    gamma, moment = 1 / noise, order - 1
    best = votes.index(max(votes))
    lead = [votes[best] - count for place, count in enumerate(votes) if place != best]
    q = min(sum((2 + gamma * gap) / (4 * math.exp(gamma * gap)) for gap in lead), 1 - 1 / len(votes))
    pure = math.exp(2 * gamma)
    grid = np.linspace(-60 * noise, 60 * noise, 100_001)
    law, moved = density(grid, noise, "laplace"), density(grid - 1, noise, "laplace")
    single = math.log(np.trapezoid(law * (law / moved) ** moment, grid)) / moment
    if q >= (pure - 1) / (pure**2 - 1):
        return 2 * single
    bound = math.log((1 - q) * ((1 - q) / (1 - pure * q)) ** moment + q * math.exp(2 * gamma * moment))
    return min(2 * single, bound / moment)


def epsilon(costs: Sequence[float], orders: Sequence[float], delta: float) -> float:
    """Return the least ε that Rényi costs at these orders are worth."""
    return min(
        cost + math.log((order - 1) / order) - (math.log(delta) + math.log(order)) / (order - 1)
        for cost, order in zip(costs, orders, strict=True)
    )
