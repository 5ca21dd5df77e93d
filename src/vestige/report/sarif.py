"""SARIF 2.1.0 for code scanning: failed gate rules and raised checks, located at the audit's configuration.

A leak has no line of source, so every result points at the configuration that was audited. Rule ids and
fingerprints depend only on what is judged, never on the figures, so that an alert stays the same alert from run to
run.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from vestige.log import AuditLog, Check, Finding
from vestige.report.verdict import verdict
from vestige.report.wording import sentence

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def _location(log: AuditLog) -> dict[str, Any]:
    path = str(log.provenance.get("config_file") or "audit.toml").replace("\\", "/")
    artifact = {"uri": quote(path, safe="/:"), "uriBaseId": "%SRCROOT%"}
    if path.startswith("/") or ":" in path:
        artifact.pop("uriBaseId")
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": 1}}}


def _fingerprint(*parts: str) -> dict[str, str]:
    return {"vestigeRule/v1": hashlib.sha256("\n".join(parts).encode()).hexdigest()}


def _gate_rule(finding: Finding) -> dict[str, Any]:
    return {
        "id": f"gate/{finding.metric}",
        "name": "Gate",
        "shortDescription": {"text": f"{finding.metric} must stay within its limit"},
        "fullDescription": {
            "text": f"The audit's gate sets a limit for {finding.metric}; above it, the model leaks too much."
        },
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["privacy", "membership-inference", "gate"]},
    }


def _check_rule(check: Check) -> dict[str, Any]:
    return {
        "id": f"check/{check.id}",
        "name": "Check",
        "shortDescription": {"text": check.id.replace("_", " ")},
        "fullDescription": {"text": sentence(check.cause) or "A reason to doubt the audit's figures."},
        "help": {"text": sentence(check.cure) or "See the audit's report."},
        "defaultConfiguration": {"level": LEVELS[check.level]},
        "properties": {"tags": ["privacy", "membership-inference", "validity"]},
    }


def _result(log: AuditLog, rule: str, level: str, message: str, *what: str) -> dict[str, Any]:
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": message},
        "locations": [_location(log)],
        "partialFingerprints": _fingerprint(log.name, rule, *what),
    }


def render(log: AuditLog) -> str:
    """Return the log as SARIF; rules that passed are listed, and have no result."""
    said = verdict(log)
    rules = [_gate_rule(f) for f in log.findings] + [_check_rule(c) for c in log.checks]
    rules = list({rule["id"]: rule for rule in rules}.values())
    order = {rule["id"]: k for k, rule in enumerate(rules)}
    results = [
        _result(log, f"gate/{f.metric}", "error", f"{sentence(f.message)} {said.sentence}", f.id, f.attack)
        for f in log.findings
        if not f.passed
    ]
    results += [
        _result(log, f"check/{c.id}", LEVELS[c.level], f"{sentence(c.message)} {sentence(c.cure)}".strip())
        for c in log.checks
    ]
    for result in results:
        result["ruleIndex"] = order[result["ruleId"]]
    driver = {"name": "Vestige", "rules": rules, "version": str(log.provenance.get("vestige") or "0")}
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": log.status == "complete", "exitCode": log.exit_code}],
        "results": results,
        "properties": {"verdict": said.level, "sentence": said.sentence, "audit": log.name},
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"
