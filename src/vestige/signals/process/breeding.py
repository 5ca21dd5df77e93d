"""Records for an adversary who has too few: each is made of two that are there."""

from __future__ import annotations

from typing import Any

import numpy as np

from vestige.target import IntArray


def breed(x: Any, parents: IntArray, count: int, rng: np.random.Generator) -> Any:
    """Return ``count`` records like ``x``, each made of two different ``parents``.

    Tables: every column from either parent, by a coin. Images and other arrays of several dimensions: a weighted
    average of both, with a weight drawn evenly. Types and ranges stay those of ``x``.
    """
    first = rng.integers(0, len(parents), count)
    second = (first + rng.integers(1, max(2, len(parents)), count)) % len(parents)
    one, other = parents[first], parents[second]
    if hasattr(x, "iloc"):
        import pandas as pd

        coins = rng.random((count, x.shape[1])) < 0.5
        columns = {}
        for place, name in enumerate(x.columns):
            column = x[name]
            chosen = np.where(coins[:, place], one, other)
            columns[name] = column.iloc[chosen].reset_index(drop=True)
        return pd.DataFrame(columns)
    if x.ndim == 2:
        return np.where(rng.random((count, x.shape[1])) < 0.5, x[one], x[other])
    weight = rng.random((count, *[1] * (x.ndim - 1)), np.float32)
    mixed = weight * x[one] + (1 - weight) * x[other]
    return np.rint(mixed).astype(x.dtype) if x.dtype.kind in "iub" else mixed.astype(x.dtype)


def joined(first: Any, second: Any) -> Any:
    """Return the records of both, in this order."""
    if hasattr(first, "iloc"):
        import pandas as pd

        return pd.concat([first, second], ignore_index=True)
    return np.concatenate([first, second])
