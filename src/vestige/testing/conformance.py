"""How a property is stated and how its failure reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

from vestige.target import BoolArray, FloatArray


class ConformanceError(AssertionError):
    """A property that every plug-in of its kind has, and this one has not."""


def hold(condition: Any, message: str) -> None:
    """Raise ConformanceError with ``message`` unless the condition holds."""
    if not condition:
        raise ConformanceError(message)


def close(first: FloatArray, second: FloatArray, message: str, *, relative: float = 1e-6) -> None:
    """Raise ConformanceError unless two arrays agree up to rounding, on the scale of what they hold."""
    hold(first.shape == second.shape, f"{message}: the shapes are {first.shape} and {second.shape}.")
    if first.size:
        scale = float(np.ptp(first)) + 1e-9
        worst = float(np.max(np.abs(first - second) / (scale + np.abs(first))))
        hold(worst <= relative, f"{message}: they differ by up to {worst:.2g} of their range.")


def auc(scores: FloatArray, members: BoolArray) -> float:
    """Return the probability that a member outscores a non-member, ties counted half."""
    ranks = rankdata(scores)
    inside = int(members.sum())
    outside = len(members) - inside
    return float((ranks[members].sum() - inside * (inside + 1) / 2) / (inside * outside))


def auc_error(members: BoolArray) -> float:
    """Return the standard error of the AUC of scores that know nothing of membership; ties only make it smaller."""
    inside = int(members.sum())
    outside = len(members) - inside
    return float(np.sqrt((inside + outside + 1) / (12 * inside * outside)))
