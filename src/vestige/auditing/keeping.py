"""The folders of audits that are run together: a finished one is read, and not run again."""

from __future__ import annotations

from pathlib import Path

from vestige.auditing.run import Audit
from vestige.config import config_digest
from vestige.config_files import load_config
from vestige.errors import VestigeError
from vestige.log import AuditLog
from vestige.provenance import provenance


def keep(log: AuditLog, folder: Path) -> None:
    """Write a log and its report into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    log.save(folder / "audit.json")
    log.report(folder / "report.html")


def kept(folder: Path | None, audit: Audit) -> AuditLog | None:
    """Return the log of an earlier run of the same audit, or None.

    A model file says nothing of what is in it, so that an audit of a given target always runs.
    """
    if folder is None or audit.inputs.target is not None:
        return None
    try:
        log = AuditLog.load(folder)
        same = config_digest(load_config(log.config, environ={})) == config_digest(audit.config)
    except VestigeError:
        return None
    finished = log.status == "complete" or (log.status in ("partial", "failed") and only_skipped(log))
    recipe = audit.inputs.recipe
    ours = recipe is not None and log.target.recipe == recipe.fingerprint()
    ours = ours and log.population.fingerprint == audit.inputs.records.fingerprint
    mine = log.provenance.get("vestige") == provenance().get("vestige")
    return log if same and finished and ours and mine else None


def only_skipped(log: AuditLog) -> bool:
    """Whether every attack ran, or cannot run here."""
    return bool(log.attacks) and all(result.status in ("ok", "skipped") for result in log.attacks)
