"""What noisy counts of given votes cost: less than of any votes, where teachers agree.

It depends on the members, so that it is for the owner of the data to look at and must not be given away. Of Gaussian
noise: Papernot, Song, Mironov, Raghunathan, Talwar & Erlingsson 2018, "Scalable Private Learning with PATE", ICLR,
theorem 6 and propositions 7 and 10. Of Laplace noise: Papernot, Abadi, Erlingsson, Goodfellow & Talwar 2017,
"Semi-supervised Knowledge Transfer for Deep Learning from Private Training Data", ICLR, theorem 3 and lemma 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from vestige.defend.private.accounting import ORDERS
from vestige.defend.private.ledger import library
from vestige.defend.private.mechanisms import Kind

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SeenCost:
    """The ε of votes that were seen. It is itself a fact about the members: ``releasable`` is False.

    ``order``: the Rényi order that ε was found at; infinite where plain sums were the least.
    """

    epsilon: float
    delta: float
    order: float
    releasable: Literal[False] = False


def upset(votes: NDArray[Any], noise: float, kind: Kind = "gaussian") -> Floats:
    """Return (Q,) logarithms of a bound on how likely noise of this scale lets another class win."""
    top = votes.argmax(1)[:, None]
    gaps = (np.take_along_axis(votes, top, 1) - votes) / noise
    # Two classes' noises differ by a Gaussian of deviation √2 σ, or by the difference of two Laplace variables.
    normal = kind == "gaussian"
    found = scipy.special.log_ndtr(-gaps / np.sqrt(2)) if normal else np.log(2 + gaps) - np.log(4) - gaps
    np.put_along_axis(found, top, -np.inf, 1)
    # The class with most votes is the likeliest, so that it wins at least once in as many times as there are classes.
    return np.asarray(np.minimum(scipy.special.logsumexp(found, axis=1), np.log1p(-1 / votes.shape[1])), np.float64)


def renyi_of_answers(votes: NDArray[Any], noise: float, orders: NDArray[Any], kind: Kind = "gaussian") -> Floats:
    """Return (Q, orders) Rényi costs of answering each query; never above what any votes cost."""
    orders = np.asarray(orders, np.float64)
    log_q = upset(votes, noise, kind)[:, None]
    anyway, bound = (_gaussian if kind == "gaussian" else _laplace)(log_q, noise, orders)
    return np.asarray(np.where(bound < anyway, np.maximum(bound, 0), anyway), np.float64)


def seen_cost(
    answered: NDArray[Any],
    noise: float,
    delta: float,
    *,
    kind: Kind = "gaussian",
    screened: int = 0,
    screen: float = 1.0,
) -> SeenCost:
    """Return the ε of having answered the queries with these (Q, C) votes by noise of this deviation or Laplace scale.

    ``screened``: how many queries went through a threshold test with Gaussian noise ``screen``; their cost is that of
    any votes.
    """
    library()
    from dp_accounting.rdp import compute_epsilon

    orders = np.array([order for order in ORDERS if order > 1])
    total = renyi_of_answers(answered, noise, orders, kind).sum(0) + screened * orders / (2 * screen**2)
    epsilon, order = compute_epsilon(orders, total, delta)
    summed = math.inf if kind == "gaussian" else 2 * len(answered) / noise
    if summed < epsilon:
        epsilon, order = summed, math.inf
    return SeenCost(epsilon=float(epsilon), delta=delta, order=float(order))


def _gaussian(log_q: Floats, noise: float, orders: Floats) -> tuple[Floats, Floats]:
    """Return what any votes cost, and the bound of theorem 6 at the orders of proposition 10; infinite where neither
    holds.
    """
    variance = noise**2
    anyway = np.broadcast_to(orders / variance, (len(log_q), len(orders)))
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
    return anyway, np.where(valid & ~np.isnan(bound), bound, np.inf)


def _laplace(log_q: Floats, noise: float, orders: Floats) -> tuple[Floats, Floats]:
    """Return what two counts with Laplace noise cost for any votes, and the bound of theorem 3 where it holds."""
    one = 1 / noise
    stay = np.log(orders / (2 * orders - 1)) + (orders - 1) * one
    leave = np.log((orders - 1) / (2 * orders - 1)) - orders * one
    anyway = np.broadcast_to(2 * np.logaddexp(stay, leave) / (orders - 1), (len(log_q), len(orders)))
    pure = 2 * one
    with np.errstate(all="ignore"):  # what is not defined fails the condition below
        valid = log_q < -np.logaddexp(pure, 0)
        kept = orders * np.log1p(-np.exp(log_q)) - (orders - 1) * np.log1p(-np.exp(log_q + pure))
        bound = np.logaddexp(kept, log_q + (orders - 1) * pure) / (orders - 1)
    return anyway, np.where(valid & ~np.isnan(bound), bound, np.inf)
