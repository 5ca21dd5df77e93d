"""Where a record's signals lie under IN and under OUT models, when a few references are all there is to go by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vestige.attacks.moments import Floats, Moments
from vestige.attacks.spread import pooled

_FEW = 20  # records with both sides that it takes to learn how the two centres go together
_FLAT = 1e-6  # smallest prior variance in any direction, of the total: keeps the prior invertible


class Centres(NamedTuple):
    """(N, A) centres of the OUT and the IN side, and the variance of each that remains unknown; all finite."""

    out: Floats
    inside: Floats
    out_doubt: Floats
    inside_doubt: Floats


def plain(out: Moments, inside: Moments) -> Centres:
    """Return the centres as they are; a missing side is the other one moved by the average distance between the two."""
    columns = [_filled(out, inside, a) for a in range(out.centre.shape[1])]
    low, high = (np.stack([column[side] for column in columns], axis=1) for side in (0, 1))
    return Centres(low, high, np.zeros_like(low), np.zeros_like(high))


def shrunk(out: Moments, inside: Moments) -> Centres:
    """Return the posterior centres under a bivariate normal prior over records, fitted to the records themselves.

    A record with few IN references borrows from its OUT ones and from how both go together elsewhere; a record with
    many keeps its own means. With too few records to learn from, the plain centres.
    """
    if np.count_nonzero((out.count > 0) & (inside.count > 0)) < _FEW:
        return plain(out, inside)
    columns = [_posterior(out, inside, a) for a in range(out.mean.shape[1])]
    return Centres(*(np.stack(parts, axis=1) for parts in zip(*columns, strict=True)))


def alone(out: Moments) -> tuple[Floats, Floats]:
    """Return the posterior OUT centres when the IN side is hidden, and the variance of each that remains unknown."""
    centres, doubts = np.empty_like(out.mean), np.empty_like(out.mean)
    for a in range(out.mean.shape[1]):
        known = out.count > 0
        mean = out.mean[known, a]
        noise = pooled(out.scatter[:, a], out.freedom)
        middle = float(mean.mean()) if len(mean) else 0.0
        between = float(mean.var(ddof=1) - np.mean(noise / out.count[known])) if len(mean) >= _FEW else np.inf
        if not np.isfinite(between):
            centres[:, a], doubts[:, a] = np.where(known, out.mean[:, a], middle), 0.0
            continue
        between = max(between, _FLAT * noise)
        gain = between / (between + noise / np.maximum(out.count, _FLAT))
        gain[~known] = 0.0
        centres[:, a] = middle + gain * np.where(known, out.mean[:, a] - middle, 0.0)
        doubts[:, a] = between * (1 - gain)
    return centres, doubts


def _filled(out: Moments, inside: Moments, a: int) -> tuple[Floats, Floats]:
    low, high = out.centre[:, a], inside.centre[:, a]
    has_out, has_in = out.count > 0, inside.count > 0
    both = has_out & has_in
    if both.any():
        shift = float((high - low)[both].mean())
    elif has_out.any() and has_in.any():
        shift = float(high[has_in].mean() - low[has_out].mean())
    else:  # nothing tells how members differ: suppose one standard deviation, which ranks by distance from OUT
        shift = float(np.sqrt(pooled(out.scatter[:, a], out.freedom)))
    if has_out.any():
        middle = float(low[has_out].mean())
    else:
        middle = float(high[has_in].mean()) - shift if has_in.any() else 0.0
    filled = np.where(has_out, low, np.where(has_in, high - shift, middle))
    return filled, np.where(has_in, high, filled + shift)


def _posterior(out: Moments, inside: Moments, a: int) -> tuple[Floats, Floats, Floats, Floats]:
    both = (out.count > 0) & (inside.count > 0)
    means = np.stack([out.mean[both, a], inside.mean[both, a]])
    noise = [pooled(side.scatter[:, a], side.freedom) for side in (out, inside)]
    middle = means.mean(axis=1)
    between = np.cov(means) - np.diag([np.mean(noise[i] / side.count[both]) for i, side in enumerate((out, inside))])
    values, vectors = np.linalg.eigh(between)
    floor = _FLAT * (abs(values).sum() + sum(noise))
    between = (vectors * np.maximum(values, floor)) @ vectors.T
    # Two-by-two Gaussian conditioning written out: precision of the prior plus that of each side's mean, then inverted.
    (p, r), (_, q) = np.linalg.inv(between)
    weight = [side.count / noise[i] for i, side in enumerate((out, inside))]
    pull = [
        w * (np.where(side.count > 0, side.mean[:, a], middle[i]) - middle[i])
        for i, (w, side) in enumerate(zip(weight, (out, inside), strict=True))
    ]
    first, second = p + weight[0], q + weight[1]
    determinant = first * second - r * r
    low = middle[0] + (second * pull[0] - r * pull[1]) / determinant
    high = middle[1] + (first * pull[1] - r * pull[0]) / determinant
    return low, high, second / determinant, first / determinant
