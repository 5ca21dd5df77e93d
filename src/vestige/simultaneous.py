"""Intervals that hold for several figures at once, so that the largest of them may be picked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from vestige.log_parts import Figure


def widened(figure: Figure, tries: int, level: float = 0.95) -> Figure:
    """Return a share's interval as it would be to hold for all of ``tries`` attacks (Bonferroni, on logits).

    A share of exactly 0 or 1 has no logit: its interval is widened as that of a count of none is, whose end lies at
    1 − α^(1/n).
    """
    if tries < 2 or figure.value is None or figure.low is None or figure.high is None:
        return figure
    normal, tail = NormalDist(), (1 - level) / 2
    factor = normal.inv_cdf(1 - tail / tries) / normal.inv_cdf(1 - tail)
    rare = math.log(tail / tries) / math.log(tail)
    value = figure.value

    def moved(end: float) -> float:
        if not 0 < end < 1:
            return end
        if value <= 0:
            return float(1 - (1 - end) ** rare)
        if value >= 1:
            return float(end**rare)
        logit = math.log(value / (1 - value))
        return 1 / (1 + math.exp(-(logit + factor * (math.log(end / (1 - end)) - logit))))

    return Figure(value=value, low=moved(figure.low), high=moved(figure.high), method=figure.method)


def largest(figures: Sequence[tuple[str, Figure]], level: float = 0.95, *, times: int = 1) -> tuple[str, Figure]:
    """Return the name and value of the largest of some shares, with an interval for the largest true one.

    Every interval is widened for their number, so all of them hold together, and then the largest true share lies
    between the largest of the lower ends and the largest of the upper ends. Shares without a value are left out.
    ``times``: of so many such families at once, as when one of them is picked afterwards.
    """
    known = [(name, figure) for name, figure in figures if figure.value is not None]
    if not known:
        return "", Figure(reason=next((figure.reason for _, figure in figures if figure.reason), "no attack ran"))
    name, best = max(known, key=lambda pair: pair[1].value or 0.0)
    tries = len(known) * max(times, 1)
    wide = [widened(figure, tries, level) for _, figure in known]
    lows, highs = [f.low for f in wide if f.low is not None], [f.high for f in wide if f.high is not None]
    if len(lows) < len(known):
        return name, Figure(value=best.value)
    return name, Figure(value=best.value, low=max(lows), high=max(highs), method=f"largest of {tries}, Bonferroni")
