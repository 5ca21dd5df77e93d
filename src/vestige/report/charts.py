"""The charts of the attacks: ROC curves, score histograms, and all attacks compared.

Drawn by hand as SVG rather than through a plotting library. Measured on two cores: the first chart out of
vl-convert takes 0.5–0.85 s and each further one 0.05 s, over a second for a report, and its wheel holds 84 MB.
These take under 20 ms in all and need no extra, so that the default install draws everything; and they carry class
names instead of colours, so that one style sheet serves day, night, phone and paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from vestige.log import AttackResult, AuditLog, Curve, Figure
from vestige.report.svg import CHARACTER, Axis, Plot, shortened
from vestige.report.verdict import asked_at, ranked
from vestige.report.wording import number, rate, share

SERIES = 5
"""Distinct colours and dash patterns in the style sheet."""

TALL = 0.3
"""Share in one bin from which a histogram's heights are drawn by their square roots."""

ROW = 21
"""Height of one row of a chart that compares rows."""


def leading(log: AuditLog) -> list[AttackResult]:
    """Return the attacks worth a curve: the strongest, one variant each, and plain loss for comparison."""
    drawn: list[AttackResult] = []
    for result in ranked(log):
        if result.roc is not None and all(result.name != other.name for other in drawn):
            drawn.append(result)
    baseline = [r for r in drawn[SERIES:] if r.name == "loss"]
    return [*drawn[: SERIES - len(baseline)], *baseline]


def _floor125(value: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten that is not above value."""
    power = 10.0 ** math.floor(math.log10(value) + 1e-9)
    return max(m * power for m in (1, 2, 5) if m * power <= value * (1 + 1e-9))


def _track(curve: Curve, values: Sequence[float], x: Axis, y: Axis) -> list[tuple[float, float]]:
    """Return a curve's points, those left of the axis's end merged into the last of them."""
    points = [(x(fpr), y(value)) for fpr, value in zip(curve.fpr, values, strict=True)]
    first = max((k for k, fpr in enumerate(curve.fpr) if fpr <= x.low), default=0)
    return points[first:]


def roc(log: AuditLog, results: Sequence[AttackResult]) -> Markup:
    """Draw ROC curves with both axes logarithmic, so that the few confident accusations take up room."""
    plot = Plot(name="roc", width=480, height=452)
    low = min(0.01, max(1e-6, _floor125(1 / max(log.population.nonmembers, 1))))
    x = Axis(low=low, high=1, start=52, end=460, log=True)
    y = Axis(low=low, high=1, start=410, end=30, log=True)
    plot.x_axis(
        x, y.start, y.end, [(t, rate(t)) for t in x.ticks()], "False-positive rate: non-members wrongly accused"
    )
    plot.y_axis(y, x.start, x.end, [(t, rate(t)) for t in y.ticks()], "True-positive rate: members recognised")
    plot.line([(x.start, y.start), (x.end, y.end)], "chance")
    plot.text(x.end - 70, y(math.exp(math.log(low) * 70 / (x.end - x.start))) + 26, "chance", "note", "start")
    for point in results[0].tpr if results else []:
        if point.fpr > 1.001 * low:
            plot.line([(x(point.fpr), y.start), (x(point.fpr), y.end)], "asked")
    for k, result in reversed(list(enumerate(results))):
        curve = result.roc
        if curve is not None:
            band = [*_track(curve, curve.low, x, y), *reversed(_track(curve, curve.high, x, y))]
            plot.area(band, f"band s{k}")
    for k, result in reversed(list(enumerate(results))):
        if result.roc is not None:
            plot.line(_track(result.roc, result.roc.tpr, x, y), f"curve s{k}")
    if results:
        _marks(plot, x, y, results[0])
    best = results[0].title if results else "none"
    return plot.svg(
        "ROC curves on logarithmic axes", f"{len(results)} attacks; the strongest is {best}. The table has the figures."
    )


def _marks(plot: Plot, x: Axis, y: Axis, result: AttackResult) -> None:
    """Mark the rates asked for on the strongest attack's curve, and where its shadow-set thresholds landed."""
    for point in result.tpr:
        if point.value is not None and point.low is not None and point.high is not None:
            plot.line([(x(point.fpr), y(point.low)), (x(point.fpr), y(point.high))], "whisker s0")
            plot.dot(x(point.fpr), y(point.value), "dot s0", 4, f"{rate(point.fpr)}: {share(point)} %")
    for landed in result.operating_points or ([result.operational] if result.operational else []):
        if landed.fpr.value is not None and landed.tpr.value is not None:
            hint = f"threshold set on shadow models for {rate(landed.fpr_asked)}"
            plot.diamond(x(landed.fpr.value), y(landed.tpr.value), "hollow s0", 5.5, hint)


def histogram(result: AttackResult, index: int) -> Markup:
    """Draw how members' and non-members' scores are spread: members filled, non-members dashed."""
    plot = Plot(name=f"scores-{index}", width=460, height=268)
    data = result.histogram
    assert data is not None
    top = max([*data.members, *data.nonmembers, 1e-9])
    x = Axis(low=data.edges[0], high=max(data.edges[-1], data.edges[0] + 1e-9), start=46, end=450)
    # One tall bin would flatten the tails, where membership shows: then heights go by square root, and are said to.
    rooted = top > TALL
    heights = Axis(low=0, high=math.sqrt(top * 1.06) if rooted else top * 1.06, start=222, end=52)

    def y(value: float) -> float:
        return heights(math.sqrt(value) if rooted else value)

    ticks = [t for t in (0, 0.01, 0.1, 0.25, 0.5, 0.75, 1) if t <= top] if rooted else heights.ticks(3)
    plot.x_axis(
        x, heights.start, heights.end, [(t, f"{t:g}") for t in x.ticks(6)], "Score: further right, more likely a member"
    )
    for tick in ticks:
        plot.line([(x.start, y(tick)), (x.end, y(tick))], "grid")
        plot.text(x.start - 7, y(tick) + 4, rate(round(tick, 6)), "tick", "end")
    if rooted:
        plot.text(x.end, 39, "square-root heights", "tick", "end")
    outlines = []
    for values in (data.members, data.nonmembers):
        steps = [(x(data.edges[0]), heights.start)]
        for left, right, value in zip(data.edges, data.edges[1:], values, strict=False):
            steps += [(x(left), y(value)), (x(right), y(value))]
        outlines.append([*steps, (x(data.edges[-1]), heights.start)])
    plot.area(outlines[0], "fill member")
    plot.line(outlines[0], "outline member")
    plot.line(outlines[1], "outline nonmember")
    plot.text(2, 16, shortened(result.title, 40), "heading", "start")
    plot.box(46, 30, 14, 10, "fill member")
    plot.line([(46, 30), (60, 30)], "outline member")
    plot.text(66, 39, "members", "key", "start")
    plot.line([(140, 35), (162, 35)], "outline nonmember")
    plot.text(168, 39, "non-members", "key", "start")
    return plot.svg(f"Scores of {result.title}", "Share of members and of non-members per score bin.")


def forest(name: str, rows: Sequence[tuple[str, Figure]], *, log: bool, chance: float, title: str) -> Markup:
    """Draw one interval per row on a common axis, with chance marked; rows without a figure say so."""
    room = min(24, max((len(label) for label, _ in rows), default=4))
    left = 14 + CHARACTER * room
    height = 58 + ROW * len(rows)
    plot = Plot(name=name, width=460, height=height)
    values = [v for _, f in rows for v in (f.value, f.low) if v is not None and v > 0]
    tops = [v for _, f in rows for v in (f.value, f.high) if v is not None]
    if log:
        x = Axis(low=min(0.1, _floor125(min([chance, *values]) / 1.2)), high=1, start=left, end=446, log=True)
    else:
        low = max(0.0, math.floor(10 * min([chance, *values]) - 1e-9) / 10)
        x = Axis(
            low=low,
            high=min(1.0, max(low + 0.2, math.ceil(10 * max([chance, *tops]) + 1e-9) / 10)),
            start=left,
            end=446,
        )
    bottom = height - 42
    plot.x_axis(x, bottom, 8, [(t, rate(t) if log else f"{t:.10g}") for t in x.ticks(4)], title)
    plot.line([(x(chance), bottom), (x(chance), 8)], "chance")
    for k, (label, figure) in enumerate(rows):
        y = 18 + ROW * k
        plot.text(left - 10, y + 4, shortened(label, room), "row", "end", label)
        if figure.value is None:
            plot.text(left + 8, y + 4, "withheld" if figure.reason else "no figure", "note", "start")
            continue
        if figure.low is not None and figure.high is not None:
            plot.line([(x(figure.low), y), (x(figure.high), y)], "whisker s0")
        style = "hollow s0" if figure.value < x.low else "dot s0"
        plot.dot(x(figure.value), y, style, 3.6, f"{label}: {share(figure) + ' %' if log else number(figure)}")
    return plot.svg(title, f"{len(rows)} rows with intervals; chance is at {rate(chance) if log else f'{chance:g}'}.")


def compared(log: AuditLog, fpr: float) -> Markup:
    """Draw every finished attack's true-positive rate at one false-positive rate."""
    rows: list[tuple[str, Figure]] = [(result.title, asked_at(result, fpr) or Figure()) for result in ranked(log)]
    return forest("compared", rows, log=True, chance=fpr, title=f"Members recognised at {rate(fpr)} false accusations")


def averaged(log: AuditLog) -> Markup:
    """Draw every finished attack's AUC."""
    rows = [(result.title, result.auc) for result in ranked(log)]
    return forest("averaged", rows, log=False, chance=0.5, title="Area under the ROC curve")
