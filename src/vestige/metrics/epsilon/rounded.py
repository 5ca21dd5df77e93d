"""Two independent tests combined: a rounded region instead of the rectangle that two separate tests make.

Each test gives a deviate Z, larger = more evidence, which under the null is standard normal or stochastically smaller.
The statistic is the distance of (Z₁, Z₂) from the point (−a, −b), counting only what lies beyond it on each axis; it
rises with either deviate, so a test that is conservative stays so. Far from that point, a circle is nearly the straight
line of Stouffer's weighted sum, whose weights would have to be right; a nearer centre forgives wrong ones.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import ArrayLike

from vestige.metrics.epsilon.quadrature import legendre
from vestige.metrics.estimate import Array

# (a, b): the rarer count, which is that of the alarms, deserves about twice the weight of the hits.
RADIUS_CENTRE = (1.5, 3.0)
NODES = 96


def combined(first: ArrayLike, second: ArrayLike) -> Array:
    """Return the distance from the centre of deviates from the hits and from the alarms."""
    a, b = RADIUS_CENTRE
    distance: Array = np.hypot(
        np.maximum(np.asarray(first, np.float64) + a, 0.0), np.maximum(np.asarray(second, np.float64) + b, 0.0)
    )
    return distance


def tail(distance: ArrayLike) -> Array:
    """Return the probability that two standard normal deviates lie at least so far from the centre."""
    a, b = RADIUS_CENTRE
    far = np.asarray(distance, np.float64)
    reach = np.maximum(far, 0.0)[..., None]
    places, weights = legendre(NODES)
    angle = (places + 1) * np.pi / 4
    density = np.exp(-0.5 * (reach * np.sin(angle) - a) ** 2) / np.sqrt(2 * np.pi) * reach * np.cos(angle)
    inner = np.sum(weights * np.pi / 4 * density * scipy.special.ndtr(b - reach * np.cos(angle)), axis=-1)
    outer = scipy.special.ndtr(a - far) + scipy.special.ndtr(-a) * scipy.special.ndtr(b - far)
    whole: Array = np.where(far <= 0, 1.0, np.minimum(inner + outer, 1.0))
    return whole


def radius(errors: Array) -> Array:
    """Return the distances that are reached with the given probabilities."""
    return np.array([_radius(float(error)) for error in errors])


@lru_cache(maxsize=4096)
def _radius(error: float) -> float:
    if error >= float(tail(1e-9)):
        return 0.0
    return float(scipy.optimize.brentq(lambda far: float(tail(far)) - error, 1e-9, 45.0, xtol=1e-12))
