"""Doubts about the shadow models: records they do not cover, and models unlike the target."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vestige.checks.base import Check, check

FEW = 0.05
SLACK = 0.03
FAR = 0.20


def missing_in_or_out(masks: NDArray[np.bool_], *, side: Literal["out", "both"] = "both") -> Check | None:
    """Doubt attacks on records that lack IN or OUT models; ``masks``: (M, N), True where trained on."""
    inside = masks.sum(axis=0)
    no_out = inside == len(masks)
    no_in = (inside == 0) if side == "both" else np.zeros_like(no_out)
    lacking = no_out | no_in
    if not lacking.any():
        return None
    share = float(np.mean(lacking))
    return check(
        "missing-in-or-out",
        "error" if share > FEW else "warning",
        f"Of {masks.shape[1]:,} records, {int(no_in.sum()):,} were trained on by no shadow model and "
        f"{int(no_out.sum()):,} by all {len(masks)}.",
    )


def shadow_accuracy_gap(
    *,
    target_train: float | None,
    target_test: float | None,
    shadow_train: ArrayLike,
    shadow_test: ArrayLike,
) -> Check | None:
    """Doubt shadow models whose accuracies, one per model, lie far from the target's, on its own records or others.

    Far is more than 3 points and 3 standard deviations of the shadows; more than 20 points is an error.
    """
    worst: tuple[float, str] | None = None
    for name, own, values in (("training", target_train, shadow_train), ("other", target_test, shadow_test)):
        shadows = np.asarray(values, dtype=np.float64)
        shadows = shadows[np.isfinite(shadows)]
        if own is None or len(shadows) == 0:
            continue
        mean, sd = float(np.mean(shadows)), float(np.std(shadows, ddof=1)) if len(shadows) > 1 else 0.0
        gap = abs(own - mean)
        if gap > max(SLACK, 3 * sd) and (worst is None or gap > worst[0]):
            worst = (gap, f"On {name} records the target's accuracy is {own:.1%} and the shadow models' {mean:.1%}.")
    if worst is None:
        return None
    return check("shadow-accuracy-gap", "error" if worst[0] > FAR else "warning", worst[1])
