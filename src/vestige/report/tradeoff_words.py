"""A trade-off in words: what to use, what it costs, and what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vestige.log_parts import Figure
from vestige.report.wording import count, listed, percent, rate, sentence, span
from vestige.tradeoff.advice import nearest
from vestige.tradeoff.expand import UNDEFENDED
from vestige.tradeoff.ranges import said as setting
from vestige.tradeoff.results import Advice, TradeoffLog, TradeoffPoint

GUARANTEES = {
    "": "none",
    "G1": "G1: the weights are differentially private",
    "G2": "G2: the answers are differentially private",
    "G3": "G3: a bound on lost utility, none on leakage",
    "G4": "G4: attacks alone speak for it",
}


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """One question, its answer in a sentence, and what goes with it."""

    question: str
    answer: str
    tone: str
    costs: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def name_of(point: TradeoffPoint) -> str:
    """Name a candidate: its method, and the settings that set it apart there."""
    words = [setting((key,), value) for key, value in point.settings.items()]
    return f"{point.method} ({', '.join(words)})" if words else point.method


def points_lost(figure: Figure) -> str:
    """Write lost accuracy in percentage points with its interval: ``1.4 [0.8, 1.9]``; a gain is negative."""
    if figure.value is None:
        return "–"
    text = _tenth(figure.value)
    return (
        text
        if figure.low is None or figure.high is None or figure.low == figure.high
        else (f"{text} [{_tenth(figure.low)}, {_tenth(figure.high)}]")
    )


def _tenth(share: float) -> str:
    text = f"{100 * share:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "−")


def times(multiple: float | None) -> str:
    """Write a multiple: ``1.1 ×``, ``35 ×``."""
    return "–" if multiple is None else f"{multiple:.2g} ×" if multiple < 10 else f"{multiple:,.0f} ×"


def leak(figure: Figure, floor: float) -> str:
    """Write a leakage as a share with its interval; below the floor it says no more than that."""
    if figure.value is None:
        return f"not known ({figure.reason})" if figure.reason else "not known"
    within = f" ({span(figure)})" if span(figure) else ""
    less = "at most " if figure.value < floor and figure.high is not None and figure.high <= floor else ""
    return f"{less}{percent(figure.value)}{within}"


def recommendations(log: TradeoffLog) -> list[Recommendation]:
    """Return every question that was asked, answered."""
    found: list[Recommendation] = []
    for k, advice in enumerate(log.advice):
        one = _answered(log, advice)
        if advice.choice and advice.choice in {before.choice for before in log.advice[:k]}:
            one = replace(one, costs=["What it costs and what is not known: as above."], unknown=[])
        found.append(one)
    return found


def _answered(log: TradeoffLog, advice: Advice) -> Recommendation:
    at = "" if log.fpr is None else f" at {rate(log.fpr)} false accusations"
    limit = rate(round(advice.limit, 8))
    if advice.question == "leak":
        question = f"Give away at most {limit} of members{at}"
    else:
        question = f"Lose at most {100 * advice.limit:.10g} points of accuracy"
    placed = [point for point in log.points if point.placed]
    if not placed:
        return Recommendation(question=question, answer="No candidate has figures to choose by.", tone="unknown")
    if not advice.choice:
        near = nearest(log.points, advice.question)
        told = "No candidate does."
        if near is not None:
            figure = leak(near.leakage, log.floor) if advice.question == "leak" else points_lost(near.accuracy_lost)
            what = "gives away" if advice.question == "leak" else "loses"
            told += f" The nearest is {name_of(near)}, which {what} {figure}."
        return Recommendation(question=question, answer=told, tone="high", unknown=_unknown(log, None))
    point = log.point(advice.choice)
    use = "Train as you do now" if point.method == UNDEFENDED else f"Use {name_of(point)}"
    return Recommendation(
        question=question,
        answer=f"{use}: accuracy {percent(point.utility.accuracy.value or 0.0)}, "
        f"leakage {leak(point.leakage, log.floor)}.{_doubt(log, advice, point)}{_standing_out(advice, point)}",
        tone="low" if advice.sure and not _standing_out(advice, point) else "moderate",
        costs=_costs(log, point),
        unknown=_unknown(log, point),
    )


def _doubt(log: TradeoffLog, advice: Advice, point: TradeoffPoint) -> str:
    """Say how sure it is that the limit is kept, and what would be chosen by the figures alone."""
    if not advice.sure:
        if point.doubts:
            return " Its figure keeps the limit, and its audit doubts itself, so that this is not sure."
        if not point.whole:
            return " Its figure keeps the limit, and not every attack on it ran, so that this is not sure."
        return " Its figure keeps the limit; its interval does not, so that this is not sure."
    if not advice.perhaps:
        return ""
    other = log.point(advice.perhaps)
    what = f"accuracy {percent(other.utility.accuracy.value or 0.0)}, leakage {percent(other.leakage.value or 0.0)}"
    if advice.question == "lose":
        what += f", {points_lost(other.accuracy_lost)} points lost"
    return f" By its figures {name_of(other)} is better ({what}), and it is not sure that it keeps the limit."


def _standing_out(advice: Advice, point: TradeoffPoint) -> str:
    """Say when a limit that the average keeps is broken, beyond noise, for records that stand out."""
    if advice.question != "leak":
        return ""
    over = [
        f"{percent(figure.value or 0.0)} of {whose}"
        for whose, figure in (("the most exposed members", point.exposed), ("canaries", point.canary))
        if figure.low is not None and figure.low > advice.limit
    ]
    return f" That is the average: {listed(over)} are recognised." if over else ""


def _costs(log: TradeoffLog, point: TradeoffPoint) -> list[str]:
    lines = []
    if point.method != UNDEFENDED:
        lost, gained = point.accuracy_lost, (point.accuracy_lost.value or 0.0) < 0
        if lost.value is not None:
            interval = "" if lost.low is None or lost.high is None else f" ({_ends(lost, gained)})"
            word = "gained" if gained else "lost"
            lines.append(f"Accuracy {word} against no defence: {_tenth(abs(lost.value))} points{interval}.")
        if point.cost is not None:
            lines.append(f"Training takes {times(point.cost)} as long as undefended, one model alone on this machine.")
        plain = next((one for one in log.points if one.method == UNDEFENDED and one.placed), None)
        if plain is not None:
            lines.append(f"Undefended, {leak(plain.leakage, log.floor)} would be given away.")
    if point.labels_only:
        lines.append("Whoever asks is told the label alone, and no scores.")
    if point.exposed.value is not None:
        whose = " undefended" if point.most_exposed.undefended else ""
        lines.append(
            f"Of members among the {rate(point.most_exposed.share)} most exposed records{whose}, "
            f"{leak(point.exposed, 0.0)} are recognised at the same thresholds: an average says little about them."
        )
    if point.canary.value is not None and point.planted is not None:
        kind = point.planted.kind.replace("_", " ")
        lines.append(f"Of {kind} canaries in its training set, {leak(point.canary, 0.0)} are recognised.")
    if point.claim is not None and point.guarantee in ("G1", "G2"):
        lines.append(f"{_proven(point)}")
    elif point.method != UNDEFENDED:
        lines.append(f"Guarantee {GUARANTEES[point.guarantee]}; an attack that was not tried may find more.")
    return lines


def _ends(lost: Figure, gained: bool) -> str:
    assert lost.low is not None and lost.high is not None  # noqa: PT018
    ends = (-lost.high, -lost.low) if gained else (lost.low, lost.high)
    return f"{_tenth(ends[0])} to {_tenth(ends[1])}"


def _proven(point: TradeoffPoint) -> str:
    claim = point.claim
    assert claim is not None
    text = f"Proven: ε = {claim.epsilon:.3g} at δ = {claim.delta:.2g} ({claim.accountant or 'no accountant named'})"
    if claim.tuned is not None:
        return f"{text}; with the choice of its settings ε = {claim.tuned:.3g}."
    return f"{text}." if claim.why == "nothing was tuned" else f"{text}; its tuning is not covered: {claim.why}."


def _unknown(log: TradeoffLog, point: TradeoffPoint | None) -> list[str]:
    lines = []
    placed = [one for one in log.points if one.placed]
    lines.append(
        f"It was picked among {count(len(placed), 'candidate')} by the very figures shown, which leans to the hopeful "
        "side. Whether the limit is kept allows for that; the figures themselves do not."
    )
    if point is not None:
        if point.leakage.high is not None and point.leakage.high < 2 * log.floor:
            lines.append(f"These records cannot show less than about {percent(log.floor)}.")
        if point.exposed.value is None:
            lines.append(f"The most exposed records: {point.exposed.reason or 'no attack ran'}.")
        if point.canary.value is None:
            lines.append(f"Canaries: {_no_canaries(point)}.")
        left = [r for r in point.results if r.status != "ok"]
        if left:
            lines.append(f"Attacks that did not run: {listed([r.attack for r in left])}. {sentence(left[0].reason)}")
        if point.targets < 2:
            lines.append("One target was attacked; other trainings of it may give away more or less.")
        if point.doubts:
            lines.append(f"Its audit doubts itself: {listed(point.doubts)}.")
    lost = [one for one in log.points if not one.placed]
    if lost:
        lines.append(f"{count(len(lost), 'candidate')} could not be compared; the reasons are below.")
    if log.config.get("audit", {}).get("access") != "white_box":
        lines.append("Adversaries who see the weights are audits of their own.")
    return lines


def _no_canaries(point: TradeoffPoint) -> str:
    if point.planted is None:
        return "none were planted"
    return (point.planted.reason or point.canary.reason or "too few for this rate").rstrip(".")


def states(log: TradeoffLog) -> list[tuple[str, str, str]]:
    """Return in one line each how the trade-off ended: (sign, tone, words)."""
    ran = [point for point in log.points if point.status in ("complete", "partial")]
    whole = log.status == "complete"
    lines = [("✓" if whole else "✗", "good" if whole else "bad", f"{len(ran)} of {len(log.points)} candidates ran")]
    if log.status == "interrupted":
        lines.append(("!", "warn", "Interrupted; the same command goes on"))
    refused = [point for point in log.points if point.status == "refused"]
    if refused:
        lines.append(("!", "warn", f"{count(len(refused), 'candidate')} cannot be had here"))
    doubted = [point for point in log.points if point.doubts]
    if doubted:
        lines.append(("✗", "bad", f"{count(len(doubted), 'audit')} not to be trusted"))
    return lines


def bound_of(point: TradeoffPoint) -> str:
    """Write the largest lower bound on ε that was measured, on records or on canaries: ``≥ 1.2``."""
    value = measured(point)
    return "–" if value is None else f"≥ {value:.2f}"


def measured(point: TradeoffPoint) -> float | None:
    """Return the largest lower bound on ε: the audit's that is quoted, or that of the canaries."""
    shown = [one.value for one in point.epsilon if one.primary and one.value is not None]
    if point.planted is not None and point.planted.epsilon is not None:
        shown.append(point.planted.epsilon)
    return max(shown, default=None)


def claim_of(point: TradeoffPoint) -> str:
    """Write the claimed ε, and in brackets what it is with tuning; one that promises nothing says so."""
    claim = point.claim
    if claim is None:
        return "–"
    text = f"{claim.epsilon:.3g}" if claim.epsilon < 1000 else f"{claim.epsilon:.1e}"
    if claim.guarantee not in ("G1", "G2"):
        return f"{text}, not promised"
    return f"{text} ({claim.tuned:.3g} tuned)" if claim.tuned is not None else text


def numbers(log: TradeoffLog) -> dict[str, int]:
    """Return the number that each candidate has in the chart and the table."""
    return {point.id: k + 1 for k, point in enumerate(log.points)}


def beaten_by(point: TradeoffPoint, number_of: dict[str, int]) -> str:
    """Write who dominates a candidate, by number."""
    return ", ".join(str(number_of[one]) for one in point.dominated_by) or "–"


def methods(points: Sequence[TradeoffPoint]) -> list[str]:
    """Return the methods that have a place on the page, in order."""
    return list(dict.fromkeys(point.method for point in points if point.placed))
