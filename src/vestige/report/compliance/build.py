"""From the log to the record."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from vestige.log import AuditLog
from vestige.report.compliance.adversaries import adversaries, assumptions
from vestige.report.compliance.aftermath import california, lifecycle, limits, plain_words, rights
from vestige.report.compliance.anonymity import anonymity
from vestige.report.compliance.at_risk import at_risk, counted
from vestige.report.compliance.context import consultation, header, necessity, processing
from vestige.report.compliance.evidence import claimed, most, tested, tests
from vestige.report.compliance.likelihood import likelihood
from vestige.report.compliance.measures import defended, measures, residual, risk, running
from vestige.report.compliance.reading import Reader
from vestige.report.compliance.references import BANDS, REFERENCES
from vestige.report.compliance.schema import Band, ComplianceRecord, LogReference, Section, Statement
from vestige.report.compliance.training import training
from vestige.report.compliance.untested import untested


def record(log: AuditLog, bands: Sequence[Band] = BANDS) -> ComplianceRecord:
    """Return the compliance record of a log: the same log gives the same bytes.

    ``bands``: the levels of likelihood, by rising true-positive rate at 0.1 % false positives.
    """
    reader = Reader.of(log)
    found, in_force, layers, strong = likelihood(log, bands), defended(reader), measures(log), most(log)
    return ComplianceRecord(
        log=LogReference(
            name=log.name,
            created=log.created,
            status=log.status,
            sha256=hashlib.sha256(log.to_json().encode(errors="replace")).hexdigest(),
        ),
        confidence=reader.confidence,
        likelihood=found,
        bands=list(bands),
        defended=in_force,
        measures=layers,
        bounds=log.epsilon,
        tests=tests(log),
        strongest=strong,
        at_risk=at_risk(log),
        anonymity=anonymity(log, strong, found, layers),
        untested=untested(log),
        assumptions=assumptions(reader),
        sections=[
            header(reader),
            processing(reader),
            necessity(reader, in_force),
            consultation(),
            training(reader),
            adversaries(reader, in_force),
            _with(tested(reader), counted(log)),
            claimed(reader),
            running(),
            risk(reader, found, strong, in_force),
            residual(reader, strong, in_force),
            rights(reader),
            lifecycle(reader),
            california(),
            limits(reader),
            plain_words(reader, found),
        ],
        references=REFERENCES,
    )


def _with(section: Section, more: list[Statement]) -> Section:
    return section.model_copy(update={"statements": [*section.statements, *more]})


def render(log: AuditLog) -> str:
    """Return the record as JSON: fields of an impact assessment, each with its place in the log."""
    return record(log).to_json() + "\n"
