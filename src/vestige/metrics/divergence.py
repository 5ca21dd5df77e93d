"""How unlike members' and non-members' values are: the Jensen–Shannon divergence of their histograms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vestige.errors import UsageError
from vestige.metrics.estimate import Array, Estimate, share, vector
from vestige.seeds import rng

BINS = 100
DRAWS = 1000
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """``plain``: the divergence of the two histograms; ``chance``: what the same values would show on average if
    membership had been dealt out at random; ``corrected``: the divergence without that bias, with its interval.
    """

    plain: float
    chance: float
    corrected: Estimate


def jensen_shannon(members: ArrayLike, nonmembers: ArrayLike, *, bins: int = BINS) -> float:
    """Return the Jensen–Shannon divergence in bits, 0 for equal histograms and 1 for disjoint ones.

    ``members``, ``nonmembers``: (n,) values each, sorted into ``bins`` equal bins over the range of both together. Two
    samples of one law show more than 0, about (bins in use - 1)(1/n + 1/m) / (8 ln 2): see `divergence`. Lin 1991.
    """
    inside, outside = _counts(members, nonmembers, bins)
    return float(_divergence(inside[None], outside[None])[0])


def divergence(
    members: ArrayLike,
    nonmembers: ArrayLike,
    *,
    bins: int = BINS,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Divergence:
    """Return the divergence, what chance alone would show, and the difference with a bootstrap interval.

    Corrected = (plain - chance) / (1 - chance), at least 0: so 0 is expected of equal laws, and disjoint ones still
    have 1. Chance is the mean over random deals of the pooled values. Both sides are resampled within their histograms;
    the interval is the spread of the resamples, each corrected alike, moved to have the figure itself at its centre,
    because resampling adds the bias a second time.
    """
    level = share(confidence, "the confidence")
    if draws < 2:
        raise UsageError(f"Expected at least 2 draws, got {draws}.")
    inside, outside = _counts(members, nonmembers, bins)
    used = inside + outside > 0
    inside, outside = inside[used], outside[used]
    n, m = int(inside.sum()), int(outside.sum())
    plain = float(_divergence(inside[None], outside[None])[0])
    random = rng(seed, "metrics", "divergence")
    dealt = random.multivariate_hypergeometric(inside + outside, n, size=draws)
    chance = float(_divergence(dealt, inside + outside - dealt).mean())
    again = _divergence(random.multinomial(n, inside / n, draws), random.multinomial(m, outside / m, draws))
    scale = max(1.0 - chance, 1e-12)
    centre = (plain - chance) / scale
    tail = (1 - level) / 2
    low, high = centre + (np.quantile(again, [tail, 1 - tail]) - again.mean()) / scale
    value = min(max(centre, 0.0), 1.0)
    return Divergence(
        plain=plain,
        chance=chance,
        corrected=Estimate(
            value=value,
            low=float(min(max(low, 0.0), value)),
            high=float(max(min(high, 1.0), value)),
            method=f"bootstrap of {bins} bins, {draws:,} draws",
        ),
    )


def _counts(members: ArrayLike, nonmembers: ArrayLike, bins: int) -> tuple[Counts, Counts]:
    if bins < 2:
        raise UsageError(f"Expected at least 2 bins, got {bins}.")
    inside, outside = vector(members, "members' values"), vector(nonmembers, "non-members' values")
    both = np.concatenate([inside, outside])
    low = float(both.min()) / 2  # halves, so that the range of the largest floats is finite
    reach = float(both.max()) / 2 - low
    place = (both / 2 - low) / reach if reach > 0 else np.zeros(len(both))
    binned = np.minimum((place * bins).astype(np.int64), bins - 1)
    return tuple(np.bincount(part, minlength=bins) for part in np.split(binned, [len(inside)]))  # type: ignore[return-value]


def _divergence(inside: Counts, outside: Counts) -> Array:
    """Return (D,) divergences of (D, B) counts."""
    p = inside / inside.sum(axis=1, keepdims=True)
    q = outside / outside.sum(axis=1, keepdims=True)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / middle), 0.0) + np.where(q > 0, q * np.log2(q / middle), 0.0)
    found: Array = np.clip(terms.sum(axis=1) / 2, 0.0, 1.0)
    return found
