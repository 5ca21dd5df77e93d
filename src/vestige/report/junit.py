"""JUnit XML: one test case per gate rule, per check, and per attack that did not run.

Build servers show these beside ordinary tests. A warning passes with its text attached; it is the exit code that
sets a job's status.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from vestige.log import AuditLog
from vestige.report.verdict import verdict
from vestige.report.wording import sentence

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold, escaped or not."""


def clean(text: str) -> str:
    """Return text without the characters that XML forbids."""
    return FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _case(suite: ElementTree.Element, group: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=f"vestige.{group}", name=clean(name), time="0")


def _outcome(case: ElementTree.Element, kind: str, message: str, detail: str = "") -> None:
    element = ElementTree.SubElement(case, kind)
    if kind != "system-out":
        element.set("message", clean(message))
    element.text = clean(f"{message} {detail}".strip())


def render(log: AuditLog) -> str:
    """Return the log as JUnit XML."""
    root = ElementTree.Element("testsuites", name="vestige")
    suite = ElementTree.SubElement(
        root, "testsuite", name=clean(log.name), timestamp=clean(log.created.removesuffix("+00:00"))
    )
    for finding in log.findings:
        case = _case(suite, "gate", f"{finding.id} ({finding.attack})")
        if not finding.passed:
            measured = "nothing" if finding.value is None else f"{finding.value:.4g}"
            _outcome(case, "failure", sentence(finding.message), f"Measured {measured}, limit {finding.limit:.4g}.")
    for check in log.checks:
        case = _case(suite, "checks", check.id)
        kind = "failure" if check.level == "error" else "system-out"
        _outcome(case, kind, sentence(check.message), f"{sentence(check.cause)} {sentence(check.cure)}".strip())
    for result in log.attacks:
        if result.status != "ok":
            case = _case(suite, "attacks", result.title)
            _outcome(
                case, "error" if result.status == "failed" else "skipped", sentence(result.reason or result.status)
            )
    if not log.attacks or log.status in ("failed", "interrupted"):
        _outcome(_case(suite, "audit", "completed"), "error", f"The audit's status is {log.status}.")
    for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{kind}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("time", f"{log.cost.seconds.total:.3f}")
    ElementTree.SubElement(suite, "system-out").text = clean(verdict(log).sentence)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "\n")
    )
