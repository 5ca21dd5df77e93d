"""What to use, in plain words: for a limit on the leak, or for a limit on the accuracy that may be lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from vestige.log_parts import Figure
from vestige.tradeoff.results import Advice, TradeoffPoint

USUAL_LEAK = 0.05
USUAL_LOSS = 2.0


def choose(
    points: Sequence[TradeoffPoint], question: Literal["leak", "lose"], limit: float, floor: float = 0.0
) -> tuple[TradeoffPoint | None, bool]:
    """Return the candidate to use, and whether the limit holds at the end of its interval too.

    leak: the most accurate of those that leak at most ``limit``; lose: the one that leaks least of those that lose at
    most ``limit`` of accuracy. One that is surely within the limit goes before one whose figure alone is. Leakages
    below the ``floor`` are alike, and of those that leak alike the most accurate is taken.
    """
    placed = [point for point in points if point.placed]
    judged = {point.id: point.leakage if question == "leak" else point.accuracy_lost for point in placed}
    for sure in (True, False):
        able = [point for point in placed if _within(judged[point.id], limit, sure=sure)]
        if able:
            return min(able, key=_by_accuracy if question == "leak" else _by_leakage(floor)), sure
    return None, False


def _within(figure: Figure, limit: float, *, sure: bool) -> bool:
    end = figure.high if sure else figure.value
    return end is not None and end <= limit + 1e-12


def _by_accuracy(point: TradeoffPoint) -> tuple[float, float]:
    return -(point.utility.accuracy.value or 0.0), point.leakage.value or 0.0


def _by_leakage(floor: float = 0.0) -> Callable[[TradeoffPoint], tuple[float, float, float]]:
    def key(point: TradeoffPoint) -> tuple[float, float, float]:
        value = max(point.leakage.value or 0.0, floor)
        high = max(value if point.leakage.high is None else point.leakage.high, floor)
        return (value if value <= floor else high), value, -(point.utility.accuracy.value or 0.0)

    return key


def questions(leak_at_most: float | None, lose_at_most: float | None) -> list[tuple[Literal["leak", "lose"], float]]:
    """Return what is asked, limits as shares; both usual questions when neither was."""
    asked: list[tuple[Literal["leak", "lose"], float]] = []
    if leak_at_most is not None:
        asked.append(("leak", leak_at_most))
    if lose_at_most is not None:
        asked.append(("lose", lose_at_most / 100))
    return asked or [("leak", USUAL_LEAK), ("lose", USUAL_LOSS / 100)]


def nearest(points: Sequence[TradeoffPoint], question: Literal["leak", "lose"]) -> TradeoffPoint | None:
    """Return the candidate that comes nearest to a limit that none keeps."""
    placed = [point for point in points if point.placed]
    if question == "leak":
        return min(placed, key=_by_leakage(), default=None)
    known = [point for point in placed if point.accuracy_lost.value is not None]
    return min(known, key=lambda point: point.accuracy_lost.value or 0.0, default=None)


def bare(
    question: Literal["leak", "lose"], limit: float, points: Sequence[TradeoffPoint], floor: float = 0.0
) -> Advice:
    """Return the choice without its words."""
    found, sure = choose(points, question, limit, floor)
    return Advice(question=question, limit=limit, choice="" if found is None else found.id, sure=sure)
