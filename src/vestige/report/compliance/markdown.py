"""The record as Markdown, to be filled in, and the short part of it in a report: records are counted, never named."""

from __future__ import annotations

from collections.abc import Sequence

from vestige.log import AuditLog
from vestige.report.compliance.build import record
from vestige.report.compliance.page import SHOWN, at_risk, cited, counts, of
from vestige.report.compliance.schema import MARKS, ComplianceRecord, Statement
from vestige.report.compliance.untested import KINDS
from vestige.report.markdown import plain
from vestige.report.wording import rate

CONFIRM = f"*({MARKS['confirm']})*"


def field(one: Statement) -> str:
    """Return one field as an item of a list."""
    mark = "" if one.standing == "recorded" else f" *({MARKS[one.standing]})*"
    return f"- **{plain(one.topic)}**{mark}{': ' if one.text else ''}{plain(one.text)}"


def tally(made: ComplianceRecord) -> str:
    """Say how many fields there are of each standing."""
    return ", ".join(f"{number} {MARKS[standing]}" for standing, number in counts(made)) + "."


def _anonymity(made: ComplianceRecord) -> list[str]:
    return [f"- **{plain(one.element)}** *({one.answer})*: {plain(one.text)}" for one in made.anonymity]


def _part(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""]


def brief(log: AuditLog) -> list[str]:
    """Return the short part of a report: risk, measures, records at risk, and the question of anonymity."""
    made = record(log)
    return [
        *(field(one) for id in SHOWN for one in of(made, id).statements if one.standing != "person"),
        *(field(one) for one in at_risk(made)),
        "",
        f"Elements of the question of anonymity (EDPB Opinion 28/2024) {CONFIRM}:",
        "",
        *_anonymity(made),
        "",
        f"Fields of the whole record: {tally(made)} `vestige report --format compliance-md` writes them all.",
        "",
    ]


def render(log: AuditLog) -> str:
    """Return the record as Markdown: every field of an impact assessment, those for a person to fill included."""
    made = record(log)
    lines = [
        f"# Evidence for an impact assessment: {plain(log.name)}",
        "",
        "Drawn from the audit's log alone; it comes to no legal conclusion. Lines without a mark are from the log: "
        + tally(made),
        "",
    ]
    for section in made.sections:
        lines += _part(f"{section.id}. {section.title}", [field(one) for one in section.statements])
    bands = [f"{one.level}: {'more' if one.up_to is None else f'up to {rate(one.up_to)}'}" for one in made.bands]
    lines += [f"Levels of likelihood, a convention of this tool {CONFIRM}: {'; '.join(bands)}.", ""]
    lines += _part(f"The question of anonymity {CONFIRM}", _anonymity(made))
    gaps = [f"- *{KINDS[gap.kind]}*: {plain(gap.text)}" for gap in made.untested]
    lines += _part("What was not tested", gaps)
    lines += _part("What is assumed", [field(one) for one in made.assumptions])
    by = cited(made)
    texts = [f"- **{plain(one.title)}** {CONFIRM}: {plain(one.asks)} Cited by {by[one.id]}." for one in made.references]
    lines += _part("Texts that ask for this", texts)
    lines += [f"<sub>Log {made.log.sha256} of {plain(made.log.created)}</sub>"]
    return "\n".join(lines) + "\n"
