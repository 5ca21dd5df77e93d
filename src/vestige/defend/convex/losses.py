"""Losses of one margin y·f(x): the value, the slope, and the bounds on slope and curvature that proofs need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from vestige.errors import UsageError

Double = NDArray[np.float64]


class MarginLoss(Protocol):
    """A convex loss ℓ(z) of the margin z with |ℓ'| ≤ 1 and 0 ≤ ℓ'' ≤ ``curvature``."""

    @property
    def curvature(self) -> float:
        """The largest second derivative."""
        ...

    def value(self, z: Double) -> Double:
        """Return ℓ(z)."""
        ...

    def slope(self, z: Double) -> Double:
        """Return ℓ'(z)."""
        ...

    def bend(self, z: Double) -> Double:
        """Return ℓ''(z)."""
        ...


@dataclass(frozen=True)
class Logistic:
    """ln(1 + e^−z)."""

    curvature: float = 0.25

    def value(self, z: Double) -> Double:
        """Return ln(1 + e^−z)."""
        return np.logaddexp(0.0, -z)

    def slope(self, z: Double) -> Double:
        """Return −1 / (1 + e^z)."""
        return np.asarray(-expit(-z))

    def bend(self, z: Double) -> Double:
        """Return p (1 − p)."""
        p = expit(z)
        return np.asarray(p * (1 - p))


@dataclass(frozen=True)
class HuberHinge:
    """The hinge max(0, 1 − z) with a parabola of half-width ``width`` around its corner."""

    width: float = 0.5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.width) and self.width > 0):
            raise UsageError(f"Expected the width of the Huber hinge to be above 0, got {self.width!r}.")

    @property
    def curvature(self) -> float:
        """1 / (2 width)."""
        return 1 / (2 * self.width)

    def value(self, z: Double) -> Double:
        """Return 0 beyond the corner, a line before it, and the parabola between."""
        h, gap = self.width, 1 - z
        return np.where(gap < -h, 0.0, np.where(gap > h, gap, (gap + h) ** 2 / (4 * h)))

    def slope(self, z: Double) -> Double:
        """Return the derivative, between −1 and 0."""
        return -np.clip((1 - z + self.width) / (2 * self.width), 0.0, 1.0)

    def bend(self, z: Double) -> Double:
        """Return the second derivative, zero off the parabola."""
        return np.where(np.abs(1 - z) <= self.width, self.curvature, 0.0)
