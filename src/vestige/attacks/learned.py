"""Attack models: classifiers taught on shadow models' answers to tell members from non-members.

Rows are drawn by a hash of what they hold, never by where they stand, so that shuffling the records or the shadow
models draws the same rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vestige.attacks.base import Evidence
from vestige.errors import AuditError, MissingDependency, UsageError
from vestige.seeds import rng, seed_for
from vestige.target import BoolArray, FloatArray, IntArray

Family = Literal["mlp", "logistic", "boosting", "forest", "tree", "knn", "naive_bayes"]
Double = NDArray[np.float64]
Rule = Callable[[FloatArray], Double]
PRIOR_WEIGHT = 1.0
LEAST_SLOPE = 1e-3
FAR = 30.0
NEIGHBOURS = 25
LEAF = 10
"""Rows behind a nearest-neighbour or a tree's answer, at least: fewer would make nearly every answer a certain one."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What shadow models answered: features (R, K), whether the model trained on the record (R,), its class (R,)."""

    features: FloatArray
    members: BoolArray
    labels: IntArray

    def __len__(self) -> int:
        return len(self.members)

    def pick(self, which: Any) -> Rows:
        """Return some of the rows."""
        return Rows(self.features[which], self.members[which], self.labels[which])


def check_family(family: str) -> None:
    """Raise UsageError unless ``family`` names a kind of attack model."""
    if family not in get_args(Family):
        raise UsageError(f"Expected the attack model's family to be {', '.join(get_args(Family))}, got '{family}'.")


def same_classes(known: Evidence, evidence: Evidence) -> None:
    """Raise UsageError unless what is learnt class by class from one can be applied to the other."""
    if known.classes != evidence.classes:
        raise UsageError(
            f"Expected shadow models of the target's {evidence.classes} classes, got {known.classes} classes.",
            hint="ml_leaks_1, ml_leaks_2 and shokri with per_class = false learn from models of other classes.",
        )


def draw_rows(evidence: Evidence, key: str, *, per_side: int, by_class: bool) -> Rows:
    """Return up to ``per_side`` members' and as many non-members' rows, of all records or of each class, shuffled."""
    if not len(evidence.masks):
        raise AuditError("This attack learns from shadow models, but the evidence has none.")
    labels = np.asarray(evidence.labels, np.int64) if by_class else np.zeros(len(evidence), np.int64)
    classes = evidence.classes if by_class else 1
    kept: Rows | None = None
    marks = np.empty(0, np.uint64)
    for start, stop in evidence.blocks():
        values = evidence.reference(key, start, stop)[:, :, 0]
        values = values.reshape(*values.shape[:2], values.shape[2] if values.ndim == 3 else 1)
        rows = Rows(
            np.ascontiguousarray(values.reshape(-1, values.shape[2]), np.float32),
            evidence.masks[:, start:stop].ravel(),
            np.tile(labels[start:stop], len(values)),
        )
        fresh = _hash(rows.features, evidence.seed)
        if kept is not None:
            rows = Rows(*(np.concatenate(two) for two in zip(_parts(kept), _parts(rows), strict=True)))
            fresh = np.concatenate([marks, fresh])
        chosen = _lowest(rows, fresh, classes, per_side)
        kept, marks = rows.pick(chosen), fresh[chosen]
    if kept is None:
        raise AuditError("This attack learns from the shadow models' answers to records, but there are no records.")
    return _balanced(kept, classes)


def fit(family: Family, rows: Rows, seed: int) -> Rule:
    """Teach one attack model; the rule it returns maps (R, K) features to (R,) log-odds of membership."""
    try:
        from sklearn.exceptions import ConvergenceWarning
    except ImportError as error:
        raise MissingDependency(
            "scikit-learn", extra="sklearn", purpose="An attack that learns from shadows"
        ) from error
    x = rows.features.astype(np.float64)
    centre, scale = x.mean(axis=0), x.std(axis=0)
    if not scale.any():
        return lambda features: np.zeros(len(features))  # all rows alike: there is nothing to learn
    scale[scale == 0.0] = 1.0
    classifier = _classifier(family, len(rows), seed_for(seed, "attack", family) % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit((x - centre) / scale, rows.members.astype(np.int64))

    def rule(features: FloatArray) -> Double:
        scaled = (features.astype(np.float64) - centre) / scale
        if hasattr(classifier, "decision_function"):
            return np.asarray(classifier.decision_function(scaled), np.float64)
        if family in ("tree", "forest", "knn"):
            # A share of at least so many rows: none is as sure as a share of 0 or 1 would have it.
            least = 0.5 / (1 + (min(NEIGHBOURS, len(rows)) if family == "knn" else LEAF))
            share = np.clip(classifier.predict_proba(scaled)[:, 1], least, 1 - least)
            return np.asarray(np.log(share) - np.log1p(-share), np.float64)
        with np.errstate(divide="ignore"):  # a certain answer has log-odds of ±inf, which the clip below brings back
            odds = classifier.predict_log_proba(scaled)
        return np.asarray(np.clip(odds[:, 1] - odds[:, 0], -FAR, FAR), np.float64)

    return rule


def calibrated(rule: Rule, held_out: Rows) -> Rule:
    """Return the rule with its log-odds scaled and shifted to fit rows it was not taught on (Platt scaling).

    Ridge towards no change keeps few rows from saying much, and the slope stays positive, so no ranking is reversed.
    """
    slope, shift = _platt(rule(held_out.features), held_out.members)
    return lambda features: slope * rule(features) + shift


def _parts(rows: Rows) -> tuple[FloatArray, BoolArray, IntArray]:
    return rows.features, rows.members, rows.labels


def _hash(features: FloatArray, seed: int) -> NDArray[np.uint64]:
    words = features.view(np.uint32).astype(np.uint64)
    weights = rng(seed, "attack", "rows").integers(0, 2**63, words.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = (words * weights).sum(axis=1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(mixed ^ (mixed >> np.uint64(29)), np.uint64)


def _lowest(rows: Rows, marks: NDArray[np.uint64], classes: int, per_side: int) -> IntArray:
    side = rows.labels * 2 + rows.members
    order = np.lexsort((marks, side))
    start = np.searchsorted(side[order], np.arange(2 * classes))
    return np.asarray(order[np.arange(len(order)) - start[side[order]] < per_side], np.int64)


def _balanced(rows: Rows, classes: int) -> Rows:
    """Cut the larger side of each class to the smaller; sides stay in hashed order, which is random."""
    counts = np.bincount(rows.labels * 2 + rows.members, minlength=2 * classes)
    side = rows.labels * 2 + rows.members
    place = np.arange(len(rows)) - (np.cumsum(counts) - counts)[side]
    return rows.pick(place < counts.reshape(-1, 2).min(axis=1)[rows.labels])


def _classifier(family: Family, rows: int, seed: int) -> Any:
    if family == "logistic":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=200, random_state=seed)
    if family == "boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, learning_rate=0.1, early_stopping=False, random_state=seed
        )
    if family == "tree":
        from sklearn.tree import DecisionTreeClassifier

        return DecisionTreeClassifier(min_samples_leaf=min(LEAF, max(1, rows // 4)), random_state=seed)
    if family == "forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(100, min_samples_leaf=min(LEAF, max(1, rows // 4)), random_state=seed)
    if family == "knn":
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier(min(NEIGHBOURS, rows))
    if family == "naive_bayes":
        from sklearn.naive_bayes import GaussianNB

        return GaussianNB(var_smoothing=1e-3)
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(
        (64,), alpha=1e-3, batch_size=min(200, rows), learning_rate_init=3e-3, max_iter=30, random_state=seed
    )


def _platt(odds: Double, members: BoolArray) -> tuple[float, float]:
    y = members.astype(np.float64)
    x = np.column_stack([odds, np.ones_like(odds)])
    at = np.array([1.0, 0.0])
    for _ in range(25):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ at, -FAR, FAR)))
        gradient = x.T @ (p - y) + PRIOR_WEIGHT * (at - [1.0, 0.0])
        curvature = (x * (p * (1.0 - p))[:, None]).T @ x + PRIOR_WEIGHT * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        at = at - step * min(1.0, 1.0 / max(1e-12, float(np.abs(step).max())))
        if float(np.abs(step).max()) < 1e-9:
            break
    return max(float(at[0]), LEAST_SLOPE), float(at[1])
