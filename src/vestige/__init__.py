"""Vestige measures what a trained model gives away about the records it was trained on.

>>> import vestige
>>> log = vestige.audit(model, X_train, y_train, X_test, y_test)  # doctest: +SKIP
>>> log.report("report.html")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vestige import canary, grid
    from vestige.api import audit
    from vestige.auditing.run import Audit
    from vestige.backends.function import FunctionRecipe
    from vestige.backends.sklearn import SklearnRecipe
    from vestige.backends.torch import TorchRecipe
    from vestige.backends.updated import Updated
    from vestige.backends.updating import UpdateRecipe
    from vestige.config import AuditConfig
    from vestige.datasets import load_dataset
    from vestige.errors import VestigeError
    from vestige.log import AuditLog
    from vestige.privacy_claim import PrivacyClaim
    from vestige.records import Records
    from vestige.target import Access, Outputs
    from vestige.tradeoff.run import run as tradeoff

_PUBLIC = {
    "Access": "vestige.target",
    "Audit": "vestige.auditing.run",
    "AuditConfig": "vestige.config",
    "AuditLog": "vestige.log",
    "FunctionRecipe": "vestige.backends.function",
    "Outputs": "vestige.target",
    "PrivacyClaim": "vestige.privacy_claim",
    "Records": "vestige.records",
    "SklearnRecipe": "vestige.backends.sklearn",
    "TorchRecipe": "vestige.backends.torch",
    "UpdateRecipe": "vestige.backends.updating",
    "Updated": "vestige.backends.updated",
    "VestigeError": "vestige.errors",
    "audit": "vestige.api",
    "load_dataset": "vestige.datasets",
}

__all__ = [
    "Access",
    "Audit",
    "AuditConfig",
    "AuditLog",
    "FunctionRecipe",
    "Outputs",
    "PrivacyClaim",
    "Records",
    "SklearnRecipe",
    "TorchRecipe",
    "UpdateRecipe",
    "Updated",
    "VestigeError",
    "audit",
    "canary",
    "grid",
    "load_dataset",
    "tradeoff",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("vestige")
    if name in ("canary", "grid", "tradeoff"):
        return import_module(f"vestige.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'vestige' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
