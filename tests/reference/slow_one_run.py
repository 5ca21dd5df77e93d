"""One-run audits the obvious way: sums of binomials, every walk, and the best mechanism, by linear programme."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy import optimize, sparse, stats


def guesses_right(scores, included, inside, outside):
    """Guess in for the highest scores and out for the lowest; scores without ties."""
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    highest = order[::-1][:inside]
    return sum(bool(included[i]) for i in highest) + sum(not included[i] for i in order[:outside])


def steinke_p_value(canaries, guessed, correct, epsilon, delta):
    """Theorem 5.2, term by term."""
    q = math.exp(epsilon) / (1 + math.exp(epsilon))
    pmf = [math.comb(guessed, k) * q**k * (1 - q) ** (guessed - k) for k in range(guessed + 1)]
    tail = sum(pmf[correct:])
    gains = [sum(pmf[max(correct - i, 0) : correct]) / i for i in range(1, canaries + 1)]
    return tail + 2 * canaries * delta * max(gains)


def crossing_by_walks(epsilon, rate, inside, outside, needed):
    """Every sequence of right and wrong guesses with its probability; looks as in vestige."""
    kinds, before = [], (0, 0)
    for a, b in zip(inside, outside, strict=True):
        kinds += [rate] * (a - before[0]) + [1 - rate] * (b - before[1])
        before = (a, b)
    chances = [prior * math.exp(epsilon) / (prior * math.exp(epsilon) + 1 - prior) for prior in kinds]
    total = 0.0
    for walk in itertools.product((0, 1), repeat=len(kinds)):
        if any(sum(walk[: a + b]) >= need for a, b, need in zip(inside, outside, needed, strict=True)):
            total += math.prod(q if right else 1 - q for q, right in zip(chances, walk, strict=True))
    return total


def best_mechanism(canaries, outputs, succeeds, lines, rate=0.5):
    """The largest probability of success that any mechanism within the lines can reach, over all of them.

    ``outputs``: what it may answer; ``succeeds(output, coins)``; ``lines``: pairs (ε, δ) that must hold between any
    two inputs that differ in one coin, in both directions, for every event: Σ_y [P(y|u) − e^ε·P(y|u')]₊ ≤ δ.
    """
    inputs = list(itertools.product((0, 1), repeat=canaries))
    size = len(outputs)
    at = {u: n * size for n, u in enumerate(inputs)}
    edges = [(u, (*u[:i], 1 - u[i], *u[i + 1 :])) for u in inputs for i in range(canaries)]
    free = len(inputs) * size
    columns = free + len(edges) * len(lines) * size
    rows, cols, values, limits = [], [], [], []
    row, slack = 0, free
    for (u, other), (epsilon, delta) in itertools.product(edges, lines):
        for y in range(size):
            rows += [row] * 3
            cols += [at[u] + y, at[other] + y, slack + y]
            values += [1.0, -math.exp(epsilon), -1.0]
            limits.append(0.0)
            row += 1
        rows += [row] * size
        cols += list(range(slack, slack + size))
        values += [1.0] * size
        limits.append(delta)
        row += 1
        slack += size
    upper = sparse.csr_matrix((values, (rows, cols)), shape=(row, columns))
    whole = sparse.csr_matrix(
        (np.ones(free), (np.repeat(np.arange(len(inputs)), size), np.arange(free))), shape=(len(inputs), columns)
    )
    goal = np.zeros(columns)
    for u in inputs:
        weight = math.prod(rate if coin else 1 - rate for coin in u)
        for y, output in enumerate(outputs):
            goal[at[u] + y] = -weight * succeeds(output, u)
    found = optimize.linprog(
        goal, A_ub=upper, b_ub=limits, A_eq=whole, b_eq=np.ones(len(inputs)), bounds=(0, None), method="highs"
    )
    assert found.status == 0, found.message
    return -found.fun


def largest_tail(canaries, guessed, correct, epsilon, delta):
    """The largest P(C ≥ correct) of any law of right guesses with Σ [(t+1)p_{t+1} − e^ε(r−t)p_t]₊ ≤ mδ."""
    size, t = guessed + 1, np.arange(guessed)
    upper = np.zeros((guessed + 1, size + guessed))
    upper[t, t + 1] = t + 1
    upper[t, t] = -math.exp(epsilon) * (guessed - t)
    upper[t, size + t] = -1
    upper[guessed, size:] = 1
    limits = np.append(np.zeros(guessed), canaries * delta)
    goal = np.zeros(size + guessed)
    goal[correct:size] = -1
    whole = np.append(np.ones(size), np.zeros(guessed))[None]
    found = optimize.linprog(goal, A_ub=upper, b_ub=limits, A_eq=whole, b_eq=[1], bounds=(0, None), method="highs")
    assert found.status == 0, found.message
    return -found.fun


def fdp_rejects(canaries, guessed, correct, alpha, mu):
    """The recursion in the form of right and wrong guesses per canary, whole arrays, Gaussian curve."""
    wrong, right = np.zeros(correct + 1), np.zeros(correct + 1)
    right[correct] = alpha * correct / canaries
    wrong[correct] = alpha * (guessed - correct) / canaries
    for i in range(correct - 1, -1, -1):
        blamed = stats.norm.cdf(stats.norm.ppf(min(right[i + 1], 1.0)) - mu)
        wrong[i] = max(wrong[i + 1], blamed)
        right[i] = right[i + 1] + i / (guessed - i) * (wrong[i] - wrong[i + 1])
    return right[0] + wrong[0] > guessed / canaries
