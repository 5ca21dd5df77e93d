"""The exact minimiser of a regularised margin loss plus a linear term: damped Newton steps in double precision.

Proofs of differential privacy by perturbation speak of the minimiser itself, so a solver that stops early voids them;
this one either reaches the gradient asked for or says that it did not.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from vestige.defend.convex.losses import Double, MarginLoss
from vestige.errors import ModelError

STEPS = 200
HALVINGS = 60
RELATIVE = 1e-12
UNRESOLVED = 1e-9
"""What a step promises, as a share of the objective, below which rounding may hide whether it was kept."""


def minimise(
    x: Double, y: Double, loss: MarginLoss, *, strength: float, linear: Double | None = None, tolerance: float = 0.0
) -> Double:
    """Return argmin over θ of Σ ℓ(y x·θ) + strength/2 ‖θ‖² + linear·θ, with its gradient's norm at most ``tolerance``.

    ``x``: (n, d); ``y``: (n,) of −1 and 1; ``strength`` > 0; a tolerance below what rounding allows (1e-12 of the
    problem's scale) means that. Raises ModelError when the norm is not reached.
    """
    n, d = x.shape
    b = np.zeros(d) if linear is None else linear
    theta = np.zeros(d)
    signed = x * y[:, None]
    scale = float(np.linalg.norm(signed, axis=1).sum() + np.linalg.norm(b)) + strength
    goal = max(tolerance, RELATIVE * scale)

    def objective(at: Double) -> float:
        return float(loss.value(signed @ at).sum() + strength / 2 * at @ at + b @ at)

    def gradient_at(at: Double) -> Double:
        return np.asarray(signed.T @ loss.slope(signed @ at) + strength * at + b)

    now = objective(theta)
    norm = np.inf
    for _ in range(STEPS):
        gradient = gradient_at(theta)
        norm = float(np.linalg.norm(gradient))
        if norm <= goal:
            return theta
        step = _newton(signed, loss.bend(signed @ theta), strength, gradient, n < d)
        slope, share = float(gradient @ step), 1.0
        near = slope <= UNRESOLVED * max(abs(now), 1.0)
        for _ in range(HALVINGS):
            trial = theta - share * step
            then = objective(trial)
            if then <= now - 1e-4 * share * slope:
                break
            # Near the optimum the objective no longer resolves progress that the gradient still makes.
            if near and float(np.linalg.norm(gradient_at(trial))) < norm:
                break
            share /= 2
        theta, now = trial, then
    raise ModelError(
        f"The minimiser was not reached: the gradient's norm is {norm:.3g}, and {goal:.3g} is needed for the proof.",
        hint="Regularise more, or clip the records to a smaller norm.",
    )


def _newton(signed: Double, bend: Double, strength: float, gradient: Double, wide: bool) -> Double:
    """Return the Newton step, by the smaller of the two systems that give it."""
    if not wide:
        hessian = (signed * bend[:, None]).T @ signed
        hessian.flat[:: len(hessian) + 1] += strength
        return np.asarray(cho_solve(cho_factor(hessian), gradient))
    # (S I + Aᵀ A)⁻¹ g = (g − Aᵀ (S I + A Aᵀ)⁻¹ A g) / S, with fewer rows than columns.
    a = signed * np.sqrt(bend)[:, None]
    gram = a @ a.T
    gram.flat[:: len(gram) + 1] += strength
    return np.asarray((gradient - a.T @ cho_solve(cho_factor(gram), a @ gradient)) / strength)
