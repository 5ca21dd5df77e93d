"""Exposure: how well an adversary could tell, for one record alone, models that trained on it from models that did not.

It is a property of the record and the recipe, not of one target: it never looks at who the target trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from vestige.errors import DataError
from vestige.metrics.estimate import Array

PRIOR_MODELS = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Per record, the (N,) number, mean and variance (over n − 1) of a signal over models; NaN where undefined."""

    count: Array
    mean: Array
    variance: Array


def moments(count: ArrayLike, mean: ArrayLike, variance: ArrayLike) -> Moments:
    """Return moments from three (N,) lists; raises DataError when their lengths differ."""
    arrays = [np.asarray(part, dtype=np.float64) for part in (count, mean, variance)]
    if len({array.shape for array in arrays}) > 1:
        raise DataError(f"Expected moments of equal length, got {', '.join(str(a.shape) for a in arrays)}.")
    return Moments(count=arrays[0], mean=arrays[1], variance=arrays[2])


def exposure(inside: Moments, outside: Moments) -> Array:
    """Return (N,) AUCs between a record's IN and OUT signal values, ½ = not exposed; the signal is larger for members.

    Both are taken as normal, so the AUC is Φ(Δ/√(σ²_in + σ²_out)). With few models each record borrows from all
    others: its variances are pooled with the average ones, worth four models, and its difference of means is pulled
    towards the average by the noise it carries (Efron & Morris 1975), so that the most exposed record is not merely
    the noisiest. NaN for a record that lacks IN or OUT models.
    """
    spread_in, spread_out = _pooled(inside), _pooled(outside)
    present = (inside.count > 0) & (outside.count > 0) & np.isfinite(inside.mean) & np.isfinite(outside.mean)
    scale = np.sqrt(spread_in + spread_out)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = (spread_in / inside.count + spread_out / outside.count) / scale**2
        effect = np.where(present & (scale > 0), (inside.mean - outside.mean) / scale, np.nan)
    seen = np.isfinite(effect)
    result = np.where(present & (scale == 0), 0.5 + 0.5 * np.sign(inside.mean - outside.mean), np.nan)
    if seen.any():
        centre = float(np.mean(effect[seen]))
        real = max(float(np.var(effect[seen])) - float(np.mean(noise[seen])), 0.0)
        kept = real / (real + noise[seen]) if real > 0 else np.zeros(int(seen.sum()))
        result[seen] = scipy.special.ndtr(centre + kept * (effect[seen] - centre))
    return result


def _pooled(side: Moments) -> Array:
    """Return (N,) variances, each pooled with the average of all."""
    freedom = np.maximum(side.count - 1, 0)
    known = np.isfinite(side.variance) & (freedom > 0)
    if not known.any():
        raise DataError(
            "Expected a record with at least two models on each side to measure a spread, got none.",
            hint="Train more shadow models.",
        )
    freedom = np.where(known, freedom, 0)
    variance = np.where(known, side.variance, 0)
    average = np.sum(freedom * variance) / np.sum(freedom)
    pooled: Array = (freedom * variance + PRIOR_MODELS * average) / (freedom + PRIOR_MODELS)
    return pooled
