"""Average likelihoods over reference models, computed from log-likelihoods so that nothing underflows."""

from __future__ import annotations

import numpy as np

from vestige.attacks.base import Evidence
from vestige.attacks.moments import Floats, runs, scalars
from vestige.target import BoolArray

LOG_2 = float(np.log(2.0))
_HIDDEN = -1e30  # log-likelihood of a value that may not be seen: finite, and nothing next to any other
_NOTHING = 1e-300


def mean_likelihoods(evidence: Evidence, key: str, *, trim: float = 0.0) -> tuple[Floats, Floats]:
    """Return the logs of the mean OUT and of the mean IN likelihood of every record and query, (N, A) each.

    NaN where a record has no such reference, or none that may be seen. ``trim`` is the fraction of a record's
    references, half at each end, that is left out of its mean; at least one stays.
    """
    shape = scalars(evidence, key).shape
    out, inside = np.full(shape, np.nan), np.full(shape, np.nan)
    hides = evidence.needs.side == "out"
    for start, stop in runs(evidence):
        outside = evidence.outside(start, stop)
        if not len(outside):
            continue
        sides = [(out, outside)] if hides else [(out, outside), (inside, ~outside)]
        weights = [(mask.astype(np.float64), mask.sum(axis=0)) for _, mask in sides]
        values = evidence.reference(key, start, stop, hidden=_HIDDEN)
        for query in range(shape[1]):
            block = values[:, :, query].astype(np.float64)
            if trim > 0:
                weights = [_trimmed(block, mask, trim) for _, mask in sides]
            top = block.max(axis=0)
            block -= top
            np.exp(block, out=block)
            for (result, _), (weight, count) in zip(sides, weights, strict=True):
                known = count > 0
                total = np.maximum(np.einsum("mn,mn->n", block, weight), _NOTHING)
                mean = top + (np.log(total) - np.log(np.maximum(count, 1)))
                result[start:stop, query] = np.where(known, mean, np.nan)
    return out, inside


def half_and_half(first: Floats, second: Floats) -> Floats:
    """Return log ½(eᵃ + eᵇ), exactly a when both are equal."""
    return np.maximum(first, second) + (np.log1p(np.exp(-np.abs(first - second))) - LOG_2)


def _trimmed(block: Floats, mask: BoolArray, trim: float) -> tuple[Floats, Floats]:
    """Return the weights and counts that keep the middle of each record's references on one side."""
    count = mask.sum(axis=0)
    cut = np.minimum(np.floor(trim / 2 * count).astype(np.int64), np.maximum(count - 1, 0) // 2)
    order = np.argsort(np.where(mask, block, np.inf), axis=0, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(len(block))[:, None], axis=0)
    kept = mask & (rank >= cut) & (rank < count - cut)
    return kept.astype(np.float64), (count - 2 * cut).astype(np.float64)
