"""Subspaces that search directions are drawn from: fewer directions, better estimates (QEBA).

Li, Xu, Zhang, Yang & Li 2020, "QEBA: Query-Efficient Boundary-Based Blackbox Attack", arXiv:2005.14137, §3.3: low
frequencies of images, principal components of other records.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import fft

from vestige.errors import UsageError
from vestige.signals.labels.asking import Points

Directions = Callable[[int, np.random.Generator], Points]


def low_frequencies(shape: tuple[int, ...], keep: int) -> Directions:
    """Return a drawer of images of ``shape`` (H, W) or (H, W, C) made of the ``keep`` lowest cosines a side."""
    height, width = shape[:2]
    rows, columns = min(keep, height), min(keep, width)

    def draw(count: int, rng: np.random.Generator) -> Points:
        small = np.zeros((count, *shape), np.float32)
        small[:, :rows, :columns] = rng.standard_normal((count, rows, columns, *shape[2:]), np.float32)
        drawn: Points = fft.idctn(small, axes=(1, 2), norm="ortho").reshape(count, -1).astype(np.float32)
        return drawn

    return draw


def principal(records: Points, keep: int) -> Directions:
    """Return a drawer of combinations of the ``keep`` first principal components of (S, d) records."""
    centred = records - records.mean(axis=0)
    _, spread, components = np.linalg.svd(centred, full_matrices=False)
    components = components[: min(keep, int((spread > 1e-6 * spread.max(initial=0)).sum()))]
    if not len(components):
        raise UsageError("Expected records that differ from one another to find a subspace from, got identical ones.")

    def draw(count: int, rng: np.random.Generator) -> Points:
        drawn: Points = rng.standard_normal((count, len(components)), np.float32) @ components
        return drawn

    return draw


def subspace(shape: tuple[int, ...], records: Points, keep: int | None) -> Directions | None:
    """Return how directions are drawn for such records: from all (None), or from a subspace of size ``keep``."""
    if keep is None:
        return None
    if keep < 1:
        raise UsageError(f"Expected a subspace of at least one dimension, got {keep}.")
    return low_frequencies(shape, keep) if len(shape) in (2, 3) else principal(records, keep)
