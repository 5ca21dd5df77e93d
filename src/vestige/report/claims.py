"""What is claimed beside what was measured: bounds on ε in words and as a chart, for any log that has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from vestige.log import AuditLog, Claim, Epsilon
from vestige.report.svg import Axis, Plot
from vestige.report.wording import listed, rate

Standing = Literal["refuted", "held", "toothless", "untested", "unclaimed"]
"""refuted: a judged bound exceeds the claim; held: none does, though one could have; toothless: none could have;
untested: a claim without a bound; unclaimed: nothing is claimed.
"""

ADJACENCY = {"add_remove": "one record more or less", "replace_one": "one record exchanged for another"}
MECHANISMS = {
    "gaussian": "Gaussian noise",
    "subsampled_gaussian": "Gaussian noise on random batches",
    "laplace": "Laplace noise",
    "randomized_response": "randomised response",
    "other": "not declared",
}
METHODS = {
    "one_run": "one training, guesses counted",
    "one_run_fdp": "one training, whole trade-off curve",
    "one_run_gdp": "one training, Gaussian trade-off curve",
    "joint_region": "independent trainings, one exact region",
    "clopper_pearson": "independent trainings, exact rates",
    "gdp": "Gaussian fit",
    "gdp_fit": "Gaussian fit",
    "order_statistics": "order statistics",
}
MOST = 6
"""Bounds that the chart has room for."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One bound as a table shows it."""

    method: str
    about: str
    kind: str
    value: str
    ceiling: str
    delta: str
    confidence: str
    outcome: str
    tone: str
    conditions: str


def number(value: float | None) -> str:
    """Write an ε: two decimals, a dash for none."""
    return "–" if value is None else f"{value:.2f}"


def quoted(log: AuditLog) -> Epsilon | None:
    """Return the bound that was chosen beforehand to be quoted, else the first that counts."""
    marked = [one for one in log.epsilon if one.primary]
    counted = [one for one in log.epsilon if one.judged and one.kind == "bound" and one.value is not None]
    return next(iter(marked + counted), None)


def _sharing(log: AuditLog) -> list[Epsilon]:
    """Return the bounds that share the error probability: those that count, also where they found nothing."""
    return [one for one in log.epsilon if one.judged and one.kind == "bound"]


def level(log: AuditLog, one: Epsilon) -> float:
    """Return the confidence to give with a bound: for one that counts what was asked, with which all of them hold.

    Alone it is surer than that, for it has only its share of the error probability.
    """
    sharing = _sharing(log)
    if one not in sharing:
        return one.confidence
    return round(max(0.0, 1 - sum(1 - each.confidence for each in sharing)), 10)


def standing(log: AuditLog) -> Standing:
    """Return how the claim stands after this audit."""
    claim = log.claim
    if claim is None:
        return "unclaimed"
    counted = [one for one in log.epsilon if one.judged and one.kind == "bound" and one.value is not None]
    if any(one.refutes(claim.epsilon) for one in counted):
        return "refuted"
    if not counted:
        return "untested"
    return "held" if any(one.could_refute(claim.epsilon) for one in counted) else "toothless"


def said(log: AuditLog) -> str:
    """Say in one sentence how the claim stands, or what was shown where nothing is claimed."""
    claim, best = log.claim, quoted(log)
    if claim is None:
        if best is None or best.value is None:
            return ""
        if best.kind == "estimate":
            return f"An estimate, not a bound, puts ε at about {number(best.value)} at δ = {best.delta:g}."
        return f"Training shows ε ≥ {number(best.value)} at δ = {best.delta:g} ({rate(level(log, best))} confidence)."
    told = f"ε = {claim.epsilon:g} at δ = {claim.delta:g}"
    state = standing(log)
    if state == "refuted":
        over = max((one for one in log.epsilon if one.refutes(claim.epsilon)), key=lambda one: (one.primary, one.value))
        return (
            f"The claim of {told} does not hold: {over.method} shows ε ≥ {number(over.value)} at "
            f"{rate(level(log, over))} confidence."
        )
    if state == "untested":
        why = "no bound that counts could be computed" if log.epsilon else "no bound could be computed"
        return f"The claim of {told} was not tested: {why}."
    shown = "" if best is None else f" {best.method} shows ε ≥ {number(best.value)},"
    if state == "toothless":
        reach = max(one.ceiling or 0.0 for one in log.epsilon if one.judged)
        return (
            f"The claim of {told} could not have failed here:{shown} and even a total leak would have shown "
            f"ε ≥ {number(reach)} only."
        )
    slack = "" if best is None or best.value is None else f" {number(claim.epsilon - best.value)} below it"
    return f"No bound exceeds the claim of {told}:{shown}{slack}. That is no proof that the claim holds."


def rows(log: AuditLog) -> list[Row]:
    """Return the bounds as the table shows them, the quoted one first."""
    return [_row(one, log.claim) for one in sorted(log.epsilon, key=lambda one: not one.primary)]


def _shown(one: Epsilon) -> str:
    if one.value is None:
        return "refused"
    return number(one.value) if one.kind == "bound" else f"≈ {number(one.value)}"


def _row(one: Epsilon, claim: Claim | None) -> Row:
    outcome, tone = _outcome(one, claim)
    about = METHODS.get(one.method, "")
    if one.primary:
        about = f"{about}; quoted, as settled beforehand" if about else "quoted, as settled beforehand"
    return Row(
        method=one.method,
        about=about,
        kind=one.kind,
        value=_shown(one),
        ceiling=number(one.ceiling),
        delta=f"{one.delta:g}",
        confidence="–" if one.kind == "estimate" else rate(one.confidence),
        outcome=outcome,
        tone=tone,
        conditions="; ".join(filter(None, (one.assumption, one.design, one.reason))),
    )


def _outcome(one: Epsilon, claim: Claim | None) -> tuple[str, str]:
    if one.value is None:
        return "none", "plain"
    if one.kind == "estimate":
        return "an estimate: not held against the claim", "plain"
    if claim is None:
        return "nothing is claimed", "plain"
    if not one.judged:
        return "shown only: not held against the claim", "plain"
    if one.refutes(claim.epsilon):
        return "exceeds the claim", "bad"
    if one.could_refute(claim.epsilon):
        return "does not exceed the claim", "good"
    return "could not have exceeded the claim", "warn"


def facts(claim: Claim) -> list[tuple[str, str]]:
    """Return the claim as (topic, words)."""
    told = [
        ("Claimed", f"ε = {claim.epsilon:g}, δ = {claim.delta:g}, for one {claim.unit}"),
        ("Neighbours differ in", ADJACENCY[claim.adjacency]),
        ("Mechanism", MECHANISMS.get(claim.mechanism, claim.mechanism)),
    ]
    if claim.mu is not None:
        told.append(("Gaussian μ", f"{claim.mu:g}"))
    if claim.accountant:
        told.append(("Accountant", claim.accountant))
    if claim.assumptions:
        told.append(("Assumes", listed(claim.assumptions)))
    if claim.excludes:
        told.append(("Leaves out", listed(claim.excludes)))
    return told


def power(log: AuditLog) -> list[str]:
    """Say what the audit could show and what it could not have failed."""
    lines = []
    canary = log.canary
    if canary is not None and canary.power.message:
        lines.append(f"Before the run: {canary.power.message}.")
        if canary.power.reach:
            typical = listed([f"{number(one.shown)} if the true ε is {one.epsilon:g}" for one in canary.power.reach])
            lines.append(f"Leaks just as large as they may be would typically show as {typical}.")
    if log.claim is not None:
        toothless = [
            one.method
            for one in log.epsilon
            if one.judged and one.value is not None and not one.could_refute(log.claim.epsilon)
        ]
        if toothless:
            lines.append(
                f"{listed(toothless)} could not have exceeded ε = {log.claim.epsilon:g}, whatever was trained: "
                f"{'it adds' if len(toothless) == 1 else 'they add'} nothing for the claim."
            )
    return lines + _sureness(log)


def _sureness(log: AuditLog) -> list[str]:
    """Say what the confidence that was asked for means, and how the bounds that count share what may go wrong."""
    sharing = _sharing(log)
    if not any(one.value is not None for one in sharing):
        return []
    asked = level(log, sharing[0])
    wrong = rate(round(1 - asked, 10))
    if len(sharing) == 1:
        told = f"if what it assumes holds, the bound that counts exceeds the true ε in at most {wrong} of such audits."
        return [f"{rate(asked)} confidence: {told}"]
    parts = listed([f"{one.method} {rate(round(1 - one.confidence, 10))}" for one in sharing])
    told = (
        f"if what they assume holds, any of the {len(sharing)} bounds that count exceeds the true ε in at most {wrong} "
        f"of such audits. They share these {wrong} ({parts}), so each alone is surer."
    )
    return [f"{rate(asked)} confidence: {told}"]


def chart(log: AuditLog) -> Markup | None:
    """Draw each bound as a bar up to its value, a hollow mark where a total leak would be, and the claim as a line."""
    shown = [one for one in sorted(log.epsilon, key=lambda one: not one.primary) if one.value is not None][:MOST]
    if not shown:
        return None
    ends = [one.value or 0.0 for one in shown] + [one.ceiling or 0.0 for one in shown]
    claimed = None if log.claim is None else log.claim.epsilon
    plot = Plot(name="epsilon", height=78 + 30 * len(shown))
    bottom = 26 + 30 * len(shown)
    x = Axis(low=0, high=1.06 * max([*ends, claimed or 0.0, 1e-6]), start=128, end=436)
    plot.x_axis(x, bottom, 18, [(t, f"{t:.10g}") for t in x.ticks(5)], "ε")
    for k, one in enumerate(shown):
        y = 30 + 30 * k
        value = one.value or 0.0
        bound = one.kind == "bound"
        style = "bar risky" if claimed is not None and bound and one.judged and one.refutes(claimed) else "bar"
        plot.text(118, y + 9, one.method, "row", "end")
        plot.box(
            x.start,
            y - 4,
            max(1.0, x(value) - x.start),
            17,
            style,
            f"{one.method}: ε {'≥' if bound else '≈'} {number(value)}",
        )
        if one.ceiling is not None:
            hint = f"a total leak would have shown {number(one.ceiling)}"
            plot.diamond(x(one.ceiling), y + 4.5, "hollow s0", 5, hint)
    if claimed is not None:
        plot.line([(x(claimed), bottom), (x(claimed), 14)], "asked")
        near = x(claimed) > 360
        plot.text(x(claimed) + (-5 if near else 5), 14, f"claimed {claimed:g}", "note", "end" if near else "start")
    words = ", ".join(f"{one.method} {number(one.value)}" for one in shown)
    return plot.svg("Lower bounds on epsilon", words + ("" if claimed is None else f"; claimed {claimed:g}"))
