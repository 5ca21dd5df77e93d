"""How good the models of an audit are, on the records that each of them was not trained on."""

from __future__ import annotations

import math

import numpy as np
import scipy

from vestige.auditing.results import Outcome
from vestige.log_parts import Figure
from vestige.metrics.targets import PARTS
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import BoolArray, FloatArray, IntArray
from vestige.tradeoff.parts import Utility

METHOD = "Student's t, jackknife over 40 groups of records and variance between models"


def utility_of(outcome: Outcome) -> Utility:
    """Return the accuracy of all models of the pool, target and shadow models alike, which were trained alike.

    It is counted on audited records alone. Of those held out, some have chosen settings and some are the defender's
    own, who may have trained with them; and all candidates are to be compared on the same records.
    """
    pool, records = outcome.pool, outcome.audit.inputs.records
    if pool is None or "correct" not in pool.signals.columns:
        return Utility(accuracy=Figure(reason="the models were not asked for what this figure needs"))
    rows = outcome.split.audited
    own, outside = slice(len(rows)), ~outcome.split.masks[:, rows]  # the pool was asked about these first
    right = np.stack([np.asarray(pool.signals.model("correct", m))[own, 0] > 0.5 for m in range(len(outside))])
    level = outcome.audit.config.audit.confidence
    found = measured(right, outside, records.y[rows], _parts(records)[rows], confidence=level)
    if "loss" not in pool.signals.columns:
        return found
    losses = [float(np.asarray(pool.signals.model("loss", m))[own, 0][out].mean()) for m, out in enumerate(outside)]
    return found.model_copy(update={"log_loss": float(np.mean(losses))})


def _parts(records: Records) -> IntArray:
    """Return which of the groups each record is in: the same for all audits of these records."""
    found: IntArray = rng(0, "utility-parts").permutation(len(records)) % PARTS
    return found


def measured(
    right: BoolArray, outside: BoolArray, labels: IntArray, parts: IntArray, *, confidence: float = 0.95
) -> Utility:
    """Return the utility of (M, R) answers, ``right`` or not, of which those ``outside`` each training count.

    ``labels``, ``parts``: (R,), each record's class and its group of the jackknife.
    """
    codes = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    classes, place = int(codes.max()) + 1, codes * PARTS + parts
    shape = (len(right), classes, PARTS)
    seen, hits = np.zeros(shape), np.zeros(shape)
    for model in range(len(right)):
        own = outside[model]
        seen[model] = np.bincount(place[own], minlength=classes * PARTS).reshape(classes, PARTS)
        hits[model] = np.bincount(place[own & right[model]], minlength=classes * PARTS).reshape(classes, PARTS)
    if not seen.sum(axis=(1, 2)).all():
        return Utility(accuracy=Figure(reason="a model was trained on every record"))
    plain, per_class = _accuracies(seen, hits)
    without = [_accuracies(*(np.delete(counts, part, axis=2) for counts in (seen, hits))) for part in range(PARTS)]
    between = float(np.var(plain, ddof=1)) / len(plain) if len(plain) > 1 else 0.0
    parts_plain = np.array([one[0].mean() for one in without])
    balanced = np.nanmean(per_class, axis=1)
    parts_balanced = np.array([np.nanmean(one[1], axis=1).mean() for one in without])
    spread = float(np.var(balanced, ddof=1)) / len(balanced) if len(balanced) > 1 else 0.0
    return Utility(
        accuracy=interval(float(plain.mean()), parts_plain, between, confidence),
        balanced=interval(float(balanced.mean()), parts_balanced, spread, confidence),
        worst_class=float(np.nanmin(np.nanmean(per_class, axis=0))),
        models=len(plain),
        parts=[float(f"{value:.8g}") for value in parts_plain],
        between=between,
    )


def _accuracies(seen: FloatArray, hits: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return each model's accuracy, (M,), and in each class, (M, C), NaN where it has no record."""
    counts = seen.sum(axis=2)
    with np.errstate(invalid="ignore"):
        per_class = np.where(counts > 0, hits.sum(axis=2) / counts, np.nan)
    total: FloatArray = hits.sum(axis=(1, 2)) / np.maximum(seen.sum(axis=(1, 2)), 1)
    return total, per_class


def interval(value: float, parts: FloatArray, between: float, confidence: float, low: float = 0.0) -> Figure:
    """Return a mean with Student's interval: the variance of the records by the jackknife, and that of the models."""
    variance = (len(parts) - 1) / len(parts) * float(np.sum((parts - parts.mean()) ** 2)) + between
    reach = float(scipy.special.stdtrit(len(parts) - 1, (1 + confidence) / 2)) * math.sqrt(variance)
    return Figure(value=value, low=max(value - reach, low), high=min(value + reach, 1.0), method=METHOD)


def lost(before: Utility, after: Utility, confidence: float = 0.95) -> Figure:
    """Return how much accuracy is lost, as a share: on the same records, so that what they share cancels."""
    if before.accuracy.value is None or after.accuracy.value is None or len(before.parts) != len(after.parts):
        return Figure(reason="there is nothing to compare with")
    value = before.accuracy.value - after.accuracy.value
    parts = np.asarray(before.parts) - np.asarray(after.parts)
    return interval(value, parts, before.between + after.between, confidence, low=-1.0)
