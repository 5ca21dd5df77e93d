"""What to use, in plain words: for a limit on the leak, or for a limit on the accuracy that may be lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from vestige.log_parts import Figure
from vestige.tradeoff.results import Advice, TradeoffPoint

USUAL_LEAK = 0.05
USUAL_LOSS = 2.0
Question = Literal["leak", "lose"]


class Ends(NamedTuple):
    """How large a candidate's leakage and its lost accuracy may still be; None where that is not known."""

    leakage: float | None
    lost: float | None


def bare(
    question: Question, limit: float, points: Sequence[TradeoffPoint], ends: Mapping[str, Ends], floor: float = 0.0
) -> Advice:
    """Return the choice without its words.

    leak: the most accurate of those that leak at most ``limit``; lose: the one that leaks least of those that lose at
    most ``limit`` of accuracy. One whose end is within the limit goes before one whose figure alone is, which is then
    told beside it. Leakages below the ``floor`` are alike, and of those that leak alike the most accurate is taken.
    """
    placed = [point for point in points if point.placed]
    sure = _best(question, [p for p in placed if _holds(_end(question, ends[p.id]), limit)], floor)
    likely = _best(question, [p for p in placed if _holds(figure_of(p, question).value, limit)], floor)
    if sure is None:
        return Advice(question=question, limit=limit, choice="" if likely is None else likely.id)
    other = likely is not None and _key(question, likely, floor) < _key(question, sure, floor)
    return Advice(
        question=question, limit=limit, choice=sure.id, sure=True, perhaps=likely.id if likely and other else ""
    )


def _end(question: Question, ends: Ends) -> float | None:
    return ends.leakage if question == "leak" else ends.lost


def figure_of(point: TradeoffPoint, question: Question) -> Figure:
    """Return the figure that a question limits."""
    return point.leakage if question == "leak" else point.accuracy_lost


def _holds(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit + 1e-12


def _best(question: Question, able: Sequence[TradeoffPoint], floor: float) -> TradeoffPoint | None:
    return min(able, key=lambda point: _key(question, point, floor), default=None)


def _key(question: Question, point: TradeoffPoint, floor: float) -> tuple[float, float]:
    """Return what is least for the best candidate: by its figures, and of equal ones by the other figure."""
    worse, leaks = -(point.utility.accuracy.value or 0.0), max(point.leakage.value or 0.0, floor)
    return (worse, leaks) if question == "leak" else (leaks, worse)


def questions(leak_at_most: float | None, lose_at_most: float | None) -> list[tuple[Question, float]]:
    """Return what is asked, limits as shares; both usual questions when neither was."""
    asked: list[tuple[Question, float]] = []
    if leak_at_most is not None:
        asked.append(("leak", leak_at_most))
    if lose_at_most is not None:
        asked.append(("lose", lose_at_most / 100))
    return asked or [("leak", USUAL_LEAK), ("lose", USUAL_LOSS / 100)]


def nearest(points: Sequence[TradeoffPoint], question: Question) -> TradeoffPoint | None:
    """Return the candidate that comes nearest to a limit that none keeps."""
    known = [point for point in points if point.placed and figure_of(point, question).value is not None]
    return min(known, key=lambda point: figure_of(point, question).value or 0.0, default=None)
