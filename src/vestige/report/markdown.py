"""The report as Markdown: short enough for a comment on a change or a section of a model card."""

from __future__ import annotations

import re

from vestige.log import AttackResult, AuditLog, Figure
from vestige.report import agreement, claims, divergence
from vestige.report.threat import knowledge, untested
from vestige.report.verdict import asked_at, ranked, resolved_rates, verdict, withheld
from vestige.report.wording import confidence, count, duration, model_kind, number, rate, sentence, share

MARKS = {
    "high": "🔴 High leakage",
    "moderate": "🟠 Moderate leakage",
    "low": "🟢 Low leakage",
    "unknown": "⚪ No verdict",
}
SIGNS = {"error": "❌", "warning": "⚠️", "info": "ℹ️"}
SHOWN = 8
"""Attacks in the table; the rest are counted."""


def plain(text: str) -> str:
    """Return text that Markdown and HTML show as it is, on one line."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*|#~]|(?<!\w)_|_(?!\w)|\](?=[(\[:]))", r"\\\1", text)
    return text


def _row(result: AttackResult, asked: list[float]) -> str:
    points = [asked_at(result, fpr) or Figure() for fpr in asked]
    cells = [number(result.auc), *(share(point) for point in points), share(result.balanced_accuracy)]
    return "| " + " | ".join([plain(result.title), *(plain(cell) for cell in cells)]) + " |"


def _table(log: AuditLog) -> list[str]:
    rows, asked = ranked(log), resolved_rates(log)
    if not rows:
        return []
    heads = ["Attack", "AUC", *(f"TPR at {rate(fpr)} FPR, %" for fpr in asked), "Balanced accuracy, %"]
    lines = ["| " + " | ".join(heads) + " |", "|:--|" + "--:|" * (len(heads) - 1)]
    lines += [_row(result, asked) for result in rows[:SHOWN]]
    tail = f" {count(len(rows) - SHOWN, 'weaker attack')} left out." if len(rows) > SHOWN else ""
    gone = [plain(f"The TPR at {rate(fpr)} FPR is withheld: {sentence(reason)}") for fpr, reason in withheld(log)]
    return [*lines, "", f"Brackets hold {rate(confidence(log))} intervals.{tail}", *gone, ""]


def _doubts(log: AuditLog) -> list[str]:
    lines = [
        f"- {SIGNS[check.level]} **{plain(check.id)}**: {plain(f'{sentence(check.message)} {sentence(check.cure)}')}"
        for check in log.checks
        if check.level != "info"
    ]
    lines += [
        f"- {'✅' if rule.passed else '❌'} gate **{plain(rule.id)}** ({plain(rule.attack)}): "
        f"{plain(sentence(rule.message))}"
        for rule in log.findings
    ]
    lines += [
        f"- ❌ **{plain(result.title)}** {result.status}: {plain(sentence(result.reason))}"
        for result in log.attacks
        if result.status != "ok"
    ]
    return [*lines, ""] if lines else []


def _bounds(log: AuditLog) -> list[str]:
    """Return the bounds on ε beside the claim."""
    rows = claims.rows(log)
    if not rows:
        return []
    lines = [
        "| Bound | ε is at least | A total leak shows | Sure alone | Against the claim |",
        "|:--|--:|--:|--:|:--|",
    ]
    lines += [
        f"| {plain(row.method)} | {row.value} | {row.ceiling} | {row.confidence} | {plain(row.outcome)} |"
        for row in rows
    ]
    told = "Nothing is claimed." if log.claim is None else plain(claims.said(log))
    return [*lines, "", told, *(plain(line) for line in claims.power(log)), ""]


def render(log: AuditLog) -> str:
    """Return the log as Markdown."""
    from vestige.report.compliance.markdown import brief  # which reads this module

    said, people, shadow = verdict(log), log.population, log.shadow
    lines = [f"### Membership audit of {plain(log.name)}: {MARKS[said.level]}", "", f"**{plain(said.sentence)}**", ""]
    lines += [f"- {plain(line)}" for line in said.details]
    lines += [""] if said.details else []
    lines += _table(log)
    lines += _bounds(log)
    lines += _doubts(log)
    facts = [
        plain(people.source or "data"),
        f"{count(people.members, 'member')}, {count(people.nonmembers, 'non-member')}",
        f"{plain(model_kind(log.target.kind))} model",
        f"{count(shadow.count, 'shadow model')} ({shadow.trained:,} models trained, {shadow.reused:,} from the store)",
        duration(log.cost.seconds.total),
    ]
    lines += ["<details><summary>What was assumed, and what was not tested</summary>", ""]
    lines += [f"- *{topic}*: {plain(words)}" for topic, words in knowledge(log)]
    lines += [f"- *Agreement*: {plain(alike)}."] if (alike := agreement.said(log)) else []
    lines += [f"- *Unlikeness*: {plain(unlike)}."] if (unlike := divergence.said(log)) else []
    lines += ["", "Not tested:", "", *(f"- {plain(gap)}" for gap in untested(log)), "", "</details>", ""]
    lines += ["<details><summary>For an impact assessment</summary>", "", *brief(log), "</details>", ""]
    lines += [f"<sub>{' · '.join(facts)} · {plain(log.created)}</sub>"]
    return "\n".join(lines) + "\n"
