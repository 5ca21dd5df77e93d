"""What dear signals would find on a simulated model, of which nothing but its answers to its records is known.

The conformance kit simulates answers, not models, so signals that make up records, train copies or read weights are
stood in for by what they would find on a model whose decision boundary is as far away as its margin is wide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from vestige.errors import AccessError
from vestige.seeds import rng
from vestige.signals import create
from vestige.target import IntArray

Double = NDArray[np.float64]
VARIANTS = 9


def imagined(key: str, logits: NDArray[Any], y: IntArray) -> Double:
    """Return (P, K) values of a signal on models that answered P records with these (P, C) ``logits``.

    A signal of one's own has a method ``imagine(logits, y)`` that says the same of it.
    """
    own: Callable[[Double, IntArray], Double] | None = getattr(create(key), "imagine", None)
    rule = own or IMAGINED.get(key.partition("(")[0])
    if rule is None:
        raise AccessError(f"The kit cannot imagine the signal '{key}': give it a method imagine(logits, y).")
    labels: Any = np.asarray(y)  # numbers of a regression stay what they are
    labels = labels if labels.dtype.kind == "f" else labels.astype(np.int64)
    return np.asarray(rule(logits.astype(np.float64), labels), np.float64)


def margin(logits: Double, y: IntArray) -> Double:
    """Return (P,) by how much the true class beats the best other one."""
    rows = np.arange(len(y))
    others = logits.copy()
    others[rows, y] = -np.inf
    found: Double = logits[rows, y] - others.max(axis=1)
    return found


def _boundary(logits: Double, y: IntArray) -> Double:
    gap = margin(logits, y)
    return np.column_stack([np.maximum(gap, 0.0), gap <= 0, np.full(len(y), 500.0)])


def _robustness(logits: Double, y: IntArray) -> Double:
    kept: Double = special.ndtr(margin(logits, y) / 3)[:, None]
    return kept


def _decisions(logits: Double, y: IntArray) -> Double:
    noise = rng(0, "imagined", "decisions").standard_normal((len(y), VARIANTS))
    noise[:, 0] = 0
    kept: Double = (margin(logits, y)[:, None] + noise > 0).astype(np.float64)
    return kept


def _extraction(logits: Double, y: IntArray) -> Double:
    said = special.log_softmax(logits, axis=1)[np.arange(len(y)), y]
    return np.column_stack([said, margin(logits, y) > 0])


def _one_query(logits: Double, y: IntArray) -> Double:
    gap = margin(logits, y)
    return np.column_stack([gap > 1, -np.abs(gap) / 10])


def _displacement(logits: Double, y: IntArray) -> Double:
    gap = margin(logits, y)
    said = special.log_softmax(logits, axis=1)[np.arange(len(y)), y]
    return np.column_stack([gap, said, gap, said])


IMAGINED: dict[str, Callable[[Double, IntArray], Double]] = {
    "boundary": _boundary,
    "robustness": _robustness,
    "decisions": _decisions,
    "extraction": _extraction,
    "one_query": _one_query,
    "displacement": _displacement,
}
