"""How unlike the target's answers to members and to non-members are, in words."""

from __future__ import annotations

from vestige.log import AuditLog
from vestige.report.wording import number

NAMES = {"loss": "cross-entropy", "entropy": "entropy"}


def said(log: AuditLog) -> str:
    """Return the Jensen–Shannon divergences in one sentence, empty where the adversary sees labels alone.

    ``loss`` is the squared error of a regression, and is called so.
    """
    names = NAMES if log.population.classes else {"loss": "squared error"}
    parts = [
        f"{names.get(one.signal, one.signal)} {number(one.value)}, of which chance of {one.chance:.3f} was taken off"
        for one in log.divergence
    ]
    return f"Jensen–Shannon divergence of members and non-members in bits: {'; '.join(parts)}" if parts else ""
