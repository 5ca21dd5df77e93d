"""Differences between two attacks, or two models, that were judged on the same records.

A record that is easy to recognise is easy for both, so their errors move together, and the difference is known better
than two separate intervals say. The two intervals, each of which respects its own small counts and random threshold,
are joined with the correlation of their errors (Zou 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from vestige.errors import DataError
from vestige.metrics.estimate import Array, Estimate, share, vector, withheld
from vestige.metrics.intervals import auc
from vestige.metrics.placements import influence
from vestige.metrics.roc import Roc, roc
from vestige.metrics.tpr import tprs_at
from vestige.seeds import rng

DRAWS = 400


@dataclass(frozen=True, eq=False)
class Judged:
    """(N,) ``scores`` of the records, larger = more likely a member, and (N,) bool ``member``, the truth about them."""

    scores: Array
    member: NDArray[np.bool_]

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", vector(self.scores, "scores"))
        member = np.asarray(self.member)
        if member.shape != self.scores.shape or member.dtype != np.bool_:
            raise DataError(
                f"Expected one true-or-false membership per score, got {member.dtype} of shape {member.shape} for "
                f"{len(self.scores)} scores."
            )
        if member.all() or not member.any():
            raise DataError(f"Expected members and non-members, got {int(member.sum())} of {len(member)} members.")
        object.__setattr__(self, "member", member)

    @property
    def curve(self) -> Roc:
        """The ROC curve of these scores."""
        return roc(self.scores[self.member], self.scores[~self.member])


def paired_auc(first: Judged, second: Judged, *, confidence: float = 0.95) -> Estimate:
    """Return the AUC of ``second`` minus that of ``first``, on the same records in the same order.

    The truths may differ, as for two models that trained on different halves of the records. For one truth this is
    DeLong's paired comparison (DeLong, DeLong & Clarke-Pearson 1988), within the AUC's own range. The two models are
    taken as given: training them again would vary more.
    """
    _same_records(first, second)
    ends = auc(first.curve, confidence=confidence), auc(second.curve, confidence=confidence)
    return joined(*ends, auc_correlation(first, second), method="paired DeLong")


def paired_tpr(
    first: Judged, second: Judged, fpr: float, *, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """Return the TPR at ``fpr`` of ``second`` minus that of ``first``, each at its own threshold, as `paired_auc`.

    Withheld when either is; the errors' correlation, thresholds included, is that of ``draws`` resamples of records.
    """
    return paired_tprs(first, second, [fpr], confidence=confidence, draws=draws, seed=seed)[0]


def paired_tprs(
    first: Judged,
    second: Judged,
    fprs: Sequence[float],
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Estimate]:
    """Return `paired_tpr` for several rates."""
    _same_records(first, second)
    ends = [tprs_at(each.curve, fprs, confidence=confidence) for each in (first, second)]
    correlations = tpr_correlations(first, second, fprs, draws=draws, seed=seed)
    return [joined(a, b, r, method="paired resamples") for a, b, r in zip(*ends, correlations, strict=True)]


def joined(
    first: Estimate, second: Estimate, correlation: float = 0.0, *, wider: float = 1.0, method: str = ""
) -> Estimate:
    """Return ``second`` − ``first`` with the interval that theirs and the correlation of their errors imply.

    Zou (2007); without correlation, Zou & Donner (2008). ``wider`` stretches both ends, for several comparisons.
    """
    if first.value is None or second.value is None:
        return withheld("one of the two was withheld", method)
    gap = second.value - first.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Estimate(value=gap, method=method)
    if correlation == 1.0 and (first.low, first.value, first.high) == (second.low, second.value, second.high):
        return Estimate(value=gap, low=gap, high=gap, method=method, reason=second.reason)
    below = _reach(second.value - second.low, first.high - first.value, correlation)
    above = _reach(second.high - second.value, first.value - first.low, correlation)
    reason = second.reason or first.reason
    return Estimate(value=gap, low=gap - wider * below, high=gap + wider * above, method=method, reason=reason)


def _reach(one: float, other: float, correlation: float) -> float:
    return float(np.sqrt(max(one * one + other * other - 2 * correlation * one * other, 0.0)))


def auc_correlation(first: Judged, second: Judged) -> float:
    """Return the correlation of the two AUCs' errors over the choice of records; 0 when either has no spread."""
    _same_records(first, second)
    if _same_ranking(first, second):
        return 1.0
    a, b = influence(first.scores, first.member), influence(second.scores, second.member)
    scale = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    if scale == 0.0:
        return 0.0
    return float(np.clip(np.sum(a * b) / scale, -1.0, 1.0))


def tpr_correlations(
    first: Judged, second: Judged, fprs: Sequence[float], *, draws: int = DRAWS, seed: int = 0
) -> list[float]:
    """Return, per rate, the correlation of the two TPRs' errors, thresholds included, over resamples of the records."""
    _same_records(first, second)
    for fpr in fprs:
        share(fpr, "a false-positive rate")
    if _same_ranking(first, second):
        return [1.0] * len(fprs)
    generator = rng(seed, "metrics", "paired")
    curves = [_Reweighted.of(each) for each in (first, second)]
    cells = [np.flatnonzero(first.member * 2 + second.member == cell) for cell in range(4)]
    found = np.empty((draws, 2, len(fprs)))
    for draw in range(draws):
        weights = np.zeros(len(first.scores))
        for rows in cells:
            if len(rows):
                weights[rows] = np.bincount(generator.integers(0, len(rows), len(rows)), minlength=len(rows))
        for place, curve in enumerate(curves):
            found[draw, place] = curve.tprs(weights, fprs)
    return [_correlation(found[:, 0, k], found[:, 1, k]) for k in range(len(fprs))]


@dataclass(frozen=True, eq=False)
class _Reweighted:
    """The ROC curve of one model's scores when records count several times or not at all."""

    curve: Roc
    sides: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]
    """Of the members and of the others, which records they are and at which step of the curve each counts."""

    @classmethod
    def of(cls, judged: Judged) -> _Reweighted:
        curve = judged.curve
        ascending = curve.thresholds[-2::-1]
        block = len(ascending) - np.searchsorted(ascending, judged.scores)
        rows = (np.flatnonzero(judged.member), np.flatnonzero(~judged.member))
        return cls(curve, tuple((own, block[own]) for own in rows))

    def tprs(self, weights: Array, fprs: Sequence[float]) -> list[float]:
        number = len(self.curve.thresholds)
        hits, alarms = (
            np.bincount(block, weights=weights[rows], minlength=number).cumsum().astype(np.int64)
            for rows, block in self.sides
        )
        drawn = Roc(self.curve.thresholds, hits, alarms)
        return [float(hits[drawn.vertex_at(fpr)] / drawn.members) for fpr in fprs]


def _correlation(one: Array, other: Array) -> float:
    scale = float(np.std(one) * np.std(other))
    if scale == 0.0:
        return 0.0
    return float(np.clip(np.mean((one - one.mean()) * (other - other.mean())) / scale, -1.0, 1.0))


def _same_ranking(first: Judged, second: Judged) -> bool:
    if not np.array_equal(first.member, second.member):
        return False
    one, other = (np.unique(each.scores, return_inverse=True)[1] for each in (first, second))
    return np.array_equal(one, other)


def _same_records(first: Judged, second: Judged) -> None:
    if len(first.scores) != len(second.scores):
        raise DataError(
            f"Expected scores of the same records in the same order, got {len(first.scores)} and {len(second.scores)}."
        )


def widening(tries: int, confidence: float = 0.95) -> float:
    """Return how much wider each of ``tries`` normal intervals must be for all to hold together (Bonferroni)."""
    tail = (1 - share(confidence, "the confidence")) / 2
    return float(scipy.special.ndtri(tail / max(tries, 1)) / scipy.special.ndtri(tail))


def judged(scores: ArrayLike, member: ArrayLike) -> Judged:
    """Return scores and truth as one; raises DataError when they do not fit."""
    return Judged(np.asarray(scores, np.float64), np.asarray(member, dtype=bool))
