"""How several bounds share one error probability, the one that is quoted taking most of it."""

from __future__ import annotations

from vestige.metrics.estimate import share

QUOTED = 0.8


def shares(count: int, confidence: float) -> list[float]:
    """Return the confidence of each of ``count`` bounds, the quoted one first, so that all hold with ``confidence``.

    Bonferroni's inequality with unequal weights: one alone has all of the error probability; otherwise the first has
    four fifths, and the others divide the rest evenly. Raises UsageError for a confidence outside (0, 1).

    >>> [round(one, 4) for one in shares(3, 0.95)]
    [0.96, 0.995, 0.995]
    """
    error = 1 - share(confidence, "the confidence")
    if count < 2:
        return [confidence] * count
    return [1 - QUOTED * error, *[1 - (1 - QUOTED) * error / (count - 1)] * (count - 1)]
