"""What a sequence comes down to: a few numbers per metric, for attack models that know nothing of order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vestige.target import FloatArray

FEATURES = (
    "first",
    "mean",
    "last",
    "slope",
    "variance",
    "lag_product",
    "place_of_largest",
    "place_of_smallest",
    "turns",
    "last_step",
)


def summarise(series: FloatArray) -> NDArray[np.float64]:
    """Return (R, F * 10) of (R, T, F) series: for each metric the numbers that `FEATURES` names.

    ``slope`` per step by least squares; ``variance`` over steps; ``lag_product``: the mean product of neighbouring
    steps, both measured from the row's mean; places from 0 to 1; ``turns``: the share of neighbouring pairs on both
    sides of the row's mean; ``last_step``: the last value less the one before.
    """
    x = series.astype(np.float64)
    rows, steps, metrics = x.shape
    mean = x.mean(axis=1)
    away = x - mean[:, None]
    time = np.arange(steps) - (steps - 1) / 2
    pairs, places = max(1, steps - 1), np.arange(steps) / max(1, steps - 1)
    parts = {
        "first": x[:, 0],
        "mean": mean,
        "last": x[:, -1],
        "slope": np.einsum("t,rtf->rf", time, away) / max(1.0, float(time @ time)),
        "variance": (away**2).mean(axis=1),
        "lag_product": (away[:, 1:] * away[:, :-1]).sum(axis=1) / pairs,
        "place_of_largest": places[x.argmax(axis=1)],
        "place_of_smallest": places[x.argmin(axis=1)],
        "turns": (away[:, 1:] * away[:, :-1] < 0).sum(axis=1) / pairs,
        "last_step": x[:, -1] - x[:, -2] if steps > 1 else np.zeros((rows, metrics)),
    }
    return np.concatenate([parts[name] for name in FEATURES], axis=1)
