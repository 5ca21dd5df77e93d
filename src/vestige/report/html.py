"""The report as one HTML page that needs no network, no script and no plotting library."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from vestige.log import AttackResult, AuditLog, Figure, Operational
from vestige.report import agreement, charts, claims, divergence, risk_charts, threat, wording
from vestige.report.compiled_templates import CompiledTemplates
from vestige.report.compliance import page as compliance
from vestige.report.compliance.schema import MARKS
from vestige.report.glossary import DEFINITIONS, TERMS
from vestige.report.svg import shortened
from vestige.report.verdict import asked_at, finished, headline_fpr, ranked, rates, resolved_rates, verdict, withheld

LEVELS = {
    "high": "High leakage",
    "moderate": "Moderate leakage",
    "low": "Low leakage",
    "unknown": "No verdict",
}
SIGNS = {
    "error": ("✗", "bad", "Error"),
    "warning": ("!", "warn", "Warning"),
    "info": ("i", "plain", "Note"),
}
SEVERITY = {"error": 0, "warning": 1, "info": 2}
HISTOGRAMS = 4


def ends(figure: Figure) -> str:
    """Write an interval of a plain number: ``0.853–0.869``."""
    return "" if figure.low is None or figure.high is None else f"{figure.low:.3f}–{figure.high:.3f}"


def at(result: AttackResult, fpr: float) -> Figure:
    """Return an attack's figure at a false-positive rate, withheld or not; an empty one if it was not asked for."""
    return asked_at(result, fpr) or Figure()


def notes(log: AuditLog) -> dict[str, int]:
    """Return a footnote number for each reason why a figure was withheld."""
    reasons: dict[str, int] = {}
    for result in ranked(log):
        points = [at(result, fpr) for fpr in resolved_rates(log)]
        for figure in (result.auc, *points, result.balanced_accuracy):
            if figure.value is None and figure.reason:
                reasons.setdefault(figure.reason, len(reasons) + 1)
    return reasons


def nbsp(text: str) -> Markup:
    """Keep numbers together with their percent signs, and intervals whole."""
    joined = re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", str(escape(text)))
    return Markup(re.sub(r"(?<=\d)–(?=\d)", "\N{WORD JOINER}–\N{WORD JOINER}", joined))


def flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Return nested tables as (dotted key, value) rows."""
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in flat(inner, f"{path}.{key}" if path else str(key))]
    return [(path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))]


@functools.cache
def environment() -> Environment:
    """Return the templates' environment: everything is escaped, and an unknown name is an error."""
    made = Environment(
        loader=PackageLoader("vestige.report"),
        autoescape=True,
        undefined=StrictUndefined,
        bytecode_cache=CompiledTemplates("trimmed, escaped, strict"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        at=at,
        count=wording.count,
        duration=wording.duration,
        ends=ends,
        nbsp=nbsp,
        p_value=risk_charts.p_value,
        percent=wording.percent,
        rate=wording.rate,
        sentence=wording.sentence,
        span=wording.span,
    )
    return made


def states(log: AuditLog) -> list[tuple[str, str, str]]:
    """Return in one line each whether the audit completed, may be believed, and passed: (sign, tone, words)."""
    lines = [("✓", "good", "Completed") if log.status == "complete" else ("✗", "bad", f"Status: {log.status}")]
    levels = [check.level for check in log.checks]
    for level, noun in (("error", "error"), ("warning", "warning")):
        if level in levels:
            sign, tone, _ = SIGNS[level]
            lines.append((sign, tone, f"{wording.count(levels.count(level), noun)} among its own checks"))
    if "error" not in levels and "warning" not in levels:
        lines.append(("✓", "good", "Its own checks raised no doubt"))
    if log.findings:
        missed = sum(not finding.passed for finding in log.findings)
        words = f"Gate failed: {missed} of {wording.count(len(log.findings), 'rule')}" if missed else "Gate passed"
        lines.append(("✗", "bad", words) if missed else ("✓", "good", words))
    return lines


def subtitle(log: AuditLog) -> str:
    """Say in one line what was audited, against whom and when."""
    people = log.population
    parts = [
        f"{wording.model_kind(log.target.kind)} model",
        f"{wording.count(people.members, 'member')}, {wording.count(people.nonmembers, 'non-member')}",
    ]
    if people.source:
        parts.insert(0, people.source)
    parts.append(f"{log.target.access.replace('_', '-')} access")
    if log.canary is None:
        parts.append(wording.count(log.shadow.count, "shadow model"))
    else:
        parts.append(wording.count(log.canary.runs, "training"))
    parts.append(
        log.created.replace("T", " ").removesuffix("+00:00") + (" UTC" if log.created.endswith("+00:00") else "")
    )
    return " · ".join(parts)


def tiles(log: AuditLog, best: AttackResult) -> list[tuple[str, str, list[str]]]:
    """Return the headline figures as (label, value, lines below it); an empty value was withheld."""
    made: list[tuple[str, str, list[str]]] = []
    if log.canary is not None and (shown := claims.quoted(log)) is not None:
        claimed = "nothing is claimed" if log.claim is None else f"claimed: {log.claim.epsilon:g}"
        value = "" if shown.value is None else f"ε ≥ {claims.number(shown.value)}"
        total = f"a total leak: {claims.number(shown.ceiling)}"
        made.append((f"Shown at {wording.rate(claims.level(log, shown))} confidence", value, [claimed, total]))
    asked = [(fpr, at(best, fpr)) for fpr in rates(log)]
    for fpr, figure in [pair for pair in asked if pair[1].value is not None][:3] or asked[:1]:
        label = f"Members recognised at {wording.rate(fpr)} false accusations"
        value = "" if figure.value is None else wording.percent(figure.value, table=True)
        made.append(
            (label, value, [wording.span(figure, table=True) or figure.reason, f"chance is {wording.rate(fpr)}"])
        )
    value = "" if best.auc.value is None else f"{best.auc.value:.3f}"
    made.append((f"AUC of {best.title}", value, [ends(best.auc) or best.auc.reason, "chance is 0.5"]))
    risk = log.risk
    if risk is not None and risk.share_at_risk.value is not None:
        value = wording.percent(risk.share_at_risk.value, table=True)
        lines = [wording.span(risk.share_at_risk, table=True), wording.count(risk.at_risk, "record")]
        made.append((f"Members named with {wording.rate(risk.threshold)} probability", value, lines))
    train, test = log.target.train_accuracy, log.target.test_accuracy
    if train is not None and test is not None:
        lines = [
            f"{wording.percent(train, table=True)} where trained",
            f"{wording.percent(test, table=True)} elsewhere",
        ]
        made.append(("Accuracy gap of the target", f"{100 * (train - test):.1f} points", lines))
    return made


def usable(log: AuditLog) -> list[tuple[str, list[Operational]]]:
    """Return the operating points of the strongest attacks, as (attack, points)."""
    rows = []
    for result in charts.leading(log) or ranked(log)[: charts.SERIES]:
        points = result.operating_points or ([result.operational] if result.operational else [])
        if points:
            rows.append((result.title, points))
    return rows


def audited(log: AuditLog) -> list[tuple[str, str]]:
    """Return the facts about the data and the models."""
    people, target = log.population, log.target
    facts = [("Data", people.source or "arrays given by the caller")]
    facts.append(
        (
            "Records",
            f"{people.members:,} members and {people.nonmembers:,} non-members"
            + (f", {people.held_out:,} held out" if people.held_out else ""),
        )
    )
    if people.classes:
        facts.append(
            ("Classes", f"{people.classes:,}" + (f", {people.features:,} features" if people.features else ""))
        )
    if people.fingerprint:
        facts.append(("Fingerprint", people.fingerprint))
    facts.append(
        (
            "Target",
            f"{wording.model_kind(target.kind)} model, "
            + ("given already trained" if target.given else "trained here by the recipe"),
        )
    )
    if target.recipe:
        facts.append(("Recipe", shortened(target.recipe, 160)))
    if log.shadow.count:
        facts.append(
            ("Shadow models", f"{log.shadow.count:,}" + (f": {log.shadow.design}" if log.shadow.design else ""))
        )
    if alike := agreement.said(log):
        facts.append(("Agreement", alike))
    if unlike := divergence.said(log):
        facts.append(("Unlikeness", unlike))
    several = threat.targets(log)
    if several > 1:
        facts.append(("Targets", f"{several} models took the target’s place in turn"))
    return facts


def cost(log: AuditLog) -> list[tuple[str, str]]:
    """Return what the audit used."""
    used = log.cost
    facts = [("Time", wording.duration(used.seconds.total))]
    facts.append(
        ("Trainings", f"{wording.count(log.shadow.trained, 'model')} trained, {log.shadow.reused:,} from the store")
    )
    facts.append(("Queries", f"{used.target_queries:,} to the target"))
    if used.peak_rss_mb:
        facts.append(("Memory", f"{wording.size(used.peak_rss_mb)} at most"))
    if used.store_mb:
        facts.append(("Store", wording.size(used.store_mb)))
    return facts


def drawn(log: AuditLog, curves: Sequence[AttackResult]) -> dict[str, Any]:
    """Return every chart that the log has the figures for."""
    fpr, made = headline_fpr(log), dict[str, Any]()
    made["roc"] = charts.roc(log, curves) if curves else None
    made["compared"] = charts.compared(log, fpr) if fpr is not None else None
    made["averaged"] = charts.averaged(log)
    shown = [r for r in charts.leading(log) if r.histogram is not None and r.histogram.edges][:HISTOGRAMS]
    made["histograms"] = [charts.histogram(result, k) for k, result in enumerate(shown)]
    risk = log.risk
    made["posterior"] = risk_charts.posterior(risk) if risk and risk.posterior_histogram else None
    made["calibration"] = risk_charts.calibration(risk) if risk and risk.calibration else None
    made["exposure"] = risk_charts.exposure(risk) if risk and len(risk.exposure_quantiles) == 7 else None
    made["overfitting"] = risk_charts.overfitting(log)
    made["spending"] = risk_charts.spending(risk_charts.stages(log.cost))
    return made


def claim_heading(log: AuditLog) -> str:
    """Return what the section on ε is called."""
    return "Claim and bounds" if log.claim is not None else "Bounds on ε"


def claimed(log: AuditLog) -> dict[str, Any]:
    """Return what the section on ε shows."""
    return {
        "said": claims.said(log),
        "facts": [] if log.claim is None else claims.facts(log.claim),
        "rows": claims.rows(log),
        "power": claims.power(log),
        "chart": claims.chart(log),
    }


def contents(log: AuditLog) -> list[tuple[str, str]]:
    """Return the sections as (id, words)."""
    listed = [("results", "Results"), ("risk", "Who is at risk")]
    listed.insert(0 if log.canary is not None else 2, ("claim", claim_heading(log)))
    listed += [("trust", "Whether to believe it"), ("gate", "Gate")]
    listed += [("adversary", "Adversary"), ("cost", "Data and cost"), ("compliance", "Impact assessment")]
    listed += [("reference", "Definitions and glossary")]
    absent = {"risk": log.risk is None, "gate": not log.findings, "claim": not (log.epsilon or log.claim)}
    return [(key, words) for key, words in listed if not absent.get(key, False)]


def render(log: AuditLog) -> str:
    """Return the log as an HTML page."""
    best, curves = ranked(log), charts.leading(log)
    kinds = [("class", "classes"), ("group", "groups")]
    parts = [(kind, plural, risk_charts.by_exposure(log.risk, kind)) for kind, plural in kinds] if log.risk else []
    return (
        environment()
        .get_template("report.html")
        .render(
            log=log,
            verdict=verdict(log),
            level_words=LEVELS[verdict(log).level],
            level=wording.rate(wording.confidence(log)),
            subtitle=subtitle(log),
            states=states(log),
            best=best[0] if best else None,
            tiles=tiles(log, best[0]) if best else [],
            contents=contents(log),
            curves=curves,
            charts=drawn(log, curves),
            claim=claimed(log),
            rates=resolved_rates(log),
            withheld=withheld(log),
            notes=notes(log),
            table=[*best, *(r for r in log.attacks if r.status != "ok")],
            tried=len(finished(log)),
            several=threat.targets(log),
            usable=usable(log),
            slices=[
                (k, p, risk_charts.slices(log.risk, k), rows, risk_charts.worst(log.risk, k))
                for k, p, rows in parts
                if rows and log.risk
            ],
            checks=[(c, *SIGNS[c.level]) for c in sorted(log.checks, key=lambda c: SEVERITY[c.level])],
            passed=[one.id for one in log.checked if one.outcome == "passed"],
            knowledge=threat.knowledge(log),
            untested=threat.untested(log),
            audited=audited(log),
            cost=cost(log),
            compliance=compliance.shown(log),
            marks=MARKS,
            definitions=DEFINITIONS,
            terms=TERMS,
            version=str(log.provenance.get("vestige", "")),
            provenance=flat(log.provenance) if log.provenance else [],
            config=json.dumps(log.config, indent=2, ensure_ascii=False, default=str) if log.config else "",
        )
    )
