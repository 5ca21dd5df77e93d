"""Rényi curves of the mechanisms here, and the (ε, δ) that they mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from vestige.defend.convex.losses import Double
from vestige.errors import ConfigError, MissingDependency

ORDERS = np.concatenate([np.linspace(1.05, 10, 180), np.linspace(10.5, 64, 108), np.geomspace(66, 1e6, 120)])
"""The orders at which curves are taken."""

Curve = Callable[[Double], Double]


def epsilon_of(rdp: Double, delta: float) -> float:
    """Return the ε at ``delta`` of a Rényi curve given at `ORDERS`, by dp-accounting's conversion.

    Raises MissingDependency without dp-accounting.
    """
    try:
        from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon
    except ImportError as error:
        raise MissingDependency("dp-accounting", extra="dp", purpose="Accounting for privacy") from error
    finite = np.isfinite(rdp)
    if not finite.any():
        return float("inf")
    return max(0.0, float(compute_epsilon(ORDERS[finite].tolist(), rdp[finite].tolist(), delta)[0]))


def objective_perturbation(alpha: Double, *, sigma: float, slope: float, curvature: float, strength: float) -> Double:
    """Return the Rényi divergence of objective perturbation with Gaussian noise, for adding or removing one record.

    The objective is Σℓ + strength/2 ‖θ‖² + b·θ with b of standard deviation ``sigma``; ``slope`` bounds the norm of one
    record's gradient and ``curvature`` its second derivative. The loss must be one of a single margin: the proof needs
    that the gradient's direction does not hang on θ. Redberg, Koskela & Wang 2023, "Improving the Privacy and
    Practicality of Objective Perturbation for Differentially Private Linear Learners", NeurIPS, theorem 3.
    """
    if strength <= curvature:
        return np.full(alpha.shape, np.inf)
    shift = slope / sigma
    moments = np.log(2) + (alpha - 1) ** 2 * shift**2 / 2 + norm.logcdf((alpha - 1) * shift)
    return np.asarray(-np.log1p(-curvature / strength) + shift**2 / 2 + moments / (alpha - 1))


def gaussian(alpha: Double, *, sigma: float, sensitivity: float) -> Double:
    """Return the Rényi divergence of a Gaussian mechanism."""
    return alpha * (sensitivity / sigma) ** 2 / 2


def smallest_noise(curve: Callable[[float], Double], epsilon: float, delta: float) -> float:
    """Return the least σ at which the curve ``σ → divergences at ORDERS`` means at most (``epsilon``, ``delta``).

    Raises ConfigError when no σ does.
    """

    def excess(log_sigma: float) -> float:
        return epsilon_of(curve(float(np.exp(log_sigma))), delta) - epsilon

    low, high = np.log(1e-3), np.log(1e6)
    if excess(high) > 0:
        raise ConfigError(
            f"No noise gives ε = {epsilon:g} at δ = {delta:g} here.", hint="Regularise more, or raise ε or δ."
        )
    if excess(low) <= 0:
        return float(np.exp(low))
    found = brentq(excess, low, high, xtol=1e-9)
    return float(np.exp(found) * (1 + 1e-8))
