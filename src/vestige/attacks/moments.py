"""Masked moments of reference signals, one run of records at a time: what every calibrated attack is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vestige.attacks.base import Evidence
from vestige.errors import AuditError
from vestige.target import BoolArray

Floats = NDArray[np.float64]
Centre = Literal["mean", "median"]
_BLOCK_VALUES = 1 << 18  # references × records of one block: its float64 copies stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Moments:
    """What the references on one side of the membership line say about each record.

    ``count``: (N,) how many there are; ``mean``: (N, A), NaN where there are none; ``scatter``: (N, A) the sum of
    squared residuals about that mean; ``centre``: (N, A) the mean or the median, as asked for.
    """

    count: Floats
    mean: Floats
    scatter: Floats
    centre: Floats

    @property
    def freedom(self) -> Floats:
        """(N,) degrees of freedom of the scatter."""
        return np.maximum(self.count - 1.0, 0.0)


def runs(evidence: Evidence) -> Iterator[tuple[int, int]]:
    """Yield runs of records short enough for one query's block of every reference to stay in cache."""
    models = max(1, len(evidence.masks))
    return evidence.blocks(int(np.clip(_BLOCK_VALUES // models, 256, 8192)))


def scalars(evidence: Evidence, key: str) -> Floats:
    """Return the target's (N, A) float64 values of a scalar signal."""
    values = evidence.target(key)
    if values.ndim != 2:
        raise AuditError(
            f"Expected '{key}' to be one number per query, got an array of shape {values.shape}.",
            hint="Choose a scalar signal such as log_odds or loss.",
        )
    return np.asarray(values, np.float64)


def collect(evidence: Evidence, key: str, *, centre: Centre = "mean") -> tuple[Moments, Moments]:
    """Return the moments of the OUT and of the IN references of every record, in that order.

    When the evidence hides the IN side, its count is zero everywhere. Holds records × queries, never times models.
    """
    shape = scalars(evidence, key).shape
    nothing = np.zeros(shape[0]), np.full(shape, np.nan), np.zeros(shape), np.full(shape, np.nan)
    sides = [Moments(*(part.copy() for part in nothing)) for _ in range(2)]
    hides = evidence.needs.side == "out"
    for start, stop in runs(evidence) if len(evidence.masks) else ():
        outside = evidence.outside(start, stop)
        masks = [outside] if hides else [outside, ~outside]
        weights = [mask.astype(np.float64) for mask in masks]
        counts = [weight.sum(axis=0) for weight in weights]
        values = evidence.reference(key, start, stop, hidden=0.0)
        for side, count in zip(sides, counts, strict=False):
            side.count[start:stop] = count
        for query in range(shape[1]):
            block = values[:, :, query].astype(np.float64)
            if centre == "median":
                for side, mask in zip(sides, masks, strict=False):
                    side.centre[start:stop, query] = _median(block, mask)
            means, scatters = _one_side(block, weights, counts) if hides else _two_sides(block, weights, counts)
            for side, mean, scatter in zip(sides, means, scatters, strict=False):
                side.mean[start:stop, query] = mean
                side.scatter[start:stop, query] = scatter
    if centre == "mean":
        sides = [Moments(side.count, side.mean, side.scatter, side.mean) for side in sides]
    return sides[0], sides[1]


def _mean(total: Floats, count: Floats) -> Floats:
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _one_side(block: Floats, weights: list[Floats], counts: list[Floats]) -> tuple[list[Floats], list[Floats]]:
    """Hidden values arrive as zeros, so a plain sum is the visible sum. Works in place on ``block``."""
    mean = _mean(block.sum(axis=0), counts[0])
    block -= np.nan_to_num(mean)
    block *= weights[0]
    return [mean], [np.einsum("mn,mn->n", block, block)]


def _two_sides(block: Floats, weights: list[Floats], counts: list[Floats]) -> tuple[list[Floats], list[Floats]]:
    """Two passes over a block in cache: the means, then squared residuals about them. Works in place on ``block``."""
    inner = np.einsum("mn,mn->n", block, weights[1])
    means = [_mean(block.sum(axis=0) - inner, counts[0]), _mean(inner, counts[1])]
    low, high = np.nan_to_num(means[0]), np.nan_to_num(means[1])
    block -= low
    block -= weights[1] * (high - low)
    block *= block
    inner = np.einsum("mn,mn->n", block, weights[1])
    return means, [np.maximum(block.sum(axis=0) - inner, 0.0), inner]


def _median(block: Floats, mask: BoolArray) -> Floats:
    """The median over the models where ``mask`` holds; NaN where there are none."""
    ordered = np.sort(np.where(mask, block, np.inf), axis=0)
    count = mask.sum(axis=0)
    columns = np.arange(block.shape[1])
    low = ordered[np.maximum(count - 1, 0) // 2, columns]
    high = ordered[np.minimum(count // 2, len(block) - 1), columns]
    return np.where(count > 0, 0.5 * (low + np.where(count > 0, high, low)), np.nan)
