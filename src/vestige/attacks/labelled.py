"""Attack models that are told a record's class beside what a model showed of it."""

from __future__ import annotations

import numpy as np

from vestige.attacks.base import Evidence
from vestige.attacks.learned import Double, Family, Rows, calibrated, draw_rows, fit, same_classes
from vestige.target import FloatArray, IntArray

CLASSES = 64
HELD_OUT = 4
FEWEST = 24
EXTREME = (0.001, 0.999)


def taught_scores(
    family: Family,
    known: Evidence,
    evidence: Evidence,
    key: str,
    *,
    rows: int,
    fallback: int = 0,
) -> Double:
    """Return (N,) log-odds of membership, learnt from the shadow models of ``known`` for the target of ``evidence``.

    Rows are balanced within each class. A class is one feature more for each class up to ``CLASSES``; beyond, the
    attack model is not told. ``rows``: how many members, and as many others, it learns from at most; ``fallback``: the
    column that is smaller for members, which is the score when there are too few rows to learn from.
    """
    same_classes(known, evidence)
    own = _matrix(evidence.target(key))
    labels = np.asarray(evidence.labels, np.int64)
    per_class = max(1, rows // max(1, known.classes))
    drawn = draw_rows(known, key, per_side=per_class, by_class=True)
    if len(drawn) < 2 * FEWEST:
        return -own[:, fallback].astype(np.float64)
    low, high = np.quantile(drawn.features, EXTREME, axis=0)

    def features(values: FloatArray, y: IntArray) -> FloatArray:
        # Far outside what it was taught on an attack model has no opinion worth having.
        plain = np.clip(values, low, high)
        told = np.eye(known.classes)[y] if known.classes <= CLASSES else np.empty((len(y), 0))
        return np.column_stack([plain, told]).astype(np.float32)

    drawn = Rows(features(drawn.features, drawn.labels), drawn.members, drawn.labels)
    place = np.arange(len(drawn)) % HELD_OUT == HELD_OUT - 1  # rows stand by class and side, so this takes of each
    rule = calibrated(fit(family, drawn.pick(~place), known.seed), drawn.pick(place))
    return rule(features(own, labels))


def _matrix(values: FloatArray) -> FloatArray:
    """Return (N, K) features of the plain query."""
    return values[:, 0].reshape(len(values), -1)
