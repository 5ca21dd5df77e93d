"""The charts of individual risk: posteriors, calibration, exposure and slices; and those of overfitting and cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from vestige.log import AuditLog, Cost, Figure, Risk, Slice
from vestige.report.charts import forest
from vestige.report.svg import Axis, Plot
from vestige.report.wording import count, duration, percent, rate

SLICES = 24
"""Rows of a slice chart at most; the table has all of them."""
ALPHA = 0.05


def posterior(risk: Risk) -> Markup:
    """Draw how many members the adversary is how sure about."""
    plot = Plot(name="posterior", height=300)
    bins = risk.posterior_histogram
    x = Axis(low=0, high=1, start=46, end=446)
    y = Axis(low=0, high=1.08 * max([*bins, 1e-9]), start=250, end=34)
    plot.y_axis(y, x.start, x.end, [(t, rate(round(t, 6))) for t in y.ticks(4)], "Share of members")
    width = (x.end - x.start) / len(bins)
    for k, value in enumerate(bins):
        risky = k / len(bins) >= risk.threshold - 1e-9
        hint = f"{percent(value)} of members between {rate(k / len(bins))} and {rate((k + 1) / len(bins))}"
        plot.box(
            x.start + k * width + 1.5, y(value), width - 3, y.start - y(value), "bar risky" if risky else "bar", hint
        )
    plot.x_axis(
        x, y.start, y.start, [(t, rate(t)) for t in (0, 0.25, 0.5, 0.75, 1)], "Calibrated probability of membership"
    )
    plot.line([(x(risk.threshold), y.start), (x(risk.threshold), y.end)], "asked")
    plot.text(x(risk.threshold) - 6, y.end + 4, f"at risk from {rate(risk.threshold)}", "note", "end")
    return plot.svg(
        "Posterior probabilities of members", f"{count(risk.at_risk, 'member')} at {rate(risk.threshold)} or above."
    )


def calibration(risk: Risk) -> Markup:
    """Draw predicted probability against the share that were members; on the diagonal the two agree."""
    plot = Plot(name="calibration", height=300)
    x = Axis(low=0, high=1, start=52, end=446)
    y = Axis(low=0, high=1, start=250, end=34)
    ends = [(t, rate(t)) for t in (0, 0.25, 0.5, 0.75, 1)]
    plot.x_axis(x, y.start, y.end, ends, "Calibrated probability of membership")
    plot.y_axis(y, x.start, x.end, ends, "Share that were members")
    plot.line([(x(0), y(0)), (x(1), y(1))], "chance")
    most = max((n for *_, n in risk.calibration), default=1)
    for said, seen, n in sorted(risk.calibration):
        half = 1.96 * math.sqrt(max(seen * (1 - seen), 0.0) / n) if n else 0.0
        plot.line([(x(said), y(seen - half)), (x(said), y(seen + half))], "whisker s0")
        hint = f"said {percent(said)}, were {percent(seen)} of {count(n, 'record')}"
        plot.dot(x(said), y(seen), "dot s0", 2.5 + 3 * math.sqrt(n / most), hint)
    return plot.svg(
        "Calibration of the posterior", f"{len(risk.calibration)} bins; the diagonal is perfect calibration."
    )


def exposure(risk: Risk) -> Markup:
    """Draw how exposed single records are: the middle half as a box, 5–95 % as a line, the extremes as dots."""
    plot = Plot(name="exposure", height=128)
    quantiles = risk.exposure_quantiles
    low = min(0.4, math.floor(10 * quantiles[0]) / 10)
    x = Axis(low=low, high=1, start=20, end=440)
    plot.x_axis(
        x, 84, 14, [(t, f"{t:.10g}") for t in x.ticks(6)], "AUC on one record alone, over models with and without it"
    )
    plot.line([(x(0.5), 84), (x(0.5), 14)], "chance")
    least, five, lower, middle, upper, ninetyfive, most = (x(q) for q in quantiles)
    plot.line([(five, 46), (ninetyfive, 46)], "whisker s0")
    plot.box(lower, 33, upper - lower, 26, "bar", f"middle half: {quantiles[2]:.2f} to {quantiles[4]:.2f}")
    plot.line([(middle, 29), (middle, 63)], "median")
    for end in (least, most):
        plot.dot(end, 46, "hollow s0", 3.5)
    return plot.svg(
        "Exposure of single records", f"Median {quantiles[3]:.2f}; 5 % of the records are above {quantiles[5]:.2f}."
    )


def _auc(part: Slice) -> float:
    return part.auc.value if part.auc.value is not None else -1.0


def by_exposure(risk: Risk, kind: str) -> list[Slice]:
    """Return the slices of one kind, most exposed first."""
    return sorted((part for part in risk.slices if part.kind == kind), key=lambda part: -_auc(part))


def slices(risk: Risk, kind: str) -> Markup:
    """Draw the AUC within each class or group: the most exposed ones, and the least if not all fit.

    The intervals hold for all of them at once where the log has such, because the eye goes to the extremes.
    """
    parts = by_exposure(risk, kind)
    if len(parts) > SLICES:
        parts = [*parts[: SLICES - 6], *parts[-6:]]
    rows: list[tuple[str, Figure]] = [
        (part.name, part.together if part.together.value is not None else part.auc) for part in parts
    ]
    return forest(f"slices-{kind}", rows, log=False, chance=0.5, title=f"AUC within each {kind}")


def worst(risk: Risk, kind: str) -> str:
    """Say how the most exposed class or group stands once it is allowed for that it was picked for being so."""
    judged = [part for part in by_exposure(risk, kind) if part.together.value is not None]
    if len(judged) < 2:
        return ""
    first, low, high = judged[0], judged[0].together.low, judged[0].together.high
    interval = "" if low is None or high is None else f" (interval {low:.3f}–{high:.3f}, wide enough for the choice)"
    text = f"The most exposed {kind} is {first.name}, with an AUC of {first.together.value:.3f}{interval}. "
    others = f"among {len(judged):,} of them"
    if first.p_rest is None:
        return text.strip()
    if first.p_rest <= ALPHA:
        return f"{text}It leaks differently from the rest beyond what chance does {others} ({p_value(first.p_rest)})."
    return f"{text}Chance alone sets some {kind} as far apart from the rest {others} ({p_value(first.p_rest)})."


def p_value(p: float) -> str:
    """Write an adjusted p-value: ``p = 0.03``, ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def overfitting(log: AuditLog) -> Markup | None:
    """Draw accuracy on training records and on others, for the target and its shadow models; None when unknown."""
    pairs = [("target", log.target.train_accuracy, log.target.test_accuracy)]
    pairs.append(("shadow models", log.shadow.train_accuracy, log.shadow.test_accuracy))
    rows = [(label, a, b) for label, a, b in pairs if a is not None and b is not None]
    if not rows:
        return None
    plot = Plot(name="overfitting", height=66 + 40 * len(rows))
    bottom = 24 + 40 * len(rows)
    low = max(0.0, math.floor(10 * min(min(a, b) for _, a, b in rows) - 0.5) / 10)
    x = Axis(low=min(low, 0.9), high=1, start=112, end=436)
    plot.x_axis(x, bottom, 8, [(t, rate(round(t, 6))) for t in x.ticks(4)], "Accuracy")
    for k, (label, train, test) in enumerate(rows):
        y = 34 + 40 * k
        plot.text(100, y + 4, label, "row", "end")
        plot.line([(x(test), y), (x(train), y)], "gap")
        plot.dot(x(train), y, "dot member", 5.5, f"{label}: {percent(train, table=True)} on training records")
        plot.diamond(x(test), y, "hollow nonmember", 6, f"{label}: {percent(test, table=True)} on other records")
        if k == 0:
            near = x(train) - x(test) < 90
            plot.text(
                x(train), y - 12, "trained on", "note", "end" if not near else "start" if x(train) < 360 else "end"
            )
            plot.text(x(test), y + 20 if near else y - 12, "others", "note", "middle")
    return plot.svg(
        "Accuracy on training records and on others", "The distance between the marks is the overfitting gap."
    )


def stages(cost: Cost) -> list[tuple[str, float]]:
    """Return the seconds of each stage, with what is left as the rest."""
    known = [
        ("shadow models", cost.seconds.shadow),
        ("signals", cost.seconds.signals),
        ("attacks", cost.seconds.attacks),
    ]
    rest = cost.seconds.total - sum(seconds for _, seconds in known)
    return [*known, ("everything else", max(0.0, rest))]


def spending(parts: Sequence[tuple[str, float]]) -> Markup:
    """Draw where the time went: one bar per stage."""
    plot = Plot(name="spending", height=16 + 28 * len(parts))
    x = Axis(low=0, high=max([seconds for _, seconds in parts] + [1e-9]), start=128, end=380)
    for k, (label, seconds) in enumerate(parts):
        y = 10 + 28 * k
        plot.text(118, y + 13, label, "row", "end")
        plot.box(x.start, y + 1, max(1.0, x(seconds) - x.start), 16, "bar")
        plot.text(x(seconds) + 8, y + 13, duration(seconds), "row", "start")
    return plot.svg("Seconds per stage", ", ".join(f"{label} {duration(seconds)}" for label, seconds in parts))
