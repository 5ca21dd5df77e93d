"""From finished audits to a page: every candidate's leakage, what it costs, who dominates whom, and what to use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vestige.log_parts import Figure
from vestige.simultaneous import largest
from vestige.tradeoff.advice import Ends, bare, questions
from vestige.tradeoff.expand import UNDEFENDED
from vestige.tradeoff.pareto import Box, dominators, front, hypervolume
from vestige.tradeoff.results import TradeoffLog, TradeoffPoint, Volume
from vestige.tradeoff.utility import lost

FALSE_ALARMS = 10
"""So many false accusations must be expected at a rate before it is called resolved (the floor of the page)."""


def judged(log: TradeoffLog, *, leak_at_most: float | None = None, lose_at_most: float | None = None) -> TradeoffLog:
    """Return the log with everything that follows from its candidates' own figures, worked out anew."""
    fpr, floor = _rate(log.points), _floor(log.points)
    points = [_leaking(point, fpr, log.confidence) for point in log.points]
    plain = next((point for point in points if point.method == UNDEFENDED), None)
    points = [_beside(point, plain, log.confidence) for point in points]
    points = _compared(points, floor)
    ends = _ends_for_all(points, plain, fpr, log.confidence)
    return log.model_copy(
        update={
            "fpr": fpr,
            "floor": floor,
            "points": points,
            "hypervolume": volumes(points, chance=log.chance, floor=floor),
            "advice": [
                bare(question, limit, points, ends, floor) for question, limit in questions(leak_at_most, lose_at_most)
            ],
        }
    )


def _rate(points: Sequence[TradeoffPoint]) -> float | None:
    """Return the smallest false-positive rate at which most candidates have a figure; None where none has any."""
    ran = [point for point in points if any(r.status == "ok" for r in point.results)]
    rates = sorted({one.fpr for point in ran for r in point.results for one in r.tpr})
    known = {fpr: sum(any(r.at(fpr).value is not None for r in point.results) for point in ran) for fpr in rates}
    most = max(known.values(), default=0)
    return next((fpr for fpr in rates if known[fpr] == most), None) if most else None


def _ends_for_all(
    points: Sequence[TradeoffPoint], plain: TradeoffPoint | None, fpr: float | None, confidence: float
) -> dict[str, Ends]:
    """Return the upper ends of every placed candidate's leakage and loss, which hold for all candidates at once.

    A candidate is chosen because its figures look good: one of many intervals is then more likely to be a wrong one.
    A candidate without the whole battery, or whose audit doubts itself, has no ends to rely on.
    """
    placed = [point for point in points if point.placed]
    level = 1 - (1 - confidence) / max(len(placed), 1)
    found = {}
    for point in placed:
        most = largest([(r.attack, r.at(fpr)) for r in point.results], confidence, times=len(placed))[1]
        less = Figure(high=0.0) if plain is None or point.id == plain.id else lost(plain.utility, point.utility, level)
        found[point.id] = Ends(most.high, less.high) if point.whole else Ends(None, None)
    return found


def _floor(points: Sequence[TradeoffPoint]) -> float:
    """Return the smallest rate that the non-members of every candidate that ran can show."""
    counts = [point.nonmembers * point.targets for point in points if point.nonmembers]
    return min(FALSE_ALARMS / min(counts), 0.5) if counts else 0.01


def _leaking(point: TradeoffPoint, fpr: float | None, confidence: float) -> TradeoffPoint:
    attack, most = largest([(r.attack, r.at(fpr)) for r in point.results], confidence)
    whose, exposed = largest([(r.attack, r.at(fpr, exposed=True)) for r in point.results], confidence)
    if exposed.value is None and point.most_exposed.reason:
        exposed = Figure(reason=point.most_exposed.reason)
    canary = Figure() if point.planted is None else point.planted.at(fpr)
    found = {"leakage": most, "attack": attack, "exposed": exposed, "exposed_attack": whose, "canary": canary}
    return point.model_copy(update=found)


def _beside(point: TradeoffPoint, plain: TradeoffPoint | None, confidence: float) -> TradeoffPoint:
    if plain is None:
        return point
    changes: dict[str, object] = {"accuracy_lost": lost(plain.utility, point.utility, confidence)}
    if plain is point and point.utility.accuracy.value is not None:
        changes["accuracy_lost"] = Figure(value=0.0, low=0.0, high=0.0)
    if point.seconds and plain.seconds:
        changes["cost"] = point.seconds / plain.seconds
    return point.model_copy(update=changes)


def _compared(points: list[TradeoffPoint], floor: float) -> list[TradeoffPoint]:
    places = [k for k, point in enumerate(points) if point.placed]
    boxes = [box_of(points[k]).floored(floor) for k in places]
    on_front, over = front(boxes), dominators(boxes)
    made = [point.model_copy(update={"on_front": False, "dominated_by": []}) for point in points]
    for k, leads, beaten in zip(places, on_front, over, strict=True):
        names = [points[places[j]].id for j in beaten]
        made[k] = made[k].model_copy(update={"on_front": leads, "dominated_by": names})
    return made


def box_of(point: TradeoffPoint) -> Box:
    """Return a placed candidate's figures with their intervals; an end that is not known is the worst there is."""
    return Box(utility=_ends(point.utility.accuracy), leakage=_ends(point.leakage))


def _ends(figure: Figure) -> tuple[float, float, float]:
    low = 0.0 if figure.low is None else figure.low
    return low, figure.value or 0.0, 1.0 if figure.high is None else figure.high


def volumes(points: Sequence[TradeoffPoint], *, chance: float, floor: float) -> list[Volume]:
    """Return the share of the page behind each method's candidates, largest first; with no defence at hand too.

    Every method could have left the model alone, so undefended training counts for each.
    """
    placed = [point for point in points if point.placed]
    plain = [point for point in placed if point.method == UNDEFENDED]

    def behind(chosen: Callable[[TradeoffPoint], bool]) -> float:
        corners = [(p.utility.accuracy.value or 0.0, p.leakage.value or 0.0) for p in placed if chosen(p) or p in plain]
        return hypervolume(corners, chance=chance, floor=floor)

    def of(method: str) -> Volume:
        return Volume(method=method, value=behind(lambda p: p.method == method))

    made = [of(method) for method in dict.fromkeys(p.method for p in placed)]
    made.sort(key=lambda one: -one.value)
    return [Volume(method="all together", value=behind(lambda _: True)), *made] if made else []
