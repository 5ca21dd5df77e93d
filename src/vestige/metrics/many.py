"""Many slices at once: the worst of them was picked for being worst, and its figure must allow for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from vestige.metrics.epsilon.multiplicity import holm
from vestige.metrics.estimate import Array, Estimate, share
from vestige.metrics.intervals import auc
from vestige.metrics.paired import joined
from vestige.metrics.placements import delong
from vestige.metrics.roc import Roc, area, roc
from vestige.target import BoolArray


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How one slice stands among all that were looked at.

    ``together``: its AUC with an interval that holds for all slices at once (Bonferroni), whichever of them is picked
    afterwards. ``p_rest``, ``p_chance``: p-values of "it leaks like the rest" and "it leaks nothing (AUC ½)", raised
    for the number of slices (Holm 1979); None where the slice was too small to be judged or there is no rest.
    """

    together: Estimate
    p_rest: float | None = None
    p_chance: float | None = None


def _adjusted(p: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p-values; None, a test that was not made, stays None and does not count."""
    found = holm({str(place): value for place, value in enumerate(p) if value is not None})
    return [found.get(str(place)) for place in range(len(p))]


def together(
    curves: Sequence[Roc | None], rests: Sequence[Roc | None], *, confidence: float = 0.95
) -> list[Standing | None]:
    """Return the standing of each slice among all; None for one without a curve.

    ``curves``: each slice's own; ``rests``: those of the records outside it. Records are taken as independent, given
    the model.
    """
    judged = [curve for curve in curves if curve is not None]
    level = 1 - (1 - share(confidence, "the confidence")) / max(len(judged), 1)
    chance = _adjusted([None if curve is None else against_half(curve) for curve in curves])
    apart = _adjusted(
        [
            None if c is None or r is None else against(c, r, confidence=level)
            for c, r in zip(curves, rests, strict=True)
        ]
    )
    return [
        None
        if curve is None
        else Standing(together=_named(auc(curve, confidence=level), len(judged)), p_rest=rest, p_chance=half)
        for curve, rest, half in zip(curves, apart, chance, strict=True)
    ]


def _named(estimate: Estimate, number: int) -> Estimate:
    if number < 2:
        return estimate
    method = f"{estimate.method}; allows for the choice among {number}"
    return Estimate(value=estimate.value, low=estimate.low, high=estimate.high, method=method, reason=estimate.reason)


def against_half(curve: Roc) -> float:
    """Return the two-sided p-value of an AUC of one half, by the interval that `auc` gives."""
    value, error = area(curve), delong(curve)
    if min(curve.members, curve.nonmembers) == 1 or value == 0.5:
        return 1.0
    if error == 0.0:
        return min(1.0, 2 * 0.5 ** min(curve.members, curve.nonmembers))
    return _two_sided(float(scipy.special.logit(value)) * value * (1 - value) / error)


def against(first: Roc, second: Roc, *, confidence: float = 0.95) -> float:
    """Return the two-sided p-value of two AUCs being equal, on disjoint records.

    It is 1 − ``confidence`` where the interval of the difference (Zou & Donner 2008) at ``confidence`` just reaches 0,
    and follows the normal law around there; so ask at the level that decides.
    """
    one, other = auc(first, confidence=confidence), auc(second, confidence=confidence)
    gap = joined(one, other)
    if gap.value is None or gap.low is None or gap.high is None or gap.value == 0.0:
        return 1.0
    reach = gap.value - gap.low if gap.value > 0 else gap.high - gap.value
    return _two_sided(float(scipy.special.ndtri((1 - confidence) / 2)) * gap.value / reach)


def _two_sided(z: float) -> float:
    return float(2 * scipy.special.ndtr(-abs(z)))


def split_curves(
    codes: ArrayLike, scores: Array, member: ArrayLike, kinds: int, least: int
) -> tuple[list[Roc | None], list[Roc | None]]:
    """Return the curve of each of ``kinds`` slices and of the records outside it; None below ``least`` on a side.

    ``codes``: (N,) the slice of each record.
    """
    slice_of, inside = np.asarray(codes), np.asarray(member, dtype=bool)
    order = np.argsort(scores)
    slice_of, ranked, inside = slice_of[order], scores[order], inside[order]
    curves: list[Roc | None] = []
    rests: list[Roc | None] = []
    for kind in range(kinds):
        mine = slice_of == kind
        curves.append(_curve(ranked, inside, mine, least))
        rests.append(None if curves[-1] is None else _curve(ranked, inside, ~mine, least))
    return curves, rests


def _curve(scores: Array, member: BoolArray, rows: BoolArray, least: int) -> Roc | None:
    inside, outside = scores[rows & member], scores[rows & ~member]
    return roc(inside, outside) if min(len(inside), len(outside)) >= max(least, 1) else None
