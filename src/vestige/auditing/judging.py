"""Judge a finished log by the gate's rules and against an earlier log."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vestige import checks, gate
from vestige.config import AuditConfig
from vestige.errors import UsageError
from vestige.log import AuditLog, Finding
from vestige.log_entries import checked
from vestige.registry import did_you_mean

MARGIN = "interval-wider-than-margin"


def rules_of(config: AuditConfig, extra: Sequence[str] = ()) -> list[gate.Rule]:
    """Return the rules of [gate], then those given as text; raise UsageError for one that makes no sense."""
    ours = [gate.rule(figure, rule.max, attack=rule.attack, judge=rule.judge) for figure, rule in config.gate.items()]
    return [*ours, *(gate.parse_rule(text) for text in extra)]


def judgeable(rules: Sequence[gate.Rule], attacks: Sequence[str], config: AuditConfig) -> None:
    """Raise UsageError, before anything is trained, for a rule on an attack or a rate that the audit will not have."""
    for rule in rules:
        names = [*attacks, *(label.partition("[")[0] for label in attacks)]
        if rule.attack is not None and rule.attack not in names:
            raise UsageError(
                f"The rule '{rule.id}' judges the attack '{rule.attack}', and this audit runs {', '.join(attacks)}.",
                hint=did_you_mean(rule.attack, list(dict.fromkeys(names))) or "Add it to [audit] attacks.",
            )
        if rule.fpr is not None and not any(math.isclose(rule.fpr, rate) for rate in config.audit.fpr):
            rates = ", ".join(f"{rate:g}" for rate in config.audit.fpr)
            raise UsageError(
                f"The rule '{rule.id}' judges a false-positive rate of {rule.fpr:g}, and this audit measures {rates}.",
                hint=f"Add {rule.fpr:g} to [audit] fpr.",
            )


def judged(log: AuditLog, rules: Sequence[gate.Rule], before: AuditLog | None = None) -> AuditLog:
    """Return the log with one finding per rule and, given an earlier log, per figure that can be compared."""
    found = gate.judge(rules, log.attacks, log.risk)
    if before is not None:
        found += gate.findings_of(gate.compare(before.attacks, log.attacks))
    kept = [check for check in log.checks if check.id != MARGIN]
    told = [one for one in log.checked if one.id != MARGIN]
    margins = _margins(log, rules)
    doubts, made = checked([(MARGIN, checks.interval_wider_than_margin(margins))] if margins else [])
    findings = [
        Finding(
            id=one.id,
            attack=one.attack,
            metric=one.metric,
            value=one.value,
            limit=one.limit,
            passed=one.passed,
            message=one.message,
        )
        for one in found
    ]
    changes = {"findings": findings, "checks": kept + doubts, "checked": told + made}
    return log.model_copy(update=changes).with_records(log.record_table)


def _margins(log: AuditLog, rules: Sequence[gate.Rule]) -> list[tuple[str, gate.Measured, float]]:
    margins: list[tuple[str, gate.Measured, float]] = []
    for rule in rules:
        if rule.judge != "value" or rule.metric == "records_at_risk":
            continue
        figures = [
            figure
            for result in log.attacks
            if result.status == "ok" and rule.attack in (None, result.title, result.name)
            if (figure := gate.figure_of(result, rule.metric, rule.fpr)) is not None and figure.value is not None
        ]
        if figures:
            margins.append((rule.id, max(figures, key=lambda figure: figure.value or 0.0), rule.limit))
    return margins
