"""What noisy counts of given votes cost: less than of any votes, where teachers agree.

It depends on the members, so that it is for the owner of the data to look at and must not be given away. Papernot,
Song, Mironov, Raghunathan, Talwar & Erlingsson 2018, "Scalable Private Learning with PATE", ICLR, theorem 6 and
propositions 7 and 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from vestige.defend.private.accounting import ORDERS
from vestige.defend.private.ledger import library

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SeenCost:
    """The ε of votes that were seen. It is itself a fact about the members: ``releasable`` is False."""

    epsilon: float
    delta: float
    order: float
    releasable: Literal[False] = False


def upset(votes: NDArray[Any], noise: float) -> Floats:
    """Return (Q,) logarithms of a bound on how likely noise of this deviation lets another class win."""
    top = votes.argmax(1)[:, None]
    gaps = np.take_along_axis(votes, top, 1) - votes
    # Two classes' noises differ by a Gaussian of deviation √2 σ.
    found = scipy.special.log_ndtr(-gaps / (np.sqrt(2) * noise))
    np.put_along_axis(found, top, -np.inf, 1)
    # The class with most votes is the likeliest, so that it wins at least once in as many times as there are classes.
    return np.asarray(np.minimum(scipy.special.logsumexp(found, axis=1), np.log1p(-1 / votes.shape[1])), np.float64)


def renyi_of_answers(votes: NDArray[Any], noise: float, orders: NDArray[Any]) -> Floats:
    """Return (Q, orders) Rényi costs of answering each query; never above the order over the variance."""
    variance = noise**2
    orders = np.asarray(orders, np.float64)
    log_q = upset(votes, noise)[:, None]
    anyway = np.broadcast_to(orders / variance, (len(votes), len(orders)))
    with np.errstate(all="ignore"):  # what overflows or is not defined fails a condition below
        second = noise * np.sqrt(-log_q)
        first = second + 1
        cost_first, cost_second = first / variance, second / variance
        small = log_q <= (second - 1) * cost_second - second * (
            np.log(first / (first - 1)) + np.log(second / (second - 1))
        )
        valid = (second > 1) & (first >= orders) & small & (-log_q > cost_second)
        log_keep = np.log1p(-np.exp(log_q))
        shrunk = (log_q + cost_second) * (1 - 1 / second)
        log_a = (orders - 1) * (log_keep - np.log1p(-np.exp(shrunk)))
        log_b = (orders - 1) * (cost_first - log_q / (first - 1))
        bound = np.logaddexp(log_keep + log_a, log_q + log_b) / (orders - 1)
    return np.asarray(np.where(valid & (bound < anyway), np.maximum(bound, 0), anyway), np.float64)


def seen_cost(
    answered: NDArray[Any], noise: float, delta: float, *, screened: int = 0, screen: float = 1.0
) -> SeenCost:
    """Return the ε of having answered the queries with these (Q, C) votes by noise of this deviation.

    ``screened``: how many queries went through a threshold test with noise ``screen``; their cost is that of any votes.
    """
    library()
    from dp_accounting.rdp import compute_epsilon

    orders = np.array([order for order in ORDERS if order > 1])
    total = renyi_of_answers(answered, noise, orders).sum(0) + screened * orders / (2 * screen**2)
    epsilon, order = compute_epsilon(orders, total, delta)
    return SeenCost(epsilon=float(epsilon), delta=delta, order=float(order))
