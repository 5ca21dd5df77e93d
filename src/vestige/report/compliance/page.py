"""What the section of the HTML report shows of the record."""

from __future__ import annotations

from typing import Any

from vestige.log import AuditLog
from vestige.report.compliance.build import record
from vestige.report.compliance.references import FPR
from vestige.report.compliance.schema import MARKS, ComplianceRecord, Section, Standing, Statement
from vestige.report.compliance.untested import KINDS
from vestige.report.wording import listed

AT_RISK = ("R6.at-risk", "R6.classes", "R6.groups")
SHOWN = ("R9", "R10")
"""Sections that the page opens with; the others are folded."""


def counts(made: ComplianceRecord) -> list[tuple[Standing, int]]:
    """Return how many fields there are of each standing, the legal texts among those to be confirmed."""
    standings: list[Standing] = [one.standing for one in made.statements()]
    standings += [one.standing for one in made.references]
    return [(standing, standings.count(standing)) for standing in MARKS]


def at_risk(made: ComplianceRecord) -> list[Statement]:
    """Return the fields about records at risk."""
    return [one for one in made.statements() if one.id in AT_RISK]


def of(made: ComplianceRecord, id: str) -> Section:
    """Return a section by its id."""
    return next(part for part in made.sections if part.id == id)


def shown(log: AuditLog) -> dict[str, Any]:
    """Return what the template needs."""
    made = record(log)
    rest = [part for part in made.sections if part.id not in SHOWN]
    return {
        "record": made,
        "counts": counts(made),
        "fpr": FPR,
        "risk": of(made, "R9").statements,
        "measures": of(made, "R10").statements,
        "at_risk": at_risk(made),
        "untested": [
            (words, [gap for gap in made.untested if gap.kind == kind])
            for kind, words in KINDS.items()
            if any(gap.kind == kind for gap in made.untested)
        ],
        "rest": [(part, sum(one.standing != "recorded" for one in part.statements)) for part in rest],
        "cited": cited(made),
    }


def cited(made: ComplianceRecord) -> dict[str, str]:
    """Return which sections cite each legal text."""
    by = {one.id: [part.id for part in made.sections if one.id in part.basis] for one in made.references}
    return {key: listed(parts) if parts else "the question of anonymity" for key, parts in by.items()}
