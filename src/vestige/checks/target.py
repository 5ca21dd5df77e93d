"""Doubts about the target's answers: random, dependent on the batch, tied, rounded, clipped or already softmaxed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.checks.base import Check, check

Answers = NDArray[Any]
TOLERANCE = 1e-4
DIGITS = 4


def target_train_mode(training: bool) -> Check | None:
    """Refuse a target that says it is in training mode."""
    return check("target-train-mode", "error", "The target is in training mode.") if training else None


def target_not_deterministic(first: Answers, second: Answers) -> Check | None:
    """Warn when one query, asked twice, was answered differently; (R, C) or (R,) answers to the same batch."""
    share, largest = _differing(first, second)
    if share == 0:
        return None
    return check(
        "target-not-deterministic",
        "warning",
        f"Asked twice, the target answered {share:.0%} of records differently, by up to {largest:.2g}.",
    )


def target_batch_dependent(together: Answers, alone: Answers) -> Check | None:
    """Refuse a target whose answers change with the batch; the same records answered in one batch and in small ones."""
    share, largest = _differing(together, alone)
    if share == 0:
        return None
    return check(
        "target-batch-dependent",
        "error",
        f"Asked in other company, {share:.0%} of records got another answer, by up to {largest:.2g}.",
    )


def _differing(first: Answers, second: Answers) -> tuple[float, float]:
    """Return the share of records whose answers differ beyond rounding, and the largest difference."""
    one = np.asarray(first, dtype=np.float64).reshape(len(first), -1)
    two = np.asarray(second, dtype=np.float64).reshape(len(second), -1)
    gap = np.abs(one - two).max(axis=1)
    scale = max(float(np.abs(one).max()), 1.0)
    different = gap > TOLERANCE * scale
    return float(np.mean(different)), float(gap.max())


def outputs_tied(scores: NDArray[Any], *, name: str = "the attack") -> Check | None:
    """Note when fewer than half of (N,) scores are distinct; warn when over a tenth of records share one value."""
    values, counts = np.unique(scores, return_counts=True)
    distinct, most = len(values) / len(scores), counts.max() / len(scores)
    if len(values) == 1 or (distinct >= 0.5 and most <= 0.1):
        return None
    return check(
        "outputs-tied",
        "warning" if most > 0.1 else "info",
        f"The {len(scores):,} scores of {name} take {len(values):,} values; {most:.1%} of records share one.",
    )


def outputs_rounded(probabilities: Answers) -> Check | None:
    """Warn when (R, C) probabilities that are not all 0 or 1 carry at most four decimals."""
    values = np.asarray(probabilities, dtype=np.float64).ravel()
    inner = values[(values > 0) & (values < 1)]
    if len(inner) < 20:
        return None
    for digits in range(1, DIGITS + 1):
        # A float32 near 1 is off by 6e-8, far less than the last of four decimals.
        if np.all(np.abs(inner * 10**digits - np.round(inner * 10**digits)) < 1e-6 * 10**digits):
            return check("outputs-rounded", "warning", f"All probabilities are rounded to {digits} decimals.")
    return None


def outputs_clipped(probabilities: Answers, *, least: float = 0.01) -> Check | None:
    """Warn when the top probability of many of R records is exactly the same largest value, usually 1."""
    largest = np.asarray(probabilities).max(axis=-1)
    ceiling = largest.max()
    share = float(np.mean(largest == ceiling))
    if share < least or len(largest) * share < 2:
        return None
    return check(
        "outputs-clipped", "warning", f"{share:.1%} of records have a probability of exactly {float(ceiling):.7g}."
    )


def outputs_softmaxed(logits: Answers) -> Check | None:
    """Note when (R, C) "logits" are probabilities: nowhere negative, with rows that sum to one."""
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2 or values.min() < 0 or np.any(np.abs(values.sum(axis=1) - 1) > 1e-3):
        return None
    return check("outputs-softmaxed", "info", "The target's logits are nowhere negative and sum to one.")
