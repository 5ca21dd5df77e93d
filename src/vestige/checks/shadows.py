"""Doubts about the shadow models: records they do not cover, and models unlike the target."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from vestige.checks.base import Check, check

FEW = 0.05
SLACK = 0.03
FAR = 0.20
RARE = 0.0027


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
    records: tuple[int, int] = (0, 0),
) -> Check | None:
    """Doubt shadow models whose accuracies, one per model, lie far from the target's, on its own records or others.

    Far is more than 3 points and more than chance allows: the spread of few models is itself uncertain (Student's t for
    one more model), and no accuracy on ``records`` members and non-members is surer than a binomial one. More than 20
    points is an error.
    """
    worst: tuple[float, str] | None = None
    for name, own, values, count in (
        ("training", target_train, shadow_train, records[0]),
        ("other", target_test, shadow_test, records[1]),
    ):
        shadows = np.asarray(values, dtype=np.float64)
        shadows = shadows[np.isfinite(shadows)]
        if own is None or len(shadows) == 0:
            continue
        gap, mean = abs(own - float(np.mean(shadows))), float(np.mean(shadows))
        if gap > max(SLACK, _chance(shadows, mean, count)) and (worst is None or gap > worst[0]):
            worst = (gap, f"On {name} records the target's accuracy is {own:.1%} and the shadow models' {mean:.1%}.")
    if worst is None:
        return None
    return check("shadow-accuracy-gap", "error" if worst[0] > FAR else "warning", worst[1])


def _chance(shadows: NDArray[np.float64], mean: float, records: int) -> float:
    """Return how far one more model of the same kind may lie from the mean, at 1 in 370."""
    reach = 0.0
    if len(shadows) > 1:
        quantile = -float(scipy.special.stdtrit(len(shadows) - 1, RARE / 2))
        reach = quantile * float(np.std(shadows, ddof=1)) * float(np.sqrt(1 + 1 / len(shadows)))
    if records:
        reach = max(reach, 3 * float(np.sqrt(mean * (1 - mean) / records)))
    return reach
