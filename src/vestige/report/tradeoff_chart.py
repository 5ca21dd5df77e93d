"""The Pareto page's picture: accuracy against leakage, every candidate with its intervals both ways."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from vestige.report.charts import SERIES
from vestige.report.svg import Axis, Plot
from vestige.report.tradeoff_words import methods, name_of, numbers
from vestige.report.wording import percent, rate, share
from vestige.tradeoff.judge import box_of
from vestige.tradeoff.results import TradeoffLog, TradeoffPoint

SHAPES = ("dot", "diamond", "hollow")
AROUND = ((9, -7), (9, 13), (-9, -7), (-9, 13), (0, -11), (0, 19), (16, 3), (-16, 3), (20, -16), (-20, -16))


def style_of(method: str, known: Sequence[str]) -> tuple[str, str]:
    """Return a method's shape and colour: five colours, then the next shape."""
    place = list(known).index(method)
    return SHAPES[place // SERIES % len(SHAPES)], f"s{place % SERIES}"


def pareto(log: TradeoffLog) -> Markup:
    """Draw accuracy to the right, and leakage upward on a logarithmic axis that ends at the floor."""
    placed = [point for point in log.points if point.placed]
    plot = Plot(name="pareto", width=560, height=460)
    x, y = _axes(placed, log)
    title = "Leakage: members recognised" + ("" if log.fpr is None else f" at {rate(log.fpr)} false accusations")
    plot.x_axis(x, y.start, y.end, [(t, f"{100 * t:.10g} %") for t in x.ticks(6)], "Accuracy on records not trained on")
    plot.y_axis(y, x.start, x.end, [(t, rate(t)) for t in _ticks(y, log.floor)], title)
    if log.fpr is not None and log.fpr > y.low * 1.001:
        plot.line([(x.start, y(log.fpr)), (x.end, y(log.fpr))], "chance")
        plot.text(x.start + 4, y(log.fpr) - 5, "chance", "note", "start")
    _staircase(plot, placed, x, y)
    known = methods(log.points)
    for point in placed:
        box, colour = box_of(point), style_of(point.method, known)[1]
        across, up = x(box.utility[1]), y(box.leakage[1])
        plot.line([(x(box.utility[0]), up), (x(box.utility[2]), up)], f"whisker thin {colour}")
        plot.line([(across, y(box.leakage[0])), (across, y(box.leakage[2]))], f"whisker thin {colour}")
    spots = [(x(box_of(p).utility[1]), y(box_of(p).leakage[1])) for p in placed]
    taken: list[tuple[float, float]] = []
    number_of = numbers(log)
    for point, (across, up) in zip(placed, spots, strict=True):
        _mark(plot, point, across, up, style_of(point.method, known))
        taken.append(_free(across, up, [*spots, *taken], x, y))
        plot.text(*taken[-1], str(number_of[point.id]), "number" + (" leads" if point.on_front else ""), full="")
    names = "; ".join(f"{number_of[p.id]}: {name_of(p)}" for p in placed)
    return plot.svg("Accuracy against leakage", f"Right and down is better. {names}. The table has the figures.")


def _axes(placed: Sequence[TradeoffPoint], log: TradeoffLog) -> tuple[Axis, Axis]:
    ends = [end for p in placed for end in box_of(p).utility]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    room = max(0.03 * (high - low), 0.004)
    x = Axis(low=max(0.0, low - room), high=min(1.0, high + room), start=54, end=542)
    top = max([box_of(p).leakage[2] for p in placed], default=1.0)
    ceiling = min(1.0, max(10 * log.floor, 1.25 * top))
    return x, Axis(low=log.floor, high=max(ceiling, 2 * log.floor), start=416, end=32, log=True)


def _ticks(y: Axis, floor: float) -> list[float]:
    """Return the decades, with 2 and 5 times them where there are few, none too near the floor."""
    found = [m * 10.0**k for k in range(-7, 1) for m in (1, 2, 5)]
    inside = [t for t in found if floor * 1.12 < t <= y.high * 1.0001]
    return inside if math.log10(y.high / y.low) < 2.3 else [t for t in y.ticks() if t > floor * 1.12]


def _staircase(plot: Plot, placed: Sequence[TradeoffPoint], x: Axis, y: Axis) -> None:
    """Join the front by steps: what lies above and left of them is beaten by a candidate."""
    corners = sorted((x(p.utility.accuracy.value or 0.0), y(p.leakage.value or 0.0)) for p in placed if p.on_front)
    if not corners:
        return
    track = [(x.start, corners[0][1])]
    for across, up in corners:
        track += [(track[-1][0], up), (across, up)]
    plot.line([*track, (track[-1][0], y.end)], "staircase")


def _mark(plot: Plot, point: TradeoffPoint, across: float, up: float, style: tuple[str, str]) -> None:
    accuracy = percent(point.utility.accuracy.value or 0.0)
    hint = f"{name_of(point)}: accuracy {accuracy}, leakage {share(point.leakage)} %"
    shape, colour = style
    if shape == "diamond":
        plot.diamond(across, up, f"dot {colour}", 5.5, hint)
    else:
        plot.dot(across, up, f"{shape} {colour}", 4.5, hint)


def _free(across: float, up: float, taken: Sequence[tuple[float, float]], x: Axis, y: Axis) -> tuple[float, float]:
    """Return where a number lies farthest from what is drawn already, near its mark."""

    def room(place: tuple[float, float]) -> float:
        inside = x.start + 8 < place[0] < x.end - 8 and y.end + 8 < place[1] < y.start - 4
        others = [math.dist((place[0], place[1] - 4), one) for one in taken if one != (across, up)]
        return min([*others, 18.0]) if inside else -1.0

    return max(((across + dx, up + dy) for dx, dy in AROUND), key=room)


def key(method: str, known: Sequence[str]) -> Markup:
    """Draw a method's mark for the legend."""
    shape, colour = style_of(method, known)
    mark = Plot(name="key", width=16, height=12)
    if shape == "diamond":
        mark.diamond(8, 6, f"dot {colour}", 5.5)
    else:
        mark.dot(8, 6, f"{shape} {colour}", 4.5)
    return Markup('<svg viewBox="0 0 16 12" width="16" height="12" aria-hidden="true">{}</svg>').format(
        Markup("").join(mark.parts)
    )
