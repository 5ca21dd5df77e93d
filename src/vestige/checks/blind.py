"""The blind baseline: a classifier that sees records and labels but no model must not tell members from non-members.

If it can, the two sides were not drawn alike, and every attack's success may be its own.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy
from numpy.typing import NDArray

from vestige.checks.base import Check, check
from vestige.metrics.estimate import Array, Estimate, withheld
from vestige.metrics.intervals import auc
from vestige.metrics.roc import roc
from vestige.seeds import rng

MOST_RECORDS = 4_000
MOST_COLUMNS = 2_000
MOST_FEATURES = 200
WAVES = 128
FOLDS = 4
FEWEST = 50
CONFIDENCE = 0.99
CLEARLY = 0.55


class _Learner(Protocol):
    def __call__(self, values: Array, truth: NDArray[np.bool_], asked: Array) -> Array: ...


def blind_auc(
    features: NDArray[np.float32],
    member: NDArray[np.bool_],
    *,
    labels: NDArray[np.int64] | None = None,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Return the AUC with which features alone, (N, d), and class ``labels``, (N,), tell members from non-members.

    Two learners are cross-fitted on at most 4,000 records and 2,000 features: each feature by itself (a Gaussian naive
    Bayes), and all together (ridge regression on the features, or random directions of them, and random Fourier
    features, Rahimi & Recht 2007). The better one is returned with an interval widened for the choice. Records of one
    of the ``groups``, (N,), stay in one fold, and the interval counts groups instead of records. Withheld below 50
    records a side.
    """
    generator = rng(seed, "checks", "blind-baseline")
    rows = _sample(member, generator)
    truth = member[rows]
    if min(int(truth.sum()), int((~truth).sum())) < FEWEST:
        return withheld(f"fewer than {FEWEST} members or non-members")
    columns = _columns(features.shape[1], generator)
    values = _standardised(features[rows[:, None], columns], None if labels is None else labels[rows])
    if values.shape[1] == 0:
        return withheld("no feature varies")
    wide = _expanded(values, generator)
    codes = np.arange(len(rows)) if groups is None else np.unique(groups[rows], return_inverse=True)[1]
    number = int(codes.max()) + 1
    folds = (generator.permutation(number) % FOLDS)[codes]
    found = [
        _cross_fitted(learner, matrix, truth, folds, confidence, len(rows) / number)
        for learner, matrix in ((_each, values), (_all, wide))
    ]
    return max(found, key=lambda estimate: estimate.low or 0.0)


def blind_baseline(estimate: Estimate) -> Check | None:
    """Doubt an audit whose blind AUC is above one half beyond its interval; error when its low end exceeds 0.55."""
    if estimate.value is None or estimate.low is None or estimate.low <= 0.5:
        return None
    return check(
        "blind-baseline",
        "error" if estimate.low > CLEARLY else "warning",
        f"Without any model, features alone tell members from non-members with AUC {estimate.value:.3f} "
        f"[{estimate.low:.3f}, {estimate.high:.3f}].",
    )


def _sample(member: NDArray[np.bool_], generator: np.random.Generator) -> NDArray[np.int64]:
    """Return at most 4,000 rows, as evenly from both sides as they allow."""
    chosen = []
    for side in (member, ~member):
        rows = np.flatnonzero(side)
        chosen.append(generator.choice(rows, min(len(rows), MOST_RECORDS // 2), replace=False))
    return generator.permutation(np.concatenate(chosen)).astype(np.int64)


def _columns(number: int, generator: np.random.Generator) -> NDArray[np.int64]:
    if number <= MOST_COLUMNS:
        return np.arange(number, dtype=np.int64)
    return np.sort(generator.choice(number, MOST_COLUMNS, replace=False)).astype(np.int64)


def _standardised(features: NDArray[np.float32], labels: NDArray[np.int64] | None) -> Array:
    values = np.nan_to_num(features.astype(np.float64), posinf=0.0, neginf=0.0)
    if labels is not None:
        kinds, codes = np.unique(labels, return_inverse=True)
        values = np.hstack([values, np.eye(len(kinds))[codes]]) if len(kinds) <= MOST_FEATURES else values
    spread = values.std(axis=0)
    kept = spread > 1e-12
    clipped: Array = np.clip((values[:, kept] - values[:, kept].mean(axis=0)) / spread[kept], -8, 8)
    return clipped


def _expanded(values: Array, generator: np.random.Generator) -> Array:
    """Return the features, in random directions when there are many, beside waves of them for curved borders."""
    if values.shape[1] > MOST_FEATURES:
        values = values @ generator.standard_normal((values.shape[1], MOST_FEATURES)) / np.sqrt(MOST_FEATURES)
        values = values / np.maximum(values.std(axis=0), 1e-12)
    ways = generator.standard_normal((values.shape[1], WAVES)) / np.sqrt(values.shape[1])
    waves = np.cos(values @ ways + generator.uniform(0, 2 * np.pi, WAVES)) * np.sqrt(2)
    return np.hstack([values, waves])


def _cross_fitted(
    learner: _Learner,
    values: Array,
    truth: NDArray[np.bool_],
    folds: NDArray[np.int64],
    confidence: float,
    repeats: float,
) -> Estimate:
    """Return the mean AUC over folds, each scored by a learner that did not see it."""
    places, errors = [], []
    deviate = float(-scipy.special.ndtri((1 - confidence) / 2))
    for fold in range(FOLDS):
        held = folds == fold
        if len({*zip(held.tolist(), truth.tolist(), strict=True)}) < 4:
            continue  # with few groups a fold may lack members or non-members
        scores = learner(values[~held], truth[~held], values[held])
        area = auc(roc(scores[truth[held]], scores[~truth[held]]), confidence=confidence)
        places.append(area.value or 0.0)
        errors.append((area.half_width or 0.0) / deviate)
    if len(places) < 2:
        return withheld("too few groups of records to hold some out")
    value = float(np.mean(places))
    # Every two folds are compared twice, from either side, so the variance is twice that of independent folds.
    error = float(np.sqrt(2 * repeats * np.sum(np.square(errors)))) / len(places)
    reach = float(-scipy.special.ndtri((1 - confidence) / 4)) * error
    return Estimate(
        value=value, low=max(value - reach, 0.0), high=min(value + reach, 1.0), method="cross-fitted, two learners"
    )


def _each(values: Array, truth: NDArray[np.bool_], asked: Array) -> Array:
    """Score by the sum over features of the log-ratio of two normal densities."""
    score = np.zeros(len(asked))
    for sign, side in ((1.0, values[truth]), (-1.0, values[~truth])):
        mean, square = side.mean(axis=0), np.einsum("nd,nd->d", side, side) / len(side)
        # A feature that is constant on one side must not decide alone: it is given eight records' worth of spread.
        variance = (np.maximum(square - mean**2, 0) * len(side) + 8) / (len(side) + 8)
        score += sign * (asked @ (mean / variance) - (asked * asked) @ (0.5 / variance))
    return score


def _all(values: Array, truth: NDArray[np.bool_], asked: Array) -> Array:
    """Score by ridge regression of membership, the classes weighted alike."""
    weight = np.where(truth, 0.5 / truth.mean(), 0.5 / (~truth).mean())[:, None]
    sign = np.where(truth, 1.0, -1.0)
    centre = np.average(values, axis=0, weights=weight[:, 0])
    inner = values - centre
    gram = inner.T @ (weight * inner) + 0.1 * len(values) * np.eye(values.shape[1])
    slope = scipy.linalg.solve(gram, inner.T @ (weight[:, 0] * sign), assume_a="pos")
    score: Array = (asked - centre) @ slope
    return score
