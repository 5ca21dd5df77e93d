"""Where to cut a score in two: the threshold that best tells shadow members from shadow non-members, group by group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vestige.target import BoolArray, FloatArray, IntArray


def best_cuts(values: FloatArray, members: BoolArray, groups: IntArray, count: int) -> NDArray[np.float64]:
    """Return for each of ``count`` groups the observed τ that maximises the balanced accuracy of "member iff ≥ τ".

    All inputs (R,); among equally good values the largest. NaN for a group without members or without non-members.
    """
    cuts = np.full(count, np.nan)
    if not len(values):
        return cuts
    order = np.lexsort((-values, groups))
    v, g = values[order].astype(np.float64), groups[order]
    inside = members[order].astype(np.int64)
    n_in = np.bincount(g, inside, count).astype(np.int64)
    n_out = np.bincount(g, 1 - inside, count).astype(np.int64)
    start = np.searchsorted(g, np.arange(count))
    first = start[g]
    above_in, above_out = np.cumsum(inside), np.cumsum(1 - inside)
    above_in = above_in - above_in[first] + inside[first]
    above_out = above_out - above_out[first] + 1 - inside[first]
    # Twice the balanced accuracy over a common denominator: whole numbers, so that equally good values tie.
    gain = above_in * n_out[g] - above_out * n_in[g]
    last_of_value = np.append((v[1:] != v[:-1]) | (g[1:] != g[:-1]), True)
    gain[~last_of_value] = np.iinfo(np.int64).min
    usable = np.flatnonzero((n_in > 0) & (n_out > 0))
    for group in usable:
        stop = start[group + 1] if group + 1 < count else len(g)
        cuts[group] = v[start[group] + int(np.argmax(gain[start[group] : stop]))]
    return cuts


def best_bands(values: FloatArray, members: BoolArray, groups: IntArray, count: int) -> NDArray[np.float64]:
    """Return (count, 2): each group's observed bounds that maximise the balanced accuracy of "member iff between".

    All inputs (R,). Among equally good bands one that begins lowest. NaN for a group without members or non-members.
    """
    bands = np.full((count, 2), np.nan)
    for group in np.unique(groups):
        own = groups == group
        distinct, places = np.unique(values[own].astype(np.float64), return_inverse=True)
        inside = np.bincount(places, members[own], len(distinct)).astype(np.int64)
        outside = np.bincount(places, ~members[own], len(distinct)).astype(np.int64)
        if not inside.any() or not outside.any():
            continue
        # The best run of values: the largest difference between a running sum and the smallest one before it.
        before = np.concatenate([[0], np.cumsum(inside * outside.sum() - outside * inside.sum())])
        lowest = np.minimum.accumulate(before[:-1])
        last = int(np.argmax(before[1:] - lowest))
        bands[group] = distinct[int(np.argmin(before[: last + 1]))], distinct[last]
    return bands
