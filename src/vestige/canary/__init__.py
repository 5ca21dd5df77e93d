"""Canary audits: insert records by coin flips, train, guess the coins, and bound ε from how often that is right.

>>> import vestige.canary
>>> log = vestige.canary.audit(estimator, (x, y), count=500, claim=claim)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vestige.canary.api import audit, plan
    from vestige.canary.design import Design
    from vestige.canary.forecast import CanaryPlan
    from vestige.canary.run import CanaryAudit
    from vestige.canary.steps import Steps

_PUBLIC = {
    "CanaryAudit": "vestige.canary.run",
    "CanaryPlan": "vestige.canary.forecast",
    "Design": "vestige.canary.design",
    "Steps": "vestige.canary.steps",
    "audit": "vestige.canary.api",
    "plan": "vestige.canary.api",
}

__all__ = ["CanaryAudit", "CanaryPlan", "Design", "Steps", "audit", "plan"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'vestige.canary' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
