"""What training aims at instead of plain cross-entropy: softer labels, less confidence, a loss that is held up.

Plain descriptions, which both engines read; neither imports torch. Every objective but `Relaxed` with ``per_record``
off is a mean of terms that each depend on one record alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

# Below e to this power, a probability that is to become small has become small enough.
FLOOR = -16.0
_STEPS = 80


@dataclass(frozen=True)
class Levels:
    """`Softened` for a number of classes: the label's share of the true class, of each other, and the weight of H."""

    top: float
    rest: float
    penalty: float


@dataclass(frozen=True, kw_only=True)
class Softened:
    """Cross-entropy against a softened label, less ``penalty`` times the entropy of the answer, in nats.

    The label gives the true class 1 - ``smoothing`` + ``smoothing``/K and every other ``smoothing``/K; with ``entropy``
    it is instead the most confident label of that share of ln K in entropy that is alike in all other classes. With
    ``per_class`` the penalty is taken K times.
    """

    smoothing: float = 0.0
    entropy: float | None = None
    penalty: float = 0.0
    per_class: bool = False

    def levels(self, classes: int) -> Levels:
        """Return what it means for K classes."""
        penalty = self.penalty * classes if self.per_class else self.penalty
        if self.entropy is not None:
            top = confident(self.entropy, classes)
            return Levels(top, (1 - top) / (classes - 1), penalty)
        return Levels(1 - self.smoothing + self.smoothing / classes, self.smoothing / classes, penalty)


@dataclass(frozen=True, kw_only=True)
class Relaxed:
    """Cross-entropy that is held at ``level``: in even epochs it climbs where it lies below, in odd ones it flattens.

    To flatten is to aim at a label that keeps the model's own probability of the true class, at most ``upper``, and
    shares the rest equally. ``flatten``: ``paper`` takes that label as given; ``reference`` also climbs the
    cross-entropy, flattens wrong answers alone, and differentiates through the label. ``per_record`` decides record by
    record instead of by the batch's mean.
    """

    level: float
    upper: float = 1.0
    flatten: Literal["paper", "reference"] = "paper"
    per_record: bool = False


Objective = Softened | Relaxed


def confident(share: float, classes: int) -> float:
    """Return the largest p for which (p, (1 - p)/(K - 1), …) has an entropy of ``share`` times ln K."""
    wanted, low, high = share * math.log(classes), 1 / classes, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _entropy(middle, classes) >= wanted else (low, middle)
    return low


def _entropy(top: float, classes: int) -> float:
    rest = 1 - top
    found = -top * math.log(top) if top else 0.0
    return found - (rest * math.log(rest / (classes - 1)) if rest else 0.0)
