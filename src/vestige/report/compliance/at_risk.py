"""Which records are at risk: counted, and named by id alone."""

from __future__ import annotations

from vestige.log import AuditLog
from vestige.report.compliance.reading import missing, recorded
from vestige.report.compliance.schema import AtRisk, Exposed, Statement
from vestige.report.wording import count, number, percent, rate, span


def at_risk(log: AuditLog) -> AtRisk | None:
    """Return the records at risk; no features, no labels, and not who was trained on."""
    risk = log.risk
    if risk is None:
        return None
    return AtRisk(
        attack=risk.attack,
        threshold=risk.threshold,
        records=risk.at_risk,
        members=log.population.members,
        share=risk.share_at_risk,
        most_exposed=[
            Exposed(id=one.id, exposure=one.exposure, posterior=one.posterior, source=f"/risk/records/{k}")
            for k, one in enumerate(risk.records)
        ],
        slices=risk.slices,
    )


def counted(log: AuditLog) -> list[Statement]:
    """Return the counts in words."""
    risk, id, topic = log.risk, "R6.at-risk", "Records at risk"
    if risk is None or risk.share_at_risk.value is None:
        reason = "" if risk is None else risk.share_at_risk.reason
        return [missing(id, topic, reason)]
    ends = f", {span(risk.share_at_risk)}" if span(risk.share_at_risk) else ""
    text = (
        f"{count(risk.at_risk, 'member')} ({percent(risk.share_at_risk.value)}{ends}) can be named with a probability "
        f"of {rate(risk.threshold)} or more, as if half of all records were members; under {risk.attack}."
    )
    found = [recorded(id, topic, text, "/risk")]
    for kind, plural in (("class", "classes"), ("group", "groups")):
        parts = [
            (k, part) for k, part in enumerate(risk.slices) if part.kind == kind and part.together.value is not None
        ]
        if not parts:
            found.append(missing(f"R6.{plural}", f"Most exposed of the {plural}"))
            continue
        k, worst = max(parts, key=lambda pair: (pair[1].together.low or 0.0, pair[1].together.value or 0.0))
        name = f"The class {worst.name}" if kind == "class" else "One group"
        text = f"{name}: AUC {number(worst.together)}, an interval for all {plural} at once."
        found.append(recorded(f"R6.{plural}", f"Most exposed of the {plural}", text, f"/risk/slices/{k}"))
    return found
