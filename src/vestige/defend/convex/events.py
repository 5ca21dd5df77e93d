"""What the private linear models release, as a ledger of dp-accounting's events, so that a budget can pay for them.

Each entry costs at least what the mechanism does, at every order. Where nothing but an (ε, δ) is known of a mechanism
there is no such event, and the ledger is empty.
"""

from __future__ import annotations

import math

from vestige.defend.convex.frank_wolfe import step_epsilon
from vestige.defend.convex.perturbation import (
    SHARE_OF_RELEASE,
    Problem,
    first_noise,
    gaussian_sigma,
    least_strength,
    rdp_noise,
)
from vestige.defend.private.ledger import Entry

Ledger = tuple[Entry, ...]


def pure(epsilon: float) -> Ledger:
    """Return the event of any mechanism that is ε-differentially private for exchanging one record.

    None tells two neighbours apart better than a randomised response of two answers does. Kairouz, Oh & Viswanath 2015,
    "The Composition Theorem for Differential Privacy", ICML, theorem 3.1.
    """
    return ({"kind": "RandomizedResponse", "noise_parameter": 2 / (1 + math.exp(epsilon)), "num_buckets": 2},)


def output(p: Problem) -> Ledger:
    """Return the event of `output_perturbation`: a Gaussian's noise is a multiple of how far one record moves it."""
    if p.delta == 0:
        return pure(p.epsilon)
    return ({"kind": "Gaussian", "noise_multiplier": gaussian_sigma(p.epsilon, p.delta)},)


def objective(p: Problem) -> Ledger:
    """Return the event of `pure_objective` or `rdp_objective`."""
    if p.delta == 0:
        return pure(p.epsilon)
    curvature = p.loss.curvature * p.norm**2
    strength = max(p.strength, least_strength(curvature, p.epsilon))
    return concentrated(p.norm, rdp_noise(p.norm, curvature, strength, p.epsilon, p.delta), curvature / strength)


def approximate(p: Problem, mode: str) -> Ledger:
    """Return the events of `approximate_minima`: its objective's noise, then its own.

    The published constants are proved to give one (ε, δ), which is no event: for those the ledger is empty.
    """
    if mode == "paper":
        return ()
    spent, slack = SHARE_OF_RELEASE * p.epsilon, SHARE_OF_RELEASE * p.delta
    sigma, total = first_noise(p, p.epsilon - spent, p.delta - slack, mode=mode)
    first = concentrated(p.norm, sigma, p.loss.curvature * p.norm**2 / total)
    return (*first, {"kind": "Gaussian", "noise_multiplier": gaussian_sigma(spent, slack)})


def choices(epsilon: float, delta: float, steps: int) -> Ledger:
    """Return the event of `frank_wolfe`: each exponential mechanism is ε₀²/8-zero-concentrated private."""
    return repeated(({"kind": "ZC", "rho": step_epsilon(epsilon, delta, steps) ** 2 / 8, "xi": 0.0},), steps)


def concentrated(slope: float, sigma: float, bend: float) -> Ledger:
    """Return the event of objective perturbation with Gaussian noise; ``bend``: curvature over regularisation.

    Its Rényi divergence holds log 2Φ((α − 1)s) / (α − 1) with s = slope / sigma (see `objective_perturbation`). log 2Φ
    is concave, zero at zero and rises there by √(2/π), so this is at most s √(2/π), and what is left is linear in α:
    the event of (ξ, ρ)-zero-concentrated privacy costs no less at any order, and up to a tenth more ε.
    """
    shift = slope / sigma
    return ({"kind": "ZC", "rho": shift**2 / 2, "xi": -math.log1p(-bend) + shift * math.sqrt(2 / math.pi)},)


def repeated(ledger: Ledger, count: int) -> Ledger:
    """Return the ledger of so many releases like this one."""
    return tuple({"kind": "SelfComposed", "event": one, "count": count} for one in ledger) if count > 1 else ledger
